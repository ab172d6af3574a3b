"""Collections that are disturbed: processes killed and restarted, runs launched twice or taken away.

Tests that end workers, and those with a webserver of their own, work in a Temporal namespace of their own, where no
other worker can take their work.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests
from sqlalchemy import make_url
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment

from ledger_pipeline.core.sources import source_kinds
from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.dagster_contract import WORKFLOW_RUN_ID_TAG, partition_tags, stream_assets
from ledger_pipeline.local.dagster_services import dagster_webserver
from ledger_pipeline.local.embedded_temporal import TemporalServer, embedded_temporal
from ledger_pipeline.local.processes import free_port
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.sources.simulator.faults import Slow
from ledger_pipeline.temporal_bridge.collection.materialize import PartitionActivities
from ledger_pipeline.temporal_bridge.contract import RUN_CANCELED, MaterializeOutput
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.sources.simulator.worlds import NAME
from ledger_pipeline_tests.temporal import run_activity
from ledger_pipeline_tests.temporal_bridge.conftest import register_namespace
from ledger_pipeline_tests.temporal_bridge.stack import (
    Stack,
    elsewhere,
    eventually_async,
    running_worker,
    start,
    with_client,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("no_faults"), pytest.mark.timeout(180)]

# How long GitHub lets a run wait: for what a test does to it meanwhile.
HELD_SECONDS = 5
PROMPTLY_SECONDS = 10  # a third of the heartbeat timeout


@pytest.fixture
def alone(stack: Stack, temporal_namespace: Settings) -> Stack:
    """The stack in a namespace without any worker."""
    return elsewhere(stack, temporal_namespace)


def hold_next_run(stack: Stack, runs: int = 1) -> None:
    stack.github.faults.for_repository(NAME, Slow(HELD_SECONDS), times=runs)


async def started(client: Client, stack: Stack, week: EpochWindow) -> tuple[WorkflowHandle[Any, Any], str]:
    """A workflow that waits for its Dagster run, and the run's id."""
    handle = await start(client, stack.payload(week), f"disturbed-{week.key}")
    progress = await eventually_async(lambda: handle.query("progress"), lambda state: state["dagsterRunId"])
    return handle, progress["dagsterRunId"]


async def pending(handle: WorkflowHandle[Any, Any]) -> PendingActivityInfo | None:
    """The Temporal activity that the workflow waits for."""
    activities = (await handle.describe()).raw_description.pending_activities
    return activities[0] if activities else None


async def attempts(handle: WorkflowHandle[Any, Any]) -> int:
    """How often the last Temporal activity was tried."""
    events = (await handle.fetch_history()).events
    return [
        event.activity_task_started_event_attributes.attempt
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ][-1]


def begin(stack: Stack, week: EpochWindow) -> tuple[str, str]:
    """The ids of a workflow that waits for its Dagster run, and of that run."""

    async def run(client: Client) -> tuple[str, str]:
        handle, run_id = await started(client, stack, week)
        return handle.id, run_id

    return with_client(stack, run)


def end(stack: Stack, workflow_id: str) -> tuple[Any, int]:
    """The workflow's result, and how many attempts its last Temporal activity took."""

    async def run(client: Client) -> tuple[Any, int]:
        handle = client.get_workflow_handle(workflow_id)
        return await handle.result(), await attempts(handle)

    return with_client(stack, run)


def assert_collected_once(stack: Stack, week: EpochWindow, result: Any, run_id: str) -> None:
    [run] = stack.runs_of(week)
    assert (run.run_id, run.status) == (run_id, "SUCCESS")
    assert (result["dagsterRunId"], result["attached"], result["status"]) == (run_id, False, "review")
    assert [counts["new"] for counts in result["streams"].values()] == [1, 1, 1]
    assert len(stack.event_ids(week)) == 3


# Workers.


def test_the_run_of_a_killed_worker_is_waited_for_by_the_next(alone: Stack) -> None:
    week = alone.next_week()
    hold_next_run(alone)
    with running_worker(alone) as killed:
        workflow_id, run_id = begin(alone, week)
        killed.kill()
    with running_worker(alone):
        result, tries = end(alone, workflow_id)
    assert tries == 2
    assert_collected_once(alone, week, result, run_id)


