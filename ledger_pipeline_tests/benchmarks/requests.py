"""API requests of one way of collecting over those of another; exact, so one round is enough."""

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import open_ledger
from ledger_pipeline_tests.benchmarks.ratio import Ratio
from ledger_pipeline_tests.builders import NODE_ID, scope, weeks
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.sources.github.github_source import github_source

REPO = "cogni-dao/ledger"
WINDOWS = weeks(52, "2025-01-06")


def backfill_over_full_scan() -> Ratio:
    """A backfill of 52 windows, on a ledger that holds the running one, over one full scan of the same time."""
    now = WINDOWS[-1].end + timedelta(hours=12)
    running = EpochWindow(WINDOWS[-1].end, WINDOWS[-1].end + timedelta(days=7))
    world = generate_world(1, now, (REPO,))
    with (
        Simulator(world, as_of=now) as github,
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
    ):
        backfill = _requests(server, github, [[running], WINDOWS])
        full_scan = _requests(server, github, [[*WINDOWS, running]])
    return Ratio("requests: backfill of 52 windows over one full scan", backfill / full_scan, "aim 1.05 or less")


def _requests(server: str, github: Simulator, collections: Sequence[Sequence[EpochWindow]]) -> int:
    """What the last of `collections` cost, on a fresh ledger."""
    with fresh_database(server) as url, github_source(github.url, page_size=20) as source:
        migrations.upgrade(url)
        with open_ledger(url, NODE_ID) as ledger:
            reports = [collect(source, ledger, scope(REPO), windows) for windows in collections]
        return reports[-1].requests
