"""Which events of an epoch count, for whom, and by which weight: a row per event of its window."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from ledger_pipeline.core.allocations import CuratedEvents, event_kind
from ledger_pipeline.core.pins import reserves_accounts
from ledger_pipeline.store.co_authors import JOIN_CO_AUTHORS, LINKS_OF_EPOCH, has_co_authors
from ledger_pipeline.store.counting import ACCOUNT_KEY, COUNTS, FACTOR, IS_BY_PERSON, JOIN_SELECTION
from ledger_pipeline.store.overrides import ANY as ANY_OVERRIDE
from ledger_pipeline.store.overrides import JOIN_OVERRIDES
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import CurationSummary, Decision, DoubtfulEvent, Judgement, Resolution

# New rows for events that have none; the user where it was missing. Nothing that a person set is written here. An epoch
# that keeps its claimants takes the links of when it closed: whoever links in its review moves no credit, not even by a
# tie.
RESOLVE_IDENTITIES = text(f"""
    INSERT INTO activity_curation AS curation (node_id, epoch_id, event_id, user_id)
    SELECT event.node_id, :epoch_id, event.id, binding.user_id
    FROM epochs AS epoch
    JOIN activity_events AS event ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
    LEFT JOIN ({LINKS_OF_EPOCH}) AS binding
        ON binding.provider = event.source AND binding.external_id = event.platform_user_id
    WHERE epoch.id = :epoch_id AND event.node_id = :node_id AND event.scope_id = :scope_id AND event.source = :source
        AND event.event_time >= :start AND event.event_time < :end
    ON CONFLICT (epoch_id, event_id) DO UPDATE SET user_id = EXCLUDED.user_id, updated_at = now()
        WHERE curation.user_id IS NULL AND EXCLUDED.user_id IS NOT NULL
    RETURNING (xmax = 0) AS is_new
""")  # noqa: S608 (our own expressions)
# An account whose events a policy leaves out needs no user.
SUMMARY = text(f"""
    SELECT count(*) AS events,
        count(*) FILTER (WHERE user_id IS NULL AND ({COUNTS} OR {IS_BY_PERSON})) AS unresolved,
        count(*) FILTER (WHERE NOT {COUNTS}) AS excluded,
        count(*) FILTER (WHERE weight_override_milli IS NOT NULL) AS overridden, count(DISTINCT user_id) AS users
    FROM activity_curation AS curation {JOIN_SELECTION}
    WHERE curation.node_id = :node_id AND curation.epoch_id = :epoch_id
""")  # noqa: S608 (our own expressions)
SET_BY_PERSON = text("""
    UPDATE activity_curation SET
        included = COALESCE(:included, included),
        weight_override_milli = CASE WHEN :sets_weight THEN CAST(:weight AS bigint) ELSE weight_override_milli END,
        note = :note, follows_policy = :follows_policy, updated_at = now()
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND event_id = :event_id
""")
DECISIONS = text(f"""
    SELECT event.id AS event_id, event.artifact_url, event.platform_login AS login, curation.user_id, curation.included,
        curation.weight_override_milli, curation.note, curation.follows_policy,
        selection.included AS policy_included, selection.reason AS policy_reason
    FROM activity_curation AS curation {JOIN_SELECTION}
    JOIN activity_events AS event
        ON event.node_id = curation.node_id AND event.scope_id = :scope_id AND event.id = curation.event_id
    WHERE curation.node_id = :node_id AND curation.epoch_id = :epoch_id
        AND (NOT curation.included OR curation.weight_override_milli IS NOT NULL OR curation.note IS NOT NULL)
    ORDER BY event.event_time, event.id
