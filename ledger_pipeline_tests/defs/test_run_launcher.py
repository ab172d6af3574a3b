"""The launcher of runs in place, asking real code servers: which runs have lost their process, and what a stop ends."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG, WILL_RETRY_TAG
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import consume_new_runs_for_automatic_reexecution
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster._grpc.client import DagsterGrpcClient

from ledger_pipeline.local.embedded_temporal import free_port
from ledger_pipeline_tests.waiting import eventually

DOCKER = Path(__file__).resolve().parents[2] / "docker"
PRODUCTION: dict[str, Any] = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
STARTS_WITHIN_SECONDS = 120
LOCATION = """\
import dagster as dg

@dg.op
def work():
    pass

@dg.job
def collect():
    work()
"""
# A code server whose runs, as long as the file `hold` is there, do not get so far as to say that they have begun.
SERVER = """\
import pathlib, sys, time

folder = pathlib.Path(__file__).parent
if __name__ == "__main__":
    from dagster._cli import main
    main()
elif (folder / "hold").exists():
    (folder / "begins").touch()
    time.sleep(600)
"""


@contextmanager
def code_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A code server in a process group of its own, answering; ended when left, with what it has started."""
    (folder / "location.py").write_text(LOCATION)
    (folder / "server.py").write_text(SERVER)
    serve = [sys.executable, "server.py", "api", "grpc", f"--port={port}", "--python-file=location.py"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(serve, cwd=folder, start_new_session=True, **quiet) as server:
        try:
            client = DagsterGrpcClient(port=port)
            assert eventually(lambda: client.health_check_query() == "SERVING", STARTS_WITHIN_SECONDS)
            yield server
        finally:
            os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """With the queue, the launcher and the retries of production."""
    overrides = {
        "telemetry": {"enabled": False},
        **{key: PRODUCTION[key] for key in ("run_launcher", "run_coordinator", "run_retries")},
    }
    with DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        yield instance


def test_a_run_that_its_code_location_does_not_have_has_lost_its_process(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    port, launcher = free_port(), instance.run_launcher
    assert launcher.supports_check_run_worker_health
    address = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "port": port})}
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=address)
    # A server that is away proves nothing; one that was started anew knows of no run.
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    with code_server(tmp_path, port):
        # Not at once: the daemon, which is to launch it again, may not have noticed that the server is back.
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        lost = launcher.check_run_worker_health(run)
    assert lost.status is WorkerStatus.FAILED
    assert "process is gone" in str(lost.msg)
    nowhere = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    assert launcher.check_run_worker_health(nowhere).status is WorkerStatus.FAILED


def enqueue(workspace: WorkspaceProcessContext) -> str:
    """Put a run of `collect` into the queue: its id."""
    request = workspace.create_request_context()
    [location] = request.code_locations
    [repository] = location.get_repositories().values()
    job = repository.get_full_job("collect")
    run = create_run_for_test(
        workspace.instance,
        job_name="collect",
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
        job_snapshot=job.job_snapshot,
        execution_plan_snapshot=location.get_execution_plan(job, {}, None, None, None).execution_plan_snapshot,
    )
    workspace.instance.submit_run(run.run_id, request)
    return run.run_id


def dequeue(workspace: WorkspaceProcessContext, at: float) -> None:
    """One round of the daemon that launches what is queued, at this time."""
    for _ in QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(workspace, fixed_iteration_time=at):
        pass


def retry(workspace: WorkspaceProcessContext) -> None:
    """One round of the daemon that launches others in place of runs that failed."""
    runs = workspace.instance.get_run_records()
    for _ in consume_new_runs_for_automatic_reexecution(workspace, runs, logging.getLogger(__name__)):
        pass


def test_a_run_that_is_being_launched_while_its_code_location_stops_is_launched_once_it_is_back(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    port, now = free_port(), time.time()
    target = GrpcServerTarget(host="localhost", port=port, socket=None, location_name="ledger_pipeline")
    with code_server(tmp_path, port) as server, create_test_daemon_workspace_context(target, instance) as workspace:
        run_id = enqueue(workspace)
        (tmp_path / "hold").touch()
        launching = Thread(target=dequeue, args=(workspace, now))
        launching.start()
        assert eventually((tmp_path / "begins").exists, STARTS_WITHIN_SECONDS)
        os.killpg(server.pid, signal.SIGTERM)  # as a container is told to stop, and its init tells all in it
        launching.join()
    run = instance.get_run_by_id(run_id)
    assert run is not None
    # It is back in the queue. Or its server, while it stopped, was the first to see that the process was gone and
    # failed the run: then Dagster launches another in its place.
    goes_back, is_retried = run.status is dg.DagsterRunStatus.QUEUED, run.tags.get(WILL_RETRY_TAG) == "true"
    assert (goes_back, run.status, is_retried) in {
        (True, dg.DagsterRunStatus.QUEUED, False),
        (False, dg.DagsterRunStatus.FAILURE, True),
    }
    (tmp_path / "hold").unlink()
    with code_server(tmp_path, port), create_test_daemon_workspace_context(target, instance) as workspace:
        retry(workspace)
        dequeue(workspace, now + 60)
        [last, *_] = instance.get_runs()
        assert (last.run_id if goes_back else last.parent_run_id) == run_id

        def ended() -> dg.DagsterRunStatus | None:
            launched = instance.get_run_by_id(last.run_id)
            return launched.status if launched is not None and launched.is_finished else None

        assert eventually(ended, STARTS_WITHIN_SECONDS) is dg.DagsterRunStatus.SUCCESS
