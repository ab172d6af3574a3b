"""The ledger in Postgres: every verb of the port as one statement or one short transaction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import EpochOverlap, IngestionClosed
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.store import migrations
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.failures import translated
from ledger_pipeline.store.port import (
    AppendOutcome,
    Cursor,
    Epoch,
    EpochStatus,
    Producer,
    RejectedEvent,
    StoredEvent,
    WindowDigest,
)
from ledger_pipeline.store.schema import activity_events, epochs, rejected_events, source_cursors

ROWS_PER_FETCH = 1000

CREATE_EPOCHS = text("""
    INSERT INTO epochs (node_id, scope_id, period_start, period_end, weight_config)
    SELECT :node_id, :scope_id, period_start, period_end, :weights
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS given (period_start, period_end)
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("weights", type_=JSONB))

# A scan counts when it touches what is covered already; an inherited cursor covers nothing known, and gives way.
ADVANCE_CURSORS = text("""
    INSERT INTO source_cursors AS stored
        (node_id, scope_id, source, stream, source_scope, cursor_value, covered_from, retrieved_at)
    SELECT :node_id, :scope_id, source, stream, source_scope, cursor_value, covered_from, :retrieved_at
    FROM unnest(
        CAST(:sources AS text[]), CAST(:streams AS text[]), CAST(:source_scopes AS text[]),
        CAST(:watermarks AS timestamptz[]), CAST(:covered_froms AS timestamptz[])
    ) AS scan (source, stream, source_scope, cursor_value, covered_from)
    ON CONFLICT (node_id, scope_id, source, stream, source_scope) DO UPDATE SET
        cursor_value = CASE WHEN stored.covered_from IS NULL THEN excluded.cursor_value
            ELSE GREATEST(stored.cursor_value, excluded.cursor_value) END,
        covered_from = LEAST(stored.covered_from, excluded.covered_from),
        retrieved_at = GREATEST(stored.retrieved_at, excluded.retrieved_at)
    WHERE stored.covered_from IS NULL
        OR (excluded.covered_from <= stored.cursor_value AND excluded.cursor_value >= stored.covered_from)
""")

# OFFSET 0 keeps the planner at one index range per window, whatever it believes of how many windows there are.
EVENTS_OF_WINDOWS = text("""
    SELECT given.number, event.event_type, event.id, event.payload_hash
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT event_type, id, payload_hash FROM activity_events
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
        OFFSET 0
    ) AS event
""")
REJECTED_OF_WINDOWS = text("""
    SELECT given.number, event.reason, count(*) AS events
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT reason FROM rejected_events
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
        OFFSET 0
    ) AS event
    GROUP BY given.number, event.reason
""")


@contextmanager
def open_ledger(url: str, node_id: UUID) -> Iterator["PostgresLedger"]:
    """The ledger in the database at `url`, checked to be migrated; its connections are given back at the end.

    Raises ConfigurationError for a bad URL, StoreUnavailable, or LedgerNotMigrated.
    """
    engine = make_engine(url)
    try:
        ledger = PostgresLedger(engine, node_id)
        ledger.check_migrated()
        yield ledger
    finally:
        engine.dispose()


