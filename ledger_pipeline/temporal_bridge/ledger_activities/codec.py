"""Core's and the pipeline's types <-> the wire shapes of `wire.py`. What comes in is checked: it was outside."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from ledger_pipeline.core.errors import EventError, PayloadError, WindowError
from ledger_pipeline.core.events import (
    ActivityEvent,
    SkippedActivity,
    parse_instant,
    payload_hash,
)
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.sources import find_source_kind, source_kinds, streams_by_name
from ledger_pipeline.core.storable_text import is_storable
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.finish import Sighting
from ledger_pipeline.pipeline.pieces import PiecewiseScan
from ledger_pipeline.sources.port import UpdateSpan
from ledger_pipeline.store.records import StreamCoverage
from ledger_pipeline.temporal_bridge.ledger_activities.wire import (
    CoverageWire,
    ElsewhereWire,
    EventWire,
    ItemWire,
    ScanWire,
    SightingWire,
    SkippedWire,
    UnreadWire,
    UpdateSpanWire,
)

_T = TypeVar("_T")

# They travel through the caller's history with every call.
_REASON_CHARACTERS = 100


def utc(field: str, instant: datetime) -> datetime:
    """`instant` in UTC. Raises PayloadError naming `field` where that leaves the years 1 to 9999."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise PayloadError(field, f"{instant.isoformat()} leaves the years 1 to 9999 in UTC") from None


def event_to_wire(event: ActivityEvent) -> EventWire:
    """The event as callers see it."""
    return EventWire(**vars(event))


def event_from_wire(field: str, event: EventWire) -> ActivityEvent:
    """The event a caller hands back. Raises PayloadError, naming its id, where its facts contradict each other."""
    _check_kind(field, event.id, event)
    if not is_storable(_values(event)):
        raise PayloadError(field, f"{event.id!a} holds NUL or half a surrogate pair, which no ledger can hold")
    time_key = streams_by_name()[event.stream].hashed_metadata[-1]
    try:
        expected = payload_hash(event.id, event.event_type, event.platform_user_id, event.metadata)
        stated = parse_instant(event.metadata[time_key])
    except (EventError, TypeError) as error:
        raise PayloadError(f"{field}.metadata", f"{event.id}: {error}") from None
    if event.payload_hash != expected:
        raise PayloadError(f"{field}.payloadHash", f"{event.id} hashes to {expected}, not to {event.payload_hash}")
    if event.event_time != stated:
        problem = (
            f"{event.id} happened at {stated.isoformat()} (metadata.{time_key}), not {event.event_time.isoformat()}"
        )
        raise PayloadError(f"{field}.eventTime", problem)
    return ActivityEvent(**{**_values(event), "event_time": stated})


def skipped_to_wire(item: SkippedActivity) -> SkippedWire:
    """The skipped activity as callers see it."""
    return SkippedWire(**vars(item))


def skipped_from_wire(field: str, item: SkippedWire) -> SkippedActivity:
    """The skipped activity a caller hands back. Raises PayloadError, naming its id, where it contradicts itself."""
    _check_kind(field, item.event_id, item)
    return SkippedActivity(**{**_values(item), "event_time": utc(f"{field}.eventTime", item.event_time)})


def scan_to_wire(scan: PiecewiseScan) -> ScanWire:
    """The scan as it travels with the caller, exact to the microsecond."""
    return ScanWire(
        version=1,
        scope_id=scan.scope_id,
        source=scan.source,
        source_ref=scan.source_scope,
        period_start=scan.window.start,
        period_end=scan.window.end,
        streams=scan.streams,
        coverage=tuple(CoverageWire(**vars(part)) for part in scan.coverage),
        complete=scan.is_complete,
        watermark=scan.watermark,
        position=None if scan.position is None else dict(scan.position),
        saved_at=scan.saved_at,
        source_scope_name=scan.source_scope_name,
        pages=scan.pages,
        sightings=_sightings_to_wire(scan.sightings),
        updates={stream: UpdateSpanWire(**vars(span)) for stream, span in scan.updates.items()},
        closing=tuple(
            ElsewhereWire(period_start=window.start, period_end=window.end, sightings=_sightings_to_wire(met))
            for window, met in scan.elsewhere.items()
        ),
        source_scope_id=scan.source_scope_id,
        totals=dict(scan.totals),
        accounted=dict(scan.accounted),
        back_to=scan.back_to,
        collected=scan.collected,
        to_ask=tuple(ItemWire(**vars(key)) for key in scan.to_ask),
        unread=tuple(
            UnreadWire(
                kind=item.key.kind,
                number=item.key.number,
                reason=plain_message(item.reason, _REASON_CHARACTERS),
                earliest=item.earliest,
                latest=item.latest,
            )
            for item in scan.unread
        ),
        settled=tuple(ItemWire(**vars(key)) for key in scan.settled),
        began_again=scan.began_again,
    )


