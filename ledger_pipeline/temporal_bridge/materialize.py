"""The Temporal activity that has Dagster materialize a partition: one Dagster run for each workflow run, whatever
happens to workers, servers and connections in between.

An attempt first looks for what earlier ones did: the run that carries the workflow run's id, else one in progress for
the partition; only then it launches. Two launches at once (a request that was believed lost) leave one run: the older.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.core.partition_runs import (
    ACTIVITY_EVENTS_ASSET,
    COLLECT_EPOCH_JOB,
    EPOCH_STATUS,
    STREAM_ASSETS,
    TRIGGER_TAG,
    WORKFLOW_ID_TAG,
    WORKFLOW_RUN_ID_TAG,
    WORKFLOW_URL_TAG,
    covers_partition,
    format_partition_key,
    partition_tags,
)
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.temporal_bridge.contract import (
    MATERIALIZE_PARTITION,
    RUN_CANCELED,
    RUN_FAILED,
    RUN_FAILED_IN_PASSING,
    RUN_FOUND_SIGNAL,
    DagsterRunFound,
    MaterializeInput,
    MaterializeOutput,
    StreamCounts,
    parse,
)
from ledger_pipeline.temporal_bridge.dagster_client import CANCELED, SUCCESS, DagsterClient, DagsterRun
from ledger_pipeline.temporal_bridge.failures import domain_failures

TRIGGER = "temporal"
POLL_SECONDS = 1.0
# Half of the heartbeat timeout at most, so that one late beat is no lost worker.
BEAT_SECONDS = 5.0
# A wait without an answer from Dagster is given back to Temporal after this long, where people see why it waits.
SILENCE_SECONDS = 300.0
# How long a canceled run may take to end, and how long Dagster is asked to cancel it while it does not answer.
CANCEL_SECONDS = 120.0

_T = TypeVar("_T")


class PartitionActivities:
    """`materializePartition`, with Dagster's API and Temporal's client injected.

    `workflow_url` gives the page of a workflow run, None where Temporal's UI is not known.
    """

    def __init__(
        self, dagster: DagsterClient, temporal: Client, workflow_url: Callable[[str, str], str | None]
    ) -> None:
        self._dagster = dagster
        self._temporal = temporal
        self._workflow_url = workflow_url

    @activity.defn(name=MATERIALIZE_PARTITION)
    async def materialize_partition(self, payload: Any) -> MaterializeOutput:
        """Have Dagster materialize a partition (MaterializeInput) and wait for it to end.

        Fails with RUN_FAILED or RUN_FAILED_IN_PASSING, as the run's failure says, or RUN_CANCELED, each with the run's
        link; with a retryable failure while Dagster does not answer. Canceled, it cancels its own run, not one it
        attached to.
        """
        with domain_failures():
            request = parse(MaterializeInput, payload)
            beat = _Heartbeat()
            beating = asyncio.create_task(beat.keep_on())
            try:
                return await self._materialize(request, beat)
            except asyncio.CancelledError:
                await self._on_cancellation(beat)
                raise
            finally:
                beating.cancel()

    async def _materialize(self, request: MaterializeInput, beat: "_Heartbeat") -> MaterializeOutput:
        while True:
            run, attached = await self._find_or_launch(request, beat)
            await self._tell_workflow(run)
            ended = await self._ended(run, beat, attached=attached)
            if ended is not None and ended.status == SUCCESS:
                return await self._output(request, ended, attached=attached)
            if not attached:
                raise self._deleted(run.run_id) if ended is None else await self._failure(ended)
            # Somebody else's run did not do it: what was asked of us is still to be done.
            beat.forget()

    async def _find_or_launch(self, request: MaterializeInput, beat: "_Heartbeat") -> tuple[DagsterRun, bool]:
        if own := await self._own_run():
            return own, False
        if beat.launched is not None:
            raise self._deleted(beat.launched)
        if beat.attached_to is not None and (run := await _in_thread(self._dagster.find_run, beat.attached_to)):
            return run, True
        epoch_key = EpochWindow(request.period_start, request.period_end).key
        for run in await _in_thread(self._dagster.unfinished_runs):
            if _materializes_all(run) and covers_partition(run.tags, epoch_key, request.scope_key):
                return run, True
        await _to_its_end(self._dagster.launch, self._tags(epoch_key, request.scope_key))
        own = await self._own_run()
        if own is None:
            raise DagsterUnavailable("Dagster does not list the run that it has just launched")
        return own, False

    async def _own_run(self) -> DagsterRun | None:
        """The run of this workflow run; younger ones that are not finished are canceled."""
        runs = await _in_thread(self._dagster.runs_tagged, {WORKFLOW_RUN_ID_TAG: _workflow_run_id()})
        for surplus in runs[1:]:
            if surplus.is_unfinished:
                activity.logger.warning(f"Dagster run {surplus.run_id} is one too many, and is canceled")
                await _to_its_end(self._dagster.cancel, surplus.run_id)
        return runs[0] if runs else None

    def _tags(self, epoch_key: str, scope_key: str) -> dict[str, str]:
        workflow_id, run_id = _workflow_id(), _workflow_run_id()
        url = self._workflow_url(workflow_id, run_id)
        return {
            **partition_tags(epoch_key, scope_key),
            TRIGGER_TAG: TRIGGER,
            WORKFLOW_ID_TAG: workflow_id,
            WORKFLOW_RUN_ID_TAG: run_id,
            **({WORKFLOW_URL_TAG: url} if url else {}),
        }

    async def _tell_workflow(self, run: DagsterRun) -> None:
        """So that its memo and progress show the run while it goes on."""
        handle = self._temporal.get_workflow_handle(_workflow_id(), run_id=_workflow_run_id())
        found = DagsterRunFound(run_id=run.run_id, url=self._dagster.run_url(run.run_id))
        try:
            await handle.signal(RUN_FOUND_SIGNAL, found)
        except RPCError as error:
            # It is told again with the result; the run itself must not depend on it.
            activity.logger.warning(f"the workflow cannot be told of Dagster run {run.run_id} yet: {error.message}")

    async def _ended(self, run: DagsterRun, beat: "_Heartbeat", *, attached: bool) -> DagsterRun | None:
        """Wait for the run to end, through restarts of Dagster: the ended run, None where it was deleted.

        Raises DagsterUnavailable after SILENCE_SECONDS.
        """
        answered_at = time.monotonic()
        beat.on_run(run, self._dagster.run_url(run.run_id), attached=attached)
        while run.is_unfinished:
            await asyncio.sleep(POLL_SECONDS)
            try:
                # Of our own all are looked up: a launch believed lost may come to life while we wait.
                now = await (_in_thread(self._dagster.find_run, run.run_id) if attached else self._own_run())
            except DagsterUnavailable as error:
                if time.monotonic() - answered_at > SILENCE_SECONDS:
                    raise
                beat.on_silence(str(error))
            else:
                if now is None:
                    return None
                run = now
                answered_at = time.monotonic()
                beat.on_run(run, self._dagster.run_url(run.run_id), attached=attached)
        return run

    async def _output(self, request: MaterializeInput, run: DagsterRun, *, attached: bool) -> MaterializeOutput:
        key = format_partition_key(EpochWindow(request.period_start, request.period_end).key, request.scope_key)
        found = await _in_thread(self._dagster.materializations, run.run_id)
        metadata = {each.asset: each.metadata for each in found if each.partition == key}
        status = metadata.get(ACTIVITY_EVENTS_ASSET, {}).get(EPOCH_STATUS)
        return MaterializeOutput(
            run_id=run.run_id,
            url=self._dagster.run_url(run.run_id),
            attached=attached,
            epoch_status=None if status is None else str(status),
            streams={stream: _counts(metadata[asset]) for stream, asset in STREAM_ASSETS.items() if asset in metadata},
        )

    async def _failure(self, run: DagsterRun) -> ApplicationError:
        url = self._dagster.run_url(run.run_id)
        if run.status == CANCELED:
            return ApplicationError(f"Dagster run {run.run_id} was canceled: {url}", run.run_id, url, type=RUN_CANCELED)
        failure = await _in_thread(self._dagster.failure, run.run_id)
        kind = RUN_FAILED_IN_PASSING if failure.retryable else RUN_FAILED
        problem = f"Dagster run {run.run_id} failed: {failure.message} ({url})"
        return ApplicationError(problem, run.run_id, url, type=kind)

    def _deleted(self, run_id: str) -> ApplicationError:
        """Deleting a run is a person's act, as canceling it is: launching it anew would undo what they wanted."""
        problem = f"Dagster run {run_id} was deleted in Dagster before its end was seen"
        return ApplicationError(problem, run_id, self._dagster.run_url(run_id), type=RUN_CANCELED)

    async def _on_cancellation(self, beat: "_Heartbeat") -> None:
        """Leave nothing running of a canceled workflow; leave the run alone where only this attempt ends."""
        details = activity.cancellation_details()
        if details is not None and details.worker_shutdown and not details.cancel_requested:
            raise ApplicationError(
                "the worker is shutting down: another one goes on with the Dagster run",
                type="WorkerShutdown",
                next_retry_delay=timedelta(milliseconds=100),
            )
        if details is None or not details.cancel_requested:
            return
        until = time.monotonic() + CANCEL_SECONDS
        while True:
            try:
                if not await self._cancel_own_runs():
                    return
            except DagsterUnavailable as error:
                beat.on_silence(str(error))
            if time.monotonic() > until:
                raise DagsterError(
                    f"the Dagster run of workflow run {_workflow_run_id()} could not be canceled in time"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _cancel_own_runs(self) -> bool:
        """Ask Dagster to cancel what this workflow run launched; whether anything is unfinished still."""
        unfinished = [
            run
            for run in await _in_thread(self._dagster.runs_tagged, {WORKFLOW_RUN_ID_TAG: _workflow_run_id()})
            if run.is_unfinished
        ]
        for run in unfinished:
            if run.status != "CANCELING":
                await _in_thread(self._dagster.cancel, run.run_id)
        return bool(unfinished)


class _Heartbeat:
    """What the server is told while we wait, and what an earlier attempt told it."""

    def __init__(self) -> None:
        told = activity.info().heartbeat_details
        before = told[0] if told and isinstance(told[0], dict) else {}
        self._told: dict[str, Any] = before
        self.attached_to: str | None = before.get("runId") if before.get("attached") else None
        self.launched: str | None = None if before.get("attached") else before.get("runId")

    def on_run(self, run: DagsterRun, url: str, *, attached: bool) -> None:
        """The run's id, link and step."""
        self._told = {
            "runId": run.run_id,
            "url": url,
            "status": run.status,
            "step": run.step,
            "attached": attached,
        }
        activity.heartbeat(self._told)

    def on_silence(self, problem: str) -> None:
        """Dagster does not answer for now."""
        self._told = {**self._told, "problem": problem}
        activity.heartbeat(self._told)

    def forget(self) -> None:
        """The run attached to came to nothing."""
        self.attached_to = None
        self._told = {}

    async def keep_on(self) -> None:
        """Beat while a question to Dagster is under way."""
        while True:
            activity.heartbeat(self._told)
            await asyncio.sleep(BEAT_SECONDS)


async def _in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    return await asyncio.to_thread(function, *arguments)


async def _to_its_end(function: Callable[..., _T], *arguments: Any) -> _T:
    """As `_in_thread`, but a cancellation waits for it: what was asked of Dagster must not come after we looked."""
    asked = asyncio.ensure_future(_in_thread(function, *arguments))
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        with suppress(DagsterError):  # the cancellation is what counts; the runs are looked up again
            await asked
        raise


def _materializes_all(run: DagsterRun) -> bool:
    """Whether the run brings the whole partition into the ledger, not just one of its streams."""
    if run.assets is None:
        return run.job_name == COLLECT_EPOCH_JOB
    return {ACTIVITY_EVENTS_ASSET, *STREAM_ASSETS.values()} <= run.assets


def _counts(metadata: Any) -> StreamCounts:
    number = {name: int(metadata.get(name, 0)) for name in ("seen", "new", "duplicate", "skipped", "late", "conflict")}
    return StreamCounts(
        seen=number["seen"],
        new=number["new"],
        duplicate=number["duplicate"],
        skipped=number["skipped"],
        rejected=number["late"] + number["conflict"],
    )


def _workflow_id() -> str:
    found = activity.info().workflow_id
    if found is None:
        raise DagsterError(f"{MATERIALIZE_PARTITION} belongs to a workflow: its Dagster run carries the workflow's id")
    return found


def _workflow_run_id() -> str:
    found = activity.info().workflow_run_id
    if found is None:
        raise DagsterError(f"{MATERIALIZE_PARTITION} belongs to a workflow: its Dagster run carries the workflow's id")
    return found
