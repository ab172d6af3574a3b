"""What windows hold, counted over one index range each."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.port import WindowDigest

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


def window_digests(
    connection: Connection, scope: Mapping[str, object], windows: Sequence[EpochWindow]
) -> list[WindowDigest]:
    """One digest per window, in the order given; of one snapshot when `connection` sees one."""
    types: list[Counter[str]] = [Counter() for _ in windows]
    pairs: list[list[tuple[str, str]]] = [[] for _ in windows]
    rejected: list[dict[str, int]] = [{} for _ in windows]
    parameters = {**scope, **bounds(windows)}
    for number, event_type, event_id, payload_hash in connection.execute(EVENTS_OF_WINDOWS, parameters):
        types[number - 1][event_type] += 1
        pairs[number - 1].append((event_id, payload_hash))
    for number, reason, events in connection.execute(REJECTED_OF_WINDOWS, parameters):
        rejected[number - 1][reason] = events
    return [
        WindowDigest(window, dict(types[n]), event_set_hash(pairs[n]), rejected[n]) for n, window in enumerate(windows)
    ]


def bounds(windows: Sequence[EpochWindow]) -> dict[str, object]:
    """`windows` as the parameters `starts` and `ends`."""
    return {"starts": [window.start for window in windows], "ends": [window.end for window in windows]}
