"""`make dev` as a person runs it: the UI answers, and ending it leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

REPO_SPEC = Path(__file__).resolve().parents[1] / ".cogni" / "repo-spec.yaml"
DEADLINE_SECONDS = 120


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def dev(embedded_home: Path, tmp_path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment = {**kept, "LEDGER_HOME": str(embedded_home), "LEDGER_REPO_SPEC": str(REPO_SPEC)}
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "dev", "--port", str(port)]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        yield process
        if process.poll() is None:
            process.kill()
    print((tmp_path / "output").read_text())  # pytest shows it where the test failed


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=lambda ending: ending.name)
def test_the_ui_shows_the_assets_and_nothing_is_left_when_it_ends(
    dev: subprocess.Popen[bytes], port: int, ending: signal.Signals
) -> None:
    assert "activity_events" in _assets(port)
    started = psutil.Process(dev.pid).children(recursive=True)
    assert len(started) >= 3
    dev.send_signal(ending)
    dev.wait(DEADLINE_SECONDS)
    gone, alive = psutil.wait_procs(started, timeout=DEADLINE_SECONDS)
    assert alive == []
    assert gone


def _assets(port: int) -> set[str]:
    """The asset names the UI's API answers, once it does."""
    session = requests.Session()
    # Tries again, a second apart at most, while nothing listens yet.
    patient = Retry(total=DEADLINE_SECONDS, backoff_factor=0.2, backoff_max=1, allowed_methods=None)
    session.mount("http://", HTTPAdapter(max_retries=patient))
    query = {"query": "{assetNodes {assetKey {path}}}"}
    with session:
        answer = session.post(f"http://127.0.0.1:{port}/graphql", json=query, timeout=DEADLINE_SECONDS)
    return {node["assetKey"]["path"][-1] for node in answer.json()["data"]["assetNodes"]}
