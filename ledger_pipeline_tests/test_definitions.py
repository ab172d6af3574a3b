"""What Dagster loads: from the workspace file, without environment or database."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_workspace_loads_and_validates_without_environment_or_database(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={**environment, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ledger_pipeline" in done.stderr + done.stdout


LOAD_SECONDS = 3
# Runs in a process of its own: no variable set, no connection possible, and nothing imported before.
LOAD = """
import json, resource, socket, sys

def refuse(*_):
    raise ConnectionRefusedError("loading the definitions must not connect to anything")

socket.socket.connect = socket.socket.connect_ex = refuse
from ledger_pipeline.definitions import ledger_definitions

ledger_definitions().get_repository_def()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "modules": sorted(sys.modules)}))
"""


def test_the_definitions_load_within_three_seconds_and_connect_to_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    # Of processor time: on a machine that does other things too, the clock on the wall measures those.
    assert document["seconds"] < LOAD_SECONDS
    assert {"matplotlib", "alembic", "github", "psycopg"} & set(document["modules"]) == set()
