"""Payout statements, their signatures and corrections: immutable, and finalized in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.identifiers import check_id
from ledger_pipeline.store.allocations import stored_allocations
from ledger_pipeline.store.curation import doubtful_events, uncurated_events, weighed_events
from ledger_pipeline.store.epoch_rows import epoch_rows
from ledger_pipeline.store.pool import components
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.statement_records import (
    Correction,
    Decide,
    EpochRows,
    Finalization,
    Numbered,
    NumberedRows,
    Outcome,
    Reopening,
    SameStatement,
    SetAside,
    Settlement,
    SignedStatement,
    SigningRequest,
    Stated,
    StatedNumbers,
    Statement,
    StatementHistory,
    StatementSignature,
    StoredInputsSignature,
)

# Whoever writes what a statement rests on holds the epoch FOR SHARE (triggers do), so nothing changes behind this.
LOCK_EPOCH = text("SELECT status FROM epochs WHERE id = :epoch_id AND node_id = :node_id FOR UPDATE")
STATEMENTS = text("""
    SELECT id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json AS payouts, supersedes_statement_id,
        created_at
    FROM payout_statements WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY created_at, id
""")
SIGNATURES = text("""
    SELECT signature.id, statement_id, signer_wallet, signature, signed_at FROM statement_signatures AS signature
    JOIN payout_statements AS statement ON statement.id = statement_id
    WHERE signature.node_id = :node_id AND statement.node_id = :node_id AND statement.epoch_id = :epoch_id
    ORDER BY signed_at, signer_wallet
""")
SET_ASIDES = text("""
    SELECT statement_id, signature_id, pool_component_id, inputs_signature_id, reason, actor, set_aside_at
    FROM set_asides
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND num_nonnulls(correction_id, signing_request_id) = 0
    ORDER BY id
""")
# A command is one transaction, and so one instant.
NUMBERED_ASIDE = text("""
    SELECT CASE WHEN correction_id IS NULL THEN 'request' ELSE 'correction' END AS kind, reason, actor, set_aside_at,
        min(COALESCE(correction_id, signing_request_id)) AS first,
        max(COALESCE(correction_id, signing_request_id)) AS last
    FROM set_asides
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND num_nonnulls(correction_id, signing_request_id) = 1
    GROUP BY 1, reason, actor, set_aside_at ORDER BY set_aside_at, first
""")
SET_ASIDE = text("""
    INSERT INTO set_asides
        (node_id, epoch_id, statement_id, signature_id, pool_component_id, inputs_signature_id, reason)
    SELECT node_id, epoch_id, id, CAST(NULL AS uuid), CAST(NULL AS uuid), CAST(NULL AS uuid), :reason
        FROM payout_statements WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
    UNION ALL
    SELECT statement.node_id, statement.epoch_id, statement.id, signature.id, NULL, NULL, :reason
        FROM statement_signatures AS signature JOIN payout_statements AS statement ON statement.id = statement_id
        WHERE signature.id = :row_id AND statement.node_id = :node_id AND statement.epoch_id = :epoch_id
    UNION ALL
    SELECT node_id, epoch_id, NULL, NULL, id, NULL, :reason FROM epoch_pool_components
        WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
    UNION ALL
    SELECT node_id, epoch_id, NULL, NULL, NULL, id, :reason FROM statement_inputs_signatures
        WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
""")
# Of each kind its table, and what names a row of it that was set aside.
NUMBERED = {
    Numbered.CORRECTION: ("statement_corrections", "correction_id"),
    Numbered.REQUEST: ("signing_requests", "signing_request_id"),
}
LOCK_EPOCH_OF_NUMBER = """
    SELECT id FROM epochs WHERE id = (
        SELECT epoch_id FROM {table} AS numbered
        WHERE node_id = :node_id AND id BETWEEN :first AND :last AND NOT EXISTS (
            SELECT FROM set_asides WHERE {column} = numbered.id
        )
        ORDER BY id LIMIT 1
    ) FOR UPDATE
