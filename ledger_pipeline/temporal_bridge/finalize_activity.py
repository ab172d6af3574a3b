"""The Temporal activity that finalizes an epoch in the ledger. It may be repeated at any point."""

from typing import Any

from temporalio import activity

from ledger_pipeline.core.errors import PayloadError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.store.settlement_port import SettlingLedger
from ledger_pipeline.temporal_bridge.contract import parse
from ledger_pipeline.temporal_bridge.failures import domain_failures
from ledger_pipeline.temporal_bridge.finalize_contract import FINALIZE_EPOCH, FinalizeEpochInput
from ledger_pipeline.temporal_bridge.finalize_here import finalize_signed
from ledger_pipeline.temporal_bridge.threads import Threads


class FinalizeActivities:
    """`finalizeEpoch` over one ledger, in `threads`."""

    def __init__(self, spec: RepoSpec, ledger: SettlingLedger, threads: Threads) -> None:
        self._spec = spec
        self._ledger = ledger
        self._threads = threads

    @activity.defn(name=FINALIZE_EPOCH)
    async def finalize_epoch(self, payload: Any = None) -> dict[str, Any]:
        """FinalizeEpochInput -> FinalizeEpochResult, as `pipeline.settle.finalize` promises."""
        return await self._threads.run_to_end(self._finalize, payload)

    def _finalize(self, payload: Any) -> dict[str, Any]:
        with domain_failures():
            asked = parse(FinalizeEpochInput, payload)
            epoch = self._ledger.epoch(int(asked.epoch_id))
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
