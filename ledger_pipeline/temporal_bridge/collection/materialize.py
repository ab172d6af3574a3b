"""The Temporal activities that have Dagster materialize a partition, and cancel that: one Dagster run for each workflow
run, whatever happens to workers, servers and connections in between.

An attempt first looks for what earlier ones did: the run that carries the workflow run's id, else one in progress for
the partition; only then it launches. Two launches at once (a request that was believed lost) leave one run: the older.
A run that a limit of its source ended is followed by another: the attempt ends, and Temporal makes the next one once
the limit has passed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from ledger_pipeline.core.errors import DagsterUnavailable
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import (
    ACTIVITY_EVENTS_ASSET,
    COLLECT_EPOCH_JOB,
    EPOCH_STATUS,
    RETRY_OF_TAG,
    RUN_UNREAD,
    SCOPE_ID_TAG,
    TRIGGER_TAG,
    WILL_RETRY_TAG,
    WORKFLOW_URL_TAG,
    StreamCounts,
    covers_partition,
    format_partition_key,
    partition_tags,
)
from ledger_pipeline.temporal_bridge.collection.dagster_answers import CANCELED, FAILURE, SUCCESS, DagsterRun
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.collection.own_runs import OwnRuns, RunHeartbeat
from ledger_pipeline.temporal_bridge.contract import (
    CANCEL_PARTITION_RUN,
    MATERIALIZE_PARTITION,
    RUN_CANCELED,
    RUN_FAILED,
    RUN_FAILED_IN_PASSING,
    RUN_FOUND_SIGNAL,
    RUN_LATER,
    DagsterRunFound,
    MaterializeInput,
    MaterializeOutput,
    StreamCountsWire,
    parse,
)
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads

TRIGGER = "temporal"
POLL_SECONDS = 1.0
# However many runs a worker waits for, it asks Dagster no more often than this.
QUESTIONS_PER_SECOND = 20
# A wait without an answer from Dagster is given back to Temporal after this long, where people see why it waits.
SILENCE_SECONDS = 300.0
# How long Dagster may take to launch a run in place of one that failed, and to say that it will.
RETRY_SECONDS = 120.0
DECISION_SECONDS = 2.0
# Temporal takes a delay of nothing for none given. The run's clock may differ from ours by a moment, too.
SHORTEST_DELAY = timedelta(seconds=1)
# How long a canceled run may take to end before the attempt is given up, for another to go on.
CANCEL_SECONDS = 60.0

_T = TypeVar("_T")


class PartitionActivities:
    """`materializePartition` and `cancelPartitionRun`, with Dagster's API and Temporal's client injected.

    `workflow_url` gives the page of a workflow run, None where Temporal's UI is not known; `stream_assets` are the
    assets that a collection materializes, by stream. Waiting holds no thread.
    """

    def __init__(
        self,
        dagster: DagsterClient,
        temporal: Client,
        workflow_url: Callable[[str, str], str | None],
        threads: WorkerThreads,
        stream_assets: Mapping[str, tuple[str, str]],
    ) -> None:
        self._dagster = dagster
        self._stream_assets = stream_assets
        self._temporal = temporal
        self._workflow_url = workflow_url
        self._threads = threads
        self._waiting = 0

    @activity.defn(name=MATERIALIZE_PARTITION)
    async def materialize_partition(self, payload: Any) -> MaterializeOutput:
        """Have Dagster materialize a partition (MaterializeInput) and wait for it to end.

        Fails with RUN_FAILED or RUN_FAILED_IN_PASSING, as the run's failure says, or RUN_CANCELED, each with the run's
        link; with RUN_LATER, which says when to retry it, where a limit ended the run; with a retryable failure while
        Dagster does not answer. Canceled, it ends and leaves the run to
        `cancelPartitionRun`, which a workflow calls then.
        """
        request, own = parse(MaterializeInput, payload), OwnRuns(self._dagster, self._threads.watching)
        beat = RunHeartbeat()
        beating = asyncio.create_task(beat.keep_on())
        self._waiting += 1
        try:
            return await self._materialize(request, own, beat)
        except asyncio.CancelledError:
            _refuse_shutdown()
            raise
        finally:
            self._waiting -= 1
            beating.cancel()

    @activity.defn(name=CANCEL_PARTITION_RUN)
    async def cancel_partition_run(self) -> None:
        """Cancel what this workflow run launched, and return once all of it has ended; not what it attached to.

        Fails with a retryable failure while Dagster does not answer, or a run takes over CANCEL_SECONDS to end.
        """
        own = OwnRuns(self._dagster, self._threads.canceling)
        deadline = time.monotonic() + CANCEL_SECONDS
        while await own.cancel():
            if time.monotonic() > deadline:
                raise DagsterUnavailable(f"the Dagster run of workflow {own.workflow_id} is being canceled still")
            await asyncio.sleep(POLL_SECONDS)

    async def _materialize(self, request: MaterializeInput, own: OwnRuns, beat: RunHeartbeat) -> MaterializeOutput:
        while True:
            run, attached = await self._find_or_launch(request, own, beat)
            await self._tell_workflow(own, run)
            ended = await self._ended(run, own, beat, attached=attached)
            if ended is not None and ended.status == SUCCESS:
                return await self._output(request, ended, attached=attached)
            if not attached:
                raise self._deleted(run.run_id) if ended is None else await self._failure(ended)
            # Somebody else's run did not do it: what was asked of us is still to be done.
            beat.forget()

    async def _find_or_launch(
        self, request: MaterializeInput, own: OwnRuns, beat: RunHeartbeat
    ) -> tuple[DagsterRun, bool]:
        epoch_key = EpochWindow(request.period_start, request.period_end).key
        tags = {**self._tags(own, epoch_key, request.scope_key), SCOPE_ID_TAG: str(request.scope_id)}
        if existing_run := await own.find():
            if existing_run.retry_at is None or existing_run.retry_at > datetime.now(UTC):
                return existing_run, False
            return await self._launch(own, {**tags, RETRY_OF_TAG: existing_run.run_id}), False
        if beat.launched is not None:
            raise self._deleted(beat.launched)
        if beat.attached_to is not None and (run := await self._ask(self._dagster.find_run, beat.attached_to)):
            return run, True
        for run in await self._ask(self._dagster.unfinished_runs):
            if self._materializes_all(run) and covers_partition(run.tags, epoch_key, request.scope_key):
                return run, True
        return await self._launch(own, tags), False

    async def _launch(self, own: OwnRuns, tags: Mapping[str, str]) -> DagsterRun:
        await own.launch(tags)
        launched = await own.find()
        if launched is None or launched.run_id == tags.get(RETRY_OF_TAG):
            raise DagsterUnavailable("Dagster does not list the run that it has just launched")
        return launched

    def _tags(self, own: OwnRuns, epoch_key: str, scope_key: str) -> dict[str, str]:
        url = self._workflow_url(own.workflow_id, own.workflow_run_id)
        link = {WORKFLOW_URL_TAG: url} if url else {}
        return {**partition_tags(epoch_key, scope_key), TRIGGER_TAG: TRIGGER, **link}

    async def _tell_workflow(self, own: OwnRuns, run: DagsterRun) -> None:
        """Tell the workflow of the run, so that its memo and progress show it while the run goes on."""
        handle = self._temporal.get_workflow_handle(own.workflow_id, run_id=own.workflow_run_id)
        run_found = DagsterRunFound(run_id=run.run_id, url=self._dagster.run_url(run.run_id))
        try:
            await handle.signal(RUN_FOUND_SIGNAL, run_found)
        except RPCError as error:
            # It is told again with the result; the run itself must not depend on it.
            activity.logger.warning(f"the workflow cannot be told of Dagster run {run.run_id} yet: {error.message}")

    async def _ended(self, run: DagsterRun, own: OwnRuns, beat: RunHeartbeat, *, attached: bool) -> DagsterRun | None:
        """Wait for the run to end, through restarts of Dagster: the ended run, None where it was deleted.

        Where Dagster launches another in place of one that failed, that one is waited for. Raises DagsterUnavailable
        after SILENCE_SECONDS.
        """
        answered_at = time.monotonic()
        seen = _Seen(run)
        beat.on_run(run, self._dagster.run_url(run.run_id), attached=attached)
        while run.is_unfinished or (not attached and seen.may_be_retried(run)):
            await asyncio.sleep(max(POLL_SECONDS, self._waiting / QUESTIONS_PER_SECOND))
            try:
                # Of our own all are looked up: a launch believed lost may come to life while we wait.
                now = await (self._ask(self._dagster.find_run, run.run_id) if attached else own.find())
            except DagsterUnavailable as error:
                if time.monotonic() - answered_at > SILENCE_SECONDS:
                    raise
                beat.on_silence(str(error))
            else:
                if now is None:
                    return None
                if now.run_id != run.run_id:
                    await self._tell_workflow(own, now)
                run = now
                answered_at = time.monotonic()
                beat.on_run(run, self._dagster.run_url(run.run_id), attached=attached)
        return run

    async def _ask(self, question: Callable[..., _T], *arguments: Any) -> _T:
        return await self._threads.watching.run(question, *arguments)

    async def _output(self, request: MaterializeInput, run: DagsterRun, *, attached: bool) -> MaterializeOutput:
        key = format_partition_key(EpochWindow(request.period_start, request.period_end).key, request.scope_key)
        materializations = await self._ask(self._dagster.materializations, run.run_id)
        metadata = {
            materialization.asset: materialization.metadata
            for materialization in materializations
            if materialization.partition == key
        }
        status = metadata.get(ACTIVITY_EVENTS_ASSET, {}).get(EPOCH_STATUS)
        collected = {stream: metadata[asset] for stream, asset in self._stream_assets.items() if asset in metadata}
        # All streams of a source say the same.
        unread = dict.fromkeys(str(labels[RUN_UNREAD]) for labels in collected.values() if RUN_UNREAD in labels)
        return MaterializeOutput(
            run_id=run.run_id,
            url=self._dagster.run_url(run.run_id),
            attached=attached,
            epoch_status=None if status is None else str(status),
            streams={stream: _counts(labels) for stream, labels in collected.items()},
            unread="; ".join(unread) or None,
        )

    async def _failure(self, run: DagsterRun) -> ApplicationError:
        url = self._dagster.run_url(run.run_id)
        if run.status == CANCELED:
            return ApplicationError(f"Dagster run {run.run_id} was canceled: {url}", run.run_id, url, type=RUN_CANCELED)
        failure = await self._ask(self._dagster.failure, run.run_id)
        problem = f"Dagster run {run.run_id} failed: {failure.message} ({url})"
        if run.retry_at is not None:
            delay = max(run.retry_at - datetime.now(UTC), SHORTEST_DELAY)
            return ApplicationError(problem, run.run_id, url, type=RUN_LATER, next_retry_delay=delay)
        kind = RUN_FAILED_IN_PASSING if failure.retryable else RUN_FAILED
        return ApplicationError(problem, run.run_id, url, type=kind)

    def _materializes_all(self, run: DagsterRun) -> bool:
        """Whether the run brings the whole partition into the ledger, not just one of its streams."""
        if run.assets is None:
            return run.job_name == COLLECT_EPOCH_JOB
        return {ACTIVITY_EVENTS_ASSET, *self._stream_assets.values()} <= run.assets

    def _deleted(self, run_id: str) -> ApplicationError:
        """Deleting a run is a person's act, as canceling it is: launching it anew would undo what they wanted."""
        problem = f"Dagster run {run_id} was deleted in Dagster before its end was seen"
        return ApplicationError(problem, run_id, self._dagster.run_url(run_id), type=RUN_CANCELED)


