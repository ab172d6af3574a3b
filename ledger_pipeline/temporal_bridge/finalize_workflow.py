"""FinalizeEpochWorkflow: one activity, which is one transaction of the ledger. In Temporal's sandbox."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from ledger_pipeline.core.errors import PayloadError
    from ledger_pipeline.temporal_bridge.contract import BAD_PAYLOAD, FINALIZE_QUEUE, parse
    from ledger_pipeline.temporal_bridge.finalize_contract import (
        FINALIZE_EPOCH,
        FINALIZE_EPOCH_WORKFLOW,
        FinalizeEpochInput,
        FinalizeEpochResult,
    )

# Patience with a database that is down; what the ledger refuses is refused at once.
PATIENCE = timedelta(hours=1)
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


@workflow.defn(name=FINALIZE_EPOCH_WORKFLOW)
class FinalizeEpochWorkflow:
    """Writes an epoch's statement with its signature; again, it returns the statement there is."""

    @workflow.run
    async def run(self, payload: Any = None) -> FinalizeEpochResult:
        """`payload` is a FinalizeEpochInput. Fails at once, non-retryable, with the error's class as its type."""
        try:
            request = parse(FinalizeEpochInput, payload)
        except PayloadError as error:
            raise ApplicationError(str(error), type=BAD_PAYLOAD, non_retryable=True) from None
        try:
            result: FinalizeEpochResult = await workflow.execute_activity(
                FINALIZE_EPOCH,
                request,
                result_type=FinalizeEpochResult,
                task_queue=FINALIZE_QUEUE,
                start_to_close_timeout=timedelta(minutes=2),
                schedule_to_close_timeout=PATIENCE,
                retry_policy=RETRIES,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                cause = error.cause
                raise ApplicationError(
                    cause.message, *cause.details, type=cause.type, non_retryable=cause.non_retryable
                ) from error
            raise
        return result
