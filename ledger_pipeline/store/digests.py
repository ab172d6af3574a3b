"""What windows hold, counted over one index range each, streamed: memory does not grow with the events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, text

from ledger_pipeline.core.hashing import EventSetHash
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.records import WindowDigest

ROWS_PER_FETCH = 1000

# OFFSET 0 keeps the planner at one index range per window, whatever it believes of how many windows there are.
# Byte order is code-point order, which the database's own collation need not be.
EVENTS_OF_WINDOWS = text("""
    SELECT given.number, event.event_type, event.id, event.payload_hash
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT event_type, id, payload_hash FROM activity_events
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
        ORDER BY id COLLATE "C"
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


def window_digests(
    connection: Connection, scope: Mapping[str, object], windows: Sequence[EpochWindow]
) -> list[WindowDigest]:
    """One digest per window, in the order given; of one snapshot when `connection` sees one."""
    types: list[Counter[str]] = [Counter() for _ in windows]
    set_hashes = [EventSetHash() for _ in windows]
    rejected: list[dict[str, int]] = [{} for _ in windows]
    parameters = {**scope, **bounds(windows)}
    with streamed(connection, EVENTS_OF_WINDOWS, parameters) as rows:
        for number, event_type, event_id, payload_hash in rows:
            types[number - 1][event_type] += 1
            set_hashes[number - 1].add(event_id, payload_hash)
    for number, reason, events in connection.execute(REJECTED_OF_WINDOWS, parameters):
        rejected[number - 1][reason] = events
    return [
        WindowDigest(window, dict(types[n]), set_hashes[n].hexdigest(), rejected[n]) for n, window in enumerate(windows)
    ]


def streamed(
    connection: Connection, query: Executable, parameters: Mapping[str, object] | None = None
) -> CursorResult[*tuple[Any, ...]]:
    """The rows of `query` by a server-side cursor, ROWS_PER_FETCH in memory at a time; to be closed by the caller."""
    return connection.execute(query, parameters, execution_options={"yield_per": ROWS_PER_FETCH})


def bounds(windows: Sequence[EpochWindow]) -> dict[str, object]:
    """`windows` as the parameters `starts` and `ends`."""
    return {"starts": [window.start for window in windows], "ends": [window.end for window in windows]}
