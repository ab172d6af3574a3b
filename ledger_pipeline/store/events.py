"""Events: stored once, refused with a reason, read back and counted."""

from collections.abc import Generator, Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select, text

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store import tallies
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.digests import streamed, window_digests
from ledger_pipeline.store.records import (
    AppendOutcome,
    DayCount,
    PersonCount,
    Producer,
    RejectedEvent,
    StoredEvent,
    UnsettledRejections,
    WindowDigest,
)
from ledger_pipeline.store.schema import activity_events, rejected_events
from ledger_pipeline.store.section import LedgerSection


class Events(LedgerSection):
    """The events of a node's scopes, those refused among them."""

    def append(
        self,
        scope_id: UUID,
        events: Sequence[ActivityEvent],
        producer: Producer,
        retrieved_at: datetime,
        observations: Sequence[Observation] = (),
    ) -> dict[str, AppendOutcome]:
        """Store what is new and say, by event id, what became of each. Safe to repeat.

        `observations` of these events are kept in the same transaction, as `observations.record` does.

        Rejected events (REJECTED) are kept aside with their reason, once however often they come. An id that
        comes with several payload hashes in one call has the worst of their outcomes.
        """
        if not events:
            return {}
        from ledger_pipeline.store.observations import of_stored, record  # whoever only reads events does without

        def store(connection: Connection) -> dict[str, AppendOutcome]:
            outcomes = Append(connection, self.node_id, scope_id, producer, retrieved_at).run(events)
            kept = of_stored(connection, self._scope(scope_id), observations, events, outcomes)
            record(connection, self._scope(scope_id), kept, retrieved_at, producer)
            return outcomes

        return self._storing_events(store)

    def within(self, scope_id: UUID, window: EpochWindow) -> Generator[StoredEvent]:
        """Events whose time lies in `window`, by (event_time, id), streamed: memory does not grow with them.

        Who stops before the last one closes it, while the database still runs.
        """
        columns = [activity_events.c[field.name] for field in fields(StoredEvent)]
        query = (
            select(*columns)
            .where(activity_events.c.node_id == self.node_id, activity_events.c.scope_id == scope_id)
            .where(activity_events.c.event_time >= window.start, activity_events.c.event_time < window.end)
            .order_by(activity_events.c.event_time, activity_events.c.id)
        )
        with self._transaction() as connection, streamed(_unhurried(connection), query) as rows:
            for row in rows:
                yield StoredEvent(*row)

    def digests(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[WindowDigest]:
        """One digest per window, in the order given, all from one snapshot of the ledger."""
        with self._snapshot() as connection:
            return window_digests(connection, self._scope(scope_id), windows)

    def rejected(self, scope_id: UUID, window: EpochWindow) -> list[RejectedEvent]:
        """Events refused whose time lies in `window`, by (event_time, id)."""
        columns = [rejected_events.c[field.name] for field in fields(RejectedEvent)]
        query = (
            select(*columns)
            .where(rejected_events.c.node_id == self.node_id, rejected_events.c.scope_id == scope_id)
            .where(rejected_events.c.event_time >= window.start, rejected_events.c.event_time < window.end)
            .order_by(rejected_events.c.event_time, rejected_events.c.event_id, rejected_events.c.id)
        )
        with self._transaction() as connection:
            rows = [row._asdict() for row in connection.execute(query)]
        return [RejectedEvent(**{**row, "reason": AppendOutcome(row["reason"])}) for row in rows]

    def unsettled_rejections(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[UnsettledRejections]:
        """Events refused since the last payout statement of each window: one per window, in the order given."""
        with self._transaction() as connection:
            return tallies.unsettled_rejections(connection, self._scope(scope_id), windows)

    def per_type(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, dict[str, int]]:
        """How many events each window holds, by event type; a type without an event is not there."""
        with self._transaction() as connection:
            return tallies.events_per_type(connection, self._scope(scope_id), windows)

    def per_day(self, scope_id: UUID, window: EpochWindow) -> list[DayCount]:
        """How many events the window holds, by day (UTC) and event type; what is zero is not there."""
        with self._transaction() as connection:
            return tallies.events_per_day(connection, self._scope(scope_id), window)

    def per_person(self, scope_id: UUID, window: EpochWindow) -> list[PersonCount]:
        """How many events the window holds, by person and event type."""
        with self._transaction() as connection:
            return tallies.events_per_person(connection, self._scope(scope_id), window)


def _unhurried(connection: Connection) -> Connection:
    """`connection`, in a transaction that may idle as long as the reader of its rows takes over them."""
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    return connection
