"""The launcher of runs in place tells which runs have lost their process, asking a real code server."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test

from ledger_pipeline.local.embedded_temporal import free_port
from ledger_pipeline_tests.waiting import eventually

LAUNCHER = {"module": "ledger_pipeline.defs.run_launcher", "class": "WatchedRunLauncher"}
STARTS_WITHIN_SECONDS = 120


def test_a_run_that_its_code_location_does_not_have_has_lost_its_process(tmp_path: Path) -> None:
    definitions, port = tmp_path / "location.py", free_port()
    definitions.write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    overrides = {"run_launcher": LAUNCHER, "telemetry": {"enabled": False}}
    serve = [sys.executable, "-m", "dagster", "api", "grpc", f"--port={port}", f"--python-file={definitions}"]
    with DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        launcher = instance.run_launcher
        assert launcher.supports_check_run_worker_health
        address = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=address)
        # A server that is away proves nothing; one that was started anew knows of no run.
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        with subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                lost = eventually(
                    lambda: (
                        found
                        if (found := launcher.check_run_worker_health(run)).status is WorkerStatus.FAILED
                        else None
                    ),
                    STARTS_WITHIN_SECONDS,
                )
            finally:
                server.kill()  # where its parent ignores SIGINT, Dagster ignores SIGTERM too
        assert lost is not None
        assert "process is gone" in str(lost.msg)
        nowhere = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        assert launcher.check_run_worker_health(nowhere).status is WorkerStatus.FAILED
