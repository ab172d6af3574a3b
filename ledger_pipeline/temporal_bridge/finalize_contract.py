"""What goes over the wire to finalize an epoch: names, ids, payload and result, camelCase JSON for any SDK."""

from hashlib import sha256
from typing import Annotated
from uuid import UUID

from pydantic import Field, StrictBool, StrictStr

from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.temporal_bridge.contract import EpochId, Wire

FINALIZE_EPOCH_WORKFLOW = "FinalizeEpochWorkflow"
FINALIZE_EPOCH = "finalizeEpoch"


class FinalizeEpochInput(Wire):
    """Which epoch, and an approver's signature of its message; `signerAddress` says whose it should be.

    `inputsSignature` is theirs of what the statement follows from; clients of before know of none. With
    `acceptPinnedSpec` an epoch that closed with other pins than the repo-spec's is finalized by what it closed with.
    """

    epoch_id: EpochId
    signature: Annotated[StrictStr, Field(min_length=1)]
    signer_address: StrictStr | None = None
    inputs_signature: Annotated[StrictStr, Field(min_length=1)] | None = None
    accept_pinned_spec: StrictBool | None = None


class FinalizeEpochResult(Wire):
    """The epoch's statement, for how many `users`; its lines are in the ledger, for a payload holds 2 MB.

    Credits are a string: they may be larger than JSON keeps exact. `outcome` is stated, amended, signed (a further
    signature of a statement that was there) or unchanged; none where an earlier release finalized.
    """

    epoch_id: EpochId
    scope_id: UUID
    statement_id: UUID
    allocation_set_hash: str
    pool_total_credits: str
    supersedes_statement_id: UUID | None = None
    users: int
    outcome: str | None = None


def finalize_workflow_id(
    scope_id: UUID,
    epoch_id: int,
    signature: str,
    signer_address: str | None = None,
    inputs_signature: str | None = None,
    accept_pinned_spec: bool = False,
) -> str:
    """One finalization of an epoch by one signature at a time: whoever brings another waits for no result of this."""
    asked = f"{canonical_signature(signature)} {(signer_address or '').lower()}"
    if inputs_signature is not None:
        asked += f" {canonical_signature(inputs_signature)}"
    if accept_pinned_spec:
        asked += " as pinned"
    return f"ledger-finalize-{scope_id}-{epoch_id}-{sha256(asked.encode()).hexdigest()[:16]}"
