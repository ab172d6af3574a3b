"""`ledger-pipeline schedules` as people and programs use it: what it prints, and its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger_pipeline.local.embedded_temporal import free_port
from ledger_pipeline.settings import Settings
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import DEFAULT, Schedules


class Deployment:
    """A repo-spec on disk, and commands that read it."""

    def __init__(self, command: Command, settings: Settings, folder: Path) -> None:
        self.command = command
        self.file = write_repo_spec(folder, "cogni-dao/cogni")
        self.schedules = Schedules(settings)
        self.environment = {
            "LEDGER_REPO_SPEC": str(self.file),
            "TEMPORAL_ADDRESS": settings.temporal_address,
            "TEMPORAL_NAMESPACE": settings.temporal_namespace,
        }
        self._without_schedules = self.file.read_text()
        self.schedule()

    def schedule(self, charter: str = "LEDGER_INGEST", cron: str = "0 6 * * *", timezone: str = "UTC") -> None:
        """Have the repo-spec say so."""
        fields = f'charter: {charter}, cron: "{cron}", timezone: {timezone}, entrypoint: {charter}'
        self.file.write_text(f"{self._without_schedules}governance:\n  schedules:\n    - {{{fields}}}\n")

    def run(self, *arguments: str, **environment: str) -> Ran:
        return self.command("schedules", *arguments, **(self.environment | environment))

    def synced(self, *options: str) -> dict[str, str]:
        """What `sync` did, by schedule."""
        ran = self.run("sync", "--json", *options)
        assert ran.code == 0, ran.err
        return {step["schedule_id"]: step["action"] for step in ran.json["steps"]}


@pytest.fixture
def deployment(command: Command, temporal_namespace: Settings, tmp_path: Path) -> Deployment:
    return Deployment(command, temporal_namespace, tmp_path)


def test_a_plan_is_printed_then_applied_and_a_repeat_finds_all_in_sync(deployment: Deployment) -> None:
    ran = deployment.run("sync")
    assert (ran.code, ran.err) == (0, "")
    assert [word in ran.out for word in (DEFAULT, "created", "missing", "1 created")] == [True] * 4
    assert deployment.synced() == {DEFAULT: "in sync"}
    assert deployment.run("sync").out.endswith("1 in sync\n")


def test_a_dry_run_prints_the_same_plan_and_applies_nothing(deployment: Deployment) -> None:
    planned, plain = deployment.run("sync", "--dry-run", "--json"), deployment.run("sync", "--dry-run")
    assert (planned.code, planned.json["dry_run"], plain.code) == (0, True, 0)
    assert plain.out.endswith("Dry run: nothing was touched.\n")
    [row] = deployment.run("list", "--json").json
    assert (row["state"], row["paused"]) == ("missing", None)
    assert deployment.run("sync", "--json").json == {"dry_run": False, "steps": planned.json["steps"]}


def test_a_drift_is_printed_with_both_values(deployment: Deployment) -> None:
    deployment.synced()
    deployment.schedule(cron="0 7 * * *")
    ran = deployment.run("sync")
    assert [text in ran.out for text in ("updated", "cron: 0 6 * * * -> 0 7 * * *", "1 updated")] == [True] * 3


def test_the_list_shows_times_and_state(deployment: Deployment) -> None:
    deployment.schedule(cron="*/30 * * * *", timezone="Europe/Berlin")
    deployment.synced()
    [row] = deployment.run("list", "--json").json
    assert (row["schedule_id"], row["cron"], row["timezone"]) == (DEFAULT, "*/30 * * * *", "Europe/Berlin")
    assert row["next_run"].endswith((":00:00Z", ":30:00Z"))
    assert (row["last_run"], row["paused"], row["note"], row["state"]) == (None, False, None, "in sync: as wanted")
    deployment.schedule(cron="0 6 * * *")
    [row] = deployment.run("list", "--json").json
    assert (row["cron"], row["state"]) == ("0,30 * * * *", "differs from the repo-spec (cron, time zone)")
    assert "differs from the repo-spec" in deployment.run("list").out


def test_an_operators_pause_is_shown_with_its_note_as_written_and_resumed_when_told(deployment: Deployment) -> None:
    deployment.synced()
    deployment.schedules.pause("GitHub is down [bold]")
    assert deployment.synced() == {DEFAULT: "left paused"}
    assert "paused by an operator: GitHub is down [bold]" in deployment.run("sync").out
    shown = deployment.run("list").out
    assert [text in shown for text in ("yes", "[bold]")] == [True, True]
    [row] = deployment.run("list", "--json").json
    assert (row["paused"], row["note"], row["next_run"]) == (True, "GitHub is down [bold]", None)
    assert deployment.synced("--resume") == {DEFAULT: "resumed"}


def test_a_schedule_that_left_the_repo_spec_is_paused_and_resumed_when_it_is_back(deployment: Deployment) -> None:
    deployment.synced()
    deployment.schedules.until_listed(DEFAULT)
    deployment.schedule(charter="HEARTBEAT")
    assert deployment.synced() == {DEFAULT: "paused"}
    deployment.schedule()
    assert deployment.synced() == {DEFAULT: "resumed"}


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_cannot_be_as_wanted_is_exit_1_and_one_line_naming_it(deployment: Deployment, options: list[str]) -> None:
    deployment.schedules.create(DEFAULT, [{"input": {"scopeId": "4ff8eac1-0000-0000-0000-00000000000f"}}])
    ran = deployment.run("sync", *options)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith(f"error: schedules not as wanted: {DEFAULT}: made by another client")
    assert "conflict" in ran.out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cron": "0 25 * * *"}, "governance.schedules[0].cron: '0 25 * * *' is not valid: a cron expression"),
        ({"cron": "0 6 L * *"}, "governance.schedules[0].cron: '0 6 L * *' is not valid: Temporal knows no L"),
        ({"timezone": "Moon/Tranquility"}, "governance.schedules[0].timezone: 'Moon/Tranquility' is not valid"),
    ],
)
@pytest.mark.parametrize("command_name", ["sync", "list"])
def test_a_bad_schedule_is_exit_2_naming_file_and_key_before_anything_is_asked(
    deployment: Deployment, command_name: str, wrong: dict[str, str], says: str
) -> None:
    deployment.schedule(**wrong)
    ran = deployment.run(command_name, TEMPORAL_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (ran.code, ran.out) == (2, "")
    assert f"{deployment.file}: {says}" in ran.err


def test_a_server_that_is_not_there_is_exit_1_and_named(deployment: Deployment) -> None:
    address = f"127.0.0.1:{free_port()}"
    ran = deployment.run("sync", TEMPORAL_ADDRESS=address)
    assert (ran.code, ran.out) == (1, "")
    assert f"no Temporal server at {address}" in ran.err


def test_the_process_ends_cleanly_every_time(deployment: Deployment) -> None:
    # Its core's threads once aborted it (exit code 134) after the work was done.
    program = [Path(sys.executable).with_name("ledger-pipeline"), "schedules", "sync"]
    environment = {"PATH": os.environ["PATH"], **deployment.environment}
    ran = [
        subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=60)
        for _ in range(4)
    ]
    assert [(process.returncode, process.stderr) for process in ran] == [(0, "")] * 4
    assert all("Plan" in process.stdout for process in ran)