"""
SET_NUMBERED_ASIDE = """
    INSERT INTO set_asides (node_id, epoch_id, {column}, reason)
    SELECT node_id, epoch_id, id, :reason FROM {table} AS numbered
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND id BETWEEN :first AND :last AND NOT EXISTS (
        SELECT FROM set_asides WHERE {column} = numbered.id
    )
    ORDER BY id
"""
EPOCH_OF = text("""
    SELECT epoch_id FROM payout_statements WHERE id = :row_id AND node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM statement_signatures AS signature
        JOIN payout_statements AS statement ON statement.id = signature.statement_id
        WHERE signature.id = :row_id AND statement.node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM epoch_pool_components WHERE id = :row_id AND node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM statement_inputs_signatures WHERE id = :row_id AND node_id = :node_id
""")
REOPEN = text("INSERT INTO reopenings (node_id, epoch_id, reason) VALUES (:node_id, :epoch_id, :reason)")
REOPENINGS = text("""
    SELECT closed_at, reason, actor, reopened_at FROM reopenings
    WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY id
""")
INPUTS_SIGNATURES = text("""
    SELECT inputs_root, signature, id, statement_id, signer_wallet FROM statement_inputs_signatures AS signature
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND NOT EXISTS (
        SELECT FROM set_asides WHERE inputs_signature_id = signature.id
    )
    ORDER BY signed_at, id
""")
# The latest word on each user counts; the others stay to be read.
CORRECTIONS = text("""
    SELECT DISTINCT ON (supersedes_statement_id, user_id COLLATE "C")
        id, supersedes_statement_id, user_id, units, reason, created_at FROM statement_corrections AS correction
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND NOT EXISTS (
        SELECT FROM set_asides WHERE correction_id = correction.id
    )
    ORDER BY supersedes_statement_id, user_id COLLATE "C", id DESC
""")
CORRECT = text("""
    INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason)
    VALUES (:node_id, :epoch_id, :statement_id, :user_id, :units, :reason)
""")
REQUEST = text("""
    INSERT INTO signing_requests
        (node_id, epoch_id, allocation_set_hash, pool_total_credits, supersedes_statement_id)
    VALUES (:node_id, :epoch_id, :allocation_set_hash, :pool_total_credits, CAST(:supersedes AS uuid))
    ON CONFLICT DO NOTHING
""")
IS_REMEMBERED = text("""
    SELECT EXISTS (
        SELECT FROM signing_requests AS request
        WHERE node_id = :node_id AND epoch_id = :epoch_id AND allocation_set_hash = :allocation_set_hash
            AND pool_total_credits = :pool_total_credits
            AND supersedes_statement_id IS NOT DISTINCT FROM CAST(:supersedes AS uuid)
            AND NOT EXISTS (SELECT FROM set_asides WHERE signing_request_id = request.id)
    )
""")
HANDED_OUT_ELSEWHERE = text("""
    SELECT id FROM signing_requests AS request
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND allocation_set_hash = :allocation_set_hash
        AND pool_total_credits = :pool_total_credits
        AND supersedes_statement_id IS DISTINCT FROM CAST(:supersedes AS uuid) AND NOT EXISTS (
            SELECT FROM set_asides
            WHERE signing_request_id = request.id
                OR (statement_id = request.supersedes_statement_id AND signature_id IS NULL)
        )
    ORDER BY id LIMIT :at_most
""")
RECENT_REQUESTS = text("""
    SELECT request.epoch_id, epoch.scope_id, request.allocation_set_hash, request.pool_total_credits
    FROM signing_requests AS request JOIN epochs AS epoch ON epoch.id = request.epoch_id
    WHERE request.node_id = :node_id ORDER BY request.id DESC LIMIT :at_most