class PostgresLedger:
    """A LedgerStore on the database behind `engine`; `store/engine.py` makes one. Safe to share between threads."""

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine

    def check_migrated(self) -> None:
        """Return if the database is at this code's migration. Raises LedgerNotMigrated otherwise."""
        with translated(self._engine):
            at = migrations.current_of(self._engine)
        if at != migrations.head():
            raise migrations.not_migrated(self._engine, at)

    def ensure_epochs(
        self, scope_id: UUID, windows: Sequence[EpochWindow], weights_milli: Mapping[str, int]
    ) -> list[Epoch]:
        """The epochs of exactly `windows`, oldest first; missing ones are created open with these weights.

        Raises EpochOverlap, creating none, when a window overlaps an epoch with other bounds.
        """
        if not windows:
            return []
        wanted = sorted(set(windows))
        with translated(self._engine), self._engine.begin() as connection:
            parameters = {**self._scope(scope_id), **_bounds(wanted), "weights": dict(weights_milli)}
            connection.execute(CREATE_EPOCHS, parameters)
            stored = self._epochs(connection, scope_id, span(wanted))
            by_window = {epoch.window: epoch for epoch in stored}
            for window in wanted:
                if window not in by_window:
                    raise _overlap(window, stored)
        return [by_window[window] for window in wanted]

    def epochs(self, scope_id: UUID, within: EpochWindow) -> list[Epoch]:
        """Epochs that overlap `within`, oldest first."""
        with translated(self._engine), self._engine.connect() as connection:
            return self._epochs(connection, scope_id, within)

    def append_events(
        self, scope_id: UUID, events: Sequence[ActivityEvent], producer: Producer, retrieved_at: datetime
    ) -> dict[str, AppendOutcome]:
        """Store what is new and say, by event id, what became of each. Safe to repeat.

        Rejected events (REJECTED) are kept aside with their reason, once however often they come. An id that
        comes with several payload hashes in one call has the worst of their outcomes.
        """
        if not events:
            return {}

        def append() -> dict[str, AppendOutcome]:
            with translated(self._engine), self._engine.begin() as connection:
                return Append(connection, self.node_id, scope_id, producer, retrieved_at).run(events)

        try:
            return append()
        except IngestionClosed:
            # An epoch closed after we had looked. Now it is closed for good, and its events are late.
            return append()

    def cursors(self, scope_id: UUID, source: str) -> dict[tuple[str, str], Cursor]:
        """The cursors of a source, by (stream, source_scope)."""
        with translated(self._engine), self._engine.connect() as connection:
            stored = self._cursors(connection, scope_id, [source])
        return {(cursor.stream, cursor.source_scope): cursor for cursor in stored}

    def advance_cursors(self, scope_id: UUID, cursors: Sequence[Cursor], retrieved_at: datetime) -> list[Cursor]:
        """Record finished scans and return what the ledger then holds, in the order given.

        A watermark only moves forward and coverage only grows; a scan that does not touch what is covered already
        (it starts after the stored watermark) leaves the stored cursor as it is.
        Raises ValueError when a scan does not say what it covered, or two are of one stream of a source_scope.
        """
        if not cursors:
            return []
        scans = {_key(cursor): cursor for cursor in cursors}
        if len(scans) < len(cursors):
            raise ValueError("several finished scans of one stream of a source_scope in one call")
        for cursor in cursors:
            if cursor.covered_from is None or cursor.covered_from > cursor.watermark:
                raise ValueError(f"a finished scan covers from an instant up to its watermark: {cursor}")
        ordered = [scans[key] for key in sorted(scans)]
        with translated(self._engine), self._engine.begin() as connection:
            connection.execute(
                ADVANCE_CURSORS,
                {
                    **self._scope(scope_id),
                    "sources": [scan.source for scan in ordered],
                    "streams": [scan.stream for scan in ordered],
                    "source_scopes": [scan.source_scope for scan in ordered],
                    "watermarks": [scan.watermark for scan in ordered],
                    "covered_froms": [scan.covered_from for scan in ordered],
                    "retrieved_at": retrieved_at,
                },
            )
            stored = self._cursors(connection, scope_id, sorted({scan.source for scan in ordered}))
        by_key = {_key(cursor): cursor for cursor in stored}
        return [by_key[_key(cursor)] for cursor in cursors]

    def events(self, scope_id: UUID, within: EpochWindow) -> Iterator[StoredEvent]:
        """Events whose time lies in `within`, by (event_time, id), streamed: memory does not grow with them."""
        columns = [activity_events.c[field.name] for field in fields(StoredEvent)]
        query = (
            select(*columns)
            .where(activity_events.c.node_id == self.node_id, activity_events.c.scope_id == scope_id)
            .where(activity_events.c.event_time >= within.start, activity_events.c.event_time < within.end)
            .order_by(activity_events.c.event_time, activity_events.c.id)
        )
        with (
            translated(self._engine),
            self._engine.connect() as connection,
            connection.execution_options(yield_per=ROWS_PER_FETCH).execute(query) as rows,
        ):
            for row in rows:
                yield StoredEvent(*row)

    def digests(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[WindowDigest]:
        """One digest per window, in the order given, all from one snapshot of the ledger."""
        types: list[Counter[str]] = [Counter() for _ in windows]
        pairs: list[list[tuple[str, str]]] = [[] for _ in windows]
        rejected: list[dict[str, int]] = [{} for _ in windows]
        parameters = {**self._scope(scope_id), **_bounds(windows)}
        with translated(self._engine), self._engine.connect() as connection:
            snapshot = connection.execution_options(isolation_level="REPEATABLE READ")
            for number, event_type, event_id, payload_hash in snapshot.execute(EVENTS_OF_WINDOWS, parameters):
                types[number - 1][event_type] += 1
                pairs[number - 1].append((event_id, payload_hash))
            for number, reason, events in snapshot.execute(REJECTED_OF_WINDOWS, parameters):
                rejected[number - 1][reason] = events
        return [
            WindowDigest(window, dict(types[n]), event_set_hash(pairs[n]), rejected[n])
            for n, window in enumerate(windows)
        ]

    def rejected(self, scope_id: UUID, within: EpochWindow) -> list[RejectedEvent]:
        """Events refused whose time lies in `within`, by (event_time, id)."""
        columns = [rejected_events.c[field.name] for field in fields(RejectedEvent)]
        query = (
            select(*columns)
            .where(rejected_events.c.node_id == self.node_id, rejected_events.c.scope_id == scope_id)
            .where(rejected_events.c.event_time >= within.start, rejected_events.c.event_time < within.end)
            .order_by(rejected_events.c.event_time, rejected_events.c.event_id, rejected_events.c.id)
        )
        with translated(self._engine), self._engine.connect() as connection:
            rows = [row._asdict() for row in connection.execute(query)]
        return [RejectedEvent(**{**row, "reason": AppendOutcome(row["reason"])}) for row in rows]

    def _scope(self, scope_id: UUID) -> dict[str, object]:
        return {"node_id": self.node_id, "scope_id": scope_id}

    def _epochs(self, connection: Connection, scope_id: UUID, within: EpochWindow) -> list[Epoch]:
        query = (
            select(epochs)
            .where(epochs.c.node_id == self.node_id, epochs.c.scope_id == scope_id)
            .where(epochs.c.period_start < within.end, epochs.c.period_end > within.start)
            .order_by(epochs.c.period_start)
        )
        return [_epoch(row) for row in connection.execute(query)]

    def _cursors(self, connection: Connection, scope_id: UUID, sources: Sequence[str]) -> list[Cursor]:
        table = source_cursors.c
        query = select(table.source, table.stream, table.source_scope, table.cursor_value, table.covered_from).where(
            table.node_id == self.node_id, table.scope_id == scope_id, table.source == func.any(sources)
        )
        return [Cursor(*row) for row in connection.execute(query)]


def _key(cursor: Cursor) -> tuple[str, str, str]:
    return cursor.source, cursor.stream, cursor.source_scope


def _bounds(windows: Sequence[EpochWindow]) -> dict[str, object]:
    return {"starts": [window.start for window in windows], "ends": [window.end for window in windows]}


def _epoch(row: Row[*tuple[object, ...]]) -> Epoch:
    window = EpochWindow(row.period_start, row.period_end)
    return Epoch(row.id, row.scope_id, window, EpochStatus(row.status), row.weight_config)


def _overlap(window: EpochWindow, stored: Sequence[Epoch]) -> EpochOverlap:
    other = next(epoch for epoch in stored if epoch.window.start < window.end and window.start < epoch.window.end)
    return EpochOverlap(
        f"no epoch {window.key} to {window.end.date()}: epoch {other.id} of the scope, "
        f"{other.window.key} to {other.window.end.date()}, covers part of it"
    )
