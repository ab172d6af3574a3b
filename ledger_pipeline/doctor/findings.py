"""What a check finds, and how a question that may hang is put: within a time limit, and never waited for at the end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from ledger_pipeline.core.errors import LedgerError

LIMIT_SECONDS = 8.0

_T = TypeVar("_T")


class State(StrEnum):
    """How it stands: a warning works, but not as it should; what is skipped could not be looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, and where something is to be done, what."""

    check: str
    state: State
    detail: str
    remedy: str | None = None


class NoAnswer(LedgerError):
    """A question was not answered within LIMIT_SECONDS."""


def fine(check: str, detail: str) -> Finding:
    """All is as it should be."""
    return Finding(check, State.OK, detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check, State.WARNING, detail, remedy)


def failed(check: str, detail: object, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, State.FAILED, str(detail), remedy)


def skipped(check: str, because: str) -> Finding:
    """It cannot be looked at before something else works, which has its own remedy."""
    return Finding(check, State.SKIPPED, because)


async def within_limit(answer: Awaitable[_T], seconds: float | None = None) -> _T:
    """The answer. Raises NoAnswer once time is up, LIMIT_SECONDS where none is given, and what the question raises."""
    limit = LIMIT_SECONDS if seconds is None else seconds
    try:
        return await asyncio.wait_for(answer, limit)
    except TimeoutError:
        raise NoAnswer(f"no answer within {limit:g} s") from None


async def answer_of(question: Callable[[], _T], seconds: float | None = None) -> _T:
    """`within_limit` for a question that blocks: in a thread that does not keep the process from ending."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()
    threading.Thread(target=_complete, args=(future, question), name="doctor", daemon=True).start()
    return await within_limit(asyncio.wrap_future(future), seconds)


def _complete(future: "Future[_T]", question: Callable[[], _T]) -> None:
    try:
        future.set_result(question())
    except BaseException as error:  # whatever it is, it is raised where the answer is awaited
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
