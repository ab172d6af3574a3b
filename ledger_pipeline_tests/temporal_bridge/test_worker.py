"""The worker process: what it refuses to start with, how it says that it is ready, how it drains and how it ends."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import make_url
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import WorkflowFailureError

from ledger_pipeline.core.errors import LedgerError, LedgerNotMigrated, SettingsError, TemporalUnavailable
from ledger_pipeline.local.embedded_temporal import TemporalServer, embedded_temporal
from ledger_pipeline.local.processes import free_port
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.worker.worker import run_worker
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.temporal_bridge.running_worker import (
    DEADLINE_SECONDS,
    RunningWorker,
    run_activity,
    running_worker,
    start_activity,
    worker_environment,
)
from ledger_pipeline_tests.waiting import eventually

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def environment(ledger_url: str, temporal_server: TemporalServer, tmp_path: Path) -> dict[str, str]:
    identity = {"NODE_ID": str(NODE_ID), "SCOPE_ID": str(SCOPE_ID)}
    return worker_environment(ledger_url, write_repo_spec(tmp_path, "a/b"), temporal_server.address) | identity


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[RunningWorker]:
    """A worker that is ready, and has long to drain."""
    with running_worker(environment | {"WORKER_GRACE_SECONDS": "300"}, tmp_path) as started:
        started.wait_ready()
        yield started


@pytest.fixture
def hasty_worker(environment: dict[str, str], tmp_path: Path) -> Iterator[RunningWorker]:
    """A worker that is ready, and gives its activities a second to end."""
    with running_worker(environment | {"WORKER_GRACE_SECONDS": "1"}, tmp_path) as started:
        started.wait_ready()
        yield started


# It refuses to start.


def refusal(environment: dict[str, str]) -> LedgerError:
    """What a worker with this environment says instead of starting."""
    settings = read_settings({name.lower(): value for name, value in environment.items()})
    with pytest.raises(LedgerError) as caught:
        asyncio.run(run_worker(settings, work=lambda _: {}, dagster_check=lambda *_: "not asked"))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("name", "wanted"), [("NODE_ID", NODE_ID), ("SCOPE_ID", SCOPE_ID)])
def test_without_its_identity_it_refuses_and_says_which_the_repo_spec_has(
    environment: dict[str, str], name: str, wanted: object
) -> None:
    del environment[name]
    error = refusal(environment)
    assert isinstance(error, SettingsError)
    assert f"{name} is not set" in str(error)
    assert str(wanted) in str(error)


@pytest.mark.parametrize(("name", "wanted"), [("NODE_ID", NODE_ID), ("SCOPE_ID", SCOPE_ID)])
def test_with_another_identity_it_refuses_and_names_both(
    environment: dict[str, str], name: str, wanted: object
) -> None:
    environment[name] = str(OTHER_SCOPE_ID)
    error = refusal(environment)
    assert isinstance(error, SettingsError)
    assert f"{name} is {OTHER_SCOPE_ID}" in str(error)
    assert str(wanted) in str(error)


def test_on_a_database_that_is_not_migrated_it_refuses(environment: dict[str, str], empty_database_url: str) -> None:
    environment["DATABASE_URL"] = empty_database_url
    error = refusal(environment)
    assert isinstance(error, LedgerNotMigrated)
    assert "`ledger-pipeline db upgrade`" in str(error)


def test_without_a_temporal_server_it_refuses(environment: dict[str, str]) -> None:
    environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"
    error = refusal(environment)
    assert isinstance(error, TemporalUnavailable)
    assert environment["TEMPORAL_ADDRESS"] in str(error)


@pytest.mark.parametrize("setting", ["WORKER_HEALTH_ADDRESS", "WORKER_METRICS_ADDRESS"])
def test_where_a_port_of_its_own_is_taken_it_refuses_and_names_the_setting(
    environment: dict[str, str], setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment[setting] = f"127.0.0.1:{taken.getsockname()[1]}"
        error = refusal(environment)
    assert isinstance(error, SettingsError)
    assert f"{setting} is {environment[setting]}" in str(error)
    assert "in use" in str(error)


@pytest.mark.parametrize("setting", ["WORKER_HEALTH_ADDRESS", "WORKER_METRICS_ADDRESS"])
@pytest.mark.parametrize(
    ("address", "says"), [("127.0.0.1:70000", "ports end"), ("no.such.host.invalid:8090", ""), ("192.0.2.1:8090", "")]
)
def test_an_address_that_cannot_be_listened_at_is_named(
    environment: dict[str, str], setting: str, address: str, says: str
) -> None:
    environment[setting] = address
    error = refusal(environment)
    assert isinstance(error, SettingsError)
    assert f"{setting} is {address}, where the worker cannot listen: {says}" in str(error)


# It works.


def test_it_becomes_ready_runs_tasks_and_serves_metrics(worker: RunningWorker, temporal_server: TemporalServer) -> None:
    ready = worker.wait_ready()
    assert ready["ready"] is True
    assert {name: check["ok"] for name, check in ready["checks"].items()} == {
        "temporal": True,
        "database": True,
        "dagster": True,
    }
    assert "polls ledger-tasks" in ready["checks"]["temporal"]["detail"]
    assert "at migration" in ready["checks"]["database"]["detail"]
    assert ready["checks"]["dagster"]["detail"] == "Dagster 1.13.27"
    assert (worker.get("/livez").status_code, worker.get("/livez").text) == (200, "alive")
    assert run_activity(temporal_server.address, "greet", "Ada") == "hello Ada"
    # A worker counts a workflow's end once the server has taken it, which the client may hear of first.
    assert eventually(lambda: "temporal_workflow_completed{" in worker.metrics())
    with pytest.raises(WorkflowFailureError):
        run_activity(temporal_server.address, "unknown", "Ada")
    # What the README tells people to alert on is there once it has happened.
    named = set(re.findall(r"\btemporal_[a-z_]+", README.read_text().partition("groups:")[2].partition("```")[0]))
    assert named
    assert eventually(lambda: named <= set(re.findall(r"^(temporal_[a-z_]+)\{", worker.metrics(), flags=re.MULTILINE)))


def test_it_says_in_one_line_what_it_works_on_without_secrets(worker: RunningWorker) -> None:
    [line] = [line for line in worker.output.splitlines() if "starts" in line]
    for name in ("TEMPORAL_ADDRESS", "WORKER_HEALTH_ADDRESS", "WORKER_METRICS_ADDRESS"):
        assert worker.environment[name] in line
    assert "namespace default" in line
    assert "queue ledger-tasks" in line
    assert f":{worker.process.pid}" in line
    assert worker.environment["DATABASE_URL"] not in worker.output


# It says when it is not ready, and why.


@pytest.mark.e2e
def test_it_is_not_ready_while_the_database_takes_no_connections(worker: RunningWorker, postgres_server: str) -> None:
    database = make_url(worker.environment["DATABASE_URL"]).database
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        try:
            assert str(database) in worker.wait_unready("database")
        finally:
            server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    worker.wait_ready()


def test_it_is_not_ready_while_dagster_does_not_answer(environment: dict[str, str], tmp_path: Path) -> None:
    down = tmp_path / "down"
    with running_worker(environment | {"DAGSTER_DOWN": str(down)}, tmp_path) as worker:
        worker.wait_ready()
        down.touch()
        assert worker.wait_unready("dagster") == "Dagster at http://127.0.0.1:3000 does not answer"
        assert worker.get("/livez").status_code == 200


@pytest.mark.e2e
def test_it_waits_for_a_temporal_server_that_went_away(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
    state = tmp_path / "temporal"
    with (
        embedded_temporal(state, port=port) as server,
        running_worker(environment, tmp_path) as worker,
    ):
        worker.wait_ready()
        server.child.popen.terminate()
        server.child.popen.wait(DEADLINE_SECONDS)
        assert environment["TEMPORAL_ADDRESS"] in worker.wait_unready("temporal")
        assert worker.get("/livez").status_code == 200
        with embedded_temporal(state, port=port):
            worker.wait_ready()
            [line] = [line for line in worker.output.splitlines() if '"level": "WARNING"' in line]
            assert "temporal: not ready: " in line
            worker.process.send_signal(signal.SIGTERM)
            assert worker.wait_end() == 0


# It drains.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_stop_it_finishes_what_runs_and_ends_with_0(
    worker: RunningWorker, temporal_server: TemporalServer, tmp_path: Path, number: signal.Signals
) -> None:
    async def drained() -> None:
        handle = await start_activity(temporal_server.address, "stay", str(tmp_path / "release"))
        await asyncio.to_thread(wait_for, tmp_path / "release.running")
        worker.process.send_signal(number)
        detail = await asyncio.to_thread(worker.wait_unready, "temporal")
        assert detail.startswith("draining")
        assert worker.get("/livez").status_code == 200
        (tmp_path / "release").touch()
        assert await asyncio.to_thread(worker.wait_end) == 0
        description = await handle.describe()
        history = await handle.fetch_history()
        assert any(event.HasField("activity_task_completed_event_attributes") for event in history.events), description

    asyncio.run(drained())
    assert "draining: 1 activities run, 300 s for them to finish" in worker.output
    assert json.loads(worker.output.splitlines()[-1])["message"] == "drained"


@pytest.mark.e2e
def test_an_activity_that_outlasts_the_grace_period_is_canceled(
    hasty_worker: RunningWorker, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    occupy(temporal_server, "stay", tmp_path)
    hasty_worker.process.send_signal(signal.SIGTERM)
    assert hasty_worker.wait_end() == 0
    assert "drained" in hasty_worker.output


@pytest.mark.e2e
def test_an_activity_that_does_not_even_end_when_canceled_does_not_keep_the_process(
    hasty_worker: RunningWorker, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    occupy(temporal_server, "stayDeaf", tmp_path)
    hasty_worker.process.send_signal(signal.SIGTERM)
    assert hasty_worker.wait_end() == 1
    assert "1 activities did not end even when canceled" in hasty_worker.output.splitlines()[-1]


@pytest.mark.e2e
def test_a_second_signal_ends_it_at_once(
    worker: RunningWorker, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    occupy(temporal_server, "stay", tmp_path)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_unready("temporal")
    began = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait_end() == 128 + signal.SIGTERM
    assert time.monotonic() - began < 10
    assert "SIGTERM while draining: ending at once" in worker.output


# It ends when it fails.


@pytest.mark.e2e
def test_a_namespace_that_does_not_exist_ends_it_in_one_clear_line(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker(environment | {"TEMPORAL_NAMESPACE": "nowhere"}, tmp_path) as worker:
        assert worker.wait_end() == 1
        errors = [line for line in worker.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Namespace nowhere" in errors[0]
    assert "Traceback" not in worker.output
    assert "MetadataMap" not in errors[0]


@pytest.mark.e2e
def test_a_poller_that_fails_ends_it(worker: RunningWorker, temporal_server: TemporalServer, tmp_path: Path) -> None:
    run_activity(temporal_server.address, "breakPoller", "the poller is dead")
    asyncio.run(start_activity(temporal_server.address, "greet", "the poll that was under way"))
    assert worker.wait_end() == 1
    assert worker.output.splitlines()[-1] == "error: the worker on ledger-tasks failed: the poller is dead"
    assert "Traceback" not in worker.output


@pytest.mark.e2e
def test_pollers_that_the_server_does_not_see_end_it(
    environment: dict[str, str], temporal_server: TemporalServer, tmp_path: Path
) -> None:
    namespace = f"short-lived-{uuid4()}"
    asyncio.run(register_namespace(temporal_server, namespace))
    environment["TEMPORAL_NAMESPACE"] = namespace
    with running_worker(environment, tmp_path, "--patience-seconds", "2") as worker:
        worker.wait_ready()
        asyncio.run(delete_namespace(temporal_server, namespace))
        assert worker.wait_end() == 1
        assert namespace in worker.output.splitlines()[-1]


def occupy(server: TemporalServer, activity: str, folder: Path) -> None:
    """Returns once the worker runs an activity that does not end by itself."""
    asyncio.run(start_activity(server.address, activity, str(folder / "release")))
    wait_for(folder / "release.running")


def wait_for(file: Path) -> None:
    eventually(file.exists, DEADLINE_SECONDS)


async def register_namespace(server: TemporalServer, namespace: str) -> None:
    client = await connect(read_settings({"temporal_address": server.address}))
    day = Duration(seconds=24 * 60 * 60)
    request: Any = RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=day)
    await client.workflow_service.register_namespace(request)


async def delete_namespace(server: TemporalServer, namespace: str) -> None:
    client = await connect(read_settings({"temporal_address": server.address}))
    await client.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=namespace))
