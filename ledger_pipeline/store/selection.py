"""What a selection policy decides by, and what it decided: a row for each event of an epoch, none without a policy."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.claimants import account_of_key
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.repository_names import KnownNames, SeenName, known_names
from ledger_pipeline.core.routing import Share
from ledger_pipeline.core.selection.choice import PINNED_AS
from ledger_pipeline.core.selection.policy import Decision, ids_of_logins
from ledger_pipeline.store import co_authors, routed
from ledger_pipeline.store.counting import COUNTS, IS_BY_PERSON, JOIN_SELECTION
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import EventToSelect, SelectedEvents, SelectionTally

EVENTS = text("""
    SELECT event.id AS event_id, event.source, event.event_type, event.platform_user_id AS user_id,
        event.platform_login AS login, event.event_time, jsonb_strip_nulls(jsonb_build_object(
            'repository', event.metadata -> 'repository', 'number', event.metadata -> 'number',
            'state', event.metadata -> 'state'
        )) AS metadata
    FROM epochs AS epoch JOIN activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
""")
DECISIONS = text("""
    SELECT event_id, included, reason, weight_factor_milli FROM activity_selection
    WHERE epoch_id = :epoch_id AND node_id = :node_id
""")
ANY_DECISION = text("SELECT EXISTS (SELECT FROM activity_selection WHERE epoch_id = :epoch_id AND node_id = :node_id)")
# What is there and says the same is not written again.
DECIDE = text("""
    INSERT INTO activity_selection AS stored (node_id, epoch_id, event_id, included, reason, weight_factor_milli)
    SELECT :node_id, :epoch_id, * FROM unnest(
        CAST(:event_ids AS text[]), CAST(:included AS boolean[]), CAST(:reasons AS text[]), CAST(:factors AS bigint[])
    )
    ON CONFLICT (node_id, epoch_id, event_id) DO UPDATE SET included = EXCLUDED.included, reason = EXCLUDED.reason,
        weight_factor_milli = EXCLUDED.weight_factor_milli
    WHERE (stored.included, stored.reason, stored.weight_factor_milli)
        IS DISTINCT FROM (EXCLUDED.included, EXCLUDED.reason, EXCLUDED.weight_factor_milli)
""")
FORGET = text("""
    DELETE FROM activity_selection
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND event_id = ANY(CAST(:event_ids AS text[]))
""")
LOGINS_SEEN = text("""
    SELECT DISTINCT platform_login, platform_user_id FROM activity_events
    WHERE node_id = :node_id AND scope_id = :scope_id AND lower(platform_login) = ANY(CAST(:logins AS text[]))
""")
# A name that was asked for is one of what answered, even where that is spelled otherwise by now. By the time at which
# the first scope closed a window, and later: so every scope of the node says the same of it. A listing says before the
# first scan under a new name what it is to ask for.
SEEN_NAMES = text("""
    SELECT source || ':' || source_scope_id AS repository_id, name, max(seen_at) AS seen_at,
        bool_or(is_spelled) AS is_spelled, COALESCE(recorded_at > first_closed.at, false) AS is_later
    FROM (
        SELECT source, source_scope_id, source_scope_name AS name, covered_to AS seen_at, true AS is_spelled,
            recorded_at
        FROM scan_receipts WHERE node_id = :node_id
        UNION ALL SELECT source, source_scope_id, source_scope, covered_to, source_scope = source_scope_name,
            recorded_at
        FROM scan_receipts WHERE node_id = :node_id
        UNION ALL SELECT source, source_scope_id, source_scope, listed_at, true, NULL
        FROM listed_source_scopes WHERE node_id = :node_id AND CAST(:epoch_id AS bigint) IS NULL
    ) AS seen
    CROSS JOIN (
        SELECT min(of_window.closed_at) AS at FROM epochs AS epoch JOIN epochs AS of_window
            ON of_window.node_id = epoch.node_id AND of_window.period_start = epoch.period_start
                AND of_window.period_end = epoch.period_end
        WHERE epoch.id = CAST(:epoch_id AS bigint) AND epoch.node_id = :node_id
    ) AS first_closed
    WHERE source_scope_id IS NOT NULL
    GROUP BY 1, 2, 5
