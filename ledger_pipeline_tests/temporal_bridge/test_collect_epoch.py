"""One workflow collects one epoch in one Dagster run, and its result says what happened: on the whole stack."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.dagster_contract import TRIGGER_TAG, WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG, partition_tags
from ledger_pipeline.local.embedded_temporal import temporal_command
from ledger_pipeline.sources.simulator.faults import FailedAnswer, NullItem, SecondaryLimit, Slow
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.temporal_bridge.contract import RUN_CANCELED, RUN_FAILED, RUN_FAILED_IN_PASSING
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.postgres import remove_epoch, set_status
from ledger_pipeline_tests.sources.simulator.worlds import NAME
from ledger_pipeline_tests.temporal_bridge.stack import Stack, eventually_async, start, with_client

pytestmark = [pytest.mark.usefixtures("worker", "no_faults"), pytest.mark.timeout(180)]

ONCE = RetryPolicy(maximum_attempts=1)


def collect(stack: Stack, week: EpochWindow, payload: object = None, **options: Any) -> Any:
    """The result of a workflow that collects the week."""

    async def run(client: Client) -> Any:
        handle = await start(client, payload or stack.payload(week), f"collect-{week.key}", **options)
        return await handle.result()

    return with_client(stack, run)


def failure_of(stack: Stack, week: EpochWindow, payload: object = None, **options: Any) -> ApplicationError:
    """Why a workflow over the week failed."""
    with pytest.raises(WorkflowFailureError) as caught:
        collect(stack, week, payload, **options)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


def test_the_result_says_what_happened_and_links_the_run(stack: Stack) -> None:
    week = stack.next_week()
    result = collect(stack, week)
    [run] = stack.runs_of(week)
    [epoch] = stack.ledger.epochs.within(SCOPE_ID, week)
    counts = {"seen": 1, "new": 1, "duplicate": 0, "skipped": 0, "rejected": 0}
    assert result == {
        "epochId": str(epoch.id),
        "status": "review",
        "scopeId": str(SCOPE_ID),
        "scopeKey": "default",
        "periodStart": iso_millis(week.start),
        "periodEnd": iso_millis(week.end),
        "dagsterRunId": run.run_id,
        "dagsterRunUrl": f"{stack.services.url}/runs/{run.run_id}",
        "attached": False,
        "streams": {"pull_requests": counts, "reviews": counts, "issues": counts},
        "drift": [],
        "unread": None,
    }
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_the_result_names_what_could_not_be_read(stack: Stack) -> None:
    week = stack.next_week()
    pull_request = stack.newest_pull_request
    stack.github.faults.for_repository(NAME, NullItem(pull_request.number))
    first = collect(stack, week)
    assert first["unread"].startswith(f"1 item cannot be read: {NAME}#{pull_request.number}"), first
    assert (first["status"], len(stack.event_ids(week))) == ("open", 1)
    stack.github.faults.clear()
    second = collect(stack, week)
    assert second["unread"] is None
    assert (second["status"], len(stack.event_ids(week))) == ("review", 3)


@pytest.mark.e2e
def test_the_run_carries_the_workflow_and_the_workflows_memo_the_run(stack: Stack) -> None:
    week = stack.next_week()

    async def run(client: Client) -> tuple[Any, Any, str]:
        handle = await start(client, stack.payload(week), f"linked-{week.key}")
        result = await handle.result()
        described = await handle.describe()
        history = (await handle.fetch_history()).to_json()
        return result, (described.run_id, await described.memo()), history

    result, (workflow_run_id, memo), history = with_client(stack, run)
    [runs] = stack.runs_of(week)
    assert {key: runs.tags[key] for key in (TRIGGER_TAG, WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG)} == {
        TRIGGER_TAG: "temporal",
        WORKFLOW_ID_TAG: f"linked-{week.key}",
        WORKFLOW_RUN_ID_TAG: workflow_run_id,
    }
    assert memo == {"dagsterRunId": result["dagsterRunId"], "dagsterRunUrl": result["dagsterRunUrl"]}
    page = f"http://temporal.example/namespaces/default/workflows/linked-{week.key}/{workflow_run_id}/history"
    assert links_in_metadata(stack, runs.run_id) == {page}
    assert "ghp_marked_secret" not in history + repr(runs.tags)
    # Events travel from GitHub to the ledger, never through the workflow's history.
    assert "github:pr:" not in history


def links_in_metadata(stack: Stack, run_id: str) -> set[str]:
    query = (
        "query($id: ID!) {runOrError(runId: $id) {... on Run {assetMaterializations {metadataEntries "
        "{label ... on UrlMetadataEntry {url}}}}}}"
    )
    answer = requests.post(
        f"{stack.services.url}/graphql", json={"query": query, "variables": {"id": run_id}}, timeout=30
    ).json()
    materializations = answer["data"]["runOrError"]["assetMaterializations"]
    assert len(materializations) == 4
    return {
        entry["url"]
        for materialization in materializations
        for entry in materialization["metadataEntries"]
        if entry["label"] == "temporal_workflow"
    }


@pytest.mark.e2e
def test_the_plain_command_line_collects_an_epoch_with_a_payload_as_typescript_sends_it(stack: Stack) -> None:
    week = stack.next_week()
    address = ["--address", stack.settings.temporal_address]
    workflow_id = f"ledger-collect-{SCOPE_ID}-{iso_millis(week.start)}-{iso_millis(week.end)}"
    ran = subprocess.run(
        [
            *(temporal_command(), "workflow", "execute", *address, "--output", "json"),
            *("--type", "CollectEpochWorkflow", "--task-queue", "ledger-tasks", "--workflow-id", workflow_id),
            *("--input", json.dumps(stack.payload(week))),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result = json.loads(ran.stdout)["result"]
    assert result["streams"]["reviews"]["new"] == 1
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_an_older_schedules_payload_is_filled_from_the_repo_spec(stack: Stack) -> None:
    week = stack.next_week()
    payload = stack.payload(week, activitySources={"github": {"creditEstimateAlgo": "cogni-v0.0"}})
    del payload["input"]["version"]
    assert collect(stack, week, payload)["drift"] == []
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_what_a_payload_says_otherwise_than_the_repo_spec_is_reported_and_the_repo_spec_decides(stack: Stack) -> None:
    week = stack.next_week()
    sources = {"github": {"creditEstimateAlgo": "cogni-v0.0", "sourceRefs": ["other/repo"], "streams": ["issues"]}}
    result = collect(stack, week, stack.payload(week, activitySources=sources))
    assert result["drift"] == ["input.activitySources.github.sourceRefs", "input.activitySources.github.streams"]
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_a_payload_in_the_other_dialect_collects_and_is_told_as_drift(stack: Stack) -> None:
    week = stack.next_week()
    sources = {"github": {"attributionPipeline": "cogni-v0.0", "sourceRefs": [NAME]}}
    payload = stack.payload(week, activitySources=sources)
    assert collect(stack, week, payload)["drift"] == ["input.activitySources.github.attributionPipeline"]
    assert len(stack.event_ids(week)) == 3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"version": 2}, "input.version"),
        ({"version": "1"}, "input.version"),
        ({"scopeId": "4ff8eac1-0000-0000-0000-00000000000f"}, "input.scopeId"),
        ({"scopeId": "default"}, "input.scopeId"),
        ({"scopeId": None}, "input.scopeId"),
        ({"scopeKey": "other"}, "input.scopeKey"),
        ({"epochLengthDays": 14}, "input.epochLengthDays"),
        ({"epochLengthDays": 10}, "input.epochLengthDays"),
        ({"epochLengthDays": "7"}, "input.epochLengthDays"),
        ({"activitySources": {"gitlab": {}}}, "input.activitySources"),
        ({"activitySources": {"github": {"sourceRefs": "a/b"}}}, "input.activitySources.github.sourceRefs"),
        ({"activitySources": {"github": {"streams": ["stars"]}}}, "input.activitySources.github.streams[0]"),
        ({"asOf": "yesterday"}, "input.asOf"),
        ({"asOf": "2026-02-18T12:00:00"}, "input.asOf"),
        ({"asOf": 1771416000}, "input.asOf"),
        ({"asOf": "2124-02-18T12:00:00Z"}, "has not begun"),
        ({"asOf": "2023-12-30T12:00:00Z"}, "precedes the first epoch"),
        ({"baseIssuanceCredits": 10000}, "input.baseIssuanceCredits"),
        ({"baseIssuanceCredits": "1e4"}, "input.baseIssuanceCredits"),
        ({"approvers": ["0x1"]}, "input.approvers[0]"),
        ({"autoCloseGracePeriodMs": -1}, "input.autoCloseGracePeriodMs"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_a_wrong_payload_fails_at_once_naming_the_field(stack: Stack, changed: dict[str, Any], field: str) -> None:
    week = stack.running_week
    runs = len(stack.runs_of(week))
    failure = failure_of(stack, week, stack.payload(week, **changed))
    assert (failure.type, failure.non_retryable) == ("BadPayload", True)
    assert field in failure.message
    assert len(stack.runs_of(week)) == runs


@pytest.mark.parametrize("payload", [[1], "text", 7, {"input": []}, {"scheduleId": "x"}], ids=json.dumps)
def test_what_is_no_payload_at_all_fails_at_once(stack: Stack, payload: object) -> None:
    failure = failure_of(stack, stack.running_week, payload)
    assert (failure.type, failure.non_retryable) == ("BadPayload", True)


def test_a_workflow_started_without_a_payload_fails_at_once(stack: Stack) -> None:
    async def run(client: Client) -> None:
        await client.execute_workflow("CollectEpochWorkflow", id="no-payload", task_queue="ledger-tasks")

    with pytest.raises(WorkflowFailureError) as caught:
        with_client(stack, run)
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.message == "payload: must be an object"


@pytest.mark.parametrize("status", [EpochStatus.REVIEW, EpochStatus.FINALIZED])
def test_an_epoch_that_is_not_open_is_a_clean_no_op(stack: Stack, status: EpochStatus) -> None:
    week = stack.next_week()
    stack.ledger.epochs.ensure(SCOPE_ID, [week], {"github:pr_merged": 1000})
    for step in EpochStatus:
        if step is not EpochStatus.OPEN:
            set_status(stack.engine, SCOPE_ID, week, step)
        if step is status:
            break
    result = collect(stack, week)
    remove_epoch(stack.engine, SCOPE_ID, week)
    assert (result["status"], result["dagsterRunId"], result["streams"]) == (status.value, None, {})
    assert stack.runs_of(week) == []


@pytest.mark.e2e
def test_collecting_again_adds_nothing(stack: Stack) -> None:
    week = stack.running_week
    runs_before = stack.runs_of(week)
    collect(stack, week)
    again = collect(stack, week)
    assert again["status"] == "open"
    assert [counts["new"] for counts in again["streams"].values()] == [0, 0, 0]
    assert len(stack.runs_of(week)) == len(runs_before) + 2
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_it_attaches_to_a_run_in_progress_for_the_partition(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, Slow(3), times=1)
    launched = stack.dagster.launch(partition_tags(week.key, "default"))
    result = collect(stack, week)
    assert (result["attached"], result["dagsterRunId"]) == (True, launched)
    assert len(stack.runs_of(week)) == 1


@pytest.mark.e2e
def test_where_the_run_it_attached_to_fails_it_launches_its_own(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND, times=2)
    launched = stack.dagster.launch(partition_tags(week.key, "default"))
    result = collect(stack, week)
    assert result["attached"] is False
    assert [run.run_id for run in stack.runs_of(week)] == [launched, result["dagsterRunId"]]


@pytest.mark.e2e
def test_a_run_of_another_partition_is_not_attached_to(stack: Stack) -> None:
    second_week, week = stack.next_week(), stack.next_week()
    launched = stack.dagster.launch(partition_tags(second_week.key, "default"))
    result = collect(stack, week)
    assert result["dagsterRunId"] != launched


@pytest.mark.e2e
def test_a_run_that_fails_for_good_fails_the_workflow_with_its_message_and_link(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    failure = failure_of(stack, week, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)))
    [run] = stack.runs_of(week)
    assert (failure.type, failure.non_retryable) == (RUN_FAILED, True)
    assert NAME in failure.message
    assert "no such repository" in failure.message
    assert f"{stack.services.url}/runs/{run.run_id}" in failure.message


@pytest.mark.e2e
def test_a_run_that_fails_in_passing_fails_the_workflow_as_worth_retrying(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, FailedAnswer.MAINTENANCE)
    failure = failure_of(stack, week, retry_policy=ONCE)
    [run] = stack.runs_of(week)
    assert (failure.type, failure.non_retryable) == (RUN_FAILED_IN_PASSING, False)
    assert run.run_id in failure.message
    stack.github.faults.clear()
    # Retried as a schedule's policy has it: another workflow run, and so another Dagster run.
    assert collect(stack, week)["streams"]["issues"]["new"] == 1
    assert len(stack.runs_of(week)) == 2


@pytest.mark.e2e
def test_a_run_that_a_limit_ended_is_followed_by_another_once_that_has_passed(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, SecondaryLimit(2), times=1)
    result = collect(stack, week)
    first, second = stack.runs_of(week)
    assert (first.status, second.status) == ("FAILURE", "SUCCESS")
    assert (second.retries, result["dagsterRunId"]) == (first.run_id, second.run_id)
    assert len(stack.event_ids(week)) == 3


@pytest.mark.e2e
def test_a_limit_of_an_hour_is_waited_for_by_temporal_and_a_cancellation_does_not_wait(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, SecondaryLimit(3600))

    async def run(client: Client) -> None:
        handle = await start(client, stack.payload(week), f"limited-{week.key}")

        async def put_off() -> timedelta:
            [pending] = (await handle.describe()).raw_description.pending_activities or [None]
            if pending is None or not pending.HasField("next_attempt_schedule_time"):
                return timedelta()
            return pending.next_attempt_schedule_time.ToDatetime(UTC) - datetime.now(UTC)

        await eventually_async(put_off, lambda seconds: timedelta(minutes=50) < seconds < timedelta(minutes=61))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    with_client(stack, run)
    [limited] = stack.runs_of(week)
    assert limited.status == "FAILURE"
    assert limited.retry_at is not None


def test_canceling_the_workflow_cancels_the_run(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, Slow(5), times=1)

    async def run(client: Client) -> None:
        handle = await start(client, stack.payload(week), f"canceled-{week.key}")
        progress = await eventually_async(lambda: handle.query("progress"), lambda state: state["dagsterRunId"])
        assert (progress["stage"], progress["periodStart"]) == ("materializing", iso_millis(week.start))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert "ancel" in str(caught.value.cause)

    with_client(stack, run)
    [only_run] = stack.runs_of(week)
    assert only_run.status == "CANCELED"


@pytest.mark.e2e
def test_canceling_a_workflow_leaves_alone_the_run_it_attached_to(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, Slow(5), times=1)
    launched = stack.dagster.launch(partition_tags(week.key, "default"))

    async def run(client: Client) -> None:
        handle = await start(client, stack.payload(week), f"detached-{week.key}")
        await eventually_async(lambda: handle.query("progress"), lambda state: state["dagsterRunId"] == launched)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    with_client(stack, run)
    assert stack.ended(launched).status == "SUCCESS"


@pytest.mark.e2e
def test_canceling_the_run_fails_the_workflow_naming_it(stack: Stack) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, Slow(5), times=1)

    async def run(client: Client) -> ApplicationError:
        handle = await start(client, stack.payload(week), f"run-canceled-{week.key}")
        progress = await eventually_async(lambda: handle.query("progress"), lambda state: state["dagsterRunId"])
        await eventually_async(
            lambda: asyncio.to_thread(stack.dagster.run, progress["dagsterRunId"]),
            lambda starting: starting.status == "STARTED",  # before that it cannot be canceled
        )
        stack.dagster.cancel(progress["dagsterRunId"])
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert (await handle.query("progress"))["stage"] == "failed"
        return caught.value.cause

    failure = with_client(stack, run)
    [only_run] = stack.runs_of(week)
    assert (failure.type, failure.non_retryable) == (RUN_CANCELED, True)
    assert only_run.run_id in failure.message
