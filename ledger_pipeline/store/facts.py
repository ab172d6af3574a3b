"""Facts beside events: observations that differ from the last of their event, and those of them that are pinned."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.hashing import EventSetHash, sha256_hex
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.core.sources import PR_MERGED, REVIEW_SUBMITTED
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds, streamed
from ledger_pipeline.store.observations import record
from ledger_pipeline.store.records import (
    EventWithoutFacts,
    FactsCount,
    PinnedFacts,
    Producer,
    StoredFacts,
)
from ledger_pipeline.store.section import LedgerSection

PINNED = text("""
    SELECT event.id, event.event_type, latest.facts_hash, latest.facts
    FROM epochs AS epoch JOIN activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    CROSS JOIN LATERAL (
        SELECT fact.facts_hash, fact.facts FROM event_facts AS fact
        WHERE fact.node_id = event.node_id AND fact.scope_id = event.scope_id AND fact.event_id = event.id
            AND (epoch.closed_at IS NULL OR fact.recorded_at <= epoch.closed_at)
        ORDER BY fact.recorded_at DESC LIMIT 1
    ) AS latest
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
    ORDER BY event.id COLLATE "C"
""")
OF_EVENT = text("""
    SELECT scope_id, event_id, facts_hash, facts, observed_at, recorded_at, producer, producer_version
    FROM event_facts
    WHERE node_id = :node_id AND event_id = :event_id AND scope_id = ANY(:scope_ids)
    ORDER BY scope_id, recorded_at
""")

# OFFSET 0 keeps the planner at one index range per window, as it does for digests.
WITHOUT = text("""
    SELECT event.*, given.number FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT id, event_type, source_object_id, metadata ->> 'repository',
            CASE WHEN metadata ->> 'number' ~ '^[1-9][0-9]{0,9}$' THEN CAST(metadata ->> 'number' AS bigint) END
        FROM activity_events AS stored
        WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
            AND event_time >= given.period_start AND event_time < given.period_end AND COALESCE((
                SELECT NOT fact.facts ?| ARRAY['changedPaths', 'isGone']
                    AND fact.facts ->> 'eventType' = ANY(CAST(:types_with_paths AS text[]))
                    AND lower(stored.metadata ->> 'repository') = ANY(CAST(:repositories_by_path AS text[]))
                FROM event_facts AS fact
                WHERE fact.node_id = stored.node_id AND fact.scope_id = stored.scope_id AND fact.event_id = stored.id
                ORDER BY fact.recorded_at DESC LIMIT 1
            ), true)
        OFFSET 0
    ) AS event
    ORDER BY event.id COLLATE "C"
""")
COUNTS = text("""
    SELECT given.number, count(*) FILTER (WHERE NOT event.is_gone), count(*) FILTER (WHERE event.is_gone)
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT latest.is_gone FROM activity_events AS stored CROSS JOIN LATERAL (
            SELECT fact.facts ? 'isGone' AS is_gone FROM event_facts AS fact
            WHERE fact.node_id = stored.node_id AND fact.scope_id = stored.scope_id AND fact.event_id = stored.id
            ORDER BY fact.recorded_at DESC LIMIT 1
        ) AS latest
        WHERE node_id = :node_id AND scope_id = :scope_id
            AND event_time >= given.period_start AND event_time < given.period_end
        OFFSET 0
    ) AS event
    GROUP BY given.number
""")


class Facts(LedgerSection):
    """What the sources said of a node's events beside their contract rows."""

    def record(
        self, scope_id: UUID, observations: Sequence[Observation], observed_at: datetime, producer: Producer
    ) -> frozenset[str]:
        """Keep each observation that differs from the latest of its event, and is no older; the ids of those events.

        What the latest knew and an observation leaves unknown stays known: nobody asked this time, or may any more.
        Observations of events that the ledger does not hold are left. Safe to repeat.
        """
        return self._storing_events(
            lambda connection: record(connection, self._scope(scope_id), observations, observed_at, producer)
        )

    def pinned(self, epoch_id: int) -> Iterator[PinnedFacts]:
        """The latest facts of each event of the epoch that has any, by event id in code-point order, streamed.

        Of an epoch that is closed, the latest of those that were recorded by the time at which it closed. Raises
        StoreError where what is stored does not have its hash.
        """
        with self._transaction() as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # the reader takes its time
            with _pinned(connection, self.node_id, epoch_id) as rows:
                yield from rows

    def pinned_set_hash(self, epoch_id: int) -> str:
        """`core.facts.facts_set_hash` of what `pinned` gives."""
        with self._transaction() as connection:
            return pinned_set_hash(connection, self.node_id, epoch_id)

    def without(
        self,
        scope_id: UUID,
        source: str,
        windows: Sequence[EpochWindow],
        repositories_by_path: Collection[str] = (),
    ) -> list[EventWithoutFacts]:
        """Every event of a source in `windows` that nothing was ever observed of, by id.

        Of `repositories_by_path`, in lower case, also what changes paths, where it is unknown which.
        """
        parameters = {
            **self._scope(scope_id),
            "source": source,
            **bounds(windows),
            "types_with_paths": [PR_MERGED, REVIEW_SUBMITTED],
            "repositories_by_path": sorted(repositories_by_path),
        }
        with self._transaction() as connection:
            return [
                EventWithoutFacts(event_id, event_type, object_id, source_scope, number, windows[window_number - 1])
                for event_id, event_type, object_id, source_scope, number, window_number in connection.execute(
                    WITHOUT, parameters
                )
            ]

    def counts(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, FactsCount]:
        """How many events of each window have facts by now, whichever of them are pinned."""
        counts = {window: FactsCount() for window in windows}
        with self._transaction() as connection:
            for number, with_facts, gone in connection.execute(COUNTS, {**self._scope(scope_id), **bounds(windows)}):
                counts[windows[number - 1]] = FactsCount(with_facts, gone)
        return counts

    def of_event(self, scope_ids: Sequence[UUID], event_id: str) -> list[StoredFacts]:
        """Every observation of the event in those scopes, oldest first of each."""
        parameters = {"node_id": self.node_id, "event_id": event_id, "scope_ids": list(scope_ids)}
        with self._transaction() as connection:
            return [StoredFacts(*row) for row in connection.execute(OF_EVENT, parameters)]


def pinned_set_hash(connection: Connection, node_id: UUID, epoch_id: int) -> str:
    """The hash over what is pinned of an epoch, or would be now while it is open."""
    set_hash = EventSetHash()
    with _pinned(connection, node_id, epoch_id) as rows:
        for row in rows:
            set_hash.add(row.event_id, row.facts_hash)
    return set_hash.hexdigest()


def check_pinned(connection: Connection, node_id: UUID, epoch_id: int, set_hash: str) -> None:
    """See that what an epoch closed with has its hashes. Raises StoreError naming the event of which it has not."""
    if pinned_set_hash(connection, node_id, epoch_id) != set_hash:
        raise StoreError(f"epoch {epoch_id}: its pinned facts have another hash than it closed with")


@contextmanager
def _pinned(connection: Connection, node_id: UUID, epoch_id: int) -> Iterator[Iterator[PinnedFacts]]:
    with streamed(connection, PINNED, {"node_id": node_id, "epoch_id": epoch_id}) as rows:
        yield (_checked(PinnedFacts(*row)) for row in rows)


def _checked(row: PinnedFacts) -> PinnedFacts:
    if sha256_hex(row.facts) != row.facts_hash:
        raise StoreError(
            f"the facts of {short_message(row.event_id)} do not have the hash that is stored with them: have its "
            "window collected again with --full-refresh, which records what the source says now"
        )
    return row
