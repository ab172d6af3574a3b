"""What people look at of a window: events by day and by person, and rejected events that nobody has settled yet.

Counted by the database: a window of a million events answers with as many rows as there are days and people.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds
from ledger_pipeline.store.records import (
    AppendOutcome,
    DayCount,
    PersonCount,
    RejectedEvent,
    UnsettledRejections,
)

REJECTIONS_LISTED = 20

# OFFSET 0 keeps the planner at one index range per window, as it does for digests.
EVENTS_PER_TYPE = text("""
    SELECT given.number, event.event_type, count(*) AS events
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT event_type FROM activity_events
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
        OFFSET 0
    ) AS event
    GROUP BY given.number, event.event_type
""")
EVENTS_PER_DAY = text("""
    SELECT CAST(event_time AT TIME ZONE 'UTC' AS date) AS day, event_type, count(*) AS events
    FROM activity_events
    WHERE node_id = :node_id AND scope_id = :scope_id AND event_time >= :start AND event_time < :end
    GROUP BY day, event_type
    ORDER BY day, event_type
""")
EVENTS_PER_PERSON = text("""
    SELECT source, platform_user_id AS user_id, (array_agg(platform_login ORDER BY event_time DESC, id))[1] AS login,
        event_type, count(*) AS events, max(event_time) AS last_event_at
    FROM activity_events
    WHERE node_id = :node_id AND scope_id = :scope_id AND event_time >= :start AND event_time < :end
    GROUP BY source, platform_user_id, event_type
    ORDER BY source, platform_user_id, event_type
""")
# A payout statement settles what was rejected before it: whoever signed had it before their eyes.
UNSETTLED_REJECTIONS = text("""
    SELECT given.number, event.*
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT event_id, event_type, reason, platform_login, artifact_url, payload_hash, event_time, rejected_at,
            count(*) OVER (PARTITION BY reason) AS of_reason,
            row_number() OVER (PARTITION BY reason ORDER BY event_time, event_id, id) AS place
        FROM rejected_events
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
            AND rejected_at > COALESCE((
                SELECT max(payout_statements.created_at)
                FROM epochs JOIN payout_statements ON payout_statements.epoch_id = epochs.id
                WHERE epochs.node_id = :node_id AND epochs.scope_id = :scope_id
                    AND epochs.period_start = given.period_start AND epochs.period_end = given.period_end
                    AND NOT EXISTS (
                        SELECT FROM set_asides
                        WHERE set_asides.statement_id = payout_statements.id AND set_asides.signature_id IS NULL
                    )
            ), '-infinity')
        OFFSET 0
    ) AS event
    WHERE place <= :listed
    ORDER BY given.number, event.reason, event.place
""")


def events_per_type(
    connection: Connection, scope: Mapping[str, object], windows: Sequence[EpochWindow]
) -> dict[EpochWindow, dict[str, int]]:
    """How many events each window holds, by event type; a type without an event is not there."""
    held: dict[EpochWindow, dict[str, int]] = {window: {} for window in windows}
    for number, event_type, events in connection.execute(EVENTS_PER_TYPE, {**scope, **bounds(windows)}):
        held[windows[number - 1]][event_type] = events
    return held


def events_per_day(connection: Connection, scope: Mapping[str, object], window: EpochWindow) -> list[DayCount]:
    """Events counted by day (UTC) and event type; days and types without an event are not there."""
    rows = connection.execute(EVENTS_PER_DAY, {**scope, "start": window.start, "end": window.end})
    return [DayCount(**row._mapping) for row in rows]


def events_per_person(connection: Connection, scope: Mapping[str, object], window: EpochWindow) -> list[PersonCount]:
    """Events counted by person and event type."""
    rows = connection.execute(EVENTS_PER_PERSON, {**scope, "start": window.start, "end": window.end})
    return [PersonCount(**row._mapping) for row in rows]


def unsettled_rejections(
    connection: Connection, scope: Mapping[str, object], windows: Sequence[EpochWindow]
) -> list[UnsettledRejections]:
    """One per window, in the order given."""
    counts: list[dict[AppendOutcome, int]] = [{} for _ in windows]
    listed: defaultdict[int, list[RejectedEvent]] = defaultdict(list)
    parameters = {**scope, **bounds(windows), "listed": REJECTIONS_LISTED}
    for row in connection.execute(UNSETTLED_REJECTIONS, parameters):
        values = row._asdict()
        number, of_reason = values.pop("number"), values.pop("of_reason")
        del values["place"]
        event = RejectedEvent(**{**values, "reason": AppendOutcome(values["reason"])})
        counts[number - 1][event.reason] = of_reason
        listed[number - 1].append(event)
    return [UnsettledRejections(window, counts[n], tuple(listed[n])) for n, window in enumerate(windows)]
