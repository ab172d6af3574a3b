"""Waiting for something to become true, with a deadline: the one place in tests that passes time."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_SECONDS = 0.05

_T = TypeVar("_T")


def eventually(condition: Callable[[], _T], deadline_seconds: float = 30) -> _T:
    """The first truthy answer of `condition`, asked again until then.

    Raises AssertionError with the last answer once the deadline has passed; what `condition` raises goes through.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_seconds} s: {condition!r}, last answer {answer!r}")
        time.sleep(POLL_SECONDS)
