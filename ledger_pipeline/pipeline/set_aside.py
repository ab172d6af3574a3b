"""What the owner of the ledger takes out on record: rows that do not verify, corrections and requests nobody made."""

from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.errors import (
    EpochNotReady,
)
from ledger_pipeline.core.pool import BASE_ISSUANCE
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.pipeline.chain import (
    is_signed_by_approver,
    statement_chain,
)
from ledger_pipeline.pipeline.signers import scope_of
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.statement_records import NumberedRows, StatementHistory

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def set_aside(ledger: "PostgresLedger", spec: RepoSpec, row_id: UUID, reason: str) -> Epoch:
    """Take out a statement that does not verify, a signature that counts for nothing, or a component of a pool.

    Returns the epoch of it, as it was.
    Who did, when and why stays on record. `ledger` is the owner's. Raises EpochNotReady for what verifies, for a
    component of an epoch that is finalized, and for an id that is none of these.
    """
    epoch_id = ledger.statements.epoch_of(row_id)
    epoch = None if epoch_id is None else ledger.epochs.of_id(epoch_id)
    if epoch is None:
        raise EpochNotReady(f"{row_id} is no statement, no signature of one and no component of a pool, of this node")
    # Whoever may write makes epochs of any scope.
    scope = scope_of(spec, epoch.scope_id)
    pinned = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    components = {row.id: row for row in ledger.pool.of(epoch)}
    signatures = {row.id: row for row in ledger.statements.inputs_signatures(epoch)}

    def check(history: StatementHistory) -> None:
        chain = statement_chain(ledger.node_id, scope, epoch, history)
        garbage = {fault.row_id for fault in (*chain.broken, *chain.garbage)}
        if row_id in components:
            component = components[row_id]
            # Of others a person decided the amount, and a person takes it back.
            if component.component_id == BASE_ISSUANCE and pinned == str(component.amount_credits):
                raise EpochNotReady(f"{row_id} is the base_issuance of the pinned repo-spec: what verifies stays")
            if epoch.status is EpochStatus.FINALIZED:
                raise EpochNotReady(f"epoch {epoch.window.key} is finalized, and was paid by its pool")
        elif row_id in signatures:
            row = signatures[row_id]
            [statement] = [statement for statement in history.statements if statement.id == row.statement_id]
            if is_signed_by_approver(ledger.node_id, scope, epoch, statement, row):
                raise EpochNotReady(f"{row_id} verifies: what verifies stays")
        elif row_id not in garbage:
            raise EpochNotReady(
                f"{row_id} is set aside already, is of a statement that is itself to be set aside, or it verifies: "
                "what verifies stays"
            )

    ledger.statements.set_aside(epoch, row_id, reason, check)
    return epoch


def set_numbered_aside(ledger: "PostgresLedger", rows: NumberedRows, reason: str) -> int:
    """Take out corrections that no statement rests on, or requests to sign; of the epoch of the first, how many.

    Who did, when and why stays on record. What was handed out by a request may be stated again then, whoever signed it:
    that nobody did is for the owner to know. `ledger` is the owner's. Raises EpochNotReady where there is none of them.
    """
    count = ledger.statements.set_numbered_aside(rows, reason)
    if count == 0:
        raise EpochNotReady(f"{rows}: the node has no such {rows.kind}, or it is set aside already")
    return count
