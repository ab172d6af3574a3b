"""The demo: the whole path on one machine, from a simulated GitHub to green partitions, and out again."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs.progress import ProgressListener
from ledger_pipeline.local.collection_run import CollectionRun, run_collection
from ledger_pipeline.local.environment import dagster_home, databases, overridden
from ledger_pipeline.local.simulated_github import simulated_github
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import open_ledger

BACKFILL_EPOCHS = 12

_ALL_TIME = EpochWindow(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class DemoReport:
    """What the demo did: its runs (the running epoch's, then the backfill's) and the ledger's size before and after."""

    runs: list[CollectionRun]
    rows_before: int
    rows_after: int
    home: Path


def demo_home(settings: Settings) -> Path:
    """Where simulated activity is kept: apart from what is collected from the real GitHub."""
    return settings.home / "demo"


def demo_environment(settings: Settings) -> dict[str, str]:
    """The environment of the demo: everything embedded, under `demo_home`, whatever is configured otherwise."""
    return {
        "DATABASE_URL": "",
        "DAGSTER_DATABASE_URL": "",
        "DAGSTER_HOME": "",
        "LEDGER_HOME": str(demo_home(settings)),
        "LEDGER_REPO_SPEC": str(settings.repo_spec_path),
    }


def run_demo(progress: ProgressListener) -> DemoReport:
    """Collect the running epoch and the twelve before it from a simulated GitHub; leaves no process behind."""
    settings = read_settings()
    spec = settings.repo_spec()
    home = demo_home(settings)
    with (
        simulated_github(spec, home) as github,
        overridden({**demo_environment(settings), **github}) as demo_settings,
        databases(demo_settings) as demo_settings,
        dagster_home(demo_settings),
    ):
        url = demo_settings.ledger_url()
        migrations.upgrade(url)
        rows_before = _rows(url, spec)
        with dg.DagsterInstance.get() as instance:
            runs = [
                run_collection(spec, spec.default_scope, windows, instance, trigger="demo", progress=progress)
                for windows in _windows(spec)
                if windows
            ]
        return DemoReport(runs, rows_before, _rows(url, spec), home)


def _windows(spec: RepoSpec) -> tuple[list[EpochWindow], list[EpochWindow]]:
    """The running epoch, and those before it that the scope has, oldest first."""
    scope = spec.default_scope
    running = scope.calendar.window_at(datetime.now(UTC))
    first = scope.calendar.window_starting(scope.first_epoch)
    before = list(scope.calendar.windows_between(first, running))[:-1]
    return [running], before[-BACKFILL_EPOCHS:]


def _rows(url: str, spec: RepoSpec) -> int:
    with open_ledger(url, spec.node_id) as ledger:
        [digest] = ledger.digests(spec.default_scope.scope_id, [_ALL_TIME])
        return digest.events
