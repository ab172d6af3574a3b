"""Dagster's services end when what they began is done, so that nothing shows as failed for having been stopped."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from ledger_pipeline.local.dagster_services import DagsterServices
from ledger_pipeline.local.drain import drain
from ledger_pipeline.local.processes import ChildProcess, child_process

HOUR = timedelta(hours=1)
RUNNING, QUEUED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED


def add_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    location = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="ours")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "repository"), "proposals")
    return instance.run_storage.add_run(dg.DagsterRun("proposals", status=status, remote_job_origin=origin))


@pytest.mark.parametrize("status", [RUNNING, QUEUED], ids=["running", "queued"])
def test_the_daemon_stops_once_what_it_has_to_do_is_done(tmp_path: Path, status: dg.DagsterRunStatus) -> None:
    lines: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance, child_process(["sleep", "600"], tmp_path / "log") as daemon:
        run = add_run(instance, status)

        def finish(line: str) -> None:
            lines.append(line)
            assert daemon.popen.poll() is None
            instance.report_run_failed(run)

        drain(services(daemon), instance, datetime.now(UTC) - HOUR, finish)
        assert daemon.popen.poll() is not None
    assert lines == [f"waiting for Dagster to finish what its sensors asked for: proposals {run.run_id}"]


def test_a_run_that_does_not_end_is_named_and_ends_the_waiting(tmp_path: Path) -> None:
    lines: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance, child_process(["sleep", "600"], tmp_path / "log") as daemon:
        run = add_run(instance, RUNNING)
        drain(services(daemon), instance, datetime.now(UTC) - HOUR, lines.append, timeout_seconds=0)
        assert daemon.popen.poll() is not None
    assert f"not done in time, so it will show as failed: proposals {run.run_id}" in lines


def test_what_another_session_left_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance, child_process(["sleep", "600"], tmp_path / "log") as daemon:
        add_run(instance, RUNNING)
        drain(services(daemon), instance, datetime.now(UTC) + HOUR, lines.append)
        assert daemon.popen.poll() is not None
    assert lines == []


def services(daemon: ChildProcess) -> DagsterServices:
    return DagsterServices("http://127.0.0.1:1", {"daemon": daemon})