def scan_from_wire(scan: ScanWire) -> PiecewiseScan:
    """The scan a caller hands back. Raises PayloadError for one that no call of ours gave out."""
    window = _window("scan", scan)
    _check_states(scan)
    return PiecewiseScan(
        scope_id=scan.scope_id,
        source=scan.source,
        source_scope=scan.source_ref,
        window=window,
        streams=scan.streams,
        coverage=tuple(
            StreamCoverage(
                part.stream, utc("scan.coverage.floor", part.floor), utc("scan.coverage.coveredFrom", part.covered_from)
            )
            for part in scan.coverage
        ),
        is_complete=scan.complete,
        watermark=_optional(scan.watermark, lambda instant: utc("scan.watermark", instant)),
        position=scan.position,
        saved_at=_optional(scan.saved_at, lambda instant: utc("scan.savedAt", instant)),
        source_scope_name=scan.source_scope_name,
        pages=scan.pages,
        sightings=_sightings(scan.sightings),
        updates={
            stream: UpdateSpan(
                utc("scan.updates.oldest", span.oldest), utc("scan.updates.newest", span.newest), span.source_total
            )
            for stream, span in scan.updates.items()
        },
        elsewhere={_window("scan.closing", other): _sightings(other.sightings) for other in scan.closing},
        source_scope_id=scan.source_scope_id,
        totals=scan.totals,
        accounted=scan.accounted,
        back_to=_optional(scan.back_to, lambda instant: utc("scan.backTo", instant)),
        collected=scan.collected,
        to_ask=tuple(map(_key, scan.to_ask)),
        unread=tuple(
            UnreadItem(
                _key(item),
                item.reason,
                _optional(item.earliest, lambda instant: utc("scan.unread.earliest", instant)),
                utc("scan.unread.latest", item.latest),
            )
            for item in scan.unread
        ),
        settled=tuple(map(_key, scan.settled)),
        began_again=scan.began_again,
    )


def _key(item: ItemWire) -> ItemKey:
    return ItemKey(item.kind, item.number)


def _window(field: str, wire: ScanWire | ElsewhereWire) -> EpochWindow:
    try:
        return EpochWindow(utc(f"{field}.periodStart", wire.period_start), utc(f"{field}.periodEnd", wire.period_end))
    except WindowError as error:
        raise PayloadError(f"{field}.periodStart", str(error)) from None


def _sightings_to_wire(sightings: Mapping[str, Sighting]) -> dict[Any, SightingWire]:
    return {
        stream: SightingWire(seen=met.seen, skipped_by_reason=dict(met.skipped_by_reason))
        for stream, met in sightings.items()
    }


def _sightings(sightings: Mapping[Any, SightingWire]) -> dict[str, Sighting]:
    return {stream: Sighting(met.seen, met.skipped_by_reason) for stream, met in sightings.items()}


def _check_states(scan: ScanWire) -> None:
    covered = [part.stream for part in scan.coverage]
    if len(set(covered)) < len(covered) or not set(covered) <= set(scan.streams):
        raise PayloadError("scan.coverage", "is not of the scan's streams: hand back `scan` as it was given")
    if any(part.covered_from < part.floor for part in scan.coverage):
        raise PayloadError("scan.coverage", "covers what it did not read: hand back `scan` as it was given")
    is_read = scan.pages > 0 or scan.unread or scan.settled or (scan.complete and covered)
    if is_read and (scan.watermark is None or scan.saved_at is None):
        raise PayloadError("scan.watermark", "is missing of a scan that was read: hand back `scan` as it was given")


def _check_kind(field: str, item_id: str, item: EventWire | SkippedWire) -> None:
    source = find_source_kind(item.source)
    if source is None:
        names = ", ".join(kind.name for kind in source_kinds())
        raise PayloadError(f"{field}.source", f"{item_id}: {item.source!r} is no source of this ledger: {names}")
    if item.stream not in source.stream_names:
        names = ", ".join(source.stream_names)
        raise PayloadError(f"{field}.stream", f"{item_id}: {item.stream} is no stream of {source.name}: {names}")
    expected = streams_by_name()[item.stream].event_type
    if item.event_type != expected:
        raise PayloadError(f"{field}.eventType", f"{item_id}: of {item.stream}, so {expected}, not {item.event_type}")


def _values(item: EventWire | SkippedWire) -> dict[str, Any]:
    return {name: getattr(item, name) for name in type(item).model_fields}


def _optional(value: _T | None, change: Callable[[_T], _T]) -> _T | None:
    return None if value is None else change(value)