""")
# Held to the commit by whoever makes a statement of the node: so statements are stamped in the order in which they can
# be seen, and whoever asks for those made after one that was seen misses none.
LOCK_STAMPS = text("SELECT pg_advisory_xact_lock(hashtextextended('payout_statements ' || :node_id, 0))")
# Later than any other, whatever the clock says meanwhile.
INSERT_STATEMENT = text("""
    INSERT INTO payout_statements
        (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, supersedes_statement_id, created_at)
    SELECT :node_id, :epoch_id, :allocation_set_hash, :pool_total_credits, :payouts, :supersedes,
        GREATEST(clock_timestamp(), max(created_at) + interval '1 microsecond')
    FROM payout_statements WHERE node_id = :node_id
    RETURNING id
""").bindparams(bindparam("payouts", type_=JSONB))
INSERT_SIGNATURE = text("""
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature)
    VALUES (:node_id, :statement_id, :signer_wallet, :signature)
    ON CONFLICT DO NOTHING
""")
INSERT_INPUTS_SIGNATURE = text("""
    INSERT INTO statement_inputs_signatures (node_id, epoch_id, statement_id, signer_wallet, inputs_root, signature)
    VALUES (:node_id, :epoch_id, :statement_id, :signer_wallet, :inputs_root, :signature)
    ON CONFLICT DO NOTHING
""")
FINALIZE_EPOCH = text("""
    UPDATE epochs SET status = 'finalized', pool_total_credits = :pool_total_credits
    WHERE id = :epoch_id AND node_id = :node_id AND status = 'review'
""")
STATED_SINCE = text("""
    SELECT statement.id, statement.created_at, epoch.scope_id, epoch.period_start
    FROM payout_statements AS statement JOIN epochs AS epoch ON epoch.id = statement.epoch_id
    WHERE statement.node_id = :node_id AND (statement.created_at, statement.id) > (:created_at, :statement_id)
    ORDER BY statement.created_at, statement.id LIMIT :at_most
