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


class ChildProcess:
    """A command that runs as our child, what it prints appended to a log; ours is its environment by default.

    It leads a group of its own, so that Ctrl-C reaches us alone and what it starts is stopped with it. On Linux it is
    told to end, too, where we are killed. Raises RuntimeError outside the main thread, as `leashed` does.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command, self._log, self._environment = command, log, environment
        self.popen = self._start()

    def ended(self) -> str | None:
        """How it ended by itself, in words that follow "it"; None while it runs."""
        code = self.popen.poll()
        return None if code is None else f"ended by itself with code {code}"

    def start_again(self) -> int:
        """Start it as it was started before, and end what it left behind; its new process id."""
        with uninterrupted():
            stop(self.popen)
            self.popen = self._start()
        return self.popen.pid

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 (a command line of our own)
                leashed(self._command), stdout=output, stderr=output, env=self._environment, start_new_session=True
            )


@contextmanager
def child_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ChildProcess]:
    """`command` running as a ChildProcess; whatever runs of it by then is stopped when left."""
    with ExitStack() as started:
        with uninterrupted():
            child = ChildProcess(command, log, environment)
            started.callback(lambda: stop(child.popen))
        yield child


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
    answers: Callable[[], bool], child: ChildProcess, name: str, log: Path, timeout_seconds: float
) -> None:
    """Return once `answers()`, asked a few times a second. Raises LedgerError when the process ends or time is up."""
    for _ in range(int(timeout_seconds / _PAUSE_SECONDS)):
        if answers():
            return
        try:
            code = child.popen.wait(_PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        raise LedgerError(f"the {name} ended by itself with code {code} before it answered: see {log}")
    raise LedgerError(f"the {name} does not answer after {timeout_seconds:.0f} s: see {log}")


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
