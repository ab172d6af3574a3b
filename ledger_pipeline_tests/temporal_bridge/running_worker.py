"""Starting a worker process for a test, asking its endpoints, and giving it something to do."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from temporalio.client import WorkflowHandle

from ledger_pipeline.local.processes import free_port, leashed
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline_tests.temporal_bridge.worker_workflow import OneActivityWorkflow
from ledger_pipeline_tests.waiting import eventually

DEADLINE_SECONDS = 60
CHILD = [sys.executable, "-m", "ledger_pipeline_tests.temporal_bridge.worker_process", "run-worker"]


@dataclass(frozen=True)
class RunningWorker:
    """A worker process and where it answers."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    output_file: Path

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self.output_file.read_text()

    def get(self, path: str) -> requests.Response:
        """`/livez` or `/readyz`."""
        return requests.get(f"http://{self.environment['WORKER_HEALTH_ADDRESS']}{path}", timeout=DEADLINE_SECONDS)

    def metrics(self) -> str:
        """What Prometheus would scrape."""
        address = self.environment["WORKER_METRICS_ADDRESS"]
        return requests.get(f"http://{address}/metrics", timeout=DEADLINE_SECONDS).text

    def wait_ready(self) -> dict[str, Any]:
        """What /readyz says once it says 200."""
        return eventually(lambda: self._readyz(200), DEADLINE_SECONDS)

    def wait_unready(self, check: str) -> str:
        """What /readyz says of `check` once that fails, which must be all that fails."""

        def failing() -> dict[str, Any]:
            checks: dict[str, Any] = self._readyz(503).get("checks", {})
            return checks if checks and not checks[check]["ok"] else {}

        checks = eventually(failing, DEADLINE_SECONDS)
        assert [name for name, result in checks.items() if not result["ok"]] == [check]
        return str(checks[check]["detail"])

    def wait_end(self) -> int:
        """Its exit code."""
        return self.process.wait(DEADLINE_SECONDS)

    def _readyz(self, status: int) -> dict[str, Any]:
        """The body of /readyz where it has this status, else nothing."""
        assert self.process.poll() is None, self.output
        try:
            answer = self.get("/readyz")
        except requests.ConnectionError:  # it does not listen yet
            return {}
        body: dict[str, Any] = answer.json()
        assert body["ready"] is (answer.status_code == 200)
        return body if answer.status_code == status else {}


@contextmanager
def running_worker(environment: Mapping[str, str], folder: Path, *arguments: str) -> Iterator[RunningWorker]:
    """A worker with these settings, its output in `folder`; killed where it has not ended when left."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    output_file = folder / "worker.log"
    with output_file.open("wb") as output:
        process = subprocess.Popen(
            leashed([*CHILD, *arguments]), env={**kept, **environment}, stdout=output, stderr=output
        )
    try:
        yield RunningWorker(process, environment, output_file)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        print(output_file.read_text())  # pytest shows it where the test failed


def worker_environment(ledger_url: str, repo_spec: Path, temporal_address: str) -> dict[str, str]:
    """The settings of a worker that starts, each port of its own."""
    return {
        "DATABASE_URL": ledger_url,
        "LEDGER_REPO_SPEC": str(repo_spec),
        "TEMPORAL_ADDRESS": temporal_address,
        "WORKER_HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
        "WORKER_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
    }


async def start_activity(temporal_address: str, name: str, argument: str) -> WorkflowHandle[Any, str]:
    """A workflow that runs one of the worker's activities."""
    client = await connect(read_settings({"temporal_address": temporal_address}))
    return await client.start_workflow(
        OneActivityWorkflow.run, args=[name, argument], id=f"one-activity-{uuid4()}", task_queue=TASK_QUEUE
    )


def run_activity(temporal_address: str, name: str, argument: str) -> str:
    """What one of the worker's activities returns."""

    async def run() -> str:
        return await (await start_activity(temporal_address, name, argument)).result()

    return asyncio.run(run())
