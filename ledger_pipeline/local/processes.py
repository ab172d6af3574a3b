"""Child processes of the local stack: started with a log of their own, ended with us, by their id alone."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger_pipeline.core.errors import LedgerError

STOP_TIMEOUT_SECONDS = 20


@contextmanager
def child_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` running, what it prints appended to `log`; stopped when left. Ours is its environment by default."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # noqa: S603 (our own)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: asked first, killed when it takes longer than STOP_TIMEOUT_SECONDS."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_answering(
    answers: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path, timeout_seconds: float
) -> None:
    """Return once `answers()`, asked a few times a second. Raises LedgerError when the process ends or time is up."""
    tries = int(timeout_seconds / _PAUSE_SECONDS)
    for _ in range(tries):
        if answers():
            return
        try:
            code = process.wait(_PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        raise LedgerError(f"{name} ended by itself with code {code} before it answered: see {log}")
    raise LedgerError(f"{name} does not answer after {timeout_seconds:.0f} s: see {log}")


def listens(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:`port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_PAUSE_SECONDS = 0.2