def test_a_worker_told_to_stop_hands_its_run_on_at_once(alone: Stack) -> None:
    week = alone.next_week()
    hold_next_run(alone)
    with running_worker(alone) as stopped:
        workflow_id, run_id = begin(alone, week)
        stopped.process.send_signal(signal.SIGTERM)
        assert stopped.process.wait(PROMPTLY_SECONDS) == 0
    # The server does not wait for the heartbeat that a worker lost without a word would owe it.
    activity = with_client(alone, lambda client: pending(client.get_workflow_handle(workflow_id)))
    assert activity is not None
    assert (activity.attempt, activity.last_failure.application_failure_info.type) == (2, "WorkerShutdown")
    assert alone.dagster.run(run_id).is_unfinished
    with running_worker(alone):
        result, tries = end(alone, workflow_id)
    assert tries == 2
    assert_collected_once(alone, week, result, run_id)


# What an attempt finds.


def attempt(stack: Stack, week: EpochWindow, workflow_run_id: str, *progress: dict[str, Any]) -> MaterializeOutput:
    """What an attempt of a workflow that does not exist gives; an earlier one `told` this with its heartbeat."""
    payload = {
        "scopeId": str(SCOPE_ID),
        "scopeKey": "default",
        "periodStart": iso_millis(week.start),
        "periodEnd": iso_millis(week.end),
    }

    async def run(client: Client) -> MaterializeOutput:
        environment = ActivityEnvironment(client)
        environment.info = replace(
            environment.info,
            workflow_id=f"none-{workflow_run_id}",
            workflow_run_id=workflow_run_id,
            attempt=2,
            heartbeat_details=progress,
        )
        with closing(WorkerThreads()) as threads:
            activities = PartitionActivities(
                stack.dagster, client, lambda *_: None, threads, stream_assets(source_kinds())
            )
            return await run_activity(environment, activities.materialize_partition, payload)

    return with_client(stack, run)


def launch(stack: Stack, week: EpochWindow, workflow_run_id: str) -> str:
    """A run as an attempt launches it."""
    return stack.dagster.launch({**partition_tags(week.key, "default"), WORKFLOW_RUN_ID_TAG: workflow_run_id})


def test_an_attempt_that_finds_the_workflows_run_launches_no_other(stack: Stack) -> None:
    week, workflow_run_id = stack.next_week(), str(uuid4())
    launched = launch(stack, week, workflow_run_id)
    output = attempt(stack, week, workflow_run_id)
    assert (output.run_id, output.attached) == (launched, False)
    assert [run.run_id for run in stack.runs_of(week)] == [launched]


def test_of_two_runs_of_one_workflow_the_older_stays(stack: Stack) -> None:
    week, workflow_run_id = stack.next_week(), str(uuid4())
    older, younger = launch(stack, week, workflow_run_id), launch(stack, week, workflow_run_id)
    assert attempt(stack, week, workflow_run_id).run_id == older
    assert (stack.ended(older).status, stack.ended(younger).status) == ("SUCCESS", "CANCELED")
    assert len(stack.event_ids(week)) == 3


def test_a_launch_that_comes_to_life_late_is_canceled(stack: Stack) -> None:
    week, workflow_run_id = stack.next_week(), str(uuid4())
    hold_next_run(stack, runs=2)
    older = launch(stack, week, workflow_run_id)

    async def both() -> tuple[MaterializeOutput, str]:
        waiting = asyncio.create_task(asyncio.to_thread(attempt, stack, week, workflow_run_id))
        # By then the attempt has looked for runs, and waits for the one it found.
        await eventually_async(
            lambda: asyncio.to_thread(stack.dagster.run, older), lambda run: run.step is not None and not waiting.done()
        )
        late = await asyncio.to_thread(launch, stack, week, workflow_run_id)
        return await waiting, late

    output, late = asyncio.run(both())
    assert output.run_id == older
    assert stack.ended(late).status == "CANCELED"


