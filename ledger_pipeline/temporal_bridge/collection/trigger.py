"""A collection started: its payload, by hand or by the schedule's own action now; and waiting for its result."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleHandle,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

from ledger_pipeline.core.errors import CollectionNotStarted, CollectionRunFailed, TemporalUnavailable
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import Dialect, RepoSpec, Scope, SourceSpec
from ledger_pipeline.core.windows import iso_millis
from ledger_pipeline.temporal_bridge.contract import (
    COLLECT_EPOCH_WORKFLOW,
    PROGRESS_QUERY,
    TASK_QUEUE,
    CollectEpochResult,
    Progress,
    collect_workflow_id,
)

GRAPH_ID = "ledger:ingest"
SCHEDULE_ID = "governance:ledger_ingest"

# A schedule is triggered in an instant; what it started shows up in its description a moment later.
FIRE_TIMEOUT_SECONDS = 30.0
FIRE_POLL_SECONDS = 0.2
PROGRESS_SECONDS = 1.0
_HOUR_MILLIS = 3_600_000


@dataclass(frozen=True)
class Started:
    """A workflow run, started or found in progress."""

    workflow_id: str
    run_id: str


async def start_collection(client: Client, scope: Scope, as_of: datetime) -> Started:
    """Start the collection of the epoch that holds `as_of`; attaches to one in progress.

    Raises TemporalUnavailable, and WindowError for an epoch that the scope does not have.
    """
    window = scope.window(scope.calendar.window_at(as_of).start.date())
    workflow_id = collect_workflow_id(scope.scope_id, window)
    try:
        handle = await client.start_workflow(
            COLLECT_EPOCH_WORKFLOW,
            manual_payload(scope, as_of),
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
    except RPCError as error:
        raise TemporalUnavailable(f"the workflow {workflow_id} cannot be started: {error.message}") from error
    return Started(workflow_id, handle.result_run_id or (await handle.describe()).run_id)


async def fire_schedule(client: Client, spec: RepoSpec, scope: Scope) -> Started:
    """Have the schedule take its own action now; the run it started, or the one that its overlap policy left going.

    Raises CollectionNotStarted where there is no such schedule or it starts nothing, TemporalUnavailable.
    """
    schedule_id = schedule_id_of(spec, scope)
    handle = client.get_schedule_handle(schedule_id)
    try:
        before = await _started_by(handle)
        running = (await handle.describe()).info.running_actions
        if running:
            return _started(running[-1])
        await handle.trigger()
        deadline = time.monotonic() + FIRE_TIMEOUT_SECONDS
        while (newer_run := await _newer(handle, before)) is None and time.monotonic() < deadline:
            await asyncio.sleep(FIRE_POLL_SECONDS)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise CollectionNotStarted(
                f"there is no Temporal schedule {schedule_id}: run `ledger-pipeline schedules sync`"
            ) from error
        raise TemporalUnavailable(f"the schedule {schedule_id} cannot be triggered: {error.message}") from error
    if newer_run is None:
        raise CollectionNotStarted(f"the schedule {schedule_id} was triggered and started nothing")
    return newer_run


async def wait_for(
    client: Client, started: Started, on_progress: Callable[[Progress], None] = lambda _: None
) -> CollectEpochResult:
    """The result of a collection, once it is there; `on_progress` hears of each stage, the Dagster run's link with it.

    Raises CollectionRunFailed, saying why, where it fails or is canceled.
    """
    handle: WorkflowHandle[Any, CollectEpochResult] = client.get_workflow_handle(
        started.workflow_id, run_id=started.run_id, result_type=CollectEpochResult
    )
    result = asyncio.create_task(handle.result(follow_runs=False))
    reported: Progress | None = None
    while not (await asyncio.wait({result}, timeout=PROGRESS_SECONDS))[0]:
        if (now := await _progress(handle)) is not None and now != reported:
            on_progress(reported := now)
    try:
        return await result
    except WorkflowFailureError as error:
        raise CollectionRunFailed(f"workflow {started.workflow_id}: {_reason(error.cause)}") from error


async def _progress(handle: WorkflowHandle[Any, CollectEpochResult]) -> Progress | None:
    try:
        progress: Progress = await handle.query(PROGRESS_QUERY, result_type=Progress)
    except RPCError:
        # No worker answers right now: waiting goes on all the same.
        return None
    return progress


async def _started_by(handle: ScheduleHandle) -> set[str]:
    recent = (await handle.describe()).info.recent_actions
    return {_started(result.action).run_id for result in recent}


async def _newer(handle: ScheduleHandle, before: set[str]) -> Started | None:
    recent = (await handle.describe()).info.recent_actions
    started = [_started(result.action) for result in recent]
    newer = [workflow for workflow in started if workflow.run_id not in before]
    return newer[-1] if newer else None


def _started(action: object) -> Started:
    if not isinstance(action, ScheduleActionExecutionStartWorkflow):
        raise CollectionNotStarted(f"the schedule does something else than start a workflow: {type(action).__name__}")
    return Started(action.workflow_id, action.first_execution_run_id)


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ApplicationError):
        return cause.message
    return "it was canceled" if isinstance(cause, CancelledError) else str(cause)


def schedule_id_of(spec: RepoSpec, scope: Scope) -> str:
    """The id of the Temporal schedule that collects `scope`."""
    return SCHEDULE_ID if scope == spec.default_scope else f"{SCHEDULE_ID}:{scope.scope_key}"


def scheduled_payload(scope: Scope, schedule_id: str) -> dict[str, Json]:
    """What the schedule sends; the moment that is collected comes from Temporal."""
    identity: dict[str, Json] = {"scheduleId": schedule_id, "temporalScheduleId": schedule_id}
    return {**identity, "graphId": GRAPH_ID, "input": _input(scope)}


def manual_payload(scope: Scope, as_of: datetime) -> dict[str, Json]:
    """What a person's start sends: the epoch that holds `as_of` (aware)."""
    return {"graphId": GRAPH_ID, "input": {**_input(scope), "asOf": iso_millis(as_of)}}


def _source(spec: SourceSpec, dialect: Dialect) -> dict[str, Json]:
    refs: list[Json] = list(spec.source_refs)
    if dialect is Dialect.ATTRIBUTION_PIPELINE:
        return {"attributionPipeline": spec.credit_estimate_algo, "sourceRefs": refs}
    return {"creditEstimateAlgo": spec.credit_estimate_algo, "sourceRefs": refs, "streams": list(spec.streams)}


def _input(scope: Scope) -> dict[str, Json]:
    asked: dict[str, Json] = {
        "version": 1,
        "scopeId": str(scope.scope_id),
        "scopeKey": scope.scope_key,
        "epochLengthDays": scope.epoch_length_days,
        "activitySources": {source_spec.source: _source(source_spec, scope.dialect) for source_spec in scope.sources},
    }
    if scope.dialect is Dialect.CREDIT_ESTIMATE_ALGO:
        asked["autoCloseGracePeriodMs"] = scope.auto_close_grace_hours * _HOUR_MILLIS
    if scope.base_issuance_credits is not None:
        asked["baseIssuanceCredits"] = str(scope.base_issuance_credits)
    if scope.approvers:
        asked["approvers"] = list(scope.approvers)
    return asked
