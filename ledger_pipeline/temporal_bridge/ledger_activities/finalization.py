"""A finalization where the ledger is at hand: the Temporal activity, and `epoch finalize --direct` without Temporal.

It may be repeated at any point.
"""

from typing import Any

from temporalio import activity

from ledger_pipeline.core.errors import PayloadError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.pipeline.signed_inputs import SignedInputs
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.temporal_bridge.contract import FINALIZE_EPOCH, FinalizeEpochInput, FinalizeEpochResult, parse
from ledger_pipeline.temporal_bridge.worker.threads import Threads
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of


class FinalizeActivities:
    """`finalizeEpoch` over one ledger, in `threads`."""

    def __init__(self, spec: RepoSpec, ledger: PostgresLedger, threads: Threads) -> None:
        self._spec = spec
        self._ledger = ledger
        self._threads = threads

    @activity.defn(name=FINALIZE_EPOCH)
    async def finalize_epoch(self, payload: Any = None) -> dict[str, Any]:
        """FinalizeEpochInput -> FinalizeEpochResult, as `pipeline.settle.finalize` promises."""
        return await self._threads.run_to_end(self._finalize, payload)

    def _finalize(self, payload: Any) -> dict[str, Any]:
        asked = parse(FinalizeEpochInput, payload)
        epoch = self._ledger.epochs.of_id(int(asked.epoch_id))
        if epoch is None or epoch.scope_id not in {scope.scope_id for scope in self._spec.scopes}:
            raise PayloadError("epochId", f"{asked.epoch_id} is no epoch of this node's scopes")
        result = finalize_signed(
            self._ledger,
            self._spec,
            epoch,
            asked.signature,
            asked.signer_address,
            asked.inputs_signature,
            accept_pinned_spec=bool(asked.accept_pinned_spec),
        )
        return result.model_dump(mode="json")


def finalize_signed(
    ledger: PostgresLedger,
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
    several = made.approvals.threshold > 1
    return FinalizeEpochResult(
        epoch_id=str(epoch.id),
        scope_id=epoch.scope_id,
        statement_id=None if made.statement is None else made.statement.id,
        allocation_set_hash=made.numbers.allocation_set_hash,
        pool_total_credits=str(made.numbers.pool_total_credits),
        supersedes_statement_id=made.numbers.supersedes,
        users=made.users,
        outcome=made.outcome.value,
        scheme=made.scheme.value,
        signed=made.approvals.signed if several else None,
        threshold=made.approvals.threshold if several else None,
    )
