"""The parts of the running local stack: one that ends by itself is started again a few times, and that is said."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from ledger_pipeline.core.errors import LedgerError

RESTART_PAUSES_SECONDS = (1.0, 2.0, 4.0)
STEADY_SECONDS = 600.0
"""A part that ran for so long since its last start has all its restarts again."""
_POLL_SECONDS = 0.2


class Restartable(Protocol):
    """A part that can be asked whether it runs, and be started again."""

    def ended(self) -> str | None:
        """How it ended by itself, in words that follow its name; None while it runs."""

    def start_again(self) -> int:
        """Start it as before; its new process id. Raises LedgerError where it does not start."""


@dataclass
class _Watched:
    part: Restartable
    restarts: int = 0
    started_at: float = 0.0
    restart_at: float | None = None


def supervise(
    parts: Mapping[str, Restartable],
    logs: Path,
    *,
    say: Callable[[str], None],
    on_start: Callable[[str, int], None],
    pauses_seconds: Sequence[float] = RESTART_PAUSES_SECONDS,
) -> NoReturn:
    """Start each of `parts` again that ends by itself, after each of `pauses_seconds` once; return never.

    `say` hears of it in one line, `on_start` the part's name and new process id. Raises LedgerError naming the part
    that ended once more, whose log is somewhere in `logs`.
    """
    watched = {name: _Watched(restartable, started_at=time.monotonic()) for name, restartable in parts.items()}
    while True:
        for name, watched_part in watched.items():
            if watched_part.restart_at is not None:
                _start_when_due(name, watched_part, say, on_start)
            elif how := watched_part.part.ended():
                if time.monotonic() - watched_part.started_at >= STEADY_SECONDS:
                    watched_part.restarts = 0
                if watched_part.restarts == len(pauses_seconds):
                    again = f" again, after {watched_part.restarts} new starts" if watched_part.restarts else ""
                    raise LedgerError(f"the {name} {how}{again}, so all was stopped: see its log in {logs}")
                pause_seconds = pauses_seconds[watched_part.restarts]
                watched_part.restarts += 1
                watched_part.restart_at = time.monotonic() + pause_seconds
                say(
                    f"the {name} {how}: starting it again in {pause_seconds:g} s "
                    f"(start {watched_part.restarts} of {len(pauses_seconds)}); its log is in {logs}"
                )
        time.sleep(_POLL_SECONDS)


def _start_when_due(
    name: str, watched_part: _Watched, say: Callable[[str], None], on_start: Callable[[str, int], None]
) -> None:
    if watched_part.restart_at is None or time.monotonic() < watched_part.restart_at:
        return
    watched_part.restart_at = None
    watched_part.started_at = time.monotonic()
    try:
        pid = watched_part.part.start_again()
    except LedgerError as error:
        say(str(error))  # it has ended, still: the next look counts that
        return
    on_start(name, pid)
    say(f"the {name} runs again, as process {pid}")
