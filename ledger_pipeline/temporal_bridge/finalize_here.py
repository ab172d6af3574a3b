"""A finalization where the ledger is at hand: the worker's activity, and `epoch finalize --direct` without Temporal."""

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.pipeline.settle import SignedInputs, finalize
from ledger_pipeline.store.port import Epoch
from ledger_pipeline.store.settlement_port import SettlingLedger
from ledger_pipeline.temporal_bridge.finalize_contract import FinalizeEpochResult
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.record import facts_of


def finalize_signed(
    ledger: SettlingLedger,
    spec: RepoSpec,
    epoch: Epoch,
    signature: str,
    signer_address: str | None,
    inputs_signature: str | None,
    *,
    accept_pinned_spec: bool = False,
) -> FinalizeEpochResult:
    """The statement, written or found, and what was done, as the contract has it. Raises as `settle.finalize`."""
    inputs = None
    if inputs_signature is not None:
        inputs = SignedInputs(inputs_signature, lambda rows: inputs_root(facts_of(rows)))
    made = finalize(ledger, spec, epoch, signature, signer_address, inputs, accept_pinned_spec=accept_pinned_spec)
    statement = made.statement
    return FinalizeEpochResult(
        epoch_id=str(epoch.id),
        scope_id=epoch.scope_id,
        statement_id=statement.id,
        allocation_set_hash=statement.allocation_set_hash,
        pool_total_credits=str(statement.pool_total_credits),
        supersedes_statement_id=statement.supersedes_statement_id,
        users=len(statement.payouts),
        outcome=made.outcome.value,
    )
