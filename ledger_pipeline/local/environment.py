"""Where local commands find Postgres and Dagster: what the environment names, else what we run under LEDGER_HOME.

Dagster, its child processes and our resources read the environment, so what is started here is put there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import URL, make_url

from ledger_pipeline.local.embedded_postgres import DAGSTER_DATABASE, LEDGER_DATABASE, embedded_postgres
from ledger_pipeline.settings import Settings, read_settings

# Dagster stores one materialization a transaction unless told otherwise; a backfill of 650 epochs has 2,600.
EVENT_BATCH_SIZE = "500"

DAGSTER_YAML = """\
# Written by ledger-pipeline; set DAGSTER_HOME to use an instance of your own.
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1  # the default of 5 is most of the time that a covered epoch's run takes
telemetry:
  enabled: false
nux:
  enabled: false
"""


@contextmanager
def databases(settings: Settings) -> Iterator[Settings]:
    """`settings` with both databases set, an embedded Postgres running as long as it is needed.

    The environment says the same while inside, for Dagster and child processes.
    """
    if settings.database_url is not None:
        ledger = settings.database_url
        dagster = settings.dagster_database_url or ledger
        with _environment({"DAGSTER_DATABASE_URL": dagster.get_secret_value()}):
            yield settings.model_copy(update={"dagster_database_url": dagster})
        return
    with embedded_postgres(settings.home / "postgres") as server:
        ledger = _secret(server.set(database=LEDGER_DATABASE))
        dagster = settings.dagster_database_url or _secret(server.set(database=DAGSTER_DATABASE))
        urls = {"database_url": ledger, "dagster_database_url": dagster}
        with _environment({name.upper(): url.get_secret_value() for name, url in urls.items()}):
            yield settings.model_copy(update=urls)


@contextmanager
def dagster_home(settings: Settings) -> Iterator[Path]:
    """The folder of the Dagster instance: DAGSTER_HOME, else one of ours in LEDGER_HOME with Postgres storage.

    `settings` come from `databases`. The environment names the folder and its storage while inside.
    """
    if settings.dagster_home is not None:
        yield settings.dagster_home
        return
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    assert settings.dagster_database_url is not None  # noqa: S101 (what `databases` promises)
    # dagster-postgres listens with NOTIFY as psycopg2 spells it; SQLAlchemy's default driver is psycopg 3.
    storage = make_url(settings.dagster_database_url.get_secret_value()).set(drivername="postgresql+psycopg2")
    with _environment(
        {
            "DAGSTER_HOME": str(folder),
            "DAGSTER_POSTGRES_URL": storage.render_as_string(hide_password=False),
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
    return SecretStr(url.render_as_string(hide_password=False))