def test_an_attempt_goes_on_with_the_run_attached_to_even_if_it_is_over(stack: Stack) -> None:
    week = stack.next_week()
    somebodys = stack.dagster.launch(partition_tags(week.key, "default"))
    assert stack.ended(somebodys).status == "SUCCESS"
    output = attempt(stack, week, str(uuid4()), {"runId": somebodys, "attached": True})
    assert (output.run_id, output.attached) == (somebodys, True)
    assert len(stack.runs_of(week)) == 1


def test_where_the_run_attached_to_was_deleted_it_launches_its_own(stack: Stack) -> None:
    week = stack.next_week()
    output = attempt(stack, week, str(uuid4()), {"runId": str(uuid4()), "attached": True})
    assert [run.run_id for run in stack.runs_of(week)] == [output.run_id]
    assert output.attached is False


def test_an_attempt_whose_own_run_was_deleted_launches_no_other(stack: Stack) -> None:
    week, deleted = stack.next_week(), str(uuid4())
    with pytest.raises(ApplicationError, match=f"Dagster run {deleted} was deleted") as caught:
        attempt(stack, week, str(uuid4()), {"runId": deleted, "attached": False})
    assert caught.value.type == RUN_CANCELED
    assert stack.runs_of(week) == []


# Temporal.


def test_the_temporal_server_killed_and_restarted_costs_no_second_run(stack: Stack, tmp_path: Path) -> None:
    week, port = stack.next_week(), free_port()
    away = elsewhere(stack, read_settings({"temporal_address": f"127.0.0.1:{port}"}))
    hold_next_run(away)
    with ExitStack() as running:
        server = running.enter_context(embedded_temporal(tmp_path, port=port))
        worker = running.enter_context(running_worker(away))
        workflow_id, run_id = begin(away, week)
        server.child.popen.kill()
        server.child.popen.wait()
        running.enter_context(embedded_temporal(tmp_path, port=port))
        result, _ = end(away, workflow_id)
        assert worker.process.poll() is None
        assert_collected_once(away, week, result, run_id)


# Dagster.


