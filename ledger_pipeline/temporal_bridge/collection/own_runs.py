"""The Dagster runs of a workflow run, of which at most one is meant to be, and the heartbeats of who waits for it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import activity

from ledger_pipeline.core.errors import DagsterError
from ledger_pipeline.dagster_contract import WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG
from ledger_pipeline.temporal_bridge.collection.dagster_answers import DagsterRun
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.worker.threads import Threads

# A sixth of the heartbeat timeout, so that one late beat is no lost worker.
BEAT_SECONDS = 5.0


class OwnRuns:
    """Those of the workflow run that the Temporal activity being executed belongs to; Dagster is asked in `threads`.

    Launching and canceling are carried out though the activity be canceled: they must not come after we looked.
    Raises DagsterError outside a workflow, and as DagsterClient does.
    """

    def __init__(self, dagster: DagsterClient, threads: Threads) -> None:
        info = activity.info()
        if info.workflow_id is None or info.workflow_run_id is None:
            raise DagsterError(f"{info.activity_type} belongs to a workflow: its Dagster run carries the workflow's id")
        self.workflow_id = info.workflow_id
        self.workflow_run_id = info.workflow_run_id
        self._dagster = dagster
        self._threads = threads

    async def find(self) -> DagsterRun | None:
        """The run, the oldest where there are several; younger ones that are not finished are canceled.

        Of a run that Dagster has retried, the last retry.
        """
        runs = await self._all()
        if not runs:
            return None
        retries = _with_retries(runs[0], runs)
        for surplus in runs:
            if surplus.is_unfinished and surplus not in retries:
                activity.logger.warning(f"Dagster run {surplus.run_id} is one too many, and is canceled")
                await self._threads.run_to_end(self._dagster.cancel, surplus.run_id)
        return retries[-1]

    async def launch(self, tags: Mapping[str, str]) -> None:
        """Launch a run with the workflow's ids and `tags`; look for one first."""
        ids = {WORKFLOW_ID_TAG: self.workflow_id, WORKFLOW_RUN_ID_TAG: self.workflow_run_id}
        await self._threads.run_to_end(self._dagster.launch, {**tags, **ids})

    async def cancel(self) -> bool:
        """Ask Dagster to cancel all that is not finished; whether anything is unfinished, or to be retried, still."""
        runs = await self._all()
        retried = {run.retries for run in runs}
        unfinished = [run for run in runs if run.is_unfinished]
        for run in unfinished:
            if run.status != "CANCELING":
                await self._threads.run(self._dagster.cancel, run.run_id)
        return bool(unfinished) or any(run.will_be_retried and run.run_id not in retried for run in runs)

    async def _all(self) -> list[DagsterRun]:
        return await self._threads.run(self._dagster.runs_tagged, {WORKFLOW_RUN_ID_TAG: self.workflow_run_id})


def _with_retries(first: DagsterRun, runs: Sequence[DagsterRun]) -> list[DagsterRun]:
    """The first run, and those that Dagster launched in its place one after the other."""
    chain = [first]
    while successor := next((run for run in runs if run.retries == chain[-1].run_id), None):
        chain.append(successor)
    return chain


class RunHeartbeat:
    """The heartbeats of one attempt. `launched`, `attached_to`: the run that an earlier one launched or attached to."""

    def __init__(self) -> None:
        details = activity.info().heartbeat_details
        before = details[0] if details and isinstance(details[0], dict) else {}
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
