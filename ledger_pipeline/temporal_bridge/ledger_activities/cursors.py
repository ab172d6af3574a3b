"""Cursors in the hands of callers: how far they may be moved, and what a scan handed back may claim.

A caller may lose its memory, repeat itself, or be older than `scan`: a cursor passes nothing that was not read.
"""

from datetime import datetime, timedelta

from ledger_pipeline.core.errors import PayloadError
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.finish import is_recorded, record
from ledger_pipeline.pipeline.scan_codec import exact_iso, from_shape
from ledger_pipeline.pipeline.scan_shape import ScanShape
from ledger_pipeline.pipeline.scan_state import ScanState
from ledger_pipeline.pipeline.unread import noted_items, passed_floors, read_from
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.scan_records import Cursor
from ledger_pipeline.temporal_bridge.ledger_activities.codec import utc
from ledger_pipeline.temporal_bridge.ledger_activities.spec_agreement import Where

# A cursor further ahead than clocks can differ would leave out what happens until then.
FUTURE_TOLERANCE = timedelta(days=1)


def stored_cursor(store: PostgresLedger, where: Where, stream: str) -> Cursor | None:
    """The cursor of one stream, None where it was never read."""
    return store.scans.cursors(where.scope.scope_id, where.source.source).get((stream, where.source_scope))


def not_ahead(field: str, instant: datetime, now: datetime) -> datetime:
    """`instant` in UTC. Raises PayloadError naming `field` where it lies after `now` by more than clocks differ."""
    instant = utc(field, instant)
    if instant - now > FUTURE_TOLERANCE:
        raise PayloadError(field, f"{exact_iso(instant)} lies in the future: no source has been read so far")
    return instant


def next_cursor_value(store: PostgresLedger, where: Where, scan: ScanState, read_from: datetime) -> datetime:
    """The latest instant to which the cursor of every stream of `scan` may be moved, even without its coverage.

    A stream that is not read to the end stays where its cursor is, at `read_from` where it has none; so do all where
    items could not be read, which only the scan handed to `finish` tells of.
    """
    stored = store.scans.cursors(where.scope.scope_id, where.source.source)
    to_read = {coverage.stream for coverage in scan.coverage}
    values = []
    for stream in scan.streams:
        cursor = stored.get((stream, where.source_scope))
        if scan.is_complete and scan.watermark is not None and stream in to_read and not scan.unread:
            values.append(scan.watermark)
        else:
            values.append(cursor.watermark if cursor else read_from)
    return min(values)


def scan_to_go_on(
    where: Where, window: EpochWindow, streams: tuple[str, ...], wire: ScanShape, now: datetime
) -> ScanState:
    """The scan handed back to go on reading. Raises PayloadError where it is of anything else than the request."""
    scan = _scan_of(where, wire, now)
    if scan.windows != (window,):
        raise PayloadError("scan.periodStart", f"is of epoch {scan.windows[0].key}, not of {window.key}")
    if scan.streams != streams:
        raise PayloadError("scan.streams", f"is of {', '.join(scan.streams)}, not of {', '.join(streams)}")
    return scan


def advance(store: PostgresLedger, where: Where, stream: str, cursor_value: datetime) -> None:
    """Move a cursor on without a scan: coverage grows from where it stands, for scans read from there.

    Where nothing is known to be covered, the new cursor covers nothing: the window is read again.
    """
    stored = stored_cursor(store, where, stream)
    if stored is not None and cursor_value <= stored.watermark:
        return
    covered_from = stored.watermark if stored is not None and stored.covered_from is not None else cursor_value
    cursor = Cursor(where.source.source, stream, where.source_scope, cursor_value, covered_from)
    store.scans.finish(where.scope.scope_id, [cursor], cursor_value)


def finish(
    store: PostgresLedger, where: Where, stream: str, cursor_value: datetime, wire: ScanShape, now: datetime
) -> None:
    """What a Dagster run does for `stream` once its scan is complete: what could not be read, cursor, receipts, epochs.

    Safe to repeat. Raises PayloadError where the scan is not complete, or is of anything else than the request.
    """
    scan = _scan_of(where, wire, now)
    if stream not in scan.streams:
        raise PayloadError("scan.streams", f"is of {', '.join(scan.streams)}, not of {stream}")
    if not scan.is_complete:
        raise PayloadError("scan.complete", "is false: call collectFromSource with this scan until it is true")
    scope_id = where.scope.scope_id
    if scan.saved_at is not None:
        store.unread.note(
            scope_id,
            scan.source,
            scan.source_scope,
            unread=noted_items(scan.unread),
            settled=scan.settled,
            tried_at=scan.saved_at,
            read_from=read_from(scan.coverage, scan.saved_at),
        )
    finished = scan.finished(stream)
    if finished is not None:
        if cursor_value > finished.watermark:
            problem = f"{exact_iso(cursor_value)} is later than scan.watermark, {exact_iso(finished.watermark)}"
            raise PayloadError("cursorValue", problem)
        if not is_recorded(store, scope_id, finished):
            record(store, scope_id, finished)
        floors = passed_floors(scan.coverage, where.source.streams)
        store.unread.forget_passed(scope_id, scan.source, scan.source_scope, floors, finished.watermark)
    close_due_epochs(store, where.scope)


def _scan_of(where: Where, wire: ScanShape, now: datetime) -> ScanState:
    for field, has, wanted in (
        ("scopeId", wire.scope_id, where.scope.scope_id),
        ("source", wire.source, where.source.source),
        ("sourceRef", wire.source_ref, where.source_scope),
    ):
        if has != wanted:
            raise PayloadError(f"scan.{field}", f"is of {has}, not of {wanted}")
    if wire.watermark is not None:
        not_ahead("scan.watermark", wire.watermark, now)
    return from_shape(wire, where.scope.calendar)
