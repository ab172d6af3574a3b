"""A finalization started from outside, and waited for."""

import asyncio
import time
from collections.abc import Callable
from hashlib import sha256
from uuid import UUID

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from ledger_pipeline.core import errors
from ledger_pipeline.core.errors import LedgerError, SignatureError, TemporalUnavailable
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.temporal_bridge.contract import (
    FINALIZE_EPOCH_WORKFLOW,
    TASK_QUEUE,
    FinalizeEpochInput,
    FinalizeEpochResult,
)
from ledger_pipeline.temporal_bridge.pollers import queue_pollers

TIMEOUT_SECONDS = 60.0
WAIT_SECONDS = 2.0


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


async def finalize_epoch(
    client: Client,
    epoch: Epoch,
    signature: str,
    signer_address: str | None = None,
    inputs_signature: str | None = None,
    *,
    accept_pinned_spec: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
    on_wait: Callable[[str], None] = lambda _: None,
) -> FinalizeEpochResult:
    """Run the workflow for `epoch`, attaching to one in progress by the same signature, and wait for its result.

    `on_wait` hears from time to time what is waited for. Raises the error that the ledger refused it with, or
    TemporalUnavailable, also where there is no result after `timeout_seconds`: the workflow goes on then.
    """
    request = FinalizeEpochInput(
        epoch_id=str(epoch.id),
        signature=signature,
        signer_address=signer_address,
        inputs_signature=inputs_signature,
        accept_pinned_spec=accept_pinned_spec or None,
    )
    workflow_id = finalize_workflow_id(
        epoch.scope_id, epoch.id, signature, signer_address, inputs_signature, accept_pinned_spec
    )
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
        result = asyncio.create_task(handle.result(follow_runs=False))
        deadline = time.monotonic() + timeout_seconds
        while not (await asyncio.wait({result}, timeout=min(WAIT_SECONDS, deadline - time.monotonic())))[0]:
            waiting = await _waits_for(client)
            if time.monotonic() >= deadline:
                result.cancel()
                raise TemporalUnavailable(
                    f"the workflow {workflow_id} has no result after {timeout_seconds:g} s: {waiting}. It goes on by "
                    "itself: the same command again waits for it, and --direct writes without Temporal"
                )
            on_wait(waiting)
        answer: FinalizeEpochResult = await result
    except WorkflowFailureError as error:
        raise _as_it_was(error.cause, workflow_id) from error
    except RPCError as error:
        raise TemporalUnavailable(f"the workflow {workflow_id} cannot be started: {error.message}") from error
    return answer


async def _waits_for(client: Client) -> str:
    seen = await queue_pollers(client)
    missing = [kind for kind, pollers in seen.items() if not pollers]
    if missing:
        return f"nobody polls {TASK_QUEUE} for {' and '.join(missing)} tasks: start `ledger-pipeline worker`"
    return "a worker polls, and has not done it yet: its log says why"


def _as_it_was(cause: BaseException, workflow_id: str) -> LedgerError:
    """The error of the ledger that the failure's type names; a plain one where it names none."""
    if isinstance(cause, ApplicationError):
        kind = getattr(errors, cause.type or "", None)
        if isinstance(kind, type) and issubclass(kind, SignatureError | errors.EpochNotReady):
            return kind(cause.message)
        return LedgerError(f"workflow {workflow_id}: {cause.message}")
    return LedgerError(f"workflow {workflow_id}: {cause}")
