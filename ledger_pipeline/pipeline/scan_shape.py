"""The JSON shape of a scan's state: camelCase keys, unknown ones ignored, every instant in UTC.

Fields only ever join it, so that a caller of before an upgrade is understood after it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
)
from pydantic.alias_generators import to_camel

from ledger_pipeline.core.sources import streams_by_item_kind

# What the ledger takes of a scan, and no scan of ours comes near.
MOST_ITEMS = 2**30
_MOST = 2**63 - 1
_TEXT_CHARACTERS = 1000
_FIRST_YEAR, _LAST_YEAR = 1969, 2999  # the overlap of what was read from 1970 on is of the year before


def is_text(value: object) -> object:
    """`value`, which is an instant as text. A bare number would pass for seconds since 1970. Raises ValueError."""
    if not isinstance(value, str | datetime):
        raise ValueError("must be an instant as text, such as 2026-02-16T00:00:00.000Z")  # noqa: TRY004 (pydantic's)
    return value


def _in_utc(instant: datetime) -> datetime:
    try:
        in_utc = instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{instant.isoformat()} leaves the years 1 to 9999 in UTC") from None
    if not _FIRST_YEAR <= in_utc.year <= _LAST_YEAR:
        raise ValueError(f"{instant.isoformat()} is not of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return in_utc


def _is_known_item(kind: str) -> str:
    if kind not in streams_by_item_kind():
        raise ValueError(f"one of {', '.join(streams_by_item_kind())}")
    return kind


_ItemKind = Annotated[StrictStr, AfterValidator(_is_known_item)]
_Instant = Annotated[AwareDatetime, BeforeValidator(is_text), AfterValidator(_in_utc)]
_Text = Annotated[StrictStr, Field(min_length=1, max_length=_TEXT_CHARACTERS, pattern=r"^[^\x00]+$")]
_Count = Annotated[StrictInt, Field(ge=0, le=_MOST)]
_Items = Annotated[StrictInt, Field(ge=0, le=MOST_ITEMS)]


class _Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class CoverageShape(_Shape):
    """One stream of a scan: its updates are read from `floor` on, and covered from `coveredFrom` on."""

    stream: _Text
    floor: _Instant
    covered_from: _Instant


class SightingShape(_Shape):
    """Items met of one stream in one epoch, and those that were skipped, by reason."""

    seen: _Items
    skipped_by_reason: dict[StrictStr, _Items] = Field(default_factory=dict)


class UpdateSpanShape(_Shape):
    """The span of updates met of one stream, and the source's own count of such items."""

    oldest: _Instant
    newest: _Instant
    source_total: _Count | None = None


class EpochSightingsShape(_Shape):
    """An epoch that the scan covers, and the items met of each stream in it."""

    period_start: _Instant
    period_end: _Instant
    sightings: dict[_Text, SightingShape] = Field(default_factory=dict)


class ItemShape(_Shape):
    """A pull request or an issue by its number, 0 where the source tells none."""

    kind: _ItemKind
    number: _Count


class UnreadItemShape(ItemShape):
    """An item that the source shows and that cannot be read; its events lie between `earliest` and `latest`."""

    reason: _Text
    earliest: _Instant | None
    latest: _Instant


class ScanShape(_Shape):
    """A scan's state as it stands in JSON. Opaque to callers: they hand it back as they got it."""

    version: Literal[1]
    scope_id: UUID
    source: _Text
    source_ref: _Text
    period_start: _Instant
    period_end: _Instant
    streams: Annotated[tuple[_Text, ...], Field(min_length=1)]
    coverage: tuple[CoverageShape, ...]
    complete: StrictBool
    watermark: _Instant | None = None
    position: dict[StrictStr, Any] | None = None
    saved_at: _Instant | None = None
    source_scope_name: _Text | None = None
    pages: _Items = 0
    sightings: dict[_Text, SightingShape] = Field(default_factory=dict)
    updates: dict[_Text, UpdateSpanShape] = Field(default_factory=dict)
    closing: tuple[EpochSightingsShape, ...] = ()  # named when only epochs to be closed were among them
    source_scope_id: _Text | None = None
    totals: dict[_Text, _Count] = Field(default_factory=dict)
    accounted: dict[_Text, _Count] = Field(default_factory=dict)
    back_to: _Instant | None = None
    collected: tuple[_Text, ...] = ()
    to_ask: tuple[ItemShape, ...] = ()
    unread: tuple[UnreadItemShape, ...] = ()
    settled: tuple[ItemShape, ...] = ()
    began_again: bool = False
    refused: dict[_Text, StrictStr] = Field(default_factory=dict)
    times_replaced: _Items = 0
