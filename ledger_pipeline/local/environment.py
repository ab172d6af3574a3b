"""Where local commands find Postgres and Dagster: what the environment names, else what we run under LEDGER_HOME.

Dagster, its child processes and our resources read the environment, so what is started here is put there.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import URL, make_url

from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.local.embedded_postgres import DAGSTER_DATABASE, LEDGER_DATABASE, embedded_postgres
from ledger_pipeline.local.private_home import private_home
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store import migrations
from ledger_pipeline.store.roles import READER, WEB, WRITER, ensure_logins

POSTGRES_FOLDER = "postgres"  # of the embedded Postgres, in LEDGER_HOME
# Of the embedded Postgres, whose superuser owns the ledger; production names its own.
WRITER_LOGIN = "ledger_pipeline"
READER_LOGIN = "ledger_people"
WEB_LOGIN = "ledger_serve"

# Dagster stores one materialization a transaction unless told otherwise; a backfill of 650 epochs has 2,600.
EVENT_BATCH_SIZE = "500"

DAGSTER_YAML = """\
# Written by ledger-pipeline; set DAGSTER_HOME to use an instance of your own.
storage:
  custom:
    module: ledger_pipeline.defs.dagster_storage
    class: PooledPostgresStorage  # Dagster's own, with connections that are kept
    config:
      postgres_url:
        env: DAGSTER_POSTGRES_URL
run_coordinator:
  module: ledger_pipeline.defs.concurrency
  class: ScopedRunQueue  # Dagster's own queue, and a tag with the scope on every run
  config:
    dequeue_interval_seconds: 1  # the default of 5 is most of the time that a covered epoch's run takes
concurrency:
  runs:
    tag_concurrency_limits:
      - key: ledger/scope  # runs of one scope wait for each other: a backfill, and the collection of every day
        value:
          applyLimitPerUniqueValue: true
        limit: 1
  pools:
    granularity: run  # what has to wait, waits in the queue and holds no process
    default_limit: 2  # of different scopes, two ask GitHub at once: they share one budget
python_logs:
  managed_python_loggers: [ledger_pipeline]  # our own warnings stand in the run's log too
run_monitoring:
  enabled: true
  max_runtime_seconds: 21600  # a run whose process is gone would hold its scope for ever; collection resumes
telemetry:
  enabled: false
nux:
  enabled: false
