"""`ledger-pipeline doctor` on the whole stack: all is well there, and a daemon that is missing is found."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.local.dagster_services import dagster_webserver
from ledger_pipeline.local.processes import free_port
from ledger_pipeline.store.ledger_identity import ledger_id_at
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec
from ledger_pipeline_tests.sources.simulator.worlds import NAME
from ledger_pipeline_tests.temporal_bridge.stack import NOW, Stack, WorkerProcess, with_client
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import DEFAULT
from ledger_pipeline_tests.waiting import eventually

HEARTBEAT_SECONDS = 60


@pytest.fixture
def environment(stack: Stack, no_faults: None, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The stack as a deployment should be: a writer that only writes, a schedule, and a GitHub of today."""
    owner = stack.environment["DATABASE_URL"]
    writer = make_url(owner).set(username="stack_writer", password=None).render_as_string(hide_password=False)
    ensure_logins(owner, {WRITER: writer})
    spec = write_repo_spec(tmp_path, NAME)
    spec.write_text(
        f"{spec.read_text()}governance:\n  schedules:\n"
        '    - {charter: LEDGER_INGEST, cron: "0 6 * * *", timezone: UTC, entrypoint: LEDGER_INGEST}\n'
    )
    stack.github.set_clock(None)
    yield {**stack.environment, "DATABASE_URL": writer, "LEDGER_REPO_SPEC": str(spec)}
    stack.github.set_clock(NOW)


def wrong(ran: Ran) -> dict[str, str]:
    return {check["check"]: check["detail"] for check in ran.json["checks"] if check["state"] != "ok"}


def test_a_healthy_stack_is_all_ok(
    command: Command, environment: dict[str, str], stack: Stack, worker: WorkerProcess
) -> None:
    assert command("schedules", "sync", **environment).code == 0
    try:
        # The daemon's first heartbeats come within half a minute.
        with suppress(AssertionError):  # what is wrong still is told below
            eventually(lambda: not wrong(command("doctor", "--json", **environment)), HEARTBEAT_SECONDS)
        ran = command("doctor", "--json", **environment)
        assert wrong(ran) == {}
        details = {check["check"]: check["detail"] for check in ran.json["checks"]}
        assert (ran.code, ran.json["healthy"]) == (0, True)
        deployment = f"node={NODE_ID} scopes={SCOPE_ID} ledger={stack.ledger.ledger_id}"
        assert f":{worker.process.pid} {deployment} polled ledger-tasks" in details["worker"]
        assert details["schedules"] == f"in sync: {DEFAULT}"
        assert "queued_run_coordinator" in details["daemon"]
        assert "scopes default; 1 repository, 1 schedule" in details["repo-spec"]
    finally:
        with_client(stack, lambda client: client.get_schedule_handle(DEFAULT).delete())


@pytest.mark.e2e
def test_dagster_without_a_daemon_fails_for_that_alone(
    command: Command, environment: dict[str, str], stack: Stack, worker: WorkerProcess, tmp_path: Path
) -> None:
    home = tmp_path / "another_instance"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (home / "workspace.yaml").write_text((stack.folder / "workspace.yaml").read_text())
    with dagster_webserver(home, free_port(), {**environment, "DAGSTER_HOME": str(home)}) as (_, url):
        ran = command("doctor", "--json", **environment | {"DAGSTER_URL": url})
    assert ran.code == 1
    assert set(wrong(ran)) == {"schedules", "daemon"}  # nobody has synced one
    assert "queued runs do not start" in wrong(ran)["daemon"]
    [remedy] = [check["remedy"] for check in ran.json["checks"] if check["check"] == "daemon"]
    assert "dagster-daemon run" in remedy


def test_a_code_location_of_another_name_is_told(
    command: Command, environment: dict[str, str], worker: WorkerProcess
) -> None:
    ran = command("doctor", "--json", **environment | {"DAGSTER_CODE_LOCATION": "elsewhere"})
    assert "elsewhere" in wrong(ran)["dagster"]
    [remedy] = [check["remedy"] for check in ran.json["checks"] if check["check"] == "dagster"]
    assert "DAGSTER_CODE_LOCATION" in remedy


def test_worker_and_dagster_of_another_deployment_are_told_and_nothing_is_started_with_them(
    command: Command, environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    spec_file = tmp_path / "other" / ".cogni" / "repo-spec.yaml"
    spec_file.parent.mkdir(parents=True)
    ours, theirs = str(NODE_ID), "4ff8eac1-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
    spec_file.write_text(Path(environment["LEDGER_REPO_SPEC"]).read_text().replace(ours, theirs))
    environment |= {"LEDGER_REPO_SPEC": str(spec_file), "NODE_ID": theirs}
    problems = wrong(command("doctor", "--json", **environment))
    assert f"is of node {ours}, the repo-spec's is {theirs}" in problems["worker"]
    assert (
        f"the node_id of its code location ledger_pipeline is {ours}, the repo-spec's is {theirs}"
        in problems["dagster"]
    )
    ran = command("trigger", **environment)
    assert ran.code == 1
    assert "a worker on ledger-tasks would take it and is not ours: ledger-pipeline@" in ran.err
    assert "TEMPORAL_NAMESPACE" in ran.err


def test_worker_and_dagster_of_another_ledger_are_told_and_nothing_is_started_with_them(
    command: Command, environment: dict[str, str], stack: Stack, worker: WorkerProcess, empty_database_url: str
) -> None:
    """The same repo-spec on another database, as on another LEDGER_HOME."""
    ours = {**environment, "DATABASE_URL": empty_database_url}
    theirs, own = stack.ledger.ledger_id, ledger_id_at(empty_database_url, DatabaseLimits())
    assert theirs != own
    problems = wrong(command("doctor", "--json", **ours))
    assert f":{worker.process.pid} writes the ledger {theirs}, ours is {own}; let DATABASE_URL" in problems["worker"]
    assert f"the ledger_id of its code location ledger_pipeline is {theirs}, ours is {own}" in problems["dagster"]
    runs = stack.dagster.runs_tagged({})
    ran = command("trigger", **ours)
    assert ran.code == 1
    assert f"is not ours: ledger-pipeline@{socket.gethostname()}:{worker.process.pid} writes the ledger" in ran.err
    assert "LEDGER_HOME" in ran.err
    assert "://" not in ran.err
    assert stack.dagster.runs_tagged({}) == runs


def test_a_scope_that_worker_and_dagster_do_not_know_yet_is_told(
    command: Command, environment: dict[str, str], worker: WorkerProcess
) -> None:
    write_project(Path(environment["LEDGER_REPO_SPEC"]).parent.parent, "website", NAME)
    problems = wrong(command("doctor", "--json", **environment))
    assert "does not know scope website" in problems["worker"]
    assert "reload the code location" in problems["dagster"]
