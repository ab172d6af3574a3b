"""Brings a database to a migration and says which one it is at. The migrations themselves are in `migrations/`."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, text

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import LedgerNotMigrated, StoreError
from ledger_pipeline.store.engine import describe, make_engine
from ledger_pipeline.store.failures import translated

# Dagster's storage may share the database, and keeps its own record in `alembic_version`.
VERSION_TABLE = "ledger_migrations"
ADVISORY_LOCK = 0x6C656467_65720001  # "ledger", 1


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`, each migration committed together with its record.

    Safe when several processes do so at once: they take turns. Raises LedgerNotMigrated when the database is at a
    migration this code does not know.
    """
    with _alone(url, transaction_per_migration=True) as (connection, config):
        at = _revision(connection)
        connection.rollback()
        if at is not None and at not in _known():
            raise not_migrated(connection.engine, at)
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database down to `revision` ("base" for none), all the way or not at all.

    Raises StoreError where its rows do not allow it.
    """
    with _alone(url, transaction_per_migration=False) as (_, config):
        try:
            command.downgrade(config, revision)
        except CommandError as error:
            raise StoreError(str(error)) from error


def current(url: str) -> str | None:
    """The migration the database is at, None before the first. Writes nothing."""
    engine = make_engine(url, poolclass=NullPool)
    with translated(engine):
        return current_of(engine)


def current_of(engine: Engine) -> str | None:
    """`current` on an engine there is already."""
    with engine.connect() as connection:
        return _revision(connection)


@cache
def head() -> str:
    """The migration this code needs."""
    revision = _scripts().get_current_head()
    if revision is None:
        raise RuntimeError(f"no migrations in {_folder()}")
    return revision


def not_migrated(engine: Engine, at: str | None) -> LedgerNotMigrated:
    """The error for a database at `at`, saying what to do about it."""
    problem = f"the ledger in {describe(engine.url)} is at migration {at or 'none'}, this program needs {head()}"
    if at is None or at in _known():
        return LedgerNotMigrated(f"{problem}: run `ledger-pipeline db upgrade`")
    return LedgerNotMigrated(
        f"{problem} and knows no {at}: a newer release ran `ledger-pipeline db upgrade`, install that release"
    )


@contextmanager
def _alone(url: str, *, transaction_per_migration: bool) -> Iterator[tuple[Connection, Config]]:
    """A connection that no other process migrates beside; the lock goes with the connection.

    It waits as long as the others take, and its statements take as long as the ledger is large.
    """
    engine = make_engine(url, poolclass=NullPool, limits=DatabaseLimits().unhurried())
    with translated(engine), engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        config.attributes["version_table"] = VERSION_TABLE
        config.attributes["transaction_per_migration"] = transaction_per_migration
        yield connection, config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def _folder() -> Path:
    """Where the migrations are: inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