""")

# A signature is tried against the latest messages that were handed out, to say what it was for if not for this.
REQUESTS_REMEMBERED = 200
REQUESTS_NAMED = 10
STATEMENTS_LISTED = 100


class Statements(LedgerSection):
    """The statements of a node's epochs."""

    def settlement(self, epoch: Epoch) -> Settlement:
        """What a statement of `epoch` would follow from now."""
        with self._snapshot() as connection:
            return self._settlement(connection, epoch, epoch.status)

    def finalize(self, epoch: Epoch, decide: Decide) -> Finalization:
        """What `decide` makes of the epoch, whose rows are locked meanwhile: one transaction for all.

        What `decide` raises passes, and nothing is written.
        """
        with self._transaction() as connection:
            status = connection.scalar(LOCK_EPOCH, self._of(epoch))
            decided = decide(self._settlement(connection, epoch, EpochStatus(status)))
            if isinstance(decided, Statement):
                return Finalization(decided, Outcome.UNCHANGED)
            if isinstance(decided, SameStatement):
                self._sign(connection, epoch, decided.statement.id, decided)
                return Finalization(decided.statement, Outcome.SIGNED)
            numbers = {**self._of(epoch), "pool_total_credits": decided.pool_total_credits}
            connection.execute(LOCK_STAMPS, {"node_id": str(self.node_id)})
            statement_id = connection.execute(
                INSERT_STATEMENT,
                {
                    **numbers,
                    "allocation_set_hash": decided.allocation_set_hash,
                    "payouts": [payout.to_json() for payout in decided.payouts],
                    "supersedes": decided.supersedes,
                },
            ).scalar_one()
            self._sign(connection, epoch, statement_id, decided)
            if decided.supersedes is None:
                connection.execute(FINALIZE_EPOCH, numbers)
            history = self._history(connection, epoch)
            [statement] = [row for row in history.statements if row.id == statement_id]
            return Finalization(statement, Outcome.STATED if decided.supersedes is None else Outcome.AMENDED)

    def rows(self, epoch: Epoch) -> EpochRows:
        """Every row that the epoch's statements follow from, of one moment."""
        with self._snapshot() as connection:
            return epoch_rows(connection, self.node_id, epoch.id)

    def of(self, epoch: Epoch) -> list[Statement]:
        """The epoch's statements but those set aside, oldest first: each supersedes the one before."""
        history = self.history(epoch)
        aside = {row.signature_id or row.statement_id for row in history.set_asides}
        return _in_order([row for row in history.statements if row.id not in aside])

    def history(self, epoch: Epoch) -> StatementHistory:
        """All that was ever stated of the epoch."""
        with self._snapshot() as connection:
            return self._history(connection, epoch)

    def epoch_of(self, row_id: UUID) -> int | None:
        """The epoch that a statement, signature or component of that id belongs to; None where the node has none."""
        with self._transaction() as connection:
            found: int | None = connection.scalar(EPOCH_OF, {"row_id": row_id, "node_id": self.node_id})
            return found

    def set_aside(self, epoch: Epoch, row_id: UUID, reason: str, check: Callable[[StatementHistory], None]) -> None:
        """Take a row of the epoch's out, on record, unless `check` of the chain raises.

        Only the owner of the ledger may: StoreError.
        """
        with self._transaction() as connection:
            connection.execute(LOCK_EPOCH, self._of(epoch))
            check(self._history(connection, epoch))
            connection.execute(SET_ASIDE, {**self._of(epoch), "row_id": row_id, "reason": reason})

    def set_numbered_aside(self, rows: NumberedRows, reason: str) -> int:
        """Take those rows of the node out, on record, that are of the epoch of the first there is; how many.

        Only the owner of the ledger may, and none that a statement rests on: StoreError.
        """
        table, column = NUMBERED[rows.kind]
        parameters = {"node_id": self.node_id, "first": rows.first, "last": rows.last, "reason": reason}
        with self._transaction() as connection:
            lock = text(LOCK_EPOCH_OF_NUMBER.format(table=table, column=column))
            epoch_id = connection.scalar(lock, parameters)
            set_aside = text(SET_NUMBERED_ASIDE.format(table=table, column=column))
            return connection.execute(set_aside, {**parameters, "epoch_id": epoch_id}).rowcount

    def reopen(self, epoch: Epoch, reason: str) -> None:
        """Open an epoch in review again, on record: what it had closed with is kept, its base issuance is set aside.

        Only the owner of the ledger may, and only as long as no statement of it stands: StoreError.
        """
        with self._transaction() as connection:
            connection.execute(REOPEN, {**self._of(epoch), "reason": reason})

    def reopenings(self, epoch: Epoch) -> list[Reopening]:
        """When the epoch was opened again, by whom and why, oldest first."""
        with self._transaction() as connection:
            return [Reopening(**row._mapping) for row in connection.execute(REOPENINGS, self._of(epoch))]

    def inputs_signatures(self, epoch: Epoch) -> list[StoredInputsSignature]:
        """The signatures of what the epoch's statements follow from, but those set aside."""
        with self._transaction() as connection:
            rows = connection.execute(INPUTS_SIGNATURES, self._of(epoch))
            return [StoredInputsSignature(**row._mapping) for row in rows]

    def correct(self, epoch: Epoch, statement_id: UUID, user_id: str, units: int, reason: str) -> None:
        """Put a user's units right, in milli, for the statement that shall supersede that one.

        Raises IdentityError for a user whom that statement does not have and who is none by the rule of ids.
        """
        if user_id not in {str(line["userId"]) for row in self.of(epoch) for line in row.payouts}:
            check_id("user", user_id)
        parameters = {**self._of(epoch), "statement_id": statement_id}
        with self._transaction() as connection:
            connection.execute(CORRECT, {**parameters, "user_id": user_id, "units": units, "reason": reason})

    def remember_request(self, epoch: Epoch, numbers: StatedNumbers) -> None:
        """Keep what is handed out to be signed, once. Raises StoreError where it is not kept: nobody signs it then."""
        parameters = {**self._of(epoch), **vars(numbers)}
        with self._transaction() as connection:
            connection.execute(REQUEST, parameters)
            if not connection.scalar(IS_REMEMBERED, parameters):
                raise StoreError(
                    f"the ledger did not keep what was to be signed of epoch {epoch.window.key}, so nothing is handed "
                    "out: another row of signing_requests is in its place; ask the owner of the ledger"
                )

    def handed_out_elsewhere(self, epoch: Epoch, numbers: StatedNumbers) -> list[int]:
        """The requests by which these numbers were handed out to be signed for another place of the chain that stands.

        By their numbers, REQUESTS_NAMED of them at most.
        """
        with self._transaction() as connection:
            return self._handed_out_elsewhere(connection, epoch, numbers)

    def recent_requests(self) -> list[SigningRequest]:
        """The node's latest REQUESTS_REMEMBERED signing requests, latest first."""
        parameters = {"node_id": self.node_id, "at_most": REQUESTS_REMEMBERED}
        with self._transaction() as connection:
            return [SigningRequest(**row._mapping) for row in connection.execute(RECENT_REQUESTS, parameters)]

    def stated_since(self, created_at: datetime, statement_id: UUID) -> list[Stated]:
        """Statements made after that one, oldest first, at most STATEMENTS_LISTED."""
        parameters = {
            "node_id": self.node_id,
            "created_at": created_at,
            "statement_id": statement_id,
            "at_most": STATEMENTS_LISTED,
        }
        with self._transaction() as connection:
            return [Stated(*row) for row in connection.execute(STATED_SINCE, parameters)]

    def _settlement(self, connection: Connection, epoch: Epoch, status: EpochStatus) -> Settlement:
        return Settlement(
            status=status,
            allocations=stored_allocations(connection, self.node_id, epoch.id),
            components=components(connection, self.node_id, epoch.id),
            curated=weighed_events(connection, self.node_id, epoch),
            uncurated_events=uncurated_events(connection, self.node_id, epoch),
            doubtful=doubtful_events(connection, self.node_id, epoch),
            history=self._history(connection, epoch),
            corrections=[Correction(**row._mapping) for row in connection.execute(CORRECTIONS, self._of(epoch))],
            rows=lambda: epoch_rows(connection, self.node_id, epoch.id),
            handed_out_elsewhere=lambda numbers: self._handed_out_elsewhere(connection, epoch, numbers),
        )

    def _handed_out_elsewhere(self, connection: Connection, epoch: Epoch, numbers: StatedNumbers) -> list[int]:
        parameters = {**self._of(epoch), **vars(numbers), "at_most": REQUESTS_NAMED}
        return list(connection.scalars(HANDED_OUT_ELSEWHERE, parameters))

    def _history(self, connection: Connection, epoch: Epoch) -> StatementHistory:
        parameters = self._of(epoch)
        return StatementHistory(
            [Statement(**row._mapping) for row in connection.execute(STATEMENTS, parameters)],
            [StatementSignature(**row._mapping) for row in connection.execute(SIGNATURES, parameters)],
            [
                *(SetAside(**row._mapping) for row in connection.execute(SET_ASIDES, parameters)),
                *(_numbered_aside(**row._mapping) for row in connection.execute(NUMBERED_ASIDE, parameters)),
            ],
        )

    def _sign(
        self, connection: Connection, epoch: Epoch, statement_id: UUID, signed: SignedStatement | SameStatement
    ) -> None:
        parameters: dict[str, Any] = {
            "node_id": self.node_id,
            "statement_id": statement_id,
            "signer_wallet": signed.signer_wallet,
            "signature": signed.signature,
        }
        connection.execute(INSERT_SIGNATURE, parameters)
        if signed.inputs is not None:
            connection.execute(INSERT_INPUTS_SIGNATURE, {**parameters, "epoch_id": epoch.id, **vars(signed.inputs)})


def _numbered_aside(kind: str, first: int, last: int, **decided: Any) -> SetAside:
    return SetAside(None, None, None, None, numbered=NumberedRows(Numbered(kind), first, last), **decided)


def _in_order(statements: Sequence[Statement]) -> list[Statement]:
    """Along the chain, whatever the clocks said: the original, then what supersedes it, and so on."""
    following = {each.supersedes_statement_id: each for each in statements}
    chain: list[Statement] = []
    after: UUID | None = None
    while after in following:
        chain.append(following[after])
        after = chain[-1].id
    return chain
