"""GitHub's clock against ours: an answer's time is believed only where the two agree.

A watermark is GitHub's time, and what lies before it is never read again: a proxy that dates its answers ahead would
hide events for good.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import GITHUB

LONGEST_AGE_SECONDS = 3600
"""An answer that a cache has kept for longer is none to go by: a watermark so old would have all be read again."""


@dataclass(frozen=True)
class Clock:
    """Our clock, `now` in seconds since 1970, and how far GitHub's may be from it."""

    tolerance_seconds: float
    now: Callable[[], float]

    def check(self, source_scope: str, date: datetime, age_seconds: float) -> None:
        """Believe the date of an answer, and that a cache kept it so long.

        Raises SourceUnavailable, naming both times, where the clocks contradict, and for an age that none has.
        """
        if age_seconds > LONGEST_AGE_SECONDS:
            raise SourceUnavailable(
                GITHUB,
                source_scope,
                f"the answer's Age is {age_seconds:.0f} s, and at most {LONGEST_AGE_SECONDS} s are believed: "
                "have the proxy or cache between keep none of GitHub's answers",
            )
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
