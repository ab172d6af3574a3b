"""How long a failure is waited for, and when waiting ends. Time itself is handed in, so that tests need none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.sources.github.failed_tries import (
    LIMIT_WAIT_SECONDS,
    NO_INSTALLATION,
    FailedTry,
    Kind,
    understood,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """`retries` counts further tries of one request, `max_wait_seconds` bounds each wait between two."""

    max_wait_seconds: float
    retries: int
    sleep: Callable[[float], None]
    now: Callable[[], float]

    def wait(self, source_scope: str, failure: FailedTry, tried: int) -> None:
        """Wait for the failure to pass, `tried` tries after the first one failed.

        Raises SourceUnavailable, naming what was waited for, when the tries are used up or the wait is too long.
        """
        if tried >= self.retries:
            after = f", after {tried + 1} tries" if tried else ""
            is_limit = failure.kind in (Kind.PACED, Kind.SPENT)
            seconds = self.seconds(failure, tried) if is_limit else failure.wait_seconds
            problem = f"{failure.problem}{after}"
            raise SourceUnavailable(GITHUB, source_scope, problem, retry_after_seconds=seconds)
        self.sleep_at_most(source_scope, failure.problem, self.seconds(failure, tried))

    def sleep_at_most(self, source_scope: str, problem: str, seconds: float) -> None:
        """Sleep. Raises SourceUnavailable when that is longer than may be waited."""
        if seconds > self.max_wait_seconds:
            raise SourceUnavailable(
                GITHUB,
                source_scope,
                f"{problem}: a wait of {seconds:.0f} s, GITHUB_MAX_WAIT_SECONDS is {self.max_wait_seconds:.0f}",
                retry_after_seconds=seconds,
            )
        self.sleep(seconds)

    def ask(self, source_scope: str, api_url: str, request: Callable[[], _T]) -> _T | FailedTry:
        """The answer to an App's REST request, tried again while it may help; a FailedTry when refused or rejected.

        Raises SourceUnavailable as `wait` does.
        """
        tried = 0
        while True:
            try:
                return request()
            except Exception as error:  # noqa: BLE001 (see `understood`: PyGithub may raise anything)
                failure = understood(error, api_url, NO_INSTALLATION)
            if failure.kind in (Kind.REFUSED, Kind.REJECTED):
                return failure
            self.wait(source_scope, failure, tried)
            tried += 1

    def seconds(self, failure: FailedTry, tried: int) -> float:
        """How long the failure is waited for, `tried` tries after the first one failed."""
        if failure.wait_seconds is not None:
            return failure.wait_seconds
        if failure.kind is Kind.PACED:
            return LIMIT_WAIT_SECONDS * 2.0**tried
        if failure.kind is Kind.SPENT:
            return LIMIT_WAIT_SECONDS
        return min(2.0**tried, self.max_wait_seconds)


def refused(source_scope: str, problem: str) -> SourceRefused:
    """The error of what no retry can help."""
    return SourceRefused(GITHUB, source_scope, problem)
