"""The five Temporal activities by which another system's workflow does what a Dagster run does, in calls of its own.

Each may be repeated at any point. They take and give plain JSON, so that any SDK can call them. What blocks runs in
threads; what has begun there is carried out though the activity be canceled, except that no further page is read.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from temporalio import activity

from ledger_pipeline.core.errors import PayloadError
from ledger_pipeline.core.sources import source_kinds
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.pipeline.pieces import PieceLimits, begin_scan, read_piece
from ledger_pipeline.pipeline.scan_codec import exact_iso, to_json
from ledger_pipeline.pipeline.scan_state import ScanState
from ledger_pipeline.pipeline.selection import with_names
from ledger_pipeline.sources.port import ActivitySource, ScanPage
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import REJECTED, AppendOutcome, Producer
from ledger_pipeline.temporal_bridge import contract
from ledger_pipeline.temporal_bridge.contract import EnsureEpochInput, EnsureEpochOutput, Wire, parse
from ledger_pipeline.temporal_bridge.ledger_activities.codec import (
    event_from_wire,
    event_to_wire,
    facts_from_wire,
    facts_to_wire,
    skipped_from_wire,
    skipped_to_wire,
    utc,
)
from ledger_pipeline.temporal_bridge.ledger_activities.cursors import (
    advance,
    finish,
    next_cursor_value,
    not_ahead,
    scan_to_go_on,
    stored_cursor,
)
from ledger_pipeline.temporal_bridge.ledger_activities.spec_agreement import (
    check_requested,
    drift,
    find_scope,
    find_streams,
    find_where,
    find_window,
)
from ledger_pipeline.temporal_bridge.ledger_activities.wire import (
    CollectInput,
    CollectOutput,
    InsertInput,
    InsertOutput,
    LoadCursorInput,
    SaveCursorInput,
)
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads

# A page brings its pull requests' reviews along, and a piece has to fit into a Temporal payload: 2 MB at most.
PAGE_SIZE = 25
PIECE_LIMITS = PieceLimits(items=1000, size=500_000, largest=1_800_000)

# How soon a page that is being waited for is given up once the activity is canceled: the server says so to a heartbeat.
BEAT_SECONDS = 0.5


class LedgerActivities:
    """`ensureEpochForWindow`, `loadCursor`, `collectFromSource`, `insertEvents`, `saveCursor` over one ledger.

    `store` is shared by all calls; `open_source` hands out the source of a name, of its own or a shared one, with
    pages of PAGE_SIZE, that sends nothing more once the signal is told; `now` is the real clock. Whatever a caller
    sends that is not the contract fails as BAD_PAYLOAD naming the field, never to be retried; a domain error as
    `interceptors.application_error` says.
    """

    def __init__(
        self,
        spec: RepoSpec,
        store: PostgresLedger,
        open_source: Callable[[str, StopSignal], AbstractContextManager[ActivitySource]],
        now: Callable[[], datetime],
        threads: WorkerThreads,
        limits: PieceLimits = PIECE_LIMITS,
    ) -> None:
        self._spec = spec
        self._store = store
        self._open_source = open_source
        self._now = now
        self._threads = threads
        self._limits = limits

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.ensure_epoch_for_window,
            self.load_cursor,
            self.collect_from_source,
            self.insert_events,
            self.save_cursor,
        ]

    @activity.defn(name=contract.ENSURE_EPOCH_FOR_WINDOW)
    async def ensure_epoch_for_window(self, payload: Any = None) -> dict[str, Any]:
        """EnsureEpochInput -> EnsureEpochOutput: the epoch of a window, whatever its status, created where missing.

        Of several calls at once, to whichever workers, one is told `isNew`.
        """
        return await self._threads.ledger.run_to_end(self._ensure_epoch, payload)

    @activity.defn(name=contract.LOAD_CURSOR)
    async def load_cursor(self, payload: Any = None) -> str | None:
        """LoadCursorInput -> an ISO instant: up to where the stream is read, null where it never was."""
        return await self._threads.ledger.run_to_end(self._load_cursor, payload)

    @activity.defn(name=contract.COLLECT_FROM_SOURCE)
    async def collect_from_source(self, payload: Any = None) -> dict[str, Any]:
        """CollectInput -> CollectOutput: the next piece of what is not covered yet. Writes nothing.

        Call again with the answer's `scan` until `complete`. A caller that does not is given a `nextCursorValue` that
        moves no cursor past what it has not read. Heartbeats all the while, also where it waits for its turn or for a
        rate limit; canceled, it ends at once and asks the source nothing more.
        """
        reading = _Reading()
        piece = asyncio.ensure_future(self._threads.reading.run(self._collect, payload, reading))
        try:
            while not piece.done():
                activity.heartbeat(reading.progress)
                await asyncio.wait({piece}, timeout=BEAT_SECONDS)
        finally:
            reading.stop.tell()
            piece.cancel()
        return piece.result()

    @activity.defn(name=contract.INSERT_EVENTS)
    async def insert_events(self, payload: Any = None) -> dict[str, Any]:
        """InsertInput -> InsertOutput: store events, their facts, and skipped activity; what is refused is kept aside.

        Refused as a whole where one event is not what its hash says, before anything is stored.
        """
        return await self._threads.ledger.run_to_end(self._insert, payload)

    @activity.defn(name=contract.SAVE_CURSOR)
    async def save_cursor(self, payload: Any = None) -> None:
        """SaveCursorInput -> null: move a cursor on, never back.

        With a complete `scan` as a Dagster run does at its end: coverage, receipts, and epochs that are due close.
        Without, coverage grows only from where the stored cursor stands, which `collectFromSource` has read from.
        """
        await self._threads.ledger.run_to_end(self._save_cursor, payload)

    def _ensure_epoch(self, payload: Any) -> dict[str, Any]:
        asked = parse(EnsureEpochInput, payload)
        scope = self._scope_of(asked)
        window = find_window(scope, asked.period_start, asked.period_end, self._now())
        weights = scope.weights_milli if asked.weight_config is None else asked.weight_config
        ensured = self._store.epochs.ensure(scope.scope_id, [window], weights)
        [epoch] = ensured.epochs
        return _json(
            EnsureEpochOutput(
                epoch_id=str(epoch.id),
                status=epoch.status.value,
                is_new=epoch.id in ensured.created,
                weight_config=dict(epoch.weights_milli),
                drift=drift(scope, asked.requested) if asked.requested else (),
            )
        )

    def _load_cursor(self, payload: Any) -> str | None:
        asked = parse(LoadCursorInput, payload)
        cursor = stored_cursor(self._store, find_where(self._spec, asked, self._store), asked.stream)
        return exact_iso(cursor.watermark) if cursor else None

    def _collect(self, payload: Any, reading: "_Reading") -> dict[str, Any]:
        asked = parse(CollectInput, payload)
        where, now = find_where(self._spec, asked, self._store), self._now()
        streams = find_streams(where, asked.streams)
        window = find_window(where.scope, asked.period_start, asked.period_end, now)
        resumed = None if asked.scan is None else scan_to_go_on(where, window, streams, asked.scan, now)
        read_from = window.start if asked.cursor_value is None else utc("cursorValue", asked.cursor_value)
        with self._open_source(where.source.source, reading.stop) as source:
            scan = resumed or begin_scan(
                source, self._store, where.scope, where.source_scope, window, streams, read_from
            )
            tells_paths = with_names(self._store, where.scope).asks_paths(where.source_scope)
            piece = read_piece(source, scan, self._limits, _json_bytes, reading.on_page, tells_paths=tells_paths)
            producer_version = source.producer_version
        return _json(
            CollectOutput(
                source_ref=where.source_scope,
                events=tuple(map(event_to_wire, piece.events)),
                skipped=tuple(map(skipped_to_wire, piece.skipped)),
                facts=tuple(map(facts_to_wire, piece.facts)),
                retrieved_at=piece.retrieved_at,
                complete=piece.scan.is_complete,
                next_cursor_value=next_cursor_value(self._store, where, piece.scan, read_from),
                next_cursor_stream_id=streams[0],
                producer_version=producer_version,
                scan=to_json(piece.scan),
            )
        )

    def _insert(self, payload: Any) -> dict[str, Any]:
        asked = parse(InsertInput, payload)
        scope = find_scope(self._spec, asked.scope_id)
        events = [event_from_wire(f"events[{number}]", event) for number, event in enumerate(asked.events)]
        skipped = [skipped_from_wire(f"skipped[{number}]", item) for number, item in enumerate(asked.skipped)]
        facts = [facts_from_wire(f"facts[{number}]", item) for number, item in enumerate(asked.facts)]
        retrieved_at = self._now() if asked.retrieved_at is None else utc("retrievedAt", asked.retrieved_at)
        outcomes: dict[str, AppendOutcome] = {}
        for kind in source_kinds():
            of_source = [event for event in events if event.source == kind.name]
            producer = Producer(kind.producer, asked.producer_version)
            outcomes |= self._store.events.append(scope.scope_id, of_source, producer, retrieved_at, facts)
        kept = self._store.scans.record_skipped(scope.scope_id, skipped, retrieved_at)
        became = list(outcomes.values())
        rejected = sum(outcome in REJECTED for outcome in became)
        new = became.count(AppendOutcome.NEW)
        return _json(InsertOutput(new=new, duplicate=len(became) - new - rejected, rejected=rejected, skipped=kept))

    def _save_cursor(self, payload: Any) -> None:
        asked = parse(SaveCursorInput, payload)
        where, now = find_where(self._spec, asked, self._store), self._now()
        find_streams(where, [asked.stream], "stream")
        cursor_value = not_ahead("cursorValue", asked.cursor_value, now)
        if asked.scan is None:
            advance(self._store, where, asked.stream, cursor_value)
        else:
            finish(self._store, where, asked.stream, cursor_value, asked.scan, now)

    def _scope_of(self, asked: EnsureEpochInput) -> Scope:
        if asked.requested is None:
            return find_scope(self._spec, asked.scope_id)
        scope = check_requested(self._spec, asked.requested)
        if asked.scope_id not in (None, scope.scope_id):
            raise PayloadError("scopeId", f"is {asked.scope_id}, but input.scopeId is {scope.scope_id}")
        return scope


class _Reading:
    """A scan that is being read in a thread: how it is told to stop, and what its heartbeats say."""

    def __init__(self) -> None:
        self.stop = StopSignal()
        self.progress: dict[str, Any] = {}

    def on_page(self, scan: ScanState) -> None:
        self.progress = {"sourceRef": scan.source_scope, "pages": scan.pages}


def _json_bytes(page: ScanPage) -> int:
    """How many bytes the page takes in a payload."""
    items = [
        *map(event_to_wire, page.events),
        *map(skipped_to_wire, page.skipped),
        *map(facts_to_wire, page.facts),
    ]
    return len(json.dumps([_json(item) for item in items], ensure_ascii=False, separators=(",", ":")).encode())


def _json(wire: Wire) -> dict[str, Any]:
    return wire.model_dump(mode="json")
