"""The Dagster runs that carry a workflow run's id: at most one is meant to be, whatever is believed lost on the way."""

from collections.abc import Mapping, Sequence

from temporalio import activity

from ledger_pipeline.core.errors import DagsterError
from ledger_pipeline.core.partition_runs import WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG
from ledger_pipeline.temporal_bridge.dagster_client import DagsterClient, DagsterRun
from ledger_pipeline.temporal_bridge.threads import Threads


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
