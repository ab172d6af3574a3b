"""Peak memory of collecting 100,000 events over that of collecting 1,000: pages are let go, so history costs none.

Each collection is a process of its own; the simulated GitHub stays in this one.
"""

import resource
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import open_ledger
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, scope, weeks
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import MONDAY, merged, repository, review

REPO = "cogni-dao/ledger"
REVIEWS = 9  # with its merge, ten events a pull request
MINUTE = timedelta(minutes=1)
WINDOWS = weeks(8, MONDAY.date().isoformat())


def memory_of_history() -> Figure:
    """The ratio of the two peaks, as the operating system counted them."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as server:
        small, large = (_peak_kilobytes(server, events) for events in (1_000, 100_000))
    return Figure("peak memory: collecting 100,000 events over 1,000", large / small, "under 1.3")


def _peak_kilobytes(server: str, events: int) -> int:
    pull_requests = [
        merged(
            number,
            MONDAY + number * MINUTE,
            reviews=tuple(review(number * REVIEWS + n, MONDAY + number * MINUTE) for n in range(REVIEWS)),
        )
        for number in range(1, 1 + events // (1 + REVIEWS))
    ]
    with (
        Simulator(World((repository(*pull_requests, name=REPO),)), as_of=WINDOWS[-1].end) as github,
        fresh_database(server) as url,
    ):
        migrations.upgrade(url)
        command = [sys.executable, "-m", "ledger_pipeline_tests.benchmarks.memory", github.url, url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        new, peak = map(int, done.stdout.split())
    if new != events:
        raise AssertionError(f"collected {new} events, not {events}")
    return peak


def _collect(github_url: str, database_url: str) -> None:
    with open_ledger(database_url, NODE_ID) as ledger, github_source(github_url) as source:
        report = collect(source, ledger, scope(REPO), WINDOWS)
    new = sum(report.tally(window, report.streams).new for window in WINDOWS)
    print(new, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _collect(*sys.argv[1:])
