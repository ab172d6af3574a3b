"""API requests: exact, so one round is enough."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, Repository, World
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import NODE_ID, scope, weeks
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import MONDAY, issue, merged, repository, review

REPO = "cogni-dao/ledger"
WINDOWS = weeks(52, "2025-01-06")
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def request_counts() -> Iterator[Figure]:
    """A first sync, idle re-polls of one repository and a hundred, a backfill over one full scan, and whole weeks."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as server:
        yield from _first_sync_and_idle(server)
        yield _hundred_idle(server)
        yield _backfill_over_full_scan(server)
        for repositories in (1, 10):
            for news in (True, False):
                yield from _a_week_and_its_closing(server, repositories, news)


def _first_sync_and_idle(server: str) -> Iterator[Figure]:
    pull_requests = [merged(n, MONDAY + n * MINUTE, reviews=(review(n, MONDAY + n * MINUTE),)) for n in range(1, 401)]
    issues = [issue(1000 + n, closures=(Closure(MONDAY + n * MINUTE),)) for n in range(1, 201)]
    now = MONDAY + 10 * HOUR
    with (
        Simulator(World((repository(*pull_requests, *issues, name=REPO),)), as_of=now) as github,
        _ledger(server) as ledger,
    ):
        window = weeks(1, MONDAY.date().isoformat())
        first = _requests(ledger, github, scope(REPO), window)
        github.set_clock(now + HOUR)
        idle = _requests(ledger, github, scope(REPO), window)
    yield Figure("requests: first sync of 400 pull requests, 400 reviews, 200 issues", first, "at most 5")
    yield Figure("requests: idle re-poll of one repository", idle, "1")


def _hundred_idle(server: str) -> Figure:
    names = [f"dao/repo-{n}" for n in range(100)]
    repositories = [_renamed(repository(merged(1, MONDAY + HOUR)), name, n) for n, name in enumerate(names, 1)]
    now = MONDAY + 10 * HOUR
    with Simulator(World(tuple(repositories)), as_of=now) as github, _ledger(server) as ledger:
        window = weeks(1, MONDAY.date().isoformat())
        _requests(ledger, github, scope(*names), window)
        github.set_clock(now + HOUR)
        return Figure(
            "requests: idle re-poll of 100 repositories", _requests(ledger, github, scope(*names), window), "at most 2"
        )


def _backfill_over_full_scan(server: str) -> Figure:
    """A backfill of 52 windows, on a ledger that holds the running one, over one full scan of the same time."""
    now = WINDOWS[-1].end + 12 * HOUR
    running = EpochWindow(WINDOWS[-1].end, WINDOWS[-1].end + timedelta(days=7))
    with Simulator(generate_world(1, now, (REPO,)), as_of=now) as github:
        with _ledger(server) as ledger:
            _requests(ledger, github, scope(REPO), [running], page_size=20)
            backfill = _requests(ledger, github, scope(REPO), WINDOWS, page_size=20)
        with _ledger(server) as ledger:
            full_scan = _requests(ledger, github, scope(REPO), [*WINDOWS, running], page_size=20)
    return Figure("requests: backfill of 52 windows over one full scan", backfill / full_scan, "at most 1.05")


def _a_week_and_its_closing(server: str, repositories: int, news: bool) -> Iterator[Figure]:
    """Daily polls of a week, and the two after it, of which the second reads it once more and closes it."""
    week, following = weeks(2, MONDAY.date().isoformat())
    names = [f"dao/repo-{n}" for n in range(repositories)]
    days = range(7) if news else range(0)
    before = [merged(number, week.start + (number - 4) * DAY + HOUR) for number in range(1, 4)]
    items = [merged(10 + day, week.start + day * DAY + HOUR) for day in days] or before
    world = World(tuple(_renamed(repository(*items), name, n) for n, name in enumerate(names, 1)))
    of, requests, points = scope(*names), 0, 0
    with Simulator(world, as_of=week.start) as github, _ledger(server) as ledger:
        for day in range(9):
            github.set_clock(week.start + day * DAY + 6 * HOUR)
            requests += _requests(ledger, github, of, [week if day < 7 else following])
            points += sum(request.cost_points for request in github.requests)
        closed = close_due_epochs(ledger, of)
    assert [epoch.window for epoch in closed] == [week]
    what = f"nine daily polls with a closing scan, {'active' if news else 'idle'} repositories: {repositories}"
    yield Figure(f"requests: {what}", requests, f"at most {11 if repositories == 1 else 2 * 9 + 10 * repositories}")
    yield Figure(f"points: {what}", points, f"at most {55 if repositories == 1 else 5 * (2 * 9 + 10 * repositories)}")


def _requests(
    ledger: PostgresLedger, github: Simulator, of: Scope, windows: Sequence[EpochWindow], page_size: int = 100
) -> int:
    """What one collection asked of GitHub, as GitHub counted it."""
    github.clear_requests()
    with github_source(github.url, page_size) as source:
        collect(source, ledger, of, windows)
    return len(github.requests)


@contextmanager
def _ledger(server: str) -> Iterator[PostgresLedger]:
    with fresh_database(server) as url:
        migrations.upgrade(url)
        with open_ledger(url, NODE_ID) as ledger:
            yield ledger


def _renamed(of: Repository, name: str, database_id: int) -> Repository:
    return replace(of, name_with_owner=name, database_id=database_id)
