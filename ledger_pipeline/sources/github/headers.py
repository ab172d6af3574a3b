"""The headers of an answer as typed values. One that cannot be used counts as absent; none is ever an error."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Longer than anybody waits, and short enough to be added to any time.
LONGEST_SECONDS = 1e9

# GitHub's limits are counted by the hour; a reset that is later than this is no reset.
LONGEST_WINDOW = timedelta(hours=2)

_MOST_POINTS = 2**31 - 1
_COUNTS = frozenset({"x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"})


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _points(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else int(min(number, _MOST_POINTS))


def _epoch_seconds(value: object) -> datetime | None:
    number = _number(value)
    try:
        return None if number is None or number < 0 else datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _date(value: object) -> datetime | None:
    try:
        moment = parsedate_to_datetime(str(value))
        # RFC 9110 knows no other zone than GMT; a date that names none is of it too.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _seconds(value: object) -> float | None:
    text = str(value)
    if text.strip().isdigit() and math.isinf(float(text)):
        return LONGEST_SECONDS
    number = _number(value)
    return None if number is None else min(max(number, 0.0), LONGEST_SECONDS)


def _retry_after(value: object) -> float | datetime | None:
    seconds = _seconds(value)
    return _date(value) if seconds is None else seconds


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class AnswerHeaders(BaseModel):
    """What the headers of an answer say; times are aware, UTC, and by GitHub's clock. None: not said, or unusable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    date: Annotated[datetime | None, BeforeValidator(_date)] = None
    age_seconds: Annotated[float | None, BeforeValidator(_seconds), Field(alias="age")] = None
    """How long a cache has kept the answer, at most LONGEST_SECONDS."""
    retry_after: Annotated[float | datetime | None, BeforeValidator(_retry_after), Field(alias="retry-after")] = None
    """Seconds from now, 0 to LONGEST_SECONDS, or until when; `retry_after_seconds` is either in seconds."""
    has_retry_after: bool = False
    """Whether it asks for a wait at all, be it for one that cannot be understood."""
    points_left: Annotated[int | None, BeforeValidator(_points), Field(alias="x-ratelimit-remaining")] = None
    points_limit: Annotated[int | None, BeforeValidator(_points), Field(alias="x-ratelimit-limit")] = None
    resets_at: Annotated[datetime | None, BeforeValidator(_epoch_seconds), Field(alias="x-ratelimit-reset")] = None
    """When the budget is whole again."""
    resource: Annotated[str | None, BeforeValidator(_text), Field(alias="x-ratelimit-resource")] = None
    """Which of GitHub's budgets the points are of."""
    scopes: Annotated[str | None, BeforeValidator(_text), Field(alias="x-oauth-scopes")] = None

    @property
    def answered_at(self) -> datetime | None:
        """When GitHub itself answered: `Date`, and as much earlier as a cache has kept the answer."""
        if self.date is None:
            return None
        try:
            return self.date - timedelta(seconds=self.age_seconds or 0)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)

    @property
    def retry_after_seconds(self) -> float | None:
        """How long to wait, 0 to LONGEST_SECONDS; 0 for a time that has passed."""
        if isinstance(self.retry_after, datetime):
            seconds = (self.retry_after - (self.date or datetime.now(UTC))).total_seconds()
            return min(max(seconds, 0.0), LONGEST_SECONDS)
        return self.retry_after

    @property
    def window_ends_at(self) -> datetime | None:
        """`resets_at` where it can be that of an hourly budget: no later than LONGEST_WINDOW after the answer."""
        if self.date is None or self.resets_at is None or self.resets_at - self.date > LONGEST_WINDOW:
            return None
        return self.resets_at


def is_readable(name: str, value: str) -> bool:
    """Whether PyGithub can read the header: it makes integers of these as they come, and fails on the whole answer."""
    return name.lower() not in _COUNTS or _number(value) is not None


def read_headers(headers: Mapping[str, Any]) -> AnswerHeaders:
    """The headers of an answer, their names in any case. Raises nothing."""
    lower = {str(name).lower(): value for name, value in headers.items()}
    return AnswerHeaders.model_validate({**lower, "has_retry_after": "retry-after" in lower})
