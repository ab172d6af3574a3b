"""`ledger-pipeline trigger`: collections by hand and through the schedule, on the whole stack."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, ScheduleBackfill, ScheduleOverlapPolicy

from ledger_pipeline.core.windows import iso_millis
from ledger_pipeline.local.embedded_temporal import temporal_command
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Slow
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.sources.simulator.worlds import NAME
from ledger_pipeline_tests.temporal_bridge.stack import Stack, eventually_async, with_client
from ledger_pipeline_tests.test_readme import COMMANDS, SCHEDULES

pytestmark = [pytest.mark.usefixtures("worker", "no_faults"), pytest.mark.timeout(180)]

SCHEDULE = "governance:ledger_ingest"
GOVERNANCE = """
governance:
  schedules:
    - {charter: LEDGER_INGEST, cron: "0 6 * * *", timezone: UTC, entrypoint: LEDGER_INGEST}
"""


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """The stack's, with a repo-spec that wants a schedule."""
    spec = tmp_path / "repo-spec.yaml"
    spec.write_text(Path(stack.environment["LEDGER_REPO_SPEC"]).read_text() + GOVERNANCE)
    return {**stack.environment, "LEDGER_REPO_SPEC": str(spec)}


@pytest.fixture
def schedule(stack: Stack, command: Command, environment: dict[str, str]) -> Iterator[None]:
    """The repo-spec's schedule, synced; deleted afterwards."""
    ran = command("schedules", "sync", **environment)
    assert ran.code == 0, ran.err
    yield

    async def delete(client: Client) -> None:
        await client.get_schedule_handle(SCHEDULE).delete()

    with_client(stack, delete)


def test_a_collection_by_hand_is_waited_for_and_printed(
    stack: Stack, command: Command, environment: dict[str, str]
) -> None:
    week = stack.next_week()
    ran = command("trigger", "--as-of", week.key, "--wait", **environment)
    assert ran.code == 0, ran.err
    [run] = stack.runs_of(week)
    workflow_id = f"ledger-collect-{SCOPE_ID}-{iso_millis(week.start)}-{iso_millis(week.end)}"
    assert f"workflow {workflow_id}, run " in ran.out
    assert f"http://temporal.example/namespaces/default/workflows/{workflow_id}/" in ran.out
    assert re.search(r"│ pull_requests │ +1 │ +1 │ +0 │ +0 │ +0 │", ran.out)
    assert f"by Dagster run {run.run_id}: {stack.services.url}/runs/{run.run_id}" in ran.out
    assert f"materializing, Dagster run {stack.services.url}/runs/{run.run_id}" in ran.err


@pytest.mark.e2e
def test_a_second_start_attaches_to_the_one_in_progress_and_a_finished_one_may_run_again(
    stack: Stack, command: Command, environment: dict[str, str]
) -> None:
    week = stack.running_week
    stack.github.faults.for_repository(NAME, Slow(3), times=1)
    before = len(stack.runs_of(week))
    arguments = ("trigger", "--as-of", week.key, "--json")
    first = command(*arguments, **environment).json
    second = command(*arguments, "--wait", **environment).json
    assert second["run_id"] == first["run_id"]
    assert second["result"]["status"] == "open"
    third = command(*arguments, "--wait", **environment).json
    assert third["run_id"] != first["run_id"]
    assert len(stack.runs_of(week)) == before + 2


@pytest.mark.e2e
def test_a_failed_collection_is_exit_1_and_says_why(
    stack: Stack, command: Command, environment: dict[str, str]
) -> None:
    week = stack.next_week()
    stack.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    ran = command("trigger", "--as-of", week.key, "--wait", **environment)
    assert ran.code == 1
    assert re.search(
        r"^error: workflow \S+: Dagster run \S+ failed: github .*no such repository", ran.err, re.MULTILINE
    )


@pytest.mark.e2e
def test_the_schedules_own_action_collects_the_running_epoch(
    stack: Stack, command: Command, environment: dict[str, str], schedule: None
) -> None:
    ran = command("trigger", "--schedule", "--wait", "--json", **environment)
    assert ran.code == 0, ran.err
    assert ran.json["workflow_id"].startswith("ledger-collect-scheduled-default-")
    assert ran.json["result"]["drift"] == []
    # The running epoch is that of the real clock: a schedule has no other.
    assert ran.json["result"]["status"] == "open"


@pytest.mark.e2e
def test_a_schedules_backfill_collects_the_epochs_of_the_times_it_is_for(
    stack: Stack, command: Command, environment: dict[str, str], schedule: None
) -> None:
    week = stack.next_week()
    at = week.start + timedelta(days=2)

    async def backfill(client: Client) -> Any:
        handle = client.get_schedule_handle(SCHEDULE)
        noon = ScheduleBackfill(at, at + timedelta(days=1), overlap=ScheduleOverlapPolicy.ALLOW_ALL)
        await handle.backfill(noon)
        description = await eventually_async(handle.describe, lambda described: described.info.recent_actions)
        action: Any = description.info.recent_actions[0].action
        return await client.get_workflow_handle(action.workflow_id).result()

    result = with_client(stack, backfill)
    assert (result["periodStart"], result["periodEnd"]) == (iso_millis(week.start), iso_millis(week.end))
    assert len(stack.event_ids(week)) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["--schedule"],
            1,
            "there is no Temporal schedule governance:ledger_ingest: run `ledger-pipeline schedules sync`",
        ),
        (["--as-of", "2001-01-01"], 2, "precedes the first epoch"),
        (["--as-of", "noon"], 2, "is not an instant"),
        (["--as-of", "2026-02-16", "--schedule"], 2, "not both"),
        (["--scope", "nope"], 2, "no scope 'nope'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_started_says_why(
    command: Command, environment: dict[str, str], arguments: list[str], code: int, says: str
) -> None:
    ran = command("trigger", *arguments, **environment)
    assert ran.code == code
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", ran.err).split())


@pytest.mark.e2e
def test_the_readmes_commands_run_in_the_order_given(
    stack: Stack, command: Command, environment: dict[str, str], schedule: None
) -> None:
    ran = [command(*arguments, **environment) for arguments in SCHEDULES]
    assert [finished.code for finished in ran] == [0] * 5, [finished.err for finished in ran]
    [line] = [line for line in COMMANDS if line.startswith("temporal ")]
    plain = [temporal_command(), *shlex.split(line)[1:], "--address", stack.settings.temporal_address]
    assert subprocess.run(plain, capture_output=True, timeout=120, check=False).returncode == 0


def test_without_a_temporal_server_the_setting_is_named(command: Command, environment: dict[str, str]) -> None:
    ran = command("trigger", **{**environment, "TEMPORAL_ADDRESS": "127.0.0.1:1"})
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "TEMPORAL_ADDRESS" in ran.err


def test_who_has_no_ledger_is_told_that_the_workers_is_collected_into(
    stack: Stack, command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "without a ledger"
    without = {**environment, "DATABASE_URL": "", "LEDGER_HOME": str(home)}
    ran = command("trigger", "--as-of", stack.next_week().key, "--wait", **without)
    assert (ran.code, home.exists()) == (0, False)
    assert f"{home} (LEDGER_HOME) holds no ledger" in " ".join(ran.err.split())
