"""What 26,000 partitions cost over 52: loading the definitions, showing the partition page, starting a collection.

Two deployments at once, each a code server, webserver and daemon on a database of its own, asked in turns; the best of
several rounds counts. The page is Dagster's own, in Debian's Chromium, from the address to the counts it shows.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import requests
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from playwright.sync_api import Browser, sync_playwright

from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.dagster_contract import CODE_LOCATION, COLLECT_EPOCH_JOB, format_partition_key, partition_tags
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.local.dagster_services import dagster_services
from ledger_pipeline.local.environment import dagster_home, overridden
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store import migrations
from ledger_pipeline.temporal_bridge.collection.dagster_answers import SUCCESS
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.sources.simulator.worlds import NAME, world
from ledger_pipeline_tests.waiting import eventually

ROUNDS = 2
BATCH = 2_000  # events a transaction
DEADLINE_SECONDS = 60
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

CALENDAR = EpochCalendar(7)
FEW, MANY = 52, 520
SCOPES = 50

LOAD = "from ledger_pipeline.definitions import ledger_definitions; ledger_definitions().get_repository_def()"
STEPS = "query Steps($run: ID!) {runOrError(runId: $run) {... on Run {stepStats {startTime}}}}"
# As the partition page asks.
STATUSES = """
query PartitionHealthQuery($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      id
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on MultiPartitionStatuses {
          primaryDimensionName
          ranges {
            primaryDimStartKey primaryDimEndKey primaryDimStartTime primaryDimEndTime
            secondaryDim {
              ... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }
            }
          }
        }
      }
    }
  }
}
"""
PROJECT = """\
scope_id: {scope_id}
scope_key: {scope_key}
activity_ledger:
  epoch_length_days: 7
  first_epoch: {first_epoch}
  activity_sources:
    github:
      credit_estimate_algo: cogni-v0.0
      source_refs: [{repository}]
"""


@dataclass(frozen=True)
class Deployment:
    """Running services: their URL, the environment of their processes, and the grid, oldest epoch first."""

    url: str
    environment: Mapping[str, str]
    windows: Sequence[EpochWindow]
    scope_keys: Sequence[str]

    def partitions(self) -> list[str]:
        """Every key of the grid."""
        return [format_partition_key(window.key, scope) for scope in self.scope_keys for window in self.windows]


def ten_years_of_fifty_scopes() -> Iterator[Figure]:
    """The ratios, with every partition of `activity_events` green on both sides; the page's longest query apart."""
    now = datetime.now(UTC)
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        Simulator(world(), as_of=now) as github,
        _deployment(server, Path(folder) / "small", github.url, _windows(now, FEW), scopes=1) as small,
        _deployment(server, Path(folder) / "large", github.url, _windows(now, MANY), SCOPES) as large,
        _browser() as browser,
    ):

        def page_seconds(deployment: Deployment) -> float:
            return _page_seconds(browser, deployment)

        def ratio(seconds: Callable[[Deployment], float]) -> float:
            # In turns, so that a busy moment meets both.
            few, many = zip(*((seconds(small), seconds(large)) for _ in range(ROUNDS)), strict=True)
            return float(min(many) / min(few))

        over = f"{len(large.partitions()):,} partitions over {len(small.partitions())}"
        yield Figure(f"definitions load, {over}", ratio(_load_seconds), "at most 1.5")
        for deployment in (small, large):
            _materialize(deployment)
            # The first look fills Dagster's cache of what is green, and the browser's of scripts.
            page_seconds(deployment)
        yield Figure(f"partition page shown, {over}, all green", ratio(page_seconds), "at most 1.5")
        aim = "no aim: Dagster spells out each green key; the page above waits for it"
        yield Figure(f"that page's query of statuses alone, {over}", ratio(_statuses_seconds), aim)
        yield Figure(f"collect starts, {over}", ratio(_start_seconds), "at most 1.5")