""")  # noqa: S608 (our own expressions)


OVERRIDDEN = "COALESCE(override.units, curation.weight_override_milli)"


def _weighed(
    joins: str,
    counts: str,
    factor: str,
    co_authors: str = "CAST(NULL AS text[])",
    override: str = "curation.weight_override_milli",
    shares: str = "CAST(NULL AS jsonb)",
    of: str = "true",
) -> TextClause:
    return text(f"""
        SELECT COALESCE(curation.user_id, {ACCOUNT_KEY}) AS user_id, event.source, event.event_type,
            {override} AS weight_override_milli, {factor} AS weight_factor_milli, {co_authors} AS co_authors,
            {shares} AS shares, count(*) AS events
        FROM activity_curation AS curation {joins}
        JOIN activity_events AS event
            ON event.node_id = curation.node_id AND event.scope_id = :scope_id AND event.id = curation.event_id
        WHERE curation.node_id = :node_id AND curation.epoch_id = :epoch_id
            AND {counts} AND (curation.user_id IS NOT NULL OR :reserves_accounts) AND {of}
        GROUP BY 1, 2, 3, 4, 5, 6, 7
    """)  # noqa: S608 (our own expressions)


WEIGHED_BY_POLICY = _weighed(JOIN_SELECTION, COUNTS, FACTOR)
WEIGHED_AND_SHARED = _weighed(f"{JOIN_SELECTION} {JOIN_CO_AUTHORS}", COUNTS, FACTOR, "shared_with.keys")
_ALL = (f"{JOIN_SELECTION} {JOIN_CO_AUTHORS} {JOIN_OVERRIDES}", COUNTS, FACTOR, "shared_with.keys", OVERRIDDEN)
WEIGHED_WITH_OVERRIDES = _weighed(*_ALL, "override.shares")
WEIGHED_EVENT = _weighed(*_ALL, "override.shares", "curation.event_id = :event_id")
# Where no policy decides, what a person included counts, and the join would take as long as all the rest.
WEIGHED = _weighed("", "curation.included", "CAST(NULL AS bigint)")
HAS_POLICY = text("""
    SELECT EXISTS (SELECT FROM activity_selection WHERE node_id = :node_id AND epoch_id = :epoch_id)
""")
UNCURATED = text("""
    SELECT count(*) FROM activity_events AS event
    WHERE event.node_id = :node_id AND event.scope_id = :scope_id
        AND event.event_time >= :start AND event.event_time < :end
        AND NOT EXISTS (
            SELECT FROM activity_curation AS curation
            WHERE curation.epoch_id = :epoch_id AND curation.event_id = event.id
        )
""")
# What was written before the database refused such events, or by its owner.
DOUBTFUL = text("""
    SELECT id AS event_id, event_type, platform_user_id, metadata, payload_hash AS stored_hash,
        event_time
    FROM activity_events AS event
    WHERE node_id = :node_id AND scope_id = :scope_id AND event_time >= :start AND event_time < :end
        AND NOT ledger_is_event(id, event_type, platform_user_id, metadata, payload_hash, event_time)
        AND NOT EXISTS (
            SELECT FROM activity_curation AS curation
            WHERE curation.epoch_id = :epoch_id AND curation.event_id = event.id
                AND NOT curation.included AND ledger_is_reason(curation.note)
        )
    ORDER BY id COLLATE "C" LIMIT :at_most
