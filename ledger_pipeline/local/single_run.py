"""One run at a time of a local stack on its state, and no process left over from one that was killed."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.local.private_home import private_home

STOP_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class SingleRun:
    """The run that holds the state; it remembers its processes, for the run after a crash."""

    record: Path

    def remember(self, processes: dict[str, int]) -> None:
        """Process ids by name, with the time each started: an id alone may be another's by then."""
        recorded = json.loads(self.record.read_text()) if self.record.is_file() else []
        recorded += [[name, pid, psutil.Process(pid).create_time()] for name, pid in processes.items()]
        self.record.write_text(json.dumps(recorded))


@contextmanager
def single_run(home: Path, say: Callable[[str], None]) -> Iterator[SingleRun]:
    """The state in `home`, ours alone; what an earlier run left running is stopped first, and said.

    Raises ConfigurationError naming the process that has it.
    """
    record = home / "running.json"
    with private_home(home), (home / "running.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigurationError(
                f"process {lock.read().strip() or 'of another run'} uses {home} already: stop it first, "
                "or set LEDGER_HOME to another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(psutil.Process().pid))
        lock.flush()
        for left in _left_over(record):
            say(f"stopping process {left.pid}, left over from a run that was killed")
            left.terminate()
            try:
                left.wait(STOP_TIMEOUT_SECONDS)
            except psutil.TimeoutExpired:
                left.kill()
                left.wait(STOP_TIMEOUT_SECONDS)
        record.unlink(missing_ok=True)
        yield SingleRun(record)
        record.unlink(missing_ok=True)


def _left_over(record: Path) -> Iterator[psutil.Process]:
    for _, pid, started in json.loads(record.read_text()) if record.is_file() else []:
        try:
            process = psutil.Process(pid)
            if process.create_time() == started:
                yield process
        except psutil.NoSuchProcess:
            continue