def _load_seconds(deployment: Deployment) -> float:
    """Of processor time: on a machine that does other things too, the clock on the wall measures those."""
    before = os.times()
    subprocess.run([sys.executable, "-c", LOAD], env=deployment.environment, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _page_seconds(browser: Browser, deployment: Deployment) -> float:
    """From the address to the count of green partitions, in a tab of its own: no other page is still at work there."""
    page = browser.contexts[0].new_page()
    try:
        started = time.perf_counter()
        page.goto(f"{deployment.url}/assets/{ACTIVITY_EVENTS.to_user_string()}?view=partitions", wait_until="commit")
        count = page.get_by_text(f"Materialized ({len(deployment.partitions())})")
        count.first.wait_for(timeout=DEADLINE_SECONDS * 1000)
        return time.perf_counter() - started
    finally:
        page.close()


def _statuses_seconds(deployment: Deployment) -> float:
    started = time.perf_counter()
    node = _ask(deployment, STATUSES, key={"path": ACTIVITY_EVENTS.path})["assetNodeOrError"]
    taken = time.perf_counter() - started
    if not node["assetPartitionStatuses"]["ranges"]:
        raise AssertionError(f"nothing is green at {deployment.url}")
    return taken


def _start_seconds(deployment: Deployment) -> float:
    """From asking, as the bridge does, to the first step's own word of when it began."""
    dagster = DagsterClient(deployment.url, location=CODE_LOCATION)
    tags = partition_tags(deployment.windows[-1].key, deployment.scope_keys[0])
    asked = time.time()
    run_id = dagster.launch(tags)
    eventually(lambda: not dagster.run(run_id).is_unfinished, DEADLINE_SECONDS)
    if dagster.run(run_id).status != SUCCESS:
        raise AssertionError(f"{COLLECT_EPOCH_JOB} of {tags} failed: {dagster.failure(run_id).message}")
    steps = _ask(deployment, STEPS, run=run_id)["runOrError"]["stepStats"]
    return float(min(step["startTime"] for step in steps)) - asked


def _ask(deployment: Deployment, query: str, **variables: object) -> Any:
    question = {"query": query, "variables": variables}
    return requests.post(f"{deployment.url}/graphql", json=question, timeout=DEADLINE_SECONDS).json()["data"]


def _materialize(deployment: Deployment) -> None:
    """Tell Dagster that every partition of `activity_events` is in the ledger, in batches as a run does."""
    partitions = deployment.partitions()
    with overridden(dict(deployment.environment)), dg.DagsterInstance.get() as instance:
        for first in range(0, len(partitions), BATCH):
            batch = [_materialization(key) for key in partitions[first : first + BATCH]]
            instance.event_log_storage.store_event_batch(batch)


def _materialization(partition: str) -> EventLogEntry:
    return EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's
        error_info=None,
        level="debug",
        user_message="",
        run_id=str(UUID(int=1)),
        timestamp=time.time(),
        dagster_event=DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=COLLECT_EPOCH_JOB,
            event_specific_data=StepMaterializationData(dg.AssetMaterialization(ACTIVITY_EVENTS, partition=partition)),
        ),
    )


@contextmanager
def _deployment(
    server: str, folder: Path, github_url: str, windows: Sequence[EpochWindow], scopes: int
) -> Iterator[Deployment]:
    repo_spec = write_repo_spec(folder, NAME, first_epoch=windows[0].key)
    scope_keys = ["default", *(_write_project(folder, number, windows[0]) for number in range(1, scopes))]
    with ExitStack() as stack:
        ledger_url, dagster_url = (stack.enter_context(fresh_database(server)) for _ in range(2))
        migrations.upgrade(ledger_url)
        variables = {
            "LEDGER_HOME": str(folder),
            "LEDGER_REPO_SPEC": str(repo_spec),
            "DATABASE_URL": ledger_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "DAGSTER_HOME": "",
            "GITHUB_API_URL": github_url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "any",
        }
        with overridden(variables) as settings, dagster_home(settings):
            environment = dict(os.environ)
            # Its tables are made once, here: the services would all make them, and all but one would fail.
            dg.DagsterInstance.get().dispose()
        services = stack.enter_context(dagster_services(folder / "services", environment=environment))
        yield Deployment(services.url, environment, windows, scope_keys)


def _write_project(folder: Path, number: int, first: EpochWindow) -> str:
    scope_key = f"project-{number:02}"
    file = folder / ".cogni" / "projects" / f"{scope_key}.yaml"
    file.parent.mkdir(exist_ok=True)
    scope_id = UUID(int=number)
    file.write_text(
        PROJECT.format(scope_id=scope_id, scope_key=scope_key, first_epoch=first.key, repository=NAME), encoding="utf-8"
    )
    return scope_key


def _windows(now: datetime, count: int) -> list[EpochWindow]:
    running = CALENDAR.window_at(now)
    first = CALENDAR.window_at(running.start - (count - 1) * CALENDAR.length)
    return list(CALENDAR.windows_between(first, running))


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        browser.new_context(viewport={"width": 1500, "height": 950})
        yield browser
        browser.close()