class Webserver:
    """One more Dagster webserver over the stack's code server and storage, with a database role of its own."""

    def __init__(self, stack: Stack, postgres_url: str) -> None:
        self._stack = stack
        self._postgres_url = postgres_url
        self._role = f"webserver_{os.getpid()}"
        self._port = free_port()
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self._port}"
        self._administer(f"CREATE ROLE {self._role} LOGIN SUPERUSER")
        storage = make_url(stack.environment["DAGSTER_POSTGRES_URL"]).set(username=self._role)
        self._environment = {
            **stack.environment,
            "DAGSTER_POSTGRES_URL": storage.render_as_string(hide_password=False),
        }

    def start(self) -> None:
        """From the main thread: it would end with any other."""
        self._running.enter_context(dagster_webserver(self._stack.folder, self._port, self._environment))

    def stop(self) -> None:
        self._running.close()

    def close(self) -> None:
        self.stop()
        self._administer(f"DROP ROLE {self._role}")

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Its connections end, and new ones are refused."""
        self._administer(f"ALTER ROLE {self._role} NOLOGIN")
        self._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self._role}'")
        yield
        self._administer(f"ALTER ROLE {self._role} LOGIN")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._postgres_url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def webserver(stack: Stack, postgres_server: str) -> Iterator[Webserver]:
    """A running webserver that tests may stop, and must start again."""
    webserver = Webserver(stack, postgres_server)
    webserver.start()
    yield webserver
    webserver.close()


@pytest.fixture(scope="module")
def bridged(stack: Stack, temporal_server: TemporalServer, webserver: Webserver) -> Iterator[Stack]:
    """The stack in a namespace whose only worker knows Dagster by that webserver."""
    own = elsewhere(stack, register_namespace(temporal_server), DAGSTER_URL=webserver.url)
    with running_worker(own):
        yield own


def test_the_webserver_restarted_mid_wait_costs_no_second_run(bridged: Stack, webserver: Webserver) -> None:
    week = bridged.next_week()
    hold_next_run(bridged)

    async def run(client: Client) -> tuple[Any, str, int]:
        handle, run_id = await started(client, bridged, week)
        await asyncio.to_thread(webserver.stop)
        await eventually_async(lambda: told(client, handle), lambda outcome: outcome.get("problem"))
        webserver.start()
        return await handle.result(), run_id, await attempts(handle)

    result, run_id, tries = with_client(bridged, run)
    assert tries == 1
    assert_collected_once(bridged, week, result, run_id)


def test_dagsters_database_away_mid_wait_costs_no_second_run(bridged: Stack, webserver: Webserver) -> None:
    week = bridged.next_week()
    hold_next_run(bridged)

    async def run(client: Client) -> tuple[Any, str, str]:
        handle, run_id = await started(client, bridged, week)
        with webserver.without_database():
            outcome = await eventually_async(lambda: told(client, handle), lambda outcome: outcome.get("problem"))
        return await handle.result(), run_id, outcome["problem"]

    result, run_id, problem = with_client(bridged, run)
    assert "\n" not in problem
    assert "DAGSTER_URL" in problem
    assert_collected_once(bridged, week, result, run_id)


def test_a_cancellation_while_dagster_is_away_is_carried_out_once_it_is_back(
    bridged: Stack, webserver: Webserver
) -> None:
    week = bridged.next_week()
    bridged.github.faults.for_repository(NAME, Slow(4 * HELD_SECONDS), times=1)

    async def run(client: Client) -> None:
        handle, _ = await started(client, bridged, week)
        await asyncio.to_thread(webserver.stop)
        await handle.cancel()
        # It goes on being tried, and says why.
        await eventually_async(lambda: pending(handle), lambda activity: activity and activity.HasField("last_failure"))
        webserver.start()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)

    with_client(bridged, run)
    [only_run] = bridged.runs_of(week)
    assert only_run.status == "CANCELED"


def test_dagster_down_at_the_start_is_waited_for(bridged: Stack, webserver: Webserver) -> None:
    week = bridged.next_week()
    webserver.stop()

    async def run(client: Client) -> Any:
        handle = await start(client, bridged.payload(week), f"patient-{week.key}")
        activity = await eventually_async(lambda: pending(handle), lambda state: state and state.attempt > 1)
        assert activity is not None
        failure = activity.last_failure
        assert f"{webserver.url} (DAGSTER_URL) does not answer" in failure.message
        assert "\n" not in failure.message
        assert not failure.HasField("cause")
        assert not failure.application_failure_info.non_retryable
        webserver.start()
        return await handle.result()

    result = with_client(bridged, run)
    assert_collected_once(bridged, week, result, result["dagsterRunId"])


def test_a_run_deleted_in_dagster_fails_the_workflow_and_is_not_launched_again(bridged: Stack) -> None:
    week = bridged.next_week()
    hold_next_run(bridged)

    async def run(client: Client) -> tuple[ApplicationError, str]:
        handle, run_id = await started(client, bridged, week)
        await asyncio.to_thread(delete, bridged, run_id)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        return caught.value.cause, run_id

    failure, run_id = with_client(bridged, run)
    assert (failure.type, failure.non_retryable) == (RUN_CANCELED, True)
    assert failure.message == f"Dagster run {run_id} was deleted in Dagster before its end was seen"
    assert bridged.runs_of(week) == []


async def told(client: Client, handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    """What the Temporal activity last told with its heartbeat."""
    activity = await pending(handle)
    if activity is None:
        return {}
    [details] = await client.data_converter.decode(activity.heartbeat_details.payloads) or [{}]
    return details


def delete(stack: Stack, run_id: str) -> None:
    """Delete the run, as Dagster's UI does."""
    mutation = "mutation($id: String!) {deletePipelineRun(runId: $id) {__typename}}"
    answer = requests.post(
        f"{stack.services.url}/graphql", json={"query": mutation, "variables": {"id": run_id}}, timeout=30
    )
    assert answer.json()["data"]["deletePipelineRun"]["__typename"] == "DeletePipelineRunSuccess"
