"""However many collections wait, an epoch is finalized and a run canceled in seconds, and the threads stay few."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import COLLECT_EPOCH_JOB
from ledger_pipeline.settings import Settings
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.collection.dagster_answers import DagsterRun
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.collection.trigger import manual_payload
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import (
    MATERIALIZE_PARTITION,
    RUN_FOUND_SIGNAL,
    TASK_QUEUE,
    MaterializeInput,
)
from ledger_pipeline.temporal_bridge.finalization import finalize_epoch
from ledger_pipeline.temporal_bridge.worker.queues import QueueWorkers
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.temporal_bridge.worker.worker import WorkerParts, ledger_work
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.store.settlement import Books, reviewed
from ledger_pipeline_tests.temporal_bridge.stack import start

SLOTS = 200
# More than there are slots: the last of them wait for one.
COLLECTIONS = SLOTS + 10
WAITING_QUEUE = "waiting"
PROMPT_SECONDS = 10
DEADLINE_SECONDS = 150


class EndlessDagster:
    """Launches runs that never end unless they are canceled; each answer takes as long as a real one may."""

    ANSWER_SECONDS = 0.02

    def __init__(self) -> None:
        self.runs: dict[str, DagsterRun] = {}
        self._lock = threading.Lock()

    def run_url(self, run_id: str) -> str:
        return f"http://dagster.example/runs/{run_id}"

    def runs_tagged(self, tags: Mapping[str, str]) -> list[DagsterRun]:
        time.sleep(self.ANSWER_SECONDS)
        with self._lock:
            return [run for run in self.runs.values() if tags.items() <= run.tags.items()]

    def unfinished_runs(self) -> list[DagsterRun]:
        time.sleep(self.ANSWER_SECONDS)
        return []

    def launch(self, tags: Mapping[str, str]) -> str:
        return self._keep(str(uuid4()), "STARTED", tags)

    def cancel(self, run_id: str) -> None:
        self._keep(run_id, "CANCELED", self.runs[run_id].tags)

    def _keep(self, run_id: str, status: str, tags: Mapping[str, str]) -> str:
        time.sleep(self.ANSWER_SECONDS)
        with self._lock:
            self.runs[run_id] = DagsterRun(run_id, COLLECT_EPOCH_JOB, status, time.time(), dict(tags), None, ())
        return run_id


@workflow.defn(name="WaitingCollection")
class WaitingCollection:
    """What of CollectEpochWorkflow waits for a Dagster run; two hundred of that in the sandbox would take a minute."""

    @workflow.run
    async def run(self, payload: Any) -> None:
        await workflow.execute_activity(
            MATERIALIZE_PARTITION, payload, task_queue=TASK_QUEUE, schedule_to_close_timeout=timedelta(hours=1)
        )

    @workflow.signal(name=RUN_FOUND_SIGNAL)
    def dagster_run_found(self, _: Any) -> None:
        pass


@asynccontextmanager
async def working(settings: Settings, books: Books, dagster: EndlessDagster) -> AsyncIterator[Client]:
    """The real worker over the ledger of `books`, and one for WaitingCollection; a client of their server."""

    async def fails(error: BaseException) -> None:
        raise AssertionError from error

    client = await connect(settings)
    waiting = Worker(
        client,
        task_queue=WAITING_QUEUE,
        workflows=[WaitingCollection],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    with closing(WorkerThreads()) as threads:
        parts = WorkerParts(settings, books.spec, books.ledger, client, threads)
        work = ledger_work(cast(DagsterClient, dagster), parts)
        workers = QueueWorkers(client, "worker", work, grace_seconds=0, on_fatal_error=fails)
        running = workers.start()
        try:
            async with waiting:
                yield client
        finally:
            await workers.shutdown()
            await asyncio.gather(*running)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_two_hundred_waiting_collections_keep_no_epoch_from_being_finalized_and_no_run_from_being_canceled(
    temporal_namespace: Settings, ledger: PostgresLedger
) -> None:
    books, dagster = reviewed(ledger), EndlessDagster()
    settings = temporal_namespace.model_copy(update={"worker_activity_slots": SLOTS})
    after = EpochWindow(books.of.end, books.of.end + timedelta(days=7))
    payload = manual_payload(books.scope, after.start)
    waiting = MaterializeInput(
        scope_id=SCOPE_ID, scope_key=books.scope.scope_key, period_start=after.start, period_end=after.end
    )
    signature = books.signature()

    async def until(launched: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(dagster.runs) < launched:
            assert time.monotonic() < deadline, f"{len(dagster.runs)} of {launched} wait"
            await asyncio.sleep(0.1)

    async def played() -> None:
        async with working(settings, books, dagster) as client:
            collection = await start(client, payload, "collection")
            await until(launched=1)
            [run] = dagster.runs.values()
            for number in range(COLLECTIONS):
                await client.start_workflow("WaitingCollection", waiting, id=f"w-{number}", task_queue=WAITING_QUEUE)
            await until(launched=SLOTS)

            began = time.monotonic()
            statement = await finalize_epoch(client, books.epoch, signature)
            took_seconds = time.monotonic() - began
            print(f"{len(dagster.runs)} collections wait: finalized in {took_seconds:.2f} s")
            assert statement.users == 2
            assert took_seconds < PROMPT_SECONDS

            began = time.monotonic()
            await collection.cancel()
            while dagster.runs[run.run_id].status != "CANCELED":
                assert time.monotonic() - began < PROMPT_SECONDS
                await asyncio.sleep(0.02)
            print(f"{len(dagster.runs)} collections wait: a run canceled in {time.monotonic() - began:.2f} s")
            with pytest.raises(WorkflowFailureError) as caught:
                await collection.result()
            assert isinstance(caught.value.cause, CancelledError)

            sizes = {"ledger": 8, "reading": 8, "settling": 4, "watching": 8, "canceling": 4}
            names = [thread.name.rpartition("_")[0] for thread in threading.enumerate()]
            assert {name: names.count(name) for name in sizes if names.count(name) > sizes[name]} == {}
            assert "asyncio" not in names  # nothing waits in the loop's own pool

    asyncio.run(played())
