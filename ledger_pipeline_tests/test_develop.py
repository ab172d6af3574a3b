"""`make dev` as a person runs it: the UIs answer, mistakes are told in one line, and ending it leaves no process."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from ledger_pipeline.local.processes import free_port
from ledger_pipeline_tests.waiting import eventually

pytestmark = pytest.mark.e2e

REPO_SPEC = Path(__file__).resolve().parents[1] / ".cogni" / "repo-spec.yaml"
DEADLINE_SECONDS = 120
COMMAND = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "dev"]
IGNORING_INTERRUPTS = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]


@dataclass
class Dev:
    """A running `ledger-pipeline dev` and where it was told to listen."""

    process: subprocess.Popen[bytes]
    output: Path
    home: Path
    port: int
    temporal_port: int
    temporal_ui_port: int

    def is_up(self) -> bool:
        """Whether its table is there, which is printed last."""
        assert self.process.poll() is None, self.output.read_text()
        return "Temporal schedules" in self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    def parts(self) -> list[psutil.Process]:
        """Everything it started, now."""
        return psutil.Process(self.process.pid).children(recursive=True)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LEDGER_HOME": str(home), "LEDGER_REPO_SPEC": str(REPO_SPEC), **more}


def arguments(port: int, temporal_port: int, temporal_ui_port: int) -> list[str]:
    ports = {"--port": port, "--temporal-port": temporal_port, "--temporal-ui-port": temporal_ui_port}
    return [str(word) for option in ports.items() for word in option]


@contextmanager
def running(home: Path, folder: Path, *options: str, wrapper: Sequence[str] = (), **variables: str) -> Iterator[Dev]:
    port, temporal_port, temporal_ui_port = free_port(), free_port(), free_port()
    command = [*wrapper, *COMMAND, *arguments(port, temporal_port, temporal_ui_port), *options]
    output = folder / f"output-{port}"
    with output.open("wb") as file:
        process = subprocess.Popen(command, env=environment(home, **variables), stdout=file, stderr=file)
    dev = Dev(process, output, home, port, temporal_port, temporal_ui_port)
    try:
        eventually(dev.is_up, DEADLINE_SECONDS)
        yield dev
    finally:
        if process.poll() is None:
            # Asked, not killed: only it knows its parts.
            parts = dev.parts()
            process.terminate()
            process.wait(DEADLINE_SECONDS)
            assert psutil.wait_procs(parts, timeout=DEADLINE_SECONDS)[1] == []
        print(dev.said)  # pytest shows it where the test failed


def refused(home: Path, *options: str) -> str:
    """What a `dev` that cannot start says, in one line."""
    ran = subprocess.run([*COMMAND, *options], env=environment(home), capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    [line] = ran.stderr.splitlines()
    return line


@pytest.mark.timeout(300)
def test_everything_answers_and_a_second_copy_or_a_taken_port_is_told(embedded_home: Path, tmp_path: Path) -> None:
    with running(embedded_home, tmp_path, "--logs") as dev:
        assert "GitHub is SIMULATED" in dev.said
        assert "activity_events" in assets(dev.port)
        assert requests.get(f"http://127.0.0.1:{dev.temporal_ui_port}/", timeout=30).ok
        assert re.search(r"│ Temporal schedules +│ governance:ledger_ingest +│ created +│", dev.said)
        assert re.search(r"^ +worker .*starts: Temporal at 127\.0\.0\.1", dev.said, re.MULTILINE)
        taken = refused(embedded_home, "--port", str(dev.port))
        assert taken == f"error: port {dev.port} is taken, and Dagster's UI wants it: choose another with --port"
        second = refused(embedded_home, *arguments(free_port(), free_port(), free_port()))
        assert re.match(rf"error: process {dev.process.pid} uses .+ already: stop it first", second)
        parts = dev.parts()
        assert len(parts) >= 5  # Temporal, code server, webserver, daemon, worker
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(DEADLINE_SECONDS) == 0
        assert psutil.wait_procs(parts, timeout=DEADLINE_SECONDS)[1] == []


@pytest.mark.timeout(300)
def test_in_the_background_of_a_shell_that_ignores_ctrl_c_it_ends_with_all_its_parts(
    embedded_home: Path, tmp_path: Path
) -> None:
    with running(embedded_home, tmp_path, wrapper=IGNORING_INTERRUPTS) as dev:
        parts = dev.parts()
        assert len(parts) >= 5
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(DEADLINE_SECONDS) == 0
        assert psutil.wait_procs(parts, timeout=DEADLINE_SECONDS)[1] == []


@pytest.mark.timeout(300)
def test_what_was_killed_is_cleaned_up_state_survives_and_what_crashes_is_started_again_three_times(
    embedded_home: Path, tmp_path: Path
) -> None:
    with running(embedded_home, tmp_path) as killed:
        left = [psutil.Process(pid) for _, pid, _ in recorded(embedded_home)]
        killed.process.kill()
        killed.process.wait()
        # Its parts end by themselves; where a system does not tell them, the next run stops them.
        assert psutil.wait_procs(left, timeout=DEADLINE_SECONDS)[1] == []
    with running(embedded_home, tmp_path) as dev:
        assert re.search(r"│ Temporal schedules +│ governance:ledger_ingest +│ in sync +│", dev.said)
        postmaster = int((embedded_home / "demo" / "postgres" / "postmaster.pid").read_text().split()[0])
        psutil.Process(postmaster).kill()
        assert eventually(lambda: "the embedded Postgres is gone: starting it again in 1 s (start 1 of 3)" in dev.said)
        assert eventually(lambda: re.search(r"the embedded Postgres runs again, as process \d+", dev.said))
        assert "activity_events" in assets(dev.port)
        for start in (1, 2, 3):
            kill(embedded_home, "worker")
            assert eventually(lambda start=start: f"(start {start} of 3)" in after_postgres(dev.said))
            assert eventually(lambda start=start: after_postgres(dev.said).count("the worker runs again") == start)
        parts = dev.parts()
        kill(embedded_home, "worker")
        assert dev.process.wait(DEADLINE_SECONDS) == 1
        assert psutil.wait_procs(parts, timeout=DEADLINE_SECONDS)[1] == []
        assert (
            "error: the worker ended by itself with code -9 again, after 3 new starts, so all was stopped" in dev.said
        )


def kill(home: Path, name: str) -> None:
    """Kill the part that was started last under this name."""
    pid = [pid for process, pid, _ in recorded(home) if process == name][-1]
    psutil.Process(pid).kill()


def after_postgres(output: str) -> str:
    return output.partition("the embedded Postgres runs again")[2]


def recorded(home: Path) -> list[tuple[str, int, float]]:
    """Name, id and start of each process that the run remembers."""
    document: list[tuple[str, int, float]] = json.loads((home / "demo" / "running.json").read_text())
    return document


def assets(port: int) -> set[str]:
    """The asset names that the UI's API answers."""
    query = {"query": "{assetNodes {assetKey {path}}}"}
    answer = requests.post(f"http://127.0.0.1:{port}/graphql", json=query, timeout=DEADLINE_SECONDS)
    return {node["assetKey"]["path"][-1] for node in answer.json()["data"]["assetNodes"]}