""")
# The same for every scope of the node, whenever each closes: nothing counts that came after the first of them closed.
# Where a scope met an object first after its repository was renamed, it has the event by another id than the others.
OF_ANY_SCOPE = text("""
    SELECT event.id, latest.facts
    FROM epochs AS epoch
    CROSS JOIN LATERAL (
        SELECT min(closed_at) AS at FROM epochs AS of_window
        WHERE of_window.node_id = epoch.node_id AND of_window.period_start = epoch.period_start
            AND of_window.period_end = epoch.period_end
    ) AS first_closed
    JOIN activity_events AS event ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    CROSS JOIN LATERAL (
        SELECT fact.facts
        FROM (SELECT DISTINCT scope_id FROM epochs WHERE node_id = :node_id) AS of_scope
        JOIN activity_events AS same ON same.node_id = event.node_id AND same.scope_id = of_scope.scope_id
            AND same.source = event.source AND same.event_type = event.event_type
            AND same.source_object_id = event.source_object_id
        JOIN event_facts AS fact ON fact.node_id = event.node_id AND fact.scope_id = same.scope_id
            AND fact.event_id = same.id
        WHERE (first_closed.at IS NULL OR fact.recorded_at <= first_closed.at)
        ORDER BY fact.recorded_at DESC, fact.facts_hash LIMIT 1
    ) AS latest
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
""")
# An object may be in another scope by another name of its repository, which may be another repository's by now: all
# scopes go by the one that was stored first.
FIRST_NAMES = text("""
    SELECT event.id, first.repository
    FROM epochs AS epoch
    JOIN activity_events AS event ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
        AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
    CROSS JOIN LATERAL (
        SELECT same.metadata ->> 'repository' AS repository
        FROM (SELECT DISTINCT scope_id FROM epochs WHERE node_id = :node_id) AS of_scope
        JOIN activity_events AS same ON same.node_id = event.node_id AND same.scope_id = of_scope.scope_id
            AND same.source = event.source AND same.event_type = event.event_type
            AND same.source_object_id = event.source_object_id
        ORDER BY same.ingested_at, same.scope_id LIMIT 1
    ) AS first
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
        AND first.repository <> event.metadata ->> 'repository'
""")
TALLIES = text(f"""
    SELECT selection.reason, selection.included, {IS_BY_PERSON} AS by_person, {COUNTS} AS counts,
        event.source || ':' || event.event_type AS kind, selection.weight_factor_milli, curation.weight_override_milli,
        count(*) AS events
    FROM activity_curation AS curation {JOIN_SELECTION}
    JOIN activity_events AS event
        ON event.node_id = curation.node_id AND event.scope_id = :scope_id AND event.id = curation.event_id
    WHERE curation.node_id = :node_id AND curation.epoch_id = :epoch_id AND selection.event_id IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6, 7
""")  # noqa: S608 (our own expressions)


class Selection(LedgerSection):
    """The selection of a node's epochs. What is finalized the database refuses to change: StoreError."""

    def of(self, epoch: Epoch, excluded_logins: Iterable[str]) -> SelectedEvents:
        """What there is to decide by, and what was decided, of one moment."""
        with self._snapshot() as connection:
            return selected_events(connection, self.node_id, epoch, excluded_logins)

    def decisions(self, epochs: Iterable[Epoch]) -> dict[str, Decision]:
        """What a policy decided on the events of `epochs`, by event id; events without a policy are not there."""
        with self._transaction() as connection:
            decisions: dict[str, Decision] = {}
            for epoch in epochs:
                decisions |= _decisions(connection, self.node_id, epoch)
            return decisions

    def excluded_ids(self, scope_id: UUID, excluded_logins: Iterable[str]) -> tuple[str, ...]:
        """The numeric ids of all accounts that any event of the scope shows with one of these logins."""
        with self._transaction() as connection:
            return _ids_of(connection, self._scope(scope_id), excluded_logins)

    def routing_facts(self, epoch: Epoch) -> dict[str, Mapping[str, Json]]:
        """Facts of the epoch's events, by event id, by which every scope of the node says the same of an event.

        They are of whichever scope: the latest that were recorded by the time at which the first scope closed its epoch
        of that window.
        """
        with self._transaction() as connection:
            return _of_any_scope(connection, self._of(epoch))

    def first_names(self, epoch: Epoch) -> dict[str, str]:
        """Repositories, by event id, as the node stored the epoch's events first that its scope has by another name."""
        with self._transaction() as connection:
            return _first_names(connection, self._of(epoch))

    def known_names(self, epoch: Epoch | None = None) -> KnownNames:
        """The names of the repositories that any scope of the node has read.

        For an epoch, by what was known when the first scope closed its epoch of that window.
        """
        with self._transaction() as connection:
            return _known_names(connection, self.node_id, None if epoch is None else epoch.id)

    def shares(self, epoch: Epoch) -> dict[str, Share]:
        """What the scope has of events of claimed repositories, by event id, as the epoch closed.

        Raises SelectionError for what is no row of ours.
        """
        with self._transaction() as connection:
            return routed.kept(connection, self._of(epoch))

    def replace(self, epoch: Epoch, decisions: Mapping[str, Decision]) -> None:
        """Store `decisions`, by event id, in place of the epoch's earlier ones; only what differs is written.

        Co-authors that were linked since then have their users.
        """
        with self._transaction() as connection:
            stored = _decisions(connection, self.node_id, epoch)
            changed = sorted(event_id for event_id, decision in decisions.items() if stored.get(event_id) != decision)
            gone = sorted(stored.keys() - decisions.keys())
            if changed:
                rows = [decisions[event_id] for event_id in changed]
                columns = {
                    "event_ids": changed,
                    "included": [decision.included for decision in rows],
                    "reasons": [str(decision.reason) for decision in rows],
                    "factors": [decision.weight_factor_milli for decision in rows],
                }
                connection.execute(DECIDE, {**self._of(epoch), **columns})
            if gone:
                connection.execute(FORGET, {**self._of(epoch), "event_ids": gone})
            co_authors.replace_co_authors(
                connection,
                self._of(epoch),
                [event_id for event_id in (*changed, *gone) if event_id in stored and stored[event_id].co_authors],
                {event_id: map(account_of_key, decisions[event_id].co_authors) for event_id in changed},
            )
            if any(decision.co_authors for decision in decisions.values()):
                connection.execute(co_authors.RESOLVE, self._of(epoch))

    def tallies(self, epoch: Epoch) -> list[SelectionTally]:
        """The epoch's curated events that a policy decided on, counted by what was decided."""
        with self._transaction() as connection:
            rows = connection.execute(TALLIES, {**self._of(epoch), "scope_id": epoch.scope_id})
            return [SelectionTally(**row._mapping) for row in rows]


