"""The UI's process logs each line once, as all our processes do."""

import json
import subprocess
import sys
from pathlib import Path

import requests

from ledger_pipeline.local.processes import free_port, leashed
from ledger_pipeline_tests.waiting import eventually

STARTS_WITHIN_SECONDS = 120


def test_it_logs_each_line_once_as_all_our_processes_do(tmp_path: Path) -> None:
    workspace, log, port = tmp_path / "workspace.yaml", tmp_path / "log", free_port()
    workspace.write_text("load_from: []\n")
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()"]
    command += ["webserver", "--port", str(port), "--workspace", str(workspace)]
    with log.open("wb") as output:
        environment = {"DAGSTER_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(leashed(command), env=environment, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/server_info"
        assert eventually(lambda: process.poll() is not None or _answers(url), STARTS_WITHIN_SECONDS)
    finally:
        process.terminate()
        process.wait(60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    served = [line for line in lines if line["message"] == f"Serving Dagster's UI on http://127.0.0.1:{port}"]
    assert [line["logger"] for line in served] == ["dagster-webserver"], lines


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
