"""What whoever looks up finalized epochs asks: their statements all at once, and the events of one claimant."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

from ledger_pipeline.store.counting import ACCOUNT_KEY, COUNTS, FACTOR, IS_BY_PERSON, JOIN_SELECTION
from ledger_pipeline.store.published_records import ClaimedCount, ClaimedEvent
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.set_asides import stored_set_asides
from ledger_pipeline.store.statement_records import Correction, Statement, StatementHistory, StatementSignature
from ledger_pipeline.store.statements import CORRECTIONS

# Rows of these are added and never changed or taken away.
VERSION = text("""
    SELECT count(*),
        (SELECT count(*) FROM payout_statements WHERE node_id = :node_id),
        (SELECT count(*) FROM statement_signatures WHERE node_id = :node_id),
        (SELECT count(*) FROM set_asides WHERE node_id = :node_id)
    FROM epochs WHERE node_id = :node_id AND scope_id = :scope_id AND status = 'finalized'
""")
STATEMENTS = text("""
    SELECT id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json AS payouts, supersedes_statement_id,
        created_at
    FROM payout_statements WHERE node_id = :node_id AND epoch_id = ANY(:epoch_ids) ORDER BY created_at, id
""")
SIGNATURES = text("""
    SELECT statement.epoch_id, signature.id, statement_id, signer_wallet, signature, signed_at, scheme
    FROM statement_signatures AS signature
    JOIN payout_statements AS statement ON statement.id = statement_id
    WHERE signature.node_id = :node_id AND statement.node_id = :node_id AND statement.epoch_id = ANY(:epoch_ids)
    ORDER BY signed_at, signer_wallet
""")
WITH_SET_ASIDES = text("""
    SELECT DISTINCT epoch_id FROM set_asides WHERE node_id = :node_id AND epoch_id = ANY(:epoch_ids)
""")
CLAIMANT = f"COALESCE(curation.user_id, {ACCOUNT_KEY})"
# OFFSET 0 has each event looked up by its id: the planner would compare every event with every row of the curation.
EVENTS = f"""
    FROM activity_curation AS curation {JOIN_SELECTION}
    CROSS JOIN LATERAL (
        SELECT * FROM activity_events AS stored
        WHERE stored.node_id = :node_id AND stored.scope_id = :scope_id AND stored.id = curation.event_id
        OFFSET 0
    ) AS event
    WHERE curation.node_id = :node_id
"""  # noqa: S608 (our own expressions)
CO_AUTHORS = """
    SELECT COALESCE(shared.user_id, 'identity:' || shared.provider || ':' || shared.external_id) AS claimant
    FROM activity_co_authors AS shared
    WHERE shared.node_id = curation.node_id AND shared.epoch_id = curation.epoch_id
        AND shared.event_id = curation.event_id
"""
# Whoever is there twice has one part.
IS_AUTHOR = f"COALESCE(shared.user_id, 'identity:' || shared.provider || ':' || shared.external_id) = {CLAIMANT}"
IS_CLAIMANTS = f"(:claimant = {CLAIMANT} OR :claimant IN ({CO_AUTHORS}))"
CLAIMED = text(f"""
    SELECT event.id AS event_id, event.source, event.event_type, event.artifact_url,
        event.metadata ->> 'title' AS title, event.metadata ->> 'repository' AS repository, event.event_time,
        {COUNTS} AS counts, {FACTOR} AS factor_milli, curation.weight_override_milli, {IS_BY_PERSON} AS by_person,
        curation.note, selection.reason AS policy_reason, {CLAIMANT} AS author, ARRAY({CO_AUTHORS}) AS co_authors
    {EVENTS} AND curation.epoch_id = :epoch_id AND {IS_CLAIMANTS}
    ORDER BY event.event_time, event.id COLLATE "C" LIMIT :at_most OFFSET :after
""")
COUNTS_BY_EPOCH = text(f"""
    SELECT curation.epoch_id, count(*) FILTER (WHERE {COUNTS}) AS counting,
        count(*) FILTER (WHERE NOT {COUNTS}) AS left_out
    {EVENTS} AND curation.epoch_id = ANY(:epoch_ids) AND {IS_CLAIMANTS}
    GROUP BY 1