class _Seen:
    """Since when a run has been seen as it is: how long its retry is worth waiting for."""

    def __init__(self, run: DagsterRun) -> None:
        self._state = (run.run_id, run.status)
        self._since = time.monotonic()

    def may_be_retried(self, run: DagsterRun) -> bool:
        """Whether another run may yet come in its place: Dagster says so a moment after the failure, then does it."""
        if self._state != (run.run_id, run.status):
            self._state, self._since = (run.run_id, run.status), time.monotonic()
        if run.status != FAILURE or run.tags.get(WILL_RETRY_TAG) == "false":
            return False
        patience = RETRY_SECONDS if run.will_be_retried else DECISION_SECONDS
        return time.monotonic() - self._since < patience


def _refuse_shutdown() -> None:
    """Raises, to be retried at once by another worker, where only this worker ends and not the workflow."""
    details = activity.cancellation_details()
    if details is not None and details.worker_shutdown and not details.cancel_requested:
        raise ApplicationError(
            "the worker is shutting down: another one goes on with the Dagster run",
            type="WorkerShutdown",
            next_retry_delay=timedelta(milliseconds=100),
        )


def _counts(metadata: Mapping[str, int | str]) -> StreamCountsWire:
    counts = StreamCounts.of_metadata(metadata)
    return StreamCountsWire(
        seen=counts.seen,
        new=counts.new,
        duplicate=counts.duplicate,
        skipped=counts.skipped,
        rejected=counts.rejected,
    )
