"""The demo: the whole path on one machine, from a Temporal schedule to green partitions, and out again."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.defs.progress import ProgressListener, ProgressLog
from ledger_pipeline.local.collection_run import (
    CollectionRun,
    DigestRow,
    command_instance,
    digest_row,
    run_collection,
)
from ledger_pipeline.local.dagster_services import dagster_services
from ledger_pipeline.local.demo_statement import SignedEpoch, bind_accounts, propose_all, sign_oldest_epoch
from ledger_pipeline.local.drain import drain
from ledger_pipeline.local.embedded_temporal import embedded_temporal
from ledger_pipeline.local.environment import dagster_home, databases, migrate, overridden
from ledger_pipeline.local.private_home import private_home
from ledger_pipeline.local.simulated_github import simulated_github
from ledger_pipeline.local.single_run import single_run
from ledger_pipeline.local.worker_process import worker_process
from ledger_pipeline.settings import SIMULATED_CLOCK, Settings, read_settings
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger
from ledger_pipeline.temporal_bridge.collection.trigger import Started, fire_schedule, wait_for
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import CollectEpochResult, Progress
from ledger_pipeline.temporal_bridge.schedules.plan import ScheduleStep
from ledger_pipeline.temporal_bridge.schedules.server import refuse_failures, sync_schedules

# Where `make dev` serves them: links outlive the demo.
DEV_UI_URL = "http://127.0.0.1:3000"
DEV_TEMPORAL_UI_URL = "http://127.0.0.1:8233"

_ALL_TIME = EpochWindow(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class ScheduledRun:
    """The schedule as it was synced, the workflow that it started when fired, and what that collected."""

    steps: list[ScheduleStep]
    workflow: Started
    result: CollectEpochResult


@dataclass(frozen=True)
class DemoReport:
    """What the demo did: the running epoch through Temporal, those before it as one Dagster run, and the ledger then.

    `partitions` are what the ledger holds of all these epochs, oldest first; `rows_before` and `rows_after` its size.
    `signed` is the oldest of them, None where there is none before the running one.
    """

    scheduled: ScheduledRun
    backfill: CollectionRun | None
    partitions: list[DigestRow]
    rows_before: int
    rows_after: int
    signed: SignedEpoch | None
    home: Path


def demo_home(settings: Settings) -> Path:
    """Where simulated activity is kept: apart from what is collected from the real GitHub.

    It is LEDGER_HOME itself where that names the demo's state, as it does for commands that look at it.
    """
    return settings.home if (settings.home / SIMULATED_CLOCK).is_file() else settings.home / "demo"


def demo_environment(settings: Settings) -> dict[str, str]:
    """The environment of the demo: everything embedded, under `demo_home`, whatever is configured otherwise."""
    unset = (
        *("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_READER_URL", "DATABASE_WEB_URL"),
        *("DAGSTER_DATABASE_URL", "DAGSTER_HOME", "DAGSTER_UI_URL", "DAGSTER_CODE_LOCATION"),
        *("TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY", "TEMPORAL_TLS", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
        *("TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_TLS_SERVER_NAME"),
    )
    return {
        **dict.fromkeys(unset, ""),
        "LEDGER_HOME": str(demo_home(settings)),
        "LEDGER_REPO_SPEC": str(settings.repo_spec_path),
    }


def run_demo(progress: ProgressListener, say: Callable[[str], None]) -> DemoReport:
    """Sync the Temporal schedule, fire it, wait for the running epoch; collect those before it in one run; sign one.

    GitHub is simulated. `say` hears in one line what is done next. Leaves no process behind.
    """
    settings = read_settings()
    spec = settings.repo_spec()
    home = demo_home(settings)
    say("starting Postgres, Temporal, Dagster and a worker")
    with (
        private_home(settings.home),
        single_run(home, say),
        simulated_github(spec, home) as github,
        overridden({**demo_environment(settings), **github}) as demo_settings,
        databases(demo_settings) as demo_settings,
        dagster_home(demo_settings) as folder,
        command_instance(folder) as instance,
        _migrated_ledger(demo_settings, spec) as ledger,
    ):
        scope = spec.default_scope
        running, before = _windows(spec)
        rows_before = _rows(ledger, spec)
        bind_accounts(ledger)
        scheduled = _through_temporal(spec, home, instance, say)
        backfill, signed = None, None
        if before:
            say(f"backfill of {counted(len(before), 'epoch')} as one Dagster run")
            backfill = run_collection(spec, scope, before, instance, trigger="demo", progress=progress)
        if backfill is not None and backfill.problem is None:
            epochs = ledger.epochs.within(scope.scope_id, span(before))
            say(f"proposing who gets what in each of them; signing {before[0].key} with the demo's key")
            propose_all(ledger, scope, epochs)
            signed = sign_oldest_epoch(ledger, demo_settings.repo_spec(), epochs, home)
            # No sensor has seen the epoch otherwise, so none would have Dagster show it as signed.
            run_collection(spec, scope, before[:1], instance, trigger="demo", progress=ProgressLog())
        partitions = [digest_row(digest, scope) for digest in ledger.events.digests(scope.scope_id, [*before, running])]
        return DemoReport(scheduled, backfill, partitions, rows_before, _rows(ledger, spec), signed, home)


def _through_temporal(
    spec: RepoSpec, home: Path, instance: dg.DagsterInstance, say: Callable[[str], None]
) -> ScheduledRun:
    """The running epoch as in production: schedule, workflow, worker, Dagster run."""
    started_at = datetime.now(UTC)
    with (
        embedded_temporal(home / "temporal") as temporal,
        dagster_services(home / "dagster") as dagster,
        overridden(
            {
                "TEMPORAL_ADDRESS": temporal.address,
                "DAGSTER_URL": dagster.url,
                "DAGSTER_UI_URL": DEV_UI_URL,
                "TEMPORAL_UI_URL": DEV_TEMPORAL_UI_URL,
            }
        ) as settings,
        worker_process(spec, home / "worker"),
    ):
        scheduled = asyncio.run(_fire(settings, spec, say))
        drain(dagster, instance, started_at, say)
        return scheduled


async def _fire(settings: Settings, spec: RepoSpec, say: Callable[[str], None]) -> ScheduledRun:
    def on_progress(progress: Progress) -> None:
        run = f", Dagster run {progress.dagster_run_id}" if progress.dagster_run_id else ""
        say(f"workflow {started.workflow_id}: {progress.stage}{run}")

    steps = await sync_schedules(settings, spec)
    refuse_failures(steps)
    for step in steps:
        say(f"Temporal schedule {step.schedule_id}: {step.action}")
    client = await connect(settings)
    started = await fire_schedule(client, spec, spec.default_scope)
    return ScheduledRun(steps, started, await wait_for(client, started, on_progress))


@contextmanager
def _migrated_ledger(settings: Settings, spec: RepoSpec) -> Iterator[PostgresLedger]:
    migrate(settings)
    with open_ledger(settings.ledger_url(), spec.node_id, settings.database_limits) as ledger:
        yield ledger


def _windows(spec: RepoSpec) -> tuple[EpochWindow, list[EpochWindow]]:
    """The running epoch, and those before it that the scope has, oldest first."""
    scope = spec.default_scope
    running = scope.calendar.window_at(datetime.now(UTC))
    first = scope.calendar.window_starting(scope.first_epoch)
    before = list(scope.calendar.windows_between(first, running))[:-1]
    return running, before


def _rows(ledger: PostgresLedger, spec: RepoSpec) -> int:
    [digest] = ledger.events.digests(spec.default_scope.scope_id, [_ALL_TIME])
    return digest.events
