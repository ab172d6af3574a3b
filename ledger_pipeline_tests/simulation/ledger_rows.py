"""What the ledger holds for a scope, read with plain SQL: not through the store that is under test."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

EVENTS = """
    SELECT id, event_type, source_object_id, payload_hash, platform_user_id, platform_login, artifact_url, event_time,
        metadata, source, node_id, retrieved_at, ingested_at
    FROM activity_events WHERE scope_id = :scope_id
"""
REJECTED = """
    SELECT event_id AS id, event_type, source_object_id, payload_hash, platform_user_id, event_time, reason
    FROM rejected_events WHERE scope_id = :scope_id
"""
CURSORS = """
    SELECT stream, source_scope, cursor_value, covered_from, source_scope_id
    FROM source_cursors WHERE scope_id = :scope_id
"""
EPOCHS = "SELECT period_start, period_end, status FROM epochs WHERE scope_id = :scope_id"
FACTS = """
    SELECT DISTINCT ON (event_id) event_id, facts FROM event_facts WHERE scope_id = :scope_id
    ORDER BY event_id, recorded_at DESC
"""
UNREAD = "SELECT source_scope, kind, number, earliest, latest FROM unread_items WHERE scope_id = :scope_id"


@dataclass(frozen=True)
class LedgerRows:
    """All rows of one scope: events by id, rejected ones, cursors by (stream, source_scope), epochs by their start.

    `unread` are the items that could not be read yet, and `facts` the latest of each event.
    """

    events: dict[str, Any]
    rejected: list[Any]
    cursors: dict[tuple[str, str], Any]
    epochs: dict[datetime, Any]
    unread: list[Any]
    facts: dict[str, Any]

    def is_open(self, moment: datetime) -> bool:
        """Whether an event of that moment may still be stored; one that joins no epoch may."""
        return all(
            epoch.status == "open" for epoch in self.epochs.values() if epoch.period_start <= moment < epoch.period_end
        )

    def is_unread(self, source_scope: str, kind: str, number: int, moment: datetime) -> bool:
        """Whether the ledger names the item as unread, and says that an event of that moment may be missing."""
        return any(
            (row.source_scope, row.kind) == (source_scope, kind)
            and row.number in (number, 0)
            and moment <= row.latest
            and (row.earliest is None or row.earliest <= moment)
            for row in self.unread
        )


def read_ledger(engine: Engine, scope_id: UUID) -> LedgerRows:
    """The scope's rows now."""
    with engine.connect() as connection:
        events, rejected, cursors, epochs, unread, facts = (
            connection.execute(text(query), {"scope_id": scope_id}).all()
            for query in (EVENTS, REJECTED, CURSORS, EPOCHS, UNREAD, FACTS)
        )
    return LedgerRows(
        {row.id: row for row in events},
        list(rejected),
        {(row.stream, row.source_scope): row for row in cursors},
        {row.period_start: row for row in epochs},
        list(unread),
        {row.event_id: row.facts for row in facts},
    )
