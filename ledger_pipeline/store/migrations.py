"""Brings a database to a migration and says which one it is at. The migrations themselves are in `migrations/`.

Every command asks which one the ledger is at, so that takes file names and a query; only who migrates loads Alembic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, NullPool, text

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import LedgerNotMigrated, StoreError
from ledger_pipeline.installed_sources import know_all_installed
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import describe, make_engine
from ledger_pipeline.store.event_rules import bring_event_rules

if TYPE_CHECKING:
    from alembic.config import Config

# Dagster's storage may share the database, and keeps its own record in `alembic_version`.
VERSION_TABLE = "ledger_migrations"
ADVISORY_LOCK = 0x6C656467_65720001  # "ledger", 1


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to `revision`, each migration committed together with its record.

    At the newest one, the database knows the sources that this code knows, and those installed beside it. Safe when
    several processes do so at once: they take turns. Raises LedgerNotMigrated when the database is at a migration this
    code does not know.
    """
    from alembic import command

    with _alone(url, transaction_per_migration=True) as (connection, config):
        at = _revision(connection)
        connection.rollback()
        if at is not None and at not in _known():
            raise not_migrated(connection.engine, at)
        command.upgrade(config, revision)
        if _revision(connection) == head():
            know_all_installed()
            bring_event_rules(connection)
        connection.commit()


def downgrade(url: str, revision: str) -> None:
    """Take the database down to `revision` ("base" for none), all the way or not at all.

    Raises StoreError where its rows do not allow it.
    """
    from alembic import command
    from alembic.util import CommandError

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


def head() -> str:
    """The migration this code needs."""
    return max(_known())


def not_migrated(engine: Engine, at: str | None) -> LedgerNotMigrated:
    """The error for a database at `at`, saying what to do about it."""
    problem = f"the ledger in {describe(engine.url)} is at migration {at or 'none'}, this program needs {head()}"
    if at is None or at in _known():
        return LedgerNotMigrated(f"{problem}: run `ledger-pipeline db upgrade`")
    return LedgerNotMigrated(
        f"{problem} and knows no {at}: a newer release ran `ledger-pipeline db upgrade`, install that release"
    )


@contextmanager
def _alone(url: str, *, transaction_per_migration: bool) -> Iterator[tuple[Connection, "Config"]]:
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
    if connection.scalar(text("SELECT to_regclass(:table)"), {"table": VERSION_TABLE}) is None:
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return revision


@cache
def _known() -> frozenset[str]:
    """Every migration: they are one line, and each file's name begins with its number."""
    revisions = frozenset(path.name[:4] for path in (_folder() / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))
    if not revisions:
        raise RuntimeError(f"no migrations in {_folder()}")
    return revisions


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def _folder() -> Path:
    """The folder of the migrations: inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
