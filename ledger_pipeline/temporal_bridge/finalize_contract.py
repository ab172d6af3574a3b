"""What goes over the wire to finalize an epoch: names, ids, payload and result, camelCase JSON for any SDK."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StrictStr

from ledger_pipeline.temporal_bridge.contract import EpochId, Wire

FINALIZE_EPOCH_WORKFLOW = "FinalizeEpochWorkflow"
FINALIZE_EPOCH = "finalizeEpoch"


class FinalizeEpochInput(Wire):
    """Which epoch, and an approver's signature of its message; `signerAddress` says whose it should be."""

    epoch_id: EpochId
    signature: Annotated[StrictStr, Field(min_length=1)]
    signer_address: StrictStr | None = None


class FinalizeEpochResult(Wire):
    """The epoch's statement, for how many `users`; its lines are in the ledger, for a payload holds 2 MB.

    Credits are a string: they may be larger than JSON keeps exact.
    """

    epoch_id: EpochId
    scope_id: UUID
    statement_id: UUID
    allocation_set_hash: str
    pool_total_credits: str
    supersedes_statement_id: UUID | None = None
    users: int


def finalize_workflow_id(scope_id: UUID, epoch_id: int) -> str:
    """One finalization of an epoch at a time."""
    return f"ledger-finalize-{scope_id}-{epoch_id}"
