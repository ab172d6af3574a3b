"""A scan's state as JSON and back: the checkpoint row of an interrupted run, and what callers over Temporal hand back.

Both are the same object, in camelCase, exact to the microsecond. What comes in was outside: whatever no state of ours
says is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ledger_pipeline.core.errors import PayloadError, WindowError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow, iso_millis, span
from ledger_pipeline.pipeline.finish import Sighting
from ledger_pipeline.pipeline.scan_counts import packed, unpacked
from ledger_pipeline.pipeline.scan_shape import ItemShape, ScanShape, SightingShape
from ledger_pipeline.pipeline.scan_state import ScanState
from ledger_pipeline.sources.port import UpdateSpan
from ledger_pipeline.store.scan_records import Checkpoint, StreamCoverage

_HAND_BACK = "hand back `scan` as it was given"

# It travels through the caller's history with every call.
_REASON_CHARACTERS = 100

# Of more epochs a checkpoint keeps no counts: after an interruption their receipts count what was met since.
MOST_EPOCHS_COUNTED = 2000


def exact_iso(instant: datetime) -> str:
    """`instant` as the system we join writes it; with microseconds where that would cut some off."""
    return iso_millis(instant) if instant.microsecond % 1000 == 0 else instant.isoformat()


def to_json(state: ScanState) -> dict[str, Any]:
    """The state as plain JSON. A scan of several epochs names the first one's start and the last one's end."""
    period = span(state.windows)
    return {
        "version": 1,
        "scopeId": str(state.scope_id),
        "source": state.source,
        "sourceRef": state.source_scope,
        "periodStart": exact_iso(period.start),
        "periodEnd": exact_iso(period.end),
        "streams": list(state.streams),
        "coverage": [
            {
                "stream": stream.stream,
                "floor": exact_iso(stream.floor),
                "coveredFrom": exact_iso(stream.covered_from),
            }
            for stream in state.coverage
        ],
        "complete": state.is_complete,
        "watermark": _iso(state.watermark),
        "position": None if state.position is None else dict(state.position),
        "savedAt": _iso(state.saved_at),
        "sourceScopeName": state.source_scope_name,
        "pages": state.pages,
        "sightings": _sightings_to_json(state.sightings.get(period, {})),
        "updates": {
            stream: {
                "oldest": exact_iso(updates.oldest),
                "newest": exact_iso(updates.newest),
                "sourceTotal": updates.source_total,
            }
            for stream, updates in state.updates.items()
        },
        "closing": [
            {
                "periodStart": exact_iso(window.start),
                "periodEnd": exact_iso(window.end),
                "sightings": _sightings_to_json(sightings),
            }
            for window, sightings in state.sightings.items()
            if window != period
        ],
        "sourceScopeId": state.source_scope_id,
        "totals": dict(state.totals),
        "accounted": dict(state.accounted),
        "backTo": _iso(state.back_to),
        "collected": list(state.collected),
        "toAsk": _keys_to_json(state.to_ask),
        "unread": [
            {
                "kind": item.key.kind,
                "number": item.key.number,
                "reason": plain_message(item.reason, _REASON_CHARACTERS),
                "earliest": _iso(item.earliest),
                "latest": exact_iso(item.latest),
            }
            for item in state.unread
        ],
        "settled": _keys_to_json(state.settled),
        "beganAgain": state.began_again,
        "refused": dict(state.refused),
        "timesReplaced": state.times_replaced,
    }


def from_shape(scan: ScanShape, calendar: EpochCalendar) -> ScanState:
    """The state that `scan` says, of a scope whose epochs are `calendar`'s.

    Raises PayloadError, naming the field below `scan`, for what no call of ours gave out.
    """
    _check_states(scan)
    window = _window("scan", scan.period_start, scan.period_end)
    of_window = {window: _sightings(scan.sightings)} if scan.sightings else {}
    elsewhere = {
        _window("scan.closing", epoch.period_start, epoch.period_end): _sightings(epoch.sightings)
        for epoch in scan.closing
    }
    return ScanState(
        scope_id=scan.scope_id,
        source=scan.source,
        source_scope=scan.source_ref,
        windows=(window,),
        calendar=calendar,
        streams=scan.streams,
        coverage=tuple(
            StreamCoverage(coverage.stream, coverage.floor, coverage.covered_from) for coverage in scan.coverage
        ),
        is_complete=scan.complete,
        watermark=scan.watermark,
        position=scan.position,
        saved_at=scan.saved_at,
        source_scope_name=scan.source_scope_name,
        pages=scan.pages,
        sightings={**of_window, **elsewhere},
        updates={
            stream: UpdateSpan(updates.oldest, updates.newest, updates.source_total)
            for stream, updates in scan.updates.items()
        },
        source_scope_id=scan.source_scope_id,
        totals=scan.totals,
        accounted=scan.accounted,
        back_to=scan.back_to,
        collected=scan.collected,
        to_ask=tuple(map(_key, scan.to_ask)),
        unread=tuple(UnreadItem(_key(item), item.reason, item.earliest, item.latest) for item in scan.unread),
        settled=tuple(map(_key, scan.settled)),
        began_again=scan.began_again,
        refused=scan.refused,
        times_replaced=scan.times_replaced,
    )


def checkpoint_of(state: ScanState) -> Checkpoint:
    """The state between two pages as the ledger keeps it. Raises ValueError before the first page."""
    if state.watermark is None or state.saved_at is None:
        raise ValueError(f"no page of {state.source_scope} is read yet")
    counted = state.sightings if len(state.sightings) <= MOST_EPOCHS_COUNTED else {}
    kept = {**to_json(replace(state, sightings={})), "counts": packed(counted)}
    return Checkpoint(state.source, state.source_scope, state.watermark, state.saved_at, kept)


def state_of(checkpoint: Checkpoint, beginning: ScanState) -> ScanState | None:
    """Where the scan that begins as `beginning` stood; None for a row that is of another, or that none of ours wrote.

    What was asked for, from where it reads back, and which items are to be asked for again, are as they are now.
    """
    try:
        stored_state = from_shape(ScanShape.model_validate(checkpoint.state), beginning.calendar)
        sightings = unpacked(checkpoint.state.get("counts"), beginning.calendar)
    except (ValueError, PayloadError):  # pydantic's errors are ValueErrors
        return None
    if (stored_state.scope_id, stored_state.source, stored_state.source_scope) != (
        beginning.scope_id,
        beginning.source,
        beginning.source_scope,
    ) or (stored_state.watermark, stored_state.saved_at) != (checkpoint.watermark, checkpoint.saved_at):
        return None
    # All streams are read back to where the one that has to be read from furthest back is.
    starts = [stream.covered_from for stream in beginning.coverage]
    return replace(
        stored_state.noted(),
        windows=beginning.windows,
        streams=beginning.streams,
        sightings=sightings,
        source_scope_id=stored_state.source_scope_id or beginning.source_scope_id,
        back_to=None if beginning.back_to is None else min([beginning.back_to, *starts]),
        collected=beginning.collected,
        to_ask=beginning.to_ask,
        refused={},
        times_replaced=0,
    )


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else exact_iso(instant)


def _keys_to_json(keys: Sequence[ItemKey]) -> list[Json]:
    return [{"kind": key.kind, "number": key.number} for key in keys]


def _key(item: ItemShape) -> ItemKey:
    return ItemKey(item.kind, item.number)


def _sightings_to_json(sightings: Mapping[str, Sighting]) -> dict[str, Json]:
    return {
        stream: {"seen": sighting.seen, "skippedByReason": dict(sighting.skipped_by_reason)}
        for stream, sighting in sightings.items()
    }


def _sightings(sightings: Mapping[str, SightingShape]) -> dict[str, Sighting]:
    return {stream: Sighting(sighting.seen, sighting.skipped_by_reason) for stream, sighting in sightings.items()}


def _window(field: str, start: datetime, end: datetime) -> EpochWindow:
    try:
        return EpochWindow(start, end)
    except WindowError as error:
        raise PayloadError(f"{field}.periodStart", str(error)) from None


def _check_states(scan: ScanShape) -> None:
    covered = [stream.stream for stream in scan.coverage]
    if len(set(covered)) < len(covered) or not set(covered) <= set(scan.streams):
        raise PayloadError("scan.coverage", f"is not of the scan's streams: {_HAND_BACK}")
    if any(stream.covered_from < stream.floor for stream in scan.coverage):
        raise PayloadError("scan.coverage", f"covers what it did not read: {_HAND_BACK}")
    is_read = scan.pages > 0 or scan.unread or scan.settled or (scan.complete and covered)
    if is_read and (scan.watermark is None or scan.saved_at is None):
        raise PayloadError("scan.watermark", f"is missing of a scan that was read: {_HAND_BACK}")
