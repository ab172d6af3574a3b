"""A stop stops: "Terminate" in Dagster and "Cancel" in Temporal, while four repositories are read side by side."""

import time
from collections.abc import Iterator

import pytest
import requests
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from ledger_pipeline.dagster_contract import partition_tags
from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.sources.simulator.faults import Asked, Slow
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.temporal_bridge.conftest import register_namespace
from ledger_pipeline_tests.temporal_bridge.stack import (
    Stack,
    elsewhere,
    eventually_async,
    running_stack,
    running_worker,
    start,
    with_client,
)
from ledger_pipeline_tests.test_interruption import REPOSITORIES, world
from ledger_pipeline_tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# So slow that the pages last half a minute, for both tests and a busy machine, and so swift that every repository asks
# again twice a second.
PULL_REQUESTS_EACH = 60
HELD_SECONDS = 0.5
BUSY_REQUESTS = 9
PROMPT_SECONDS = 2.0
DEADLINE_SECONDS = 120
TERMINATE = """
mutation Terminate($runIds: [String!]!) {
  terminateRuns(runIds: $runIds, terminatePolicy: SAFE_TERMINATE) {
    ... on TerminateRunsResult { terminateRunResults { __typename } }
  }
}
"""


@pytest.fixture(scope="module")
def four(postgres_server: str, migrated_template: str, temporal_server: TemporalServer) -> Iterator[Stack]:
    """A stack that collects four repositories, a pull request a page."""
    with running_stack(
        postgres_server, migrated_template, temporal_server.address, *REPOSITORIES, GITHUB_PAGE_SIZE="1"
    ) as stack:
        stack.github.replace_world(world(PULL_REQUESTS_EACH))
        yield stack


class Arrivals:
    """When each request reached GitHub, which answers slowly."""

    def __init__(self, stack: Stack) -> None:
        self.times: list[float] = []
        stack.github.faults.clear()
        stack.github.faults.when(self._noted, Slow(HELD_SECONDS))

    @property
    def are_many(self) -> bool:
        return len(self.times) >= BUSY_REQUESTS

    def assert_stopped(self, told_at: float, ended_at: float, what: str) -> None:
        last_seconds = max(self.times) - told_at
        print(f"{what}: last request {last_seconds:+.2f} s, run ended {ended_at - told_at:.2f} s after the stop")
        assert last_seconds < PROMPT_SECONDS

    def _noted(self, _: Asked) -> bool:
        self.times.append(time.monotonic())
        return True


def assert_pages_stay(stack: Stack) -> None:
    """Some of the pages are stored, and every scan can be gone on with."""
    stored = len(stack.event_ids(stack.running_week))
    assert 0 < stored < PULL_REQUESTS_EACH * len(REPOSITORIES)
    checkpoints = [stack.ledger.scans.checkpoint(SCOPE_ID, "github", repository) for repository in REPOSITORIES]
    assert None not in checkpoints


def test_terminate_in_dagsters_ui_stops_all_repositories_and_keeps_what_is_stored(four: Stack) -> None:
    arrivals = Arrivals(four)
    run_id = four.dagster.launch(partition_tags(four.running_week.key, "default"))
    eventually(lambda: arrivals.are_many, DEADLINE_SECONDS)
    told_at = time.monotonic()
    asked = {"query": TERMINATE, "variables": {"runIds": [run_id]}}
    answer = requests.post(f"{four.services.url}/graphql", json=asked, timeout=60).json()
    assert answer["data"]["terminateRuns"]["terminateRunResults"] == [{"__typename": "TerminateRunSuccess"}]
    assert four.ended(run_id).status == "CANCELED"
    arrivals.assert_stopped(told_at, time.monotonic(), "Terminate in Dagster")
    assert_pages_stay(four)


def test_cancel_in_temporal_stops_all_repositories_and_keeps_what_is_stored(
    four: Stack, temporal_server: TemporalServer
) -> None:
    # In a namespace of its own: a worker of another stack would collect from another GitHub.
    four = elsewhere(four, register_namespace(temporal_server))
    arrivals = Arrivals(four)
    run_id, told_at = "", 0.0

    async def run(client: Client) -> None:
        nonlocal run_id, told_at
        handle = await start(client, four.payload(four.running_week), "stopped")
        progress = await eventually_async(lambda: handle.query("progress"), lambda state: state["dagsterRunId"])
        run_id = progress["dagsterRunId"]
        await eventually_async(lambda: handle.query("progress"), lambda _: arrivals.are_many)
        told_at = time.monotonic()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)

    with running_worker(four):
        with_client(four, run)
        assert four.ended(run_id).status == "CANCELED"
        arrivals.assert_stopped(told_at, time.monotonic(), "Cancel in Temporal")
    assert_pages_stay(four)
