"""A worker of its own process, as the command line runs it, with activities that do what a test asks for.

`python -m ledger_pipeline_tests.temporal_bridge.worker_process run-worker`, settings in the environment. Activities
that stay do so until the file they are given is there; that of `DAGSTER_DOWN` in the environment makes Dagster
unreachable.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import temporalio.bridge.worker
import typer
from temporalio import activity
from typer.main import get_command

from ledger_pipeline.cli.app import app, main
from ledger_pipeline.core.errors import DagsterUnavailable
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline.temporal_bridge.worker import worker
from ledger_pipeline.temporal_bridge.worker.queues import QueueWork
from ledger_pipeline.temporal_bridge.worker.telemetry import configure_logging
from ledger_pipeline.temporal_bridge.worker.threads import Threads
from ledger_pipeline_tests.temporal_bridge.worker_workflow import OneActivityWorkflow

POLL_SECONDS = 0.05


@activity.defn(name="greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn(name="stay")
async def stay(release: str) -> str:
    """Until the file is there; says that it runs by making another."""
    Path(f"{release}.running").touch()
    while not Path(release).exists():
        await asyncio.sleep(POLL_SECONDS)
    return "released"


@activity.defn(name="stayDeaf")
async def stay_deaf(release: str) -> str:
    """As `stay`, but in a thread, which does not notice that it is canceled."""
    return await Threads("deaf", 1).run_to_end(asyncio.run, stay(release))


@activity.defn(name="breakPoller")
async def break_poller(problem: str) -> str:
    """The activity poller fails when next asked; once, for the core must be able to end."""
    bridge = temporalio.bridge.worker.Worker
    working = bridge.poll_activity_task

    async def poll(_: object) -> Any:
        bridge.poll_activity_task = working  # type: ignore[method-assign]
        raise RuntimeError(problem)

    bridge.poll_activity_task = poll  # type: ignore[method-assign, assignment]
    return "broken"


def dagster_check(_: RepoSpec, __: str | None) -> str:
    down = os.environ.get("DAGSTER_DOWN")
    if down and Path(down).exists():
        raise DagsterUnavailable("Dagster at http://127.0.0.1:3000 does not answer")
    return "Dagster 1.13.27"


def run_worker(patience_seconds: float = worker.POLLER_PATIENCE_SECONDS, cancel_seconds: int = 1) -> None:
    configure_logging()
    worker.CANCEL_SECONDS = cancel_seconds
    asyncio.run(
        worker.run_worker(
            read_settings(),
            work=lambda _: {
                TASK_QUEUE: QueueWork([greet, stay, stay_deaf, break_poller], slots=20, workflows=[OneActivityWorkflow])
            },
            dagster_check=dagster_check,
            poller_patience_seconds=patience_seconds,
        )
    )


if __name__ == "__main__":
    own = typer.Typer(add_completion=False)
    own.command("run-worker")(run_worker)
    app.add_command(get_command(own), "run-worker")
    main()
