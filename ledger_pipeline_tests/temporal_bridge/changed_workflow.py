"""CollectEpochWorkflow as a careless change would leave it: workflows that run meanwhile could not go on."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from ledger_pipeline.temporal_bridge.contract import (
        COLLECT_EPOCH_WORKFLOW,
        ENSURE_EPOCH_FOR_WINDOW,
        LOAD_CURSOR,
        MATERIALIZE_PARTITION,
        DagsterRunFound,
    )

TIMEOUT = timedelta(minutes=2)


class Changed:
    """Both take the signal that the real one takes, so that it is not what fails them."""

    @workflow.signal(name="dagsterRunFound")
    def dagster_run_found(self, dagster_run: DagsterRunFound) -> None:
        pass


@workflow.defn(name=COLLECT_EPOCH_WORKFLOW)
class AsksForTheCursorFirst(Changed):
    """One more Temporal activity before those that older code began with."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        for activity in (LOAD_CURSOR, ENSURE_EPOCH_FOR_WINDOW, MATERIALIZE_PARTITION):
            await workflow.execute_activity(activity, start_to_close_timeout=TIMEOUT)


@workflow.defn(name=COLLECT_EPOCH_WORKFLOW)
class WaitsBeforeMaterializing(Changed):
    """The same Temporal activities, with a timer between them."""

    @workflow.run
    async def run(self, payload: Any = None) -> None:
        await workflow.execute_activity(ENSURE_EPOCH_FOR_WINDOW, start_to_close_timeout=TIMEOUT)
        await workflow.sleep(1)
        await workflow.execute_activity(MATERIALIZE_PARTITION, start_to_close_timeout=TIMEOUT)
