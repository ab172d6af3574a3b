"""A finalization started from outside, and waited for."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from ledger_pipeline.core import errors
from ledger_pipeline.core.errors import LedgerError, SignatureError, TemporalUnavailable
from ledger_pipeline.store.port import Epoch
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline.temporal_bridge.finalize_contract import (
    FINALIZE_EPOCH_WORKFLOW,
    FinalizeEpochInput,
    FinalizeEpochResult,
    finalize_workflow_id,
)


async def finalize_epoch(
    client: Client,
    epoch: Epoch,
    signature: str,
    signer_address: str | None = None,
    inputs_signature: str | None = None,
) -> FinalizeEpochResult:
    """Run the workflow for `epoch`, attaching to one in progress by the same signature, and wait for its result.

    Raises the error that the ledger refused it with, or TemporalUnavailable.
    """
    request = FinalizeEpochInput(
        epoch_id=str(epoch.id),
        signature=signature,
        signer_address=signer_address,
        inputs_signature=inputs_signature,
    )
    workflow_id = finalize_workflow_id(epoch.scope_id, epoch.id, signature, signer_address, inputs_signature)
    try:
        handle = await client.start_workflow(
            FINALIZE_EPOCH_WORKFLOW,
            request,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            result_type=FinalizeEpochResult,
        )
        result: FinalizeEpochResult = await handle.result(follow_runs=False)
    except WorkflowFailureError as error:
        raise _as_it_was(error.cause, workflow_id) from error
    except RPCError as error:
        raise TemporalUnavailable(f"the workflow {workflow_id} cannot be started: {error.message}") from error
    return result


def _as_it_was(cause: BaseException, workflow_id: str) -> LedgerError:
    """The error of the ledger that the failure's type names; a plain one where it names none."""
    if isinstance(cause, ApplicationError):
        kind = getattr(errors, cause.type or "", None)
        if isinstance(kind, type) and issubclass(kind, SignatureError | errors.EpochNotReady):
            return kind(cause.message)
        return LedgerError(f"workflow {workflow_id}: {cause.message}")
    return LedgerError(f"workflow {workflow_id}: {cause}")