def selected_events(
    connection: Connection, node_id: UUID, epoch: Epoch, excluded_logins: Iterable[str]
) -> SelectedEvents:
    """What a policy decides by of an epoch, and what is stored of its decisions."""
    from ledger_pipeline.store.facts import PINNED  # who only lists events does without

    parameters = {"node_id": node_id, "epoch_id": epoch.id}
    facts = {row.id: row.facts for row in connection.execute(PINNED, parameters)}
    events = [
        EventToSelect(**row._mapping, facts=facts.get(row.event_id)) for row in connection.execute(EVENTS, parameters)
    ]
    excluded_ids = _ids_of(connection, {"node_id": node_id, "scope_id": epoch.scope_id}, excluded_logins)
    return SelectedEvents(events, _decisions(connection, node_id, epoch), excluded_ids)


def settled_selection(connection: Connection, node_id: UUID, epoch: Epoch) -> SelectedEvents | None:
    """As `selected_events`, of an epoch that closed with a policy, or closed and one decided; None of others."""
    if epoch.pins is None:
        return None
    pinned = epoch.pins.pinned_spec.get(PINNED_AS)
    parameters = {"node_id": node_id, "epoch_id": epoch.id}
    if pinned is None and not connection.scalar(ANY_DECISION, parameters):
        return None
    logins = pinned.get("excluded_logins") if isinstance(pinned, Mapping) else None
    selected = selected_events(connection, node_id, epoch, map(str, logins) if isinstance(logins, list) else ())
    if not isinstance(pinned, Mapping) or "routing" not in pinned:
        return selected
    return replace(
        selected,
        routing_facts=_of_any_scope(connection, parameters),
        names=_known_names(connection, node_id, epoch.id),
        shares=routed.kept(connection, parameters),
        first_names=_first_names(connection, parameters),
    )


def _known_names(connection: Connection, node_id: UUID, epoch_id: int | None) -> KnownNames:
    seen: dict[bool, list[SeenName]] = {False: [], True: []}
    for row in connection.execute(SEEN_NAMES, {"node_id": node_id, "epoch_id": epoch_id}):
        seen[row.is_later].append(SeenName(row.repository_id, row.name, row.seen_at, row.is_spelled))
    return known_names(seen[False], seen[True])


def _of_any_scope(connection: Connection, parameters: Mapping[str, object]) -> dict[str, Mapping[str, Json]]:
    return {row.id: row.facts for row in connection.execute(OF_ANY_SCOPE, parameters)}


def _first_names(connection: Connection, parameters: Mapping[str, object]) -> dict[str, str]:
    return {row.id: row.repository for row in connection.execute(FIRST_NAMES, parameters)}


def _decisions(connection: Connection, node_id: UUID, epoch: Epoch) -> dict[str, Decision]:
    rows = connection.execute(DECISIONS, {"node_id": node_id, "epoch_id": epoch.id})
    shared_with = co_authors.co_authors_of(connection, node_id, epoch.id)
    return {
        row.event_id: Decision(row.included, row.reason, row.weight_factor_milli, shared_with.get(row.event_id, ()))
        for row in rows
    }


def _ids_of(connection: Connection, scope: Mapping[str, object], excluded_logins: Iterable[str]) -> tuple[str, ...]:
    logins = sorted({login.lower() for login in excluded_logins})
    if not logins:
        return ()
    rows = connection.execute(LOGINS_SEEN, {**scope, "logins": logins})
    seen = ((row.platform_login, row.platform_user_id) for row in rows)
    return ids_of_logins(seen, logins)
