"""Another SDK's workflow over the five Temporal activities, on a real server: the ledger is as Dagster leaves it.

The simulated GitHub's clock stands still while both collect, so that they are told the same.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import Engine
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.defs.resources import SettingsResource
from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.pipeline.pieces import PieceLimits
from ledger_pipeline.settings import read_settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.registry import open_source
from ledger_pipeline.sources.simulator.faults import SecondaryLimit
from ledger_pipeline.sources.simulator.generated import REPOSITORIES, generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.ledger_activities.activities import PIECE_LIMITS, LedgerActivities
from ledger_pipeline.temporal_bridge.worker.interceptors import DomainFailures
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NODE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import Deployment, write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import issue, merged, repository
from ledger_pipeline_tests.temporal_bridge.five_activities_workflow import OtherCollectEpoch
from ledger_pipeline_tests.temporal_bridge.ledger_tables import Tables, differences, read_tables
from ledger_pipeline_tests.waiting import POLL_SECONDS

# A week in which one pull request of the first repository has 250 reviews.
CROWDED = "2026-03-30"
QUIET = "cogni-dao/quiet"  # nothing happens there in the weeks collected
SMALL_PIECES = replace(PIECE_LIMITS, items=10)
PAGE_SIZE = 2


@pytest.fixture(scope="module")
def world() -> World:
    generated = generate_world(7, instant("2026-05-01"))
    first = generated.by_name[REPOSITORIES[0]]
    # Collected before and after it is closed again: a conflict.
    closures = (
        Closure(instant("2026-03-31T08:00"), reopened_at=instant("2026-04-02T08:00")),
        Closure(instant("2026-04-07T08:00")),
    )
    twice = issue(90_001, instant("2026-03-30T08:00"), closures=closures)
    quiet = repository(merged(1, instant("2026-02-02T08:00")), name=QUIET, database_id=90_002)
    busy = generated.with_repository(replace(first, issues=(*first.issues, twice)))
    return busy.with_repository(quiet)


@pytest.fixture
def github(github: Simulator, world: World) -> Simulator:
    github.replace_world(world)
    return github


class Side:
    """One database, collected into by Dagster or by the workflow."""

    def __init__(self, url: str, github: Simulator, folder: Path, repositories: Sequence[str]) -> None:
        self.engine: Engine = make_engine(url)
        self.ledger = PostgresLedger(self.engine, NODE_ID)
        self.repositories = repositories
        self._github = github
        self._folder = folder
        self.overrides = {
            "database_url": url,
            "github_api_url": github.url,
            "github_clock_tolerance_seconds": ANY_CLOCK_SECONDS,
            "github_token": "t",
            "github_retries": 0,
            "github_max_wait_seconds": 0,
            "github_page_size": PAGE_SIZE,
            "ledger_repo_spec": str(write_repo_spec(folder, *repositories)),
        }

    def materialize(self, epoch: str) -> None:
        """A real Dagster run."""
        with dg.DagsterInstance.local_temp(str(self._folder), {"telemetry": {"enabled": False}}) as instance:
            settings = SettingsResource(overrides=self.overrides)
            deployment = Deployment(self._github, self.ledger, instance, settings, datetime.now(UTC), self._folder)
            assert deployment.materialize(epoch).success

    def activities(self, threads: WorkerThreads, limits: PieceLimits) -> LedgerActivities:
        settings = read_settings(self.overrides)
        return LedgerActivities(
            settings.repo_spec(),
            self.ledger,
            lambda name, stop: open_source(settings, name, 25, stop),
            lambda: datetime.now(UTC),
            threads,
            limits,
        )

    def run_workflow(
        self, server: TemporalServer, of: EpochWindow, *, limits: PieceLimits = PIECE_LIMITS, older: bool = False
    ) -> dict[str, Any]:
        """The other system's workflow, on a task queue of its own, to its end."""

        async def run() -> dict[str, Any]:
            async with self._working(server, limits) as (client, queue):
                result: dict[str, Any] = await client.execute_workflow(
                    "OtherCollectEpoch", self._argument(of, older=older), id=queue, task_queue=queue
                )
            return result

        return asyncio.run(run())

    def _argument(self, of: EpochWindow, *, older: bool = False) -> dict[str, Any]:
        return {
            "periodStart": iso_millis(of.start),
            "periodEnd": iso_millis(of.end),
            "weightConfig": dict(DEFAULT_WEIGHTS_MILLI),
            "sourceRefs": list(self.repositories),
            "streams": list(GITHUB_STREAMS),
            "older": older,
        }

    @asynccontextmanager
    async def _working(self, server: TemporalServer, limits: PieceLimits) -> AsyncIterator[tuple[Client, str]]:
        """A worker, and another client, which knows no type of ours, as any SDK; the queue they share."""
        queue = f"five-activities-{uuid4()}"
        with closing(WorkerThreads()) as threads:
            async with Worker(
                await connect(read_settings({"temporal_address": server.address})),
                task_queue=queue,
                workflows=[OtherCollectEpoch],
                activities=self.activities(threads, limits).activities,
                workflow_runner=SandboxedWorkflowRunner(),
                interceptors=[DomainFailures()],
            ):
                yield await Client.connect(server.address), queue

    def until_done_or_waiting(
        self, server: TemporalServer, of: EpochWindow, *, long_seconds: int
    ) -> PendingActivityInfo | None:
        """Run the workflow until it is done (None), or an activity of it is put off for longer than that."""

        async def run() -> PendingActivityInfo | None:
            async with self._working(server, PIECE_LIMITS) as (client, queue):
                handle = await client.start_workflow(
                    "OtherCollectEpoch", self._argument(of), id=queue, task_queue=queue
                )
                result = asyncio.create_task(handle.result())
                while not (await asyncio.wait({result}, timeout=POLL_SECONDS))[0]:
                    for pending in (await handle.describe()).raw_description.pending_activities:
                        put_off = pending.next_attempt_schedule_time.ToDatetime(UTC) - datetime.now(UTC)
                        if pending.HasField("next_attempt_schedule_time") and put_off.total_seconds() > long_seconds:
                            await handle.terminate()
                            result.cancel()
                            return pending
                await result
                return None

        return asyncio.run(run())

    def tables(self, *without: str) -> Tables:
        return read_tables(self.engine, *without)