"""


@contextmanager
def databases(settings: Settings, on_migration: Callable[[str], None] | None = None) -> Iterator[Settings]:
    """`settings` with both databases set, an embedded Postgres running as long as it is needed.

    Where `on_migration` is given, an embedded ledger that is behind this release is migrated, and `on_migration` is
    told so in one line; one that is ahead raises LedgerNotMigrated. A Postgres of DATABASE_URL is never migrated here.
    The environment says the same while inside, for Dagster and child processes; but not who owns the ledger: they
    only write to it. What is written while inside is closed to other users.

    Raises SettingsError where what is set is not enough.
    """
    if settings.database_url is not None:
        # A writer may make no tables, so Dagster's cannot be beside the ledger's.
        shared = settings.database_url if settings.database_owner_url is None else None
        given = settings.model_copy(update={"dagster_database_url": settings.dagster_database_url or shared})
        with private_home(settings.home), _environment(_for_children(given)):
            yield given
        return
    if settings.database_owner_url is not None:
        raise SettingsError("DATABASE_OWNER_URL is set but DATABASE_URL is not: set it to what the pipeline writes as")
    with private_home(settings.home), embedded_postgres(settings.home / POSTGRES_FOLDER) as server:
        ledger = server.set(database=LEDGER_DATABASE)
        urls = {
            "database_url": _secret(ledger.set(username=WRITER_LOGIN)),
            "database_owner_url": _secret(ledger),
            "database_reader_url": _secret(ledger.set(username=READER_LOGIN)),
            "database_web_url": _secret(ledger.set(username=WEB_LOGIN)),
            "dagster_database_url": settings.dagster_database_url or _secret(server.set(database=DAGSTER_DATABASE)),
        }
        local = settings.model_copy(update=urls)
        # Before any migration: who finds no tables can then say so.
        ensure_logins(local.owner_url(), _logins(local))
        if on_migration is not None:
            _migrate_embedded(local, on_migration)
        with _environment(_for_children(local)):
            yield local


def migrate(settings: Settings) -> None:
    """Bring the ledger to this release's migration as its owner, having let its logins in.

    `settings` come from `databases`. Raises as `ensure_logins` and `migrations.upgrade` do.
    """
    owner_url = settings.owner_url()
    ensure_logins(owner_url, _logins(settings))
    migrations.upgrade(owner_url)


@contextmanager
def dagster_home(settings: Settings) -> Iterator[Path]:
    """The folder of the Dagster instance: DAGSTER_HOME, else one of ours in LEDGER_HOME with Postgres storage.

    `settings` come from `databases`. The environment names the folder and its storage while inside. Raises
    SettingsError where Dagster has no database.
    """
    if settings.dagster_home is not None:
        yield settings.dagster_home
        return
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    if settings.dagster_database_url is None:
        raise SettingsError(
            "DATABASE_OWNER_URL is set, so DATABASE_URL may make no tables: set DAGSTER_DATABASE_URL to a database of "
            "Dagster's own"
        )
    # dagster-postgres listens with NOTIFY as psycopg2 spells it; SQLAlchemy's default driver is psycopg 3.
    storage = make_url(settings.dagster_database_url.get_secret_value()).set(drivername="postgresql+psycopg2")
    # Dagster sets no limits of its own. Only a silent peer is noticed: its migrations may take as long as they do.
    storage = storage.update_query_dict({**settings.database_limits.tcp(), **storage.query})
    with _environment(
        {
            "DAGSTER_HOME": str(folder),
            "DAGSTER_POSTGRES_URL": _written_out(storage),
            "DAGSTER_EVENT_BATCH_SIZE": EVENT_BATCH_SIZE,
        }
    ):
        yield folder


@contextmanager
def overridden(values: dict[str, str]) -> Iterator[Settings]:
    """The settings with these environment variables set, for as long as inside."""
    with _environment(values):
        yield read_settings()


def child_environment(values: dict[str, str]) -> dict[str, str]:
    """This process's environment with `values` in it, for a child process."""
    return {**os.environ, **values}


def _migrate_embedded(settings: Settings, on_migration: Callable[[str], None]) -> None:
    at = migrations.current(settings.owner_url())
    if at != migrations.head():
        migrate(settings)  # another process may be doing so: they take turns, and the second finds nothing to do
        on_migration(f"the embedded ledger was at migration {at or 'none'}: brought to {migrations.head()}")


def _for_children(settings: Settings) -> dict[str, str]:
    given = {
        "DATABASE_URL": settings.database_url,
        "DATABASE_WEB_URL": settings.database_web_url,
        "DAGSTER_DATABASE_URL": settings.dagster_database_url,
    }
    urls = {name: "" if url is None else url.get_secret_value() for name, url in given.items()}
    return {**urls, "DATABASE_OWNER_URL": "", "DATABASE_READER_URL": ""}


def _logins(settings: Settings) -> dict[str, str]:
    """The URLs of the ledger's writer, reader and web server by group role, where they are not the owner's."""
    writer = settings.database_url if settings.database_owner_url is not None else None
    urls = {WRITER: writer, READER: settings.database_reader_url, WEB: settings.database_web_url}
    return {group: url.get_secret_value() for group, url in urls.items() if url is not None}


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _secret(url: URL) -> SecretStr:
    return SecretStr(_written_out(url))


def _written_out(url: URL) -> str:
    """With spaces in the query as libpq reads them: it takes the `+` that SQLAlchemy writes for a plus."""
    address, question_mark, query = url.render_as_string(hide_password=False).partition("?")
    return address + question_mark + query.replace("+", "%20")