""")
DOUBTFUL_LOOKED_AT = 1000


class Curation(LedgerSection):
    """The curation of a node's epochs. What is finalized the database refuses to change: StoreError."""

    def resolve_identities(self, epoch: Epoch, source: str) -> Resolution:
        """A row for every event of `source` in the epoch's window, with its user where bound; one statement.

        An epoch that reserves shares of accounts takes the bindings of when it closed, once it has.
        """
        parameters = {
            **self._of(epoch),
            "scope_id": epoch.scope_id,
            "source": source,
            "start": epoch.window.start,
            "end": epoch.window.end,
        }
        counted = text(f"""
            WITH written AS ({RESOLVE_IDENTITIES.text})
            SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS resolved FROM written
        """)  # noqa: S608 (our own statement)
        with self._transaction() as connection:
            return Resolution(**connection.execute(counted, parameters).one()._mapping)

    def summary(self, epoch: Epoch) -> CurationSummary:
        """The epoch's curation in numbers."""
        with self._transaction() as connection:
            return CurationSummary(**connection.execute(SUMMARY, self._of(epoch)).one()._mapping)

    def judge(self, epoch: Epoch, event_id: str, judgement: Judgement) -> bool:
        """Set what a person says of an event; False where the epoch's curation has no such event."""
        parameters = {
            **self._of(epoch),
            "event_id": event_id,
            "included": True if judgement.follows_policy else judgement.included,
            "sets_weight": judgement.weight_override_milli is not None
            or judgement.clear_weight
            or judgement.follows_policy,
            "weight": judgement.weight_override_milli,
            "note": judgement.note,
            "follows_policy": judgement.follows_policy,
        }
        with self._transaction() as connection:
            return connection.execute(SET_BY_PERSON, parameters).rowcount == 1

    def decisions(self, epoch: Epoch) -> list[Decision]:
        """What a person decided about events of the epoch, by their time."""
        with self._transaction() as connection:
            rows = connection.execute(DECISIONS, {**self._of(epoch), "scope_id": epoch.scope_id})
            return [Decision(**row._mapping) for row in rows]

    def weighed_events(self, epoch: Epoch) -> list[CuratedEvents]:
        """Events that count, by claimants, kind, override and factor: as few rows as there are of these.

        A claimant is a user; where the epoch reserves shares of accounts without one, such an account as well.
        """
        with self._transaction() as connection:
            return weighed_events(connection, self.node_id, epoch)

    def weighed_event(self, epoch: Epoch, event_id: str) -> CuratedEvents | None:
        """One event as it counts; None where the epoch has no such event that does."""
        parameters = {**_weighing(self.node_id, epoch), "event_id": event_id}
        with self._transaction() as connection:
            row = connection.execute(WEIGHED_EVENT, parameters).one_or_none()
        return None if row is None else _tally(row)


def weighed_events(connection: Connection, node_id: UUID, epoch: Epoch) -> list[CuratedEvents]:
    """The epoch's events that count for a claimant, counted by claimants, kind, override and factor."""
    # The planner expects a group for every override a user might have, and would sort a million rows on disk.
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    parameters = _weighing(node_id, epoch)
    weighed = WEIGHED
    if connection.scalar(ANY_OVERRIDE, parameters):
        weighed = WEIGHED_WITH_OVERRIDES
    elif connection.execute(HAS_POLICY, parameters).scalar_one():
        weighed = WEIGHED_AND_SHARED if has_co_authors(connection, parameters) else WEIGHED_BY_POLICY
    rows = connection.execute(weighed, parameters)
    return [_tally(row) for row in rows]


def _weighing(node_id: UUID, epoch: Epoch) -> dict[str, object]:
    return {
        "node_id": node_id,
        "epoch_id": epoch.id,
        "scope_id": epoch.scope_id,
        "reserves_accounts": reserves_accounts(epoch.pins),
    }


def _tally(row: Row[Any]) -> CuratedEvents:
    return CuratedEvents(
        row.user_id,
        event_kind(row.source, row.event_type),
        row.weight_override_milli,
        row.events,
        row.weight_factor_milli,
        tuple(row.co_authors or ()),
        tuple(sorted((row.shares or {}).items())),
    )


def uncurated_events(connection: Connection, node_id: UUID, epoch: Epoch) -> int:
    """How many events of the epoch's window have no row in its curation."""
    count: int = connection.execute(UNCURATED, _of_window(node_id, epoch)).scalar_one()
    return count


def doubtful_events(connection: Connection, node_id: UUID, epoch: Epoch) -> list[DoubtfulEvent]:
    """The first DOUBTFUL_LOOKED_AT of the epoch's events that may count and that the database cannot recompute."""
    parameters = {**_of_window(node_id, epoch), "at_most": DOUBTFUL_LOOKED_AT}
    return [DoubtfulEvent(**row._mapping) for row in connection.execute(DOUBTFUL, parameters)]


def _of_window(node_id: UUID, epoch: Epoch) -> dict[str, object]:
    return {
        "node_id": node_id,
        "epoch_id": epoch.id,
        "scope_id": epoch.scope_id,
        "start": epoch.window.start,
        "end": epoch.window.end,
    }
