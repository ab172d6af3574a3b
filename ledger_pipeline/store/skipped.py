"""Activity that counts for nobody: kept once by the id its event would have had, whoever meets it again."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from ledger_pipeline.core.events import SkippedActivity

RECORD_SKIPPED = text("""
    INSERT INTO skipped_activity (
        node_id, scope_id, event_id, source, stream, source_scope, event_type, reason, event_time, retrieved_at
    )
    SELECT :node_id, :scope_id, event_id, source, stream, source_scope, event_type, reason, event_time, :retrieved_at
    FROM unnest(
        CAST(:event_ids AS text[]), CAST(:sources AS text[]), CAST(:streams AS text[]),
        CAST(:source_scopes AS text[]), CAST(:event_types AS text[]), CAST(:reasons AS text[]),
        CAST(:event_times AS timestamptz[])
    ) AS item (event_id, source, stream, source_scope, event_type, reason, event_time)
    ON CONFLICT DO NOTHING
""")


def keep_skipped(
    connection: Connection, scope: Mapping[str, object], skipped: Sequence[SkippedActivity], retrieved_at: datetime
) -> int:
    """Keep what is new of `skipped`; how many that were. Of two with one id the first stays."""
    # By id, so that two transactions with the same activity wait for each other and never lock crosswise.
    items = sorted(skipped, key=lambda item: item.event_id)
    parameters = {
        "event_ids": [item.event_id for item in items],
        "sources": [item.source for item in items],
        "streams": [item.stream for item in items],
        "source_scopes": [item.source_scope for item in items],
        "event_types": [item.event_type for item in items],
        "reasons": [item.reason for item in items],
        "event_times": [item.event_time for item in items],
    }
    return connection.execute(RECORD_SKIPPED, {**scope, **parameters, "retrieved_at": retrieved_at}).rowcount
