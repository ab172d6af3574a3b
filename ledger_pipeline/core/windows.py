"""Epoch windows: half-open `[start, end)` in UTC, tiling time from one anchor. Only arithmetic lives here.

The rule, a contract with the system we join: anchor Monday 2026-01-05T00:00Z, index
`floor((as_of - anchor) / length)`; lengths are 1 day or a multiple of 7 up to 84. Windows before the anchor have
negative indexes and are as good as any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ledger_pipeline.core.errors import WindowError

EPOCH_ANCHOR = datetime(2026, 1, 5, tzinfo=UTC)
MAX_LENGTH_DAYS = 84


@dataclass(frozen=True, order=True)
class EpochWindow:
    """`[start, end)`; both aware, in UTC, at midnight. An event at `end` belongs to the next window."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for bound in (self.start, self.end):
            if bound.utcoffset() != timedelta(0):
                raise WindowError(f"epoch window bound {bound.isoformat()} is not in UTC")
        if self.start >= self.end:
            raise WindowError(f"epoch window ends at {self.end.isoformat()}, not after its start")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def key(self) -> str:
        """The epoch's name for people and partitions: the start's date, `2026-02-16`."""
        return self.start.date().isoformat()


@dataclass(frozen=True)
class EpochCalendar:
    """All windows of one length. Raises WindowError for a length that is not 1 or a multiple of 7 up to 84."""

    length_days: int

    def __post_init__(self) -> None:
        days = self.length_days
        if days != 1 and (days < 7 or days > MAX_LENGTH_DAYS or days % 7 != 0):
            raise WindowError(
                f"an epoch of {days} days is not supported: 1, or a multiple of 7 up to {MAX_LENGTH_DAYS}, "
                "so that windows start on the same weekday for ever"
            )

    @property
    def length(self) -> timedelta:
        """How long each window is."""
        return timedelta(days=self.length_days)

    def window_at(self, instant: datetime) -> EpochWindow:
        """The one window holding `instant` (aware, any time zone).

        Raises WindowError for a naive instant, and where the window would leave the years 1 to 9999.
        """
        if instant.utcoffset() is None:
            raise WindowError(f"{instant.isoformat()} has no time zone, so no epoch window holds it")
        length = self.length
        try:
            start = EPOCH_ANCHOR + (instant - EPOCH_ANCHOR) // length * length
            end = start + length
        except OverflowError as error:
            raise WindowError(f"the epoch of {instant.isoformat()} leaves the years 1 to 9999") from error
        return EpochWindow(start, end)

    def window_starting(self, day: date) -> EpochWindow:
        """The window that starts on `day` at 00:00 UTC. Raises WindowError naming the neighbours if none does."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        window = self.window_at(midnight)
        if window.start != midnight:
            raise WindowError(
                f"no {self.length_days}-day epoch starts on {day.isoformat()}: "
                f"the nearest start on {window.start.date()} and {window.end.date()}"
            )
        return window

    def windows_between(self, first: EpochWindow, last: EpochWindow) -> Iterator[EpochWindow]:
        """Every window from `first` to `last`, both included, oldest first."""
        start = first.start
        while start <= last.start:
            yield EpochWindow(start, start + self.length)
            start += self.length


def span(windows: Sequence[EpochWindow]) -> EpochWindow:
    """The smallest window holding all of `windows`, which must not be empty."""
    return EpochWindow(min(window.start for window in windows), max(window.end for window in windows))


def parse_epoch_key(key: str) -> date:
    """The date an epoch key names. Raises WindowError unless it is `YYYY-MM-DD` exactly."""
    try:
        day = date.fromisoformat(key)
    except ValueError as error:
        raise WindowError(f"epoch {key!r} is not a date: give the epoch's first day, as 2026-02-16") from error
    if day.isoformat() != key:
        raise WindowError(f"epoch {key!r}: write it as {day.isoformat()}")
    return day


def iso_millis(instant: datetime) -> str:
    """`instant` as the system we join writes it: `2026-02-16T00:00:00.000Z`. Raises WindowError for a naive one."""
    if instant.utcoffset() is None:
        raise WindowError(f"{instant.isoformat()} has no time zone")
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
