"""The whole bridge on real parts: Postgres, a simulated GitHub, Dagster's services, and a worker as its own process.

One stack a test process, which its tests share: each collects an epoch of its own (`Stack.next_week`).
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from sqlalchemy import Engine, make_url
from temporalio.client import Client, WorkflowHandle

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import COLLECT_EPOCH_JOB, partition_tags
from ledger_pipeline.local.dagster_services import DagsterServices, dagster_services
from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.local.environment import DAGSTER_YAML
from ledger_pipeline.local.processes import child_process, free_port
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, Issue, PullRequest
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.collection.dagster_answers import DagsterRun
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, review, world
from ledger_pipeline_tests.store.settlement import APPROVER, POOL
from ledger_pipeline_tests.waiting import POLL_SECONDS, eventually

NOW = instant("2026-02-18T12:00")
FIRST_EPOCH = "2024-01-01"
WEEKS = 111  # up to the one that NOW is in
HOUR = timedelta(hours=1)
READY_SECONDS = 60

_T = TypeVar("_T")


@dataclass
class Stack:
    """Everything a collection needs, and how to look at each part of it."""

    github: Simulator
    engine: Engine
    ledger: PostgresLedger
    dagster: DagsterClient
    services: DagsterServices
    folder: Path
    environment: dict[str, str]
    settings: Settings
    _items: list[PullRequest | Issue] = field(default_factory=lambda: [*_events_of(WEEKS)])
    _weeks: Iterator[int] = field(default_factory=lambda: iter(range(WEEKS - 1, 0, -1)))

    @property
    def running_week(self) -> EpochWindow:
        """The epoch that GitHub's clock is in: it stays open."""
        return _week(WEEKS)

    def next_week(self) -> EpochWindow:
        """An epoch over that no other test has, with a merged pull request, a review of it and a closed issue.

        Latest first, and in GitHub only from now on: nobody can have collected it before.
        """
        number = next(self._weeks)
        self._items += _events_of(number)
        self.github.replace_world(world(*self._items))
        return _week(number)

    @property
    def newest_pull_request(self) -> PullRequest:
        """The one of the last `next_week`."""
        return next(item for item in reversed(self._items) if isinstance(item, PullRequest))

    def payload(self, of: EpochWindow, **changed: Any) -> dict[str, Any]:
        """What a schedule sends to have the epoch collected; `changed` replaces keys of its input."""
        return {
            "scheduleId": "governance:ledger_ingest",
            "graphId": "ledger:ingest",
            "input": {
                "version": 1,
                "scopeId": str(SCOPE_ID),
                "scopeKey": "default",
                "epochLengthDays": 7,
                "activitySources": {
                    "github": {
                        "creditEstimateAlgo": "cogni-v0.0",
                        "sourceRefs": [NAME],
                        "streams": ["pull_requests", "reviews", "issues"],
                    }
                },
                "asOf": (of.start + HOUR).isoformat().replace("+00:00", "Z"),
                **changed,
            },
        }

    def runs_of(self, of: EpochWindow) -> list[DagsterRun]:
        """The Dagster runs that were launched to collect the epoch alone, oldest first."""
        runs = self.dagster.runs_tagged(partition_tags(of.key, "default"))
        return [run for run in runs if run.job_name == COLLECT_EPOCH_JOB]

    def ended(self, run_id: str) -> DagsterRun:
        """The run once it is finished."""
        return eventually(lambda: run if not (run := self.dagster.run(run_id)).is_unfinished else None, 60)

    def event_ids(self, of: EpochWindow) -> list[str]:
        """What the ledger holds of the epoch."""
        return [event.id for event in self.ledger.events.within(SCOPE_ID, of)]


def _week(number: int) -> EpochWindow:
    return window((window(FIRST_EPOCH).start + number * timedelta(7)).date().isoformat())


def _events_of(number: int) -> tuple[PullRequest | Issue, ...]:
    at = _week(number).start + 2 * HOUR
    return merged(number, at, reviews=(review(number, at),)), issue(1000 + number, closures=(Closure(at),))


