"""The stop signal: how work that goes on in several threads is told to stop, and how it hears that."""

import threading


class Stopped(BaseException):
    """The work was told to stop. It is no Exception, so that no net for failures catches it and goes on."""


class StopSignal:
    """Told once, and for good, from any thread; heard by all that check it or sleep by it."""

    def __init__(self) -> None:
        self._told = threading.Event()

    @property
    def is_told(self) -> bool:
        """Whether the work is to stop."""
        return self._told.is_set()

    def tell(self) -> None:
        """Stop: whoever sleeps by this signal wakes up, and nothing that checks it goes on."""
        self._told.set()

    def check(self) -> None:
        """Raises Stopped once the signal was told."""
        if self._told.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait that long. Raises Stopped as soon as the signal is told."""
        if self._told.wait(seconds):
            raise Stopped
