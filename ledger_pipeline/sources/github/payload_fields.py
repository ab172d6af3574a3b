"""Fields of GitHub's payloads: what each may hold, and what is made of it.

Strict is what an event's id, hash or columns are made of. What people are only shown is mended, cut, or left out.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.storable_text import is_storable, storable_text

EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)
"""Nothing on GitHub is older; what was imported keeps a little of its past."""

AHEAD = timedelta(hours=1)
"""How far an instant may lie behind GitHub's own time and still be believed."""

_LARGEST_INT = 2**31 - 1
_LARGEST_ID = 2**63 - 1
_LONGEST_CURSOR = 2000
_LONGEST_TEXT = 2000
_LONGEST_INSTANT = 64


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("it holds characters that no ledger can store")
    return text


def _plausible(text: str, info: ValidationInfo) -> str:
    """An instant as GitHub wrote it, for a hash covers that very text."""
    _storable(text)
    try:
        moment = parse_instant(text)
    except EventError as error:
        raise ValueError(str(error)) from None
    if moment < EARLIEST:
        raise ValueError(f"{text} is before GitHub was there")
    if moment > info.context["latest"]:  # type: ignore[index]
        raise ValueError(f"{text} is later than GitHub's own time")
    return text


def _moment_or_none(value: object, info: ValidationInfo) -> datetime | None:
    try:
        moment = parse_instant(value) if isinstance(value, str) else None
    except EventError:
        return None
    return moment if moment is not None and EARLIEST <= moment <= info.context["latest"] else None  # type: ignore[index]


def _object_id(value: object) -> object:
    """GitHub's BigInt is a string of digits; a server may as well write a number."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return str(value) if is_number else value


def _shown(value: object) -> str | None:
    return storable_text(value[:_LONGEST_TEXT]) if isinstance(value, str) else None


def _column(value: object) -> object:
    return storable_text(value) if isinstance(value, str) else value


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INT
    return value if is_count else None  # type: ignore[return-value]


def number_or_none(value: object) -> int | None:
    """`value` as the number of an item; None for what is none."""
    return (_count(value) or None) if isinstance(value, int) else None


def id_or_none(value: object) -> str | None:
    """`value` as an id that GitHub tells as a number; None for what is none."""
    is_id = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST_ID
    return str(value) if is_id else None


Number = Annotated[int, Field(strict=True, ge=1, le=_LARGEST_INT)]
Total = Annotated[int, Field(strict=True, ge=0, le=_LARGEST_INT)]
Flag = Annotated[bool, Field(strict=True)]
UserId = Annotated[int, Field(strict=True, ge=1, le=_LARGEST_ID)]
ObjectId = Annotated[str, BeforeValidator(_object_id), Field(pattern=r"^[1-9][0-9]{0,18}$")]
Instant = Annotated[str, Field(max_length=_LONGEST_INSTANT), AfterValidator(_plausible)]
Moment = Annotated[datetime | None, BeforeValidator(_moment_or_none)]
EnumValue = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Column = Annotated[str, BeforeValidator(_column), Field(max_length=_LONGEST_TEXT)]
Shown = Annotated[str | None, BeforeValidator(_shown)]
Count = Annotated[int | None, BeforeValidator(_count)]
Cursor = Annotated[str, Field(min_length=1, max_length=_LONGEST_CURSOR), AfterValidator(_storable)]