@contextmanager
def running_stack(
    postgres_url: str, migrated_template: str, temporal_address: str, *repositories: str, **variables: str
) -> Iterator[Stack]:
    """The stack without a worker, on this Postgres server and this Temporal server; `running_worker` starts one.

    It collects `repositories`, NAME where none are given, and has `variables` in its environment.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        fresh_database(postgres_url, migrated_template) as ledger_url,
        fresh_database(postgres_url) as dagster_url,
        Simulator(world(*_events_of(WEEKS)), as_of=NOW) as github,
    ):
        home = Path(folder)
        (home / "dagster.yaml").write_text(DAGSTER_YAML)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "DATABASE_URL": ledger_url,
            "DAGSTER_HOME": folder,
            "DAGSTER_POSTGRES_URL": _psycopg2(dagster_url),
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "ghp_marked_secret",
            "GITHUB_RETRIES": "0",
            "GITHUB_MAX_WAIT_SECONDS": "0",
            "LEDGER_REPO_SPEC": str(
                write_repo_spec(
                    home,
                    *(repositories or (NAME,)),
                    first_epoch=FIRST_EPOCH,
                    approvers=[APPROVER.address],
                    base_issuance_credits=POOL,
                )
            ),
            "NODE_ID": str(NODE_ID),
            "SCOPE_ID": str(SCOPE_ID),
            "TEMPORAL_ADDRESS": temporal_address,
            "TEMPORAL_UI_URL": "http://temporal.example",
            **variables,
        }
        _make_dagster_tables(environment)
        with dagster_services(home, environment=environment) as services:
            environment["DAGSTER_URL"] = services.url
            engine = make_engine(ledger_url)
            yield Stack(
                github=github,
                engine=engine,
                ledger=PostgresLedger(engine, NODE_ID),
                dagster=DagsterClient(services.url, location="ledger_pipeline"),
                services=services,
                folder=home,
                environment=environment,
                settings=read_settings({"temporal_address": temporal_address}),
            )
            engine.dispose()


@pytest.fixture(scope="session")
def stack(postgres_server: str, migrated_template: str, temporal_server: TemporalServer) -> Iterator[Stack]:
    """The stack without a worker, on the servers of this test process."""
    with running_stack(postgres_server, migrated_template, temporal_server.address) as running:
        yield running


@pytest.fixture
def no_faults(stack: Stack) -> Iterator[None]:
    """GitHub behaves, but for what the test itself says."""
    stack.github.faults.clear()
    yield
    stack.github.faults.clear()


def elsewhere(stack: Stack, settings: Settings, **environment: str) -> Stack:
    """The stack as seen from another Temporal server or namespace."""
    address = {"TEMPORAL_ADDRESS": settings.temporal_address, "TEMPORAL_NAMESPACE": settings.temporal_namespace}
    return replace(stack, settings=settings, environment={**stack.environment, **address, **environment})


@dataclass
class WorkerProcess:
    """A `ledger-pipeline worker` of its own."""

    process: subprocess.Popen[bytes]
    health_url: str

    def kill(self) -> None:
        """End it as a lost machine would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_worker(stack: Stack, **environment: str) -> Iterator[WorkerProcess]:
    """A worker that is ready, stopped when left."""
    health, metrics = free_port(), free_port()
    own = {
        **stack.environment,
        "WORKER_HEALTH_ADDRESS": f"127.0.0.1:{health}",
        "WORKER_METRICS_ADDRESS": f"127.0.0.1:{metrics}",
        "WORKER_GRACE_SECONDS": "1",
        **environment,
    }
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "worker"]
    log = stack.folder / "worker.log"
    with child_process(command, log, own) as child:
        worker = WorkerProcess(child.popen, f"http://127.0.0.1:{health}")
        eventually(lambda: child.ended() or _is_ready(worker.health_url), READY_SECONDS)
        assert child.ended() is None, log.read_text()[-3000:]
        yield worker


@pytest.fixture(scope="session")
def worker(stack: Stack) -> Iterator[WorkerProcess]:
    """One worker for all tests that do not end it."""
    with running_worker(stack) as running:
        yield running


def with_client(stack: Stack, use: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T:
    """What `use` gives, run with a client of the stack's Temporal."""

    async def run() -> _T:
        return await use(await connect(stack.settings))

    return asyncio.run(run())


async def start(client: Client, payload: object, workflow_id: str, **options: Any) -> WorkflowHandle[Any, Any]:
    """Start the workflow as another client would: by its name, with plain JSON."""
    return await client.start_workflow(
        "CollectEpochWorkflow", payload, id=workflow_id, task_queue="ledger-tasks", **options
    )


async def eventually_async(ask: Callable[[], Awaitable[_T]], is_it: Callable[[_T], object]) -> _T:
    """The first answer of `ask` that `is_it` holds for, within a deadline."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_it(answer := await ask()):
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(POLL_SECONDS)
    return answer


def _is_ready(health_url: str) -> bool:
    try:
        return requests.get(f"{health_url}/readyz", timeout=5).ok
    except requests.RequestException:
        return False


def _psycopg2(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def _make_dagster_tables(environment: Mapping[str, str]) -> None:
    """Once, here: the services would all make them at the same time, and all but one would fail."""
    program = "import dagster; dagster.DagsterInstance.get().dispose()"
    subprocess.run([sys.executable, "-c", program], env=dict(environment), check=True, timeout=60)
