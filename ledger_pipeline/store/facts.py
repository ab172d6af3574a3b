"""Facts beside events: observations that differ from the last of their event, and those of them that are pinned."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Facts as EventFacts
from ledger_pipeline.core.facts import Observation, facts_text
from ledger_pipeline.core.hashing import EventSetHash, sha256_hex
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.core.sources import PR_MERGED, REVIEW_SUBMITTED
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds, streamed
from ledger_pipeline.store.records import (
    AppendOutcome,
    EventWithoutFacts,
    FactsCount,
    PinnedFacts,
    Producer,
    StoredFacts,
)
from ledger_pipeline.store.section import LedgerSection

LONGEST_FACTS_BYTES = 1_000_000
"""Of the facts of one event in canonical JSON. GitHub's are far shorter."""
_HELD = (AppendOutcome.NEW, AppendOutcome.DUPLICATE)

# Whoever writes facts of a scope does so alone: what is the last observation of an event is the same for both.
LOCK = text("""
    SELECT pg_advisory_xact_lock(
        hashtextextended('event_facts ' || CAST(:node_id AS text) || ' ' || CAST(:scope_id AS text), 0)
    )
""")
# OFFSET 0 and LIMIT keep each look-up one of an index, whatever the planner believes of how many there are.
INSERT_CHANGED = text("""
    INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
    SELECT :node_id, :scope_id, given.event_id, given.facts_hash, given.facts, :observed_at, :producer,
        :producer_version
    FROM (
        SELECT event_id, facts_hash, CAST(facts AS jsonb) AS facts
        FROM unnest(CAST(:event_ids AS text[]), CAST(:hashes AS text[]), CAST(:facts AS text[]))
            AS written (event_id, facts_hash, facts)
    ) AS given
    CROSS JOIN LATERAL (
        SELECT FROM activity_events AS event
        WHERE event.node_id = :node_id AND event.scope_id = :scope_id AND event.id = given.event_id
            AND event.event_type = given.facts ->> 'eventType'
        OFFSET 0
    ) AS event
    LEFT JOIN LATERAL (
        SELECT facts_hash, facts, observed_at FROM event_facts AS earlier
        WHERE earlier.node_id = :node_id AND earlier.scope_id = :scope_id AND earlier.event_id = given.event_id
        ORDER BY earlier.recorded_at DESC LIMIT 1
    ) AS latest ON true
    WHERE latest.observed_at IS NULL OR (
        latest.observed_at <= :observed_at
        AND (latest.facts_hash, latest.facts) IS DISTINCT FROM (given.facts_hash, given.facts)
    )
    RETURNING event_id
""")
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
# Of renamed repositories, whose events keep the ids that they were stored under.
STORED_AS = text("""
    SELECT given.id, (
        SELECT stored.id FROM activity_events AS stored
        WHERE stored.node_id = :node_id AND stored.scope_id = :scope_id AND stored.source = given.source
            AND stored.event_type = given.event_type AND stored.source_object_id = given.source_object_id
    )
    FROM unnest(CAST(:ids AS text[]), CAST(:sources AS text[]), CAST(:types AS text[]), CAST(:objects AS text[]))
        AS given (id, source, event_type, source_object_id)
""")
OF_EVENT = text("""
    SELECT scope_id, event_id, facts_hash, facts, observed_at, recorded_at, producer, producer_version
    FROM event_facts
    WHERE node_id = :node_id AND event_id = :event_id AND scope_id = ANY(:scope_ids)
    ORDER BY scope_id, recorded_at
""")

# OFFSET 0 keeps the planner at one index range per window, as it does for digests.
WITHOUT = text("""
    SELECT event.* FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        AS given (period_start, period_end)
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
            return [EventWithoutFacts(*row) for row in connection.execute(WITHOUT, parameters)]

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


def of_stored(
    connection: Connection,
    scope: Mapping[str, object],
    observations: Sequence[Observation],
    events: Sequence[ActivityEvent],
    outcomes: Mapping[str, AppendOutcome],
) -> list[Observation]:
    """Those of `observations` that are of `events` as the ledger holds them, each by the id that the event has there.

    What was refused is not held: the facts of another object, or of another closing, are none of the stored event's.
    """
    if not observations:
        return []
    renamed = [event for event in events if outcomes[event.id] is AppendOutcome.RENAMED]
    stored_ids = {event.id: event.id for event in events if outcomes[event.id] in _HELD}
    if renamed:
        columns = {
            "ids": [event.id for event in renamed],
            "sources": [event.source for event in renamed],
            "types": [event.event_type for event in renamed],
            "objects": [event.source_object_id for event in renamed],
        }
        stored_ids |= dict(connection.execute(STORED_AS, {**scope, **columns}).all())
    return [
        replace(observation, event_id=stored_ids[observation.event_id])
        for observation in observations
        if stored_ids.get(observation.event_id) is not None
    ]


def record(
    connection: Connection,
    scope: Mapping[str, object],
    observations: Sequence[Observation],
    observed_at: datetime,
    producer: Producer,
) -> frozenset[str]:
    """As `Facts.record`, within the transaction of `connection`; after the events, whose epochs it holds as they do."""
    if not observations:
        return frozenset()
    text_of = {observation.event_id: _storable_text(observation.facts) for observation in observations}
    connection.execute(LOCK, {"node_id": str(scope["node_id"]), "scope_id": str(scope["scope_id"])})
    parameters = {
        **scope,
        "event_ids": list(text_of),
        "hashes": [sha256(facts.encode()).hexdigest() for facts in text_of.values()],
        "facts": list(text_of.values()),
        "observed_at": observed_at,
        "producer": producer.name,
        "producer_version": producer.version,
    }
    return frozenset(connection.scalars(INSERT_CHANGED, parameters))


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


def _storable_text(facts: EventFacts) -> str:
    """What `facts_hash` is of. Where that is longer than the ledger keeps, the sets of it are unknown."""
    whole = facts_text(facts)
    if len(whole.encode()) <= LONGEST_FACTS_BYTES:
        return whole
    unknown: dict[str, Any] = {name: None for name, value in vars(facts).items() if isinstance(value, tuple)}
    return facts_text(replace(facts, **unknown))
