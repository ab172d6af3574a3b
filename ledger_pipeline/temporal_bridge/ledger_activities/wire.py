"""What `loadCursor`, `collectFromSource`, `insertEvents` and `saveCursor` take and give: a superset of older callers'.

An older caller sends fewer fields and ignores those it does not know; what it hands back of ours it hands back whole.
"""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer, StrictInt, StrictStr

from ledger_pipeline.pipeline.scan_codec import exact_iso
from ledger_pipeline.pipeline.scan_shape import ScanShape, is_text
from ledger_pipeline.temporal_bridge.contract import Stream, Wire

ExactInstant = Annotated[AwareDatetime, BeforeValidator(is_text), PlainSerializer(exact_iso, return_type=str)]
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


class CollectInput(SourceScopeInput):
    """The argument of `collectFromSource`; `scan` is the previous answer's, to go on."""

    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]
    cursor_value: ExactInstant | None = None
    period_start: ExactInstant
    period_end: ExactInstant
    scan: ScanShape | None = None


class EventWire(Wire):
    """One activity event."""

    id: _Text
    source: _Text
    stream: Stream
    source_scope: _Text
    source_object_id: _Text
    event_type: _Text
    platform_user_id: _Text
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


class FactsWire(Wire):
    """What the source says of an event beside its contract row, as `core.facts` writes it."""

    event_id: _Text
    facts: _JsonObject


class CollectOutput(Wire):
    """A piece of a scan. Until `complete`, `nextCursorValue` moves no cursor past what is not read yet.

    Neither does it where items could not be read: `saveCursor` moves the cursor past those with `scan`, which has them.
    """

    source_ref: str
    events: tuple[EventWire, ...]
    skipped: tuple[SkippedWire, ...]
    facts: tuple[FactsWire, ...]
    retrieved_at: ExactInstant | None
    complete: bool
    next_cursor_value: ExactInstant
    next_cursor_stream_id: str
    producer_version: str
    scan: dict[StrictStr, Any]


class InsertInput(Wire):
    """The argument of `insertEvents`. `retrievedAt` left out is now; `facts` are of `events`."""

    scope_id: UUID | None = None
    events: tuple[EventWire, ...]
    skipped: tuple[SkippedWire, ...] = ()
    facts: tuple[FactsWire, ...] = ()
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
    scan: ScanShape | None = None
