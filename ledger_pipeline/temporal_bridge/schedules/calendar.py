"""A cron line as calendars: which minutes, hours and days a Temporal schedule matches, and how that is written.

We compile cron lines ourselves. Compiled by the server they come back without the string, nothing to compare with;
and Temporal reads cron its own way: `1 * 1` for days is "a 1st that is a Monday" there and "the 1st, and Mondays"
everywhere else, and what follows a `#` is a comment. Sent as calendars, what comes back is what was sent.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim

_MINUTES = frozenset(range(60))
_HOURS = frozenset(range(24))
_DAYS = frozenset(range(1, 32))
_MONTHS = frozenset(range(1, 13))
_WEEKDAYS = frozenset(range(7))


@dataclass(frozen=True)
class Calendar:
    """The times at which all fields match, in the schedule's time zone. Sunday is 0; no years are all years."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    seconds: frozenset[int] = frozenset({0})
    years: frozenset[int] = frozenset()

    def __str__(self) -> str:
        # Cron itself reads two restricted day fields as "either"; here both must match.
        both = self.days != _DAYS and self.weekdays != _WEEKDAYS
        fields = (
            (self.minutes, _MINUTES),
            (self.hours, _HOURS),
            (self.days, _DAYS),
            (self.months, _MONTHS),
            (_WEEKDAYS if both else self.weekdays, _WEEKDAYS),
        )
        cron = " ".join("*" if values == every else _listed(values) for values, every in fields)
        only = f" only on weekdays {_listed(self.weekdays)}" if both else ""
        seconds = "" if self.seconds == {0} else f" at seconds {_listed(self.seconds)}"
        return cron + only + seconds + (f" in years {_listed(self.years)}" if self.years else "")


def calendars_of(cron: str) -> frozenset[Calendar]:
    """The calendars that together match when `cron` (five fields, checked with the repo-spec) does.

    Raises ValueError for what no calendar says: `L` and `#`, days that are counted within their month.
    """
    parsed = CronSim(cron, datetime(2026, 1, 5, tzinfo=UTC))
    weekdays = frozenset(day % 7 for day in parsed.weekdays if isinstance(day, int))
    if min(parsed.days) < 0 or len(parsed.weekdays) > sum(isinstance(day, int) for day in parsed.weekdays):
        raise ValueError("Temporal knows no L and no # (the last day, the second Friday): list days or weekdays")
    minutes, hours, months = frozenset(parsed.minutes), frozenset(parsed.hours), frozenset(parsed.months)
    days = frozenset(parsed.days)
    if parsed.day_and:
        return frozenset({Calendar(minutes, hours, days, months, weekdays)})
    # Cron's rule where both day fields are restricted: either may match.
    return frozenset(
        {
            Calendar(minutes, hours, days, months, _WEEKDAYS),
            Calendar(minutes, hours, _DAYS, months, weekdays),
        }
    )


def times_text(calendars: Iterable[Calendar]) -> str:
    """Calendars for people, as cron lines; the same times have the same text."""
    return " and ".join(sorted(map(str, calendars))) or "never"


def runs_of(values: Collection[int]) -> Iterator[tuple[int, int]]:
    """`values` as inclusive ranges without gaps, in order."""
    start: int | None = None
    for value in sorted(values):
        start = value if start is None else start
        if value + 1 not in values:
            yield start, value
            start = None


def _listed(values: frozenset[int]) -> str:
    return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in runs_of(values))
