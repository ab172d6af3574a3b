"""CollectEpochWorkflow and FinalizeEpochWorkflow: orchestration only, in Temporal's sandbox.

What they decide follows from their payloads alone.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from ledger_pipeline.core.errors import PayloadError, WindowError
    from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
    from ledger_pipeline.temporal_bridge.contract import (
        BAD_PAYLOAD,
        CANCEL_PARTITION_RUN,
        CANCEL_QUEUE,
        COLLECT_EPOCH_WORKFLOW,
        ENSURE_EPOCH_FOR_WINDOW,
        FINALIZE_EPOCH,
        FINALIZE_EPOCH_WORKFLOW,
        FINALIZE_QUEUE,
        MATERIALIZE_PARTITION,
        MEMO_DAGSTER_RUN_ID,
        MEMO_DAGSTER_RUN_URL,
        PROGRESS_QUERY,
        RUN_CANCELED,
        RUN_FAILED,
        RUN_FAILED_IN_PASSING,
        RUN_FOUND_SIGNAL,
        CollectEpochInput,
        CollectEpochPayload,
        CollectEpochResult,
        DagsterRunFound,
        EnsureEpochInput,
        EnsureEpochOutput,
        FinalizeEpochInput,
        FinalizeEpochResult,
        MaterializeInput,
        MaterializeOutput,
        Progress,
        parse,
    )

OPEN = "open"

# Patience with a database or a Dagster that is down: a collection that comes late is better than none.
PATIENCE = timedelta(hours=20)
# A person waits for a finalization; what the ledger refuses is refused at once.
FINALIZATION_PATIENCE = timedelta(hours=1)
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
# A run's failure is the workflow's: the Temporal activity is not retried for it, and no second run launched.
RUN_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(minutes=1),
    non_retryable_error_types=[RUN_FAILED, RUN_FAILED_IN_PASSING, RUN_CANCELED],
)

# A patch of this workflow, whose earlier runs wait for the attempt before they cancel the Dagster run.
CANCELS_AT_ONCE = "cancels-the-run-at-once"

SCHEDULED_START = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


@workflow.defn(name=COLLECT_EPOCH_WORKFLOW)
class CollectEpochWorkflow:
    """Ensures the epoch of a moment and, while it is open, has Dagster materialize its partition."""

    def __init__(self) -> None:
        self._progress = Progress(stage="starting")

    @workflow.run
    async def run(self, payload: Any = None) -> CollectEpochResult:
        """Collect the epoch that holds `asOf`, else the scheduled time, else the start of the workflow.

        `payload` is a CollectEpochPayload. Fails at once, non-retryable and naming the field, for one that is
        malformed or of another scope; otherwise as its Temporal activities fail.
        """
        try:
            result = await self._collect(_checked(payload))
        except asyncio.CancelledError:
            self._now(stage="canceled")
            raise
        except (ActivityError, ApplicationError) as error:
            self._now(stage="canceled" if is_cancelled_exception(error) else "failed")
            if isinstance(error, ActivityError) and isinstance(error.cause, ApplicationError):
                raise _failure(error.cause) from error
            # As it is: with another cause a cancellation would be taken for a failure, which a schedule retries.
            raise
        self._now(stage="done")
        return result

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> Progress:
        """What the workflow is doing: its stage, the epoch once known, and the Dagster run once there is one."""
        return self._progress

    @workflow.signal(name=RUN_FOUND_SIGNAL)
    def dagster_run_found(self, run: DagsterRunFound) -> None:
        """The Dagster run is known: the memo links to it from now on."""
        if self._progress.dagster_run_id != run.run_id:
            workflow.upsert_memo({MEMO_DAGSTER_RUN_ID: run.run_id, MEMO_DAGSTER_RUN_URL: run.url})
            self._now(dagster_run_id=run.run_id, dagster_run_url=run.url)

    async def _collect(self, request: CollectEpochInput) -> CollectEpochResult:
        window = _window(request)
        self._now(stage="ensuring epoch", period_start=window.start, period_end=window.end)
        epoch = await workflow.execute_activity(
            ENSURE_EPOCH_FOR_WINDOW,
            EnsureEpochInput(
                period_start=window.start, period_end=window.end, scope_id=request.scope_id, requested=request
            ),
            result_type=EnsureEpochOutput,
            start_to_close_timeout=timedelta(minutes=2),
            schedule_to_close_timeout=PATIENCE,
            retry_policy=RETRIES,
        )
        self._now(epoch_id=epoch.epoch_id)
        result = CollectEpochResult(
            epoch_id=epoch.epoch_id,
            status=epoch.status,
            scope_id=request.scope_id,
            scope_key=request.scope_key,
            period_start=window.start,
            period_end=window.end,
            drift=epoch.drift,
        )
        return await self._materialize(request, window, result) if epoch.status == OPEN else result

    async def _materialize(
        self, request: CollectEpochInput, window: EpochWindow, result: CollectEpochResult
    ) -> CollectEpochResult:
        self._now(stage="materializing")
        materializing = workflow.start_activity(
            MATERIALIZE_PARTITION,
            MaterializeInput(
                scope_id=request.scope_id,
                scope_key=request.scope_key,
                period_start=window.start,
                period_end=window.end,
            ),
            result_type=MaterializeOutput,
            start_to_close_timeout=PATIENCE,
            schedule_to_close_timeout=PATIENCE,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RUN_RETRIES,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        try:
            run = await asyncio.shield(materializing)
        except asyncio.CancelledError:
            materializing.cancel()
            # At once: an attempt hears of its cancellation with its next heartbeat only.
            if workflow.patched(CANCELS_AT_ONCE):
                await _cancel_run()
            with suppress(ActivityError):
                await materializing
            # Again, for what it may have launched meanwhile, and where no attempt was there to hear of it.
            await _cancel_run()
            raise
        self.dagster_run_found(DagsterRunFound(run_id=run.run_id, url=run.url))
        return result.model_copy(
            update={
                "status": run.epoch_status or result.status,
                "dagster_run_id": run.run_id,
                "dagster_run_url": run.url,
                "attached": run.attached,
                "streams": run.streams,
                "unread": run.unread,
            }
        )

    def _now(self, **changed: Any) -> None:
        self._progress = self._progress.model_copy(update=changed)


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
                schedule_to_close_timeout=FINALIZATION_PATIENCE,
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


async def _cancel_run() -> None:
    await workflow.execute_activity(
        CANCEL_PARTITION_RUN,
        task_queue=CANCEL_QUEUE,
        start_to_close_timeout=timedelta(minutes=2),
        schedule_to_close_timeout=PATIENCE,
        retry_policy=RETRIES,
    )


def _checked(payload: object) -> CollectEpochInput:
    try:
        return parse(CollectEpochPayload, payload).input
    except PayloadError as error:
        raise ApplicationError(str(error), type=BAD_PAYLOAD, non_retryable=True) from None


def _window(request: CollectEpochInput) -> EpochWindow:
    """The window of the moment the collection is for; the wall clock is never asked."""
    try:
        return EpochCalendar(request.epoch_length_days).window_at(request.as_of or _scheduled_start())
    except WindowError as error:
        problem = f"input.epochLengthDays, input.asOf: {error}"
        raise ApplicationError(problem, type=BAD_PAYLOAD, non_retryable=True) from None


def _scheduled_start() -> datetime:
    info = workflow.info()
    return info.typed_search_attributes.get(SCHEDULED_START) or info.workflow_start_time


def _failure(cause: ApplicationError) -> ApplicationError:
    """What failed a Temporal activity as the workflow's own failure, so that its retry policy can go by it."""
    retryable = cause.type == RUN_FAILED_IN_PASSING or not (
        cause.non_retryable or cause.type in {RUN_FAILED, RUN_CANCELED}
    )
    return ApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=not retryable)