@contextmanager
def sides(
    count: int, server_url: str, template: str, github: Simulator, folder: Path, repositories: Sequence[str]
) -> Iterator[list[Side]]:
    urls, opened = [fresh_database(server_url, template) for _ in range(count)], []
    try:
        for number, url in enumerate(urls):
            (folder / str(number)).mkdir()
            opened.append(Side(url.__enter__(), github, folder / str(number), repositories))
        yield opened
    finally:
        for side, url in zip(opened, urls, strict=False):
            side.engine.dispose()
            url.__exit__(None, None, None)


@pytest.fixture
def of_several(postgres_server: str, migrated_template: str, github: Simulator, tmp_path: Path) -> Iterator[list[Side]]:
    """Two databases of four repositories."""
    with sides(2, postgres_server, migrated_template, github, tmp_path, (*REPOSITORIES, QUIET)) as two:
        yield two


@pytest.fixture
def of_one(postgres_server: str, migrated_template: str, github: Simulator, tmp_path: Path) -> Iterator[list[Side]]:
    """Two databases of one repository."""
    with sides(2, postgres_server, migrated_template, github, tmp_path, REPOSITORIES[:1]) as two:
        yield two


def since(day: str, rows: Sequence[str]) -> list[str]:
    """Rows of events from the beginning of `day` on."""
    return [row for row in rows if json.loads(row)["event_time"] >= day]


def test_weeks_collected_by_another_sdks_workflow_are_a_dagster_runs_byte_for_byte(
    temporal_server: TemporalServer, github: Simulator, of_several: list[Side]
) -> None:
    by_dagster, by_workflow = of_several
    pieces = []
    # A running week twice, the next week, which closes the first, and that again once it is over and past its grace.
    for now, epoch in (
        ("2026-04-01T12:00", CROWDED),
        ("2026-04-03T12:00", CROWDED),
        ("2026-04-08T12:00", "2026-04-06"),
        ("2026-04-15T12:00", "2026-04-06"),
    ):
        github.set_clock(instant(now))
        by_dagster.materialize(epoch)
        done = by_workflow.run_workflow(temporal_server, window(epoch), limits=SMALL_PIECES)
        pieces.append(done["pieces"])
        assert differences(by_workflow.tables(), by_dagster.tables()) == []
    tables = by_workflow.tables()
    assert max(pieces) > len(by_workflow.repositories)
    assert sum("review_submitted" in row for row in tables["activity_events"]) > 250
    assert {reason for row in tables["skipped_activity"] for reason in ("bot", "mannequin") if reason in row}
    assert tables["rejected_events"]
    assert ['"status": "review"' in row for row in tables["epochs"]] == [True, True]
    assert len(tables["scan_receipts"]) >= 4 * len(by_workflow.repositories) * len(GITHUB_STREAMS)


