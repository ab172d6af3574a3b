"""What `loadCursor`, `collectFromSource`, `insertEvents` and `saveCursor` take and give: a superset of older callers'.

An older caller sends fewer fields and ignores those it does not know; what it hands back of ours it hands back whole.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer, StrictBool, StrictInt, StrictStr

from ledger_pipeline.core.windows import iso_millis
from ledger_pipeline.temporal_bridge.contract import Stream, Wire


def exact_iso(instant: datetime) -> str:
    """`instant` as the system we join writes it; with microseconds where that would cut some off."""
    return iso_millis(instant) if instant.microsecond % 1000 == 0 else instant.isoformat()


def _is_text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("must be an instant as text, such as 2026-02-16T00:00:00.000Z")  # noqa: TRY004 (pydantic's)
    return value


ExactInstant = Annotated[AwareDatetime, BeforeValidator(_is_text), PlainSerializer(exact_iso, return_type=str)]
_Text = Annotated[StrictStr, Field(min_length=1, pattern=r"^[^\x00]+$")]
_Count = Annotated[StrictInt, Field(ge=0)]
_JsonObject = dict[StrictStr, Any]


class SourceScopeInput(Wire):
    """Which source_scope of which scope. Left out, they are the default scope and the only one that scope collects."""

    scope_id: UUID | None = None
    source: _Text
    source_ref: _Text | None = None


class LoadCursorInput(SourceScopeInput):
    """The argument of `loadCursor`."""

    stream: Stream


class CoverageWire(Wire):
    """Of one stream: updates are read from `floor`, and covered from `coveredFrom`."""

    stream: Stream
    floor: ExactInstant
    covered_from: ExactInstant


class SightingWire(Wire):
    """Items met of one stream in the window, and those that were skipped, by reason."""

    seen: _Count
    skipped_by_reason: Annotated[dict[StrictStr, _Count], Field(default_factory=dict)]


class UpdateSpanWire(Wire):
    """The span of updates met of one stream, and the source's own count of such items."""

    oldest: ExactInstant
    newest: ExactInstant
    source_total: _Count | None = None


class ElsewhereWire(Wire):
    """Another epoch that the scan covers, and the items met of each stream in it."""

    period_start: ExactInstant
    period_end: ExactInstant
    sightings: Annotated[dict[Stream, SightingWire], Field(default_factory=dict)]


class ItemWire(Wire):
    """A pull request or an issue by its number, 0 where GitHub tells none."""

    kind: Annotated[StrictStr, Field(pattern="^(pull_request|issue)$")]
    number: _Count


class UnreadWire(ItemWire):
    """An item that GitHub shows and that cannot be read; its events lie between `earliest` and `latest`."""

    reason: _Text
    earliest: ExactInstant | None
    latest: ExactInstant


class ScanWire(Wire):
    """Where a scan stands between two calls. Opaque to callers: they hand it back as they got it."""

    version: Literal[1]
    scope_id: UUID
    source: _Text
    source_ref: _Text
    period_start: ExactInstant
    period_end: ExactInstant
    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]
    coverage: tuple[CoverageWire, ...]
    complete: StrictBool
    watermark: ExactInstant | None = None
    position: _JsonObject | None = None
    saved_at: ExactInstant | None = None
    source_scope_name: _Text | None = None
    pages: _Count = 0
    sightings: Annotated[dict[Stream, SightingWire], Field(default_factory=dict)]
    updates: Annotated[dict[Stream, UpdateSpanWire], Field(default_factory=dict)]
    closing: tuple[ElsewhereWire, ...] = ()  # named when only epochs to be closed were among them
    source_scope_id: _Text | None = None
    totals: Annotated[dict[Stream, _Count], Field(default_factory=dict)]
    accounted: Annotated[dict[Stream, _Count], Field(default_factory=dict)]
    back_to: ExactInstant | None = None
    collected: tuple[Stream, ...] = ()
    to_ask: tuple[ItemWire, ...] = ()
    unread: tuple[UnreadWire, ...] = ()
    settled: tuple[ItemWire, ...] = ()
    began_again: bool = False


class CollectInput(SourceScopeInput):
    """The argument of `collectFromSource`; `scan` is the previous answer's, to go on."""

    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]
    cursor_value: ExactInstant | None = None
    period_start: ExactInstant
    period_end: ExactInstant
    scan: ScanWire | None = None


class EventWire(Wire):
    """One activity event."""

    id: _Text
    source: _Text
    stream: Stream
    source_scope: _Text
    source_object_id: _Text
    event_type: _Text
    platform_user_id: Annotated[StrictStr, Field(pattern=r"^[1-9][0-9]{0,18}$")]
    platform_login: _Text
    artifact_url: _Text
    metadata: _JsonObject
    payload_hash: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]
    event_time: ExactInstant


class SkippedWire(Wire):
    """Activity that counts for nobody, and why."""

    event_id: _Text
    source: _Text
    stream: Stream
    source_scope: _Text
    event_type: _Text
    reason: _Text
    event_time: ExactInstant


class CollectOutput(Wire):
    """A piece of a scan. Until `complete`, `nextCursorValue` moves no cursor past what is not read yet.

    Neither does it where items could not be read: `saveCursor` moves the cursor past those with `scan`, which has them.
    """

    source_ref: str
    events: tuple[EventWire, ...]
    skipped: tuple[SkippedWire, ...]
    retrieved_at: ExactInstant | None
    complete: bool
    next_cursor_value: ExactInstant
    next_cursor_stream_id: str
    producer_version: str
    scan: ScanWire


class InsertInput(Wire):
    """The argument of `insertEvents`. `retrievedAt` left out is now."""

    scope_id: UUID | None = None
    events: tuple[EventWire, ...]
    skipped: tuple[SkippedWire, ...] = ()
    retrieved_at: ExactInstant | None = None
    producer_version: _Text


class InsertOutput(Wire):
    """What became of the events, by id; `rejected` ones are kept aside. `skipped` counts those not known before."""

    new: int
    duplicate: int
    rejected: int
    skipped: int


class SaveCursorInput(SourceScopeInput):
    """The argument of `saveCursor`; with `scan`, which is complete, it also keeps the scan's coverage and receipts.

    What `scan` could not read is remembered too, and asked for again.
    """

    stream: Stream
    cursor_value: ExactInstant
    scan: ScanWire | None = None
