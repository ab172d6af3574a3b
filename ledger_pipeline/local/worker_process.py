"""The Temporal worker as a child process of the local stack, told whose it is from the repo-spec."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.local.environment import child_environment
from ledger_pipeline.local.processes import ChildProcess, child_process, free_port, wait_until_answering

READY_TIMEOUT_SECONDS = 60

_COMMAND = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "worker"]


@contextmanager
def worker_process(spec: RepoSpec, folder: Path) -> Iterator[ChildProcess]:
    """A worker that is ready (polling, database and Dagster reachable), its log in `folder`; stopped when left.

    It finds everything else in our environment. Raises LedgerError where it does not become ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    health = f"127.0.0.1:{free_port()}"
    environment = child_environment(
        {
            "NODE_ID": str(spec.node_id),
            "SCOPE_ID": str(spec.default_scope.scope_id),
            "WORKER_HEALTH_ADDRESS": health,
            "WORKER_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        }
    )
    log = folder / "worker.log"
    with child_process(_COMMAND, log, environment) as worker:
        wait_until_answering(lambda: _is_ready(health), worker, "the Temporal worker", log, READY_TIMEOUT_SECONDS)
        yield worker


def _is_ready(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/readyz", timeout=5).ok
    except requests.RequestException:
        return False
