"""Payout statements, their signatures and corrections: immutable, and finalized in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.claimants import check_set_hash_key
from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.pins import reserves_accounts
from ledger_pipeline.store import collected_signatures, set_asides, signing_requests, stating
from ledger_pipeline.store.allocations import stored_allocations
from ledger_pipeline.store.curation import doubtful_events, uncurated_events, weighed_events
from ledger_pipeline.store.epoch_rows import epoch_rows
from ledger_pipeline.store.pool import components
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.selection import Selection, settled_selection
from ledger_pipeline.store.statement_records import (
    Correction,
    Decide,
    EpochRows,
    Finalization,
    NumberedRows,
    OneOfSeveral,
    Outcome,
    Reopening,
    SameStatement,
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
    SELECT signature.id, statement_id, signer_wallet, signature, signed_at, scheme
    FROM statement_signatures AS signature
    JOIN payout_statements AS statement ON statement.id = statement_id
    WHERE signature.node_id = :node_id AND statement.node_id = :node_id AND statement.epoch_id = :epoch_id
    ORDER BY signed_at, signer_wallet
""")
INPUTS_SIGNATURES = text("""
    SELECT inputs_root, signature, id, statement_id, signer_wallet FROM statement_inputs_signatures AS signature
    WHERE node_id = :node_id AND epoch_id = :epoch_id
        AND NOT EXISTS (SELECT FROM set_asides WHERE inputs_signature_id = signature.id)
    ORDER BY signed_at, id
""")
# The latest word on each user counts; the others stay to be read.
CORRECTIONS = text("""
    SELECT DISTINCT ON (supersedes_statement_id, user_id COLLATE "C")
        id, supersedes_statement_id, user_id, units, reason, created_at FROM statement_corrections AS correction
    WHERE node_id = :node_id AND epoch_id = :epoch_id
        AND NOT EXISTS (SELECT FROM set_asides WHERE correction_id = correction.id)
    ORDER BY supersedes_statement_id, user_id COLLATE "C", id DESC
""")
CORRECT = text("""
    INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason)
    VALUES (:node_id, :epoch_id, :statement_id, :user_id, :units, :reason)
""")
STATED_SINCE = text("""
    SELECT statement.id, statement.created_at, epoch.scope_id, epoch.period_start
    FROM payout_statements AS statement JOIN epochs AS epoch ON epoch.id = statement.epoch_id
    WHERE statement.node_id = :node_id AND (statement.created_at, statement.id) > (:created_at, :statement_id)
    ORDER BY statement.created_at, statement.id LIMIT :at_most
""")
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
            if isinstance(decided, OneOfSeveral):
                if not decided.is_there:
                    collected_signatures.collect(connection, self._of(epoch), decided)
                outcome = Outcome.UNCHANGED if decided.is_there else Outcome.COLLECTED
                return Finalization(None, decided.numbers, decided.users, outcome, decided.scheme, decided.approvals)
            if isinstance(decided, SameStatement):
                if not decided.is_there:
                    stating.sign(connection, self._of(epoch), decided.statement.id, decided)
                outcome = Outcome.UNCHANGED if decided.is_there else Outcome.SIGNED
                return _finalization(decided.statement, outcome, decided)
            statement_id = stating.state(connection, self._of(epoch), decided)
            history = statement_history(connection, self._of(epoch))
            [statement] = [row for row in history.statements if row.id == statement_id]
            outcome = Outcome.STATED if decided.supersedes is None else Outcome.AMENDED
            return _finalization(statement, outcome, decided)

    def waiting_epochs(self) -> set[int]:
        """The epochs that have signatures of numbers which no statement has."""
        with self._transaction() as connection:
            return collected_signatures.waiting_epochs(connection, self.node_id)

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
            return statement_history(connection, self._of(epoch))

    def epoch_of(self, row_id: UUID) -> int | None:
        """The epoch that a statement, signature or component of that id belongs to; None where the node has none."""
        with self._transaction() as connection:
            return set_asides.epoch_of_row(connection, self.node_id, row_id)

    def set_aside(self, epoch: Epoch, row_id: UUID, reason: str, check: Callable[[StatementHistory], None]) -> None:
        """Take a row of the epoch's out, on record, unless `check` of the chain raises.

        Only the owner of the ledger may: StoreError.
        """
        with self._transaction() as connection:
            connection.execute(LOCK_EPOCH, self._of(epoch))
            check(statement_history(connection, self._of(epoch)))
            set_asides.set_row_aside(connection, self._of(epoch), row_id, reason)

    def set_numbered_aside(self, rows: NumberedRows, reason: str) -> int:
        """Take those rows of the node out, on record, that are of the epoch of the first there is; how many.

        Only the owner of the ledger may, and none that a statement rests on: StoreError.
        """
        with self._transaction() as connection:
            return set_asides.set_numbers_aside(connection, self.node_id, rows, reason)

    def reopen(self, epoch: Epoch, reason: str) -> None:
        """Open an epoch in review again, on record: what it had closed with is kept, its base issuance is set aside.

        Only the owner of the ledger may, and only as long as no statement of it stands: StoreError.
        """
        with self._transaction() as connection:
            set_asides.reopen(connection, self._of(epoch), reason)

    def reopenings(self, epoch: Epoch) -> list[Reopening]:
        """When the epoch was opened again, by whom and why, oldest first."""
        with self._transaction() as connection:
            return set_asides.stored_reopenings(connection, self._of(epoch))

    def inputs_signatures(self, epoch: Epoch) -> list[StoredInputsSignature]:
        """The signatures of what the epoch's statements follow from, but those set aside."""
        with self._transaction() as connection:
            return [
                StoredInputsSignature(**row._mapping) for row in connection.execute(INPUTS_SIGNATURES, self._of(epoch))
            ]

    def correct(self, epoch: Epoch, statement_id: UUID, user_id: str, units: int, reason: str) -> None:
        """Put a user's units right, in milli, for the statement that shall supersede that one.

        Raises IdentityError for a user whom that statement does not have and who is none by the rule of ids; where the
        epoch reserves shares of accounts, their keys are good too.
        """
        if user_id not in {str(line["userId"]) for row in self.of(epoch) for line in row.payouts}:
            check_set_hash_key(user_id, reserves_accounts=reserves_accounts(epoch.pins))
        parameters = {**self._of(epoch), "statement_id": statement_id}
        with self._transaction() as connection:
            connection.execute(CORRECT, {**parameters, "user_id": user_id, "units": units, "reason": reason})

    def remember_request(self, epoch: Epoch, numbers: StatedNumbers) -> None:
        """Keep what is handed out to be signed, once. Raises StoreError where it is not kept: nobody signs it then."""
        with self._transaction() as connection:
            if signing_requests.number_of(connection, self._of(epoch), numbers) is None:
                raise StoreError(
                    f"the ledger did not keep what was to be signed of epoch {epoch.window.key}, so nothing is handed "
                    "out: another row of signing_requests is in its place; ask the owner of the ledger"
                )

    def handed_out_elsewhere(self, epoch: Epoch, numbers: StatedNumbers) -> list[int]:
        """The requests by which these numbers were handed out to be signed for another place of the chain that stands.

        By their numbers, REQUESTS_NAMED of them at most.
        """
        with self._transaction() as connection:
            return signing_requests.handed_out_elsewhere(connection, self._of(epoch), numbers)

    def recent_requests(self) -> list[SigningRequest]:
        """The node's latest REQUESTS_REMEMBERED signing requests, latest first."""
        with self._transaction() as connection:
            return signing_requests.recent_requests(connection, self.node_id)

    def stated_since(self, created_at: datetime, statement_id: UUID) -> list[Stated]:
        """Statements made after that one, oldest first, at most STATEMENTS_LISTED."""
        after = {"created_at": created_at, "statement_id": statement_id}
        parameters = {"node_id": self.node_id, **after, "at_most": STATEMENTS_LISTED}
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
            selected=settled_selection(connection, self.node_id, epoch),
            history=statement_history(connection, self._of(epoch)),
            corrections=[Correction(**row._mapping) for row in connection.execute(CORRECTIONS, self._of(epoch))],
            collected=collected_signatures.stored(connection, self._of(epoch)),
            rows=lambda: epoch_rows(connection, self.node_id, epoch.id),
            known_names=Selection(self._engine, self.node_id).known_names,
            handed_out_elsewhere=partial(signing_requests.handed_out_elsewhere, connection, self._of(epoch)),
        )


def _finalization(statement: Statement, outcome: Outcome, signed: SignedStatement | SameStatement) -> Finalization:
    numbers = StatedNumbers(
        statement.allocation_set_hash, statement.pool_total_credits, statement.supersedes_statement_id
    )
    return Finalization(statement, numbers, len(statement.payouts), outcome, signed.scheme, signed.approvals)


def statement_history(connection: Connection, parameters: dict[str, object]) -> StatementHistory:
    """All that was ever stated of the epoch that `parameters` name, by node and id."""
    return StatementHistory(
        [Statement(**row._mapping) for row in connection.execute(STATEMENTS, parameters)],
        [StatementSignature(**row._mapping) for row in connection.execute(SIGNATURES, parameters)],
        set_asides.stored_set_asides(connection, parameters),
    )


def _in_order(statements: Sequence[Statement]) -> list[Statement]:
    """Along the chain, whatever the clocks said: the original, then what supersedes it, and so on."""
    following = {statement.supersedes_statement_id: statement for statement in statements}
    chain: list[Statement] = []
    after: UUID | None = None
    while after in following:
        chain.append(following[after])
        after = chain[-1].id
    return chain
