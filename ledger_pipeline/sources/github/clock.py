"""GitHub's clock against ours: an answer's time is believed only where the two agree.

A watermark is GitHub's time, and what lies before it is never read again: a proxy that dates its answers ahead would
hide events for good.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.events import GITHUB


@dataclass(frozen=True)
class Clock:
    """Our clock, `now` in seconds since 1970, and how far GitHub's may be from it."""

    tolerance_seconds: float
    now: Callable[[], float]

    def check(self, source_scope: str, date: datetime) -> None:
        """Believe the date of an answer. Raises SourceUnavailable, naming both times, where the clocks contradict."""
        now = self.now()
        if abs(date.timestamp() - now) <= self.tolerance_seconds:
            return
        raise SourceUnavailable(
            GITHUB,
            source_scope,
            f"the answer's Date is {date:%Y-%m-%dT%H:%M:%SZ}, but our clock says {_text(now)}: synchronize this "
            f"machine's clock, or mend the proxy that dates answers "
            f"(GITHUB_CLOCK_TOLERANCE_SECONDS is {self.tolerance_seconds:.0f})",
        )


def _text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