def test_a_week_collected_after_it_is_over_is_a_dagster_runs_in_one_go(
    temporal_server: TemporalServer, github: Simulator, of_several: list[Side]
) -> None:
    by_dagster, by_workflow = of_several
    github.set_clock(instant("2026-04-22T12:00"))
    by_dagster.materialize(CROWDED)
    done = by_workflow.run_workflow(temporal_server, window(CROWDED))
    assert differences(by_workflow.tables(), by_dagster.tables()) == []
    assert done["epoch"]["isNew"] is True
    assert by_workflow.run_workflow(temporal_server, window(CROWDED))["epoch"] == {
        **done["epoch"],
        "isNew": False,
        "status": "review",
    }
    assert differences(by_workflow.tables(), by_dagster.tables()) == []


@pytest.mark.parametrize("seconds", [2, 3600])
def test_temporal_waits_for_a_limit_that_lasts_and_holds_no_thread_meanwhile(
    temporal_server: TemporalServer, github: Simulator, of_one: list[Side], seconds: int
) -> None:
    _, by_workflow = of_one
    github.set_clock(instant("2026-04-03T12:00"))
    github.faults.for_repository(REPOSITORIES[0], SecondaryLimit(seconds), times=2)
    began = time.monotonic()
    waiting = by_workflow.until_done_or_waiting(temporal_server, window(CROWDED), long_seconds=60)
    if seconds > 60:
        assert waiting is not None
        assert waiting.last_failure.message.startswith(f"github {REPOSITORIES[0]}: GitHub's secondary rate limit")
        left = waiting.next_attempt_schedule_time.ToDatetime(UTC) - datetime.now(UTC)
        assert timedelta(seconds=seconds - 120) < left < timedelta(seconds=seconds + 5)
        assert len(by_workflow.tables()["activity_events"]) == 0
    else:
        assert waiting is None
        assert time.monotonic() - began > seconds
        assert len(by_workflow.tables()["activity_events"]) > 0


def test_an_older_callers_workflow_stores_every_event_and_a_dagster_run_adds_only_what_it_left_out(
    temporal_server: TemporalServer, github: Simulator, of_one: list[Side]
) -> None:
    by_dagster, by_older = of_one
    github.set_clock(instant("2026-04-03T12:00"))
    by_dagster.materialize(CROWDED)
    by_older.run_workflow(temporal_server, window(CROWDED), older=True)
    # It does not hand back when the source was asked.
    wanted, stored = by_dagster.tables("retrieved_at"), by_older.tables("retrieved_at")
    assert stored["activity_events"] == wanted["activity_events"]
    assert stored["epochs"] == wanted["epochs"]
    assert (stored["skipped_activity"], stored["scan_receipts"]) == ([], [])
    by_older.materialize(CROWDED)
    assert differences(by_older.tables("retrieved_at"), wanted) == []


def test_an_older_callers_second_collection_reads_on_from_where_the_first_stood(
    temporal_server: TemporalServer, github: Simulator, of_one: list[Side]
) -> None:
    by_dagster, by_older = of_one
    for now, epoch in (("2026-04-03T12:00", CROWDED), ("2026-04-08T12:00", "2026-04-06")):
        github.set_clock(instant(now))
        by_dagster.materialize(epoch)
        by_older.run_workflow(temporal_server, window(epoch), older=True)
        ids = by_older.tables("retrieved_at")["activity_events"]
        assert ids == by_dagster.tables("retrieved_at")["activity_events"]
    by_older.materialize("2026-04-06")
    by_older.materialize(CROWDED)
    wanted, stored = by_dagster.tables("retrieved_at"), by_older.tables("retrieved_at")
    for table in ("activity_events", "source_cursors", "rejected_events"):
        assert stored[table] == wanted[table]
    # Of what is older, a scan keeps what its last page happens to hold.
    assert since(CROWDED, stored["skipped_activity"]) == since(CROWDED, wanted["skipped_activity"]) != []


def test_an_older_caller_that_stops_at_the_first_piece_has_moved_no_cursor_past_the_rest(
    temporal_server: TemporalServer, github: Simulator, of_one: list[Side]
) -> None:
    by_dagster, by_older = of_one
    github.set_clock(instant("2026-04-03T12:00"))
    by_dagster.materialize(CROWDED)
    by_older.run_workflow(temporal_server, window(CROWDED), limits=replace(SMALL_PIECES, items=1), older=True)
    wanted = by_dagster.tables("retrieved_at")
    assert 0 < len(by_older.tables()["activity_events"]) < len(wanted["activity_events"])
    by_older.materialize(CROWDED)
    assert differences(by_older.tables("retrieved_at"), wanted) == []
