"""A ledger whose process may die at any verb, and collectors that take turns: both decided by the seed."""

from collections.abc import Callable, Iterator
from functools import wraps
from random import Random
from threading import Condition
from typing import Any

from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline_tests.simulation.schedule import CrashPoint

TURN_TIMEOUT_SECONDS = 60


class Crash(BaseException):
    """The process is gone. No code of ours may catch it."""


class Turns:
    """Collectors run one at a time, and hand over only between calls: so a seed gives one interleaving."""

    def __init__(self, collectors: int, random: Random) -> None:
        self._running = list(range(collectors))
        self._random = random
        self._turn = 0
        self._changed = Condition()

    def wait(self, collector: int) -> None:
        """Wait until it is this collector's turn."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._turn == collector, TURN_TIMEOUT_SECONDS):
                raise AssertionError(f"collector {collector} never had its turn")

    def hand_over(self, collector: int) -> None:
        """Let somebody go on, this collector perhaps."""
        with self._changed:
            self._turn = self._random.choice(self._running)
            self._changed.notify_all()
        self.wait(collector)

    def leave(self, collector: int) -> None:
        """This collector has ended."""
        with self._changed:
            self._running.remove(collector)
            if self._running:
                self._turn = self._random.choice(self._running)
            self._changed.notify_all()


class FaultyStore:
    """`store`, with `before_call` before each verb and a crash at `crash`; `calls` are those of all its sections."""

    def __init__(
        self, store: Any, crash: CrashPoint | None, before_call: Callable[[], None], calls: list[str] | None = None
    ) -> None:
        self._store = store
        self._crash = crash
        self._before_call = before_call
        self.calls = [] if calls is None else calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if isinstance(attribute, LedgerSection):
            return FaultyStore(attribute, self._crash, self._before_call, self.calls)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def verb(*arguments: Any, **options: Any) -> Any:
            self._before_call()
            self.calls.append(name)
            dies = self._crash is not None and self._crash.call == len(self.calls)
            if dies and not self._crash.after:  # type: ignore[union-attr]
                raise Crash(f"before {name}")
            answer = attribute(*arguments, **options)
            if dies:
                raise Crash(f"after {name}")
            return answer

        return verb


class TurnTakingSource:
    """`source`, with `before_call` before every question it asks."""

    def __init__(self, source: Any, before_call: Callable[[], None]) -> None:
        self._source = source
        self._before_call = before_call

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._source, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def ask(*arguments: Any, **options: Any) -> Any:
            self._before_call()
            return attribute(*arguments, **options)

        return ask

    def scan(self, request: Any) -> Iterator[Any]:
        """Page by page, in turns."""
        pages = self._source.scan(request)
        while True:
            self._before_call()
            try:
                page = next(pages)
            except StopIteration:
                return
            yield page