""")
RECEIPTS = text(f"""
    SELECT part.claimant, array_agg(part.event_id ORDER BY part.event_id COLLATE "C") AS event_ids FROM (
        SELECT curation.event_id, unnest(ARRAY[{CLAIMANT}] || ARRAY({CO_AUTHORS} AND NOT {IS_AUTHOR})) AS claimant
        {EVENTS} AND curation.epoch_id = :epoch_id AND {COUNTS}
    ) AS part
    GROUP BY 1
""")  # noqa: S608 (our own expressions)
LOGINS = text(f"""
    SELECT DISTINCT ON (1) {ACCOUNT_KEY} AS claimant, event.platform_login AS login FROM activity_events AS event
    WHERE event.node_id = :node_id AND event.scope_id = :scope_id AND event.platform_user_id = ANY(:account_ids)
    ORDER BY 1, event.event_time DESC, event.id COLLATE "C"
""")  # noqa: S608 (our own expressions)


class Published(LedgerSection):
    """What is published of a node's finalized epochs. A claimant is named as the signed hash names it."""

    def version(self, scope_id: UUID) -> tuple[int, ...]:
        """Numbers that differ once an epoch of the scope is finalized, or a statement is made, signed or set aside."""
        with self._transaction() as connection:
            return tuple(connection.execute(VERSION, self._scope(scope_id)).one())

    def histories(self, epochs: Sequence[Epoch]) -> dict[int, StatementHistory]:
        """All that was ever stated of each of `epochs`, by its id, of one moment."""
        parameters = {"node_id": self.node_id, "epoch_ids": [epoch.id for epoch in epochs]}
        statements: defaultdict[int, list[Statement]] = defaultdict(list)
        signatures: defaultdict[int, list[StatementSignature]] = defaultdict(list)
        with self._snapshot() as connection:
            for row in connection.execute(STATEMENTS, parameters):
                statements[row.epoch_id].append(Statement(**row._mapping))
            for epoch_id, *columns in connection.execute(SIGNATURES, parameters):
                signatures[epoch_id].append(StatementSignature(*columns))
            asides = {
                epoch_id: stored_set_asides(connection, {"node_id": self.node_id, "epoch_id": epoch_id})
                for epoch_id in connection.scalars(WITH_SET_ASIDES, parameters).all()
            }
        return {
            epoch.id: StatementHistory(statements[epoch.id], signatures[epoch.id], asides.get(epoch.id, []))
            for epoch in epochs
        }

    def corrections(self, epoch: Epoch) -> list[Correction]:
        """What was put right of the epoch's statements, and why."""
        with self._transaction() as connection:
            return [Correction(**row._mapping) for row in connection.execute(CORRECTIONS, self._of(epoch))]

    def claimed(self, epoch: Epoch, claimant: str, at_most: int, after: int = 0) -> list[ClaimedEvent]:
        """At most `at_most` events of a claimant, behind the first `after` of them, by their time."""
        limits = {"claimant": claimant, "at_most": at_most, "after": after}
        with self._transaction() as connection:
            rows = connection.execute(CLAIMED, {**self._of(epoch), "scope_id": epoch.scope_id, **limits})
            return [ClaimedEvent(**row._mapping) for row in rows]

    def counts(self, scope_id: UUID, epochs: Sequence[Epoch], claimant: str) -> dict[int, ClaimedCount]:
        """How many events of a claimant each of `epochs` has, by its id; those with none are not there."""
        ids = {"epoch_ids": [epoch.id for epoch in epochs], "claimant": claimant}
        with self._transaction() as connection:
            rows = connection.execute(COUNTS_BY_EPOCH, {**self._scope(scope_id), **ids})
            return {row.epoch_id: ClaimedCount(row.counting, row.left_out) for row in rows}

    def receipts(self, epoch: Epoch) -> Mapping[str, Sequence[str]]:
        """By claimant, the ids of the epoch's events that count, in code-point order."""
        with self._transaction() as connection:
            rows = connection.execute(RECEIPTS, {**self._of(epoch), "scope_id": epoch.scope_id})
            return {row.claimant: row.event_ids for row in rows}

    def logins(self, scope_id: UUID, account_ids: Sequence[str]) -> dict[str, str]:
        """The login that each account last used, by its key; `account_ids` are those of any source."""
        with self._transaction() as connection:
            rows = connection.execute(LOGINS, {**self._scope(scope_id), "account_ids": list(account_ids)})
            return {row.claimant: row.login for row in rows}
