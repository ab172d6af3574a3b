"""Child processes of the local stack: started with a log of their own, ended with us, by their ids alone."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ledger_pipeline.core.errors import ConfigurationError, LedgerError

STOP_TIMEOUT_SECONDS = 20
_PAUSE_SECONDS = 0.2
_LEASH = Path(__file__).with_name("leash.py")


@contextmanager
def child_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` running, what it prints appended to `log`; stopped when left. Ours is its environment by default.

    It leads a group of its own, so that Ctrl-C reaches us alone and what it starts is stopped with it. On Linux it is
    told to end, too, where we are killed. Raises RuntimeError outside the main thread, as `leashed` does.
    """
    with ExitStack() as started:
        with uninterrupted(), log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 (a command line of our own)
                leashed(command), stdout=output, stderr=output, env=environment, start_new_session=True
            )
            started.callback(stop, process)
        yield process


def leashed(command: Sequence[str]) -> list[str]:
    """`command`, to be started by this thread: it hears SIGINT and SIGTERM, and on Linux does not outlive us.

    Raises RuntimeError outside the main thread: Linux would end the command with the thread that started it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{command[0]} would end with the thread that starts it: start it from the main thread")
    return [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started: asked first, killed where that takes over STOP_TIMEOUT_SECONDS."""
    with uninterrupted():
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _signal_group(process.pid, signal.SIGKILL)


@contextmanager
def uninterrupted() -> Iterator[Sequence[int]]:
    """Ctrl-C or SIGTERM that comes while inside is heard once left: what is started inside is known to who stops it.

    The signals that came so far. Changes nothing outside the main thread, which alone hears signals.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: heard.append(number))
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def wait_until_answering(
    answers: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path, timeout_seconds: float
) -> None:
    """Return once `answers()`, asked a few times a second. Raises LedgerError when the process ends or time is up."""
    for _ in range(int(timeout_seconds / _PAUSE_SECONDS)):
        if answers():
            return
        try:
            code = process.wait(_PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        raise LedgerError(f"the {name} ended by itself with code {code} before it answered: see {log}")
    raise LedgerError(f"the {name} does not answer after {timeout_seconds:.0f} s: see {log}")


def supervise(processes: Mapping[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """Return never; raise LedgerError naming the first of `processes` that ends, whose log is somewhere in `logs`."""
    while True:
        for name, process in processes.items():
            try:
                code = process.wait(_PAUSE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise LedgerError(f"the {name} ended by itself with code {code}, so all was stopped: see its log in {logs}")


def refuse_taken_port(port: int, what: str, option: str) -> None:
    """Raises ConfigurationError, saying what wanted the port and which option moves it, where something listens."""
    if listens(port):
        raise ConfigurationError(f"port {port} is taken, and {what} wants it: choose another with {option}")


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


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # nobody is left in it
        os.killpg(leader, number)
