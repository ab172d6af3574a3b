"""A thousand answers that GitHub should not give, each met by a whole collection: none of them ends it.

Whatever one repository answers, the other is stored wholly, nothing is stored that GitHub never said, and what was
missed is read once the answers are real again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.simulator.people import DELETED, DEPENDENCY_BOT
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK
from ledger_pipeline_tests.simulation.ledger_rows import LedgerRows, read_ledger
from ledger_pipeline_tests.simulation.truth import facts_of, items_of
from ledger_pipeline_tests.sources.github.canned import Asked, canned
from ledger_pipeline_tests.sources.github.mutating import MutatingGitHub, mutating
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, pull_request, repository, review

ANSWERS = 1000
BATCHES = 4  # so that pytest-xdist spreads them
ROUNDS = 4
SICK, HEALTHY = "cogni-dao/sick", "cogni-dao/healthy"
START = THIS_WEEK.start


def small_world() -> World:
    def reviews(first: int, count: int) -> tuple[object, ...]:
        return tuple(review(first + n, START + n * HOUR) for n in range(count))

    sick = repository(
        merged(1, START + HOUR, created_at=START, reviews=reviews(1, 2)),
        replace(merged(2, START + 2 * HOUR, created_at=START), author=DEPENDENCY_BOT),
        pull_request(3, START, reviews=reviews(10, 3)),
        replace(merged(4, START + 4 * HOUR, created_at=START), author=DELETED),
        merged(5, START + 5 * HOUR, created_at=START),
        issue(6, START, closures=(Closure(START + 6 * HOUR),)),
        issue(7, START),
        issue(8, START, closures=(Closure(START + 8 * HOUR),)),
        name=SICK,
        database_id=101,
    )
    healthy = repository(
        merged(21, START + HOUR, created_at=START, reviews=reviews(50, 1)),
        merged(22, START + 2 * HOUR, created_at=START),
        issue(23, START, closures=(Closure(START + 3 * HOUR),)),
        name=HEALTHY,
        database_id=102,
    )
    return World((sick, healthy))


def truth(of: World) -> dict[str, set[tuple[str, str, str, str]]]:
    """By repository, what the ledger must hold of it in the end."""
    return {
        repository.name_with_owner: {
            (fact.event_id, fact.payload_hash, fact.object_id, fact.user_id)
            for item in items_of(repository)
            for fact in facts_of(repository.name_with_owner, item)
        }
        for repository in of.repositories
    }


def held(rows: LedgerRows) -> set[tuple[str, str, str, str]]:
    events = rows.events.values()
    return {(row.id, row.payload_hash, row.source_object_id, row.platform_user_id) for row in events}


@contextmanager
def source(github: MutatingGitHub) -> Iterator[GitHubSource]:
    """Waits move the server's time on, and take none of ours."""

    def sleep(seconds: float) -> None:
        github.now += timedelta(seconds=seconds)

    client = GitHubClient(
        api_url=github.url,
        credentials=GitHubTokens.of("t"),
        timeout_seconds=5,
        max_wait_seconds=4000,
        retries=1,
        sleep=sleep,
        now=lambda: github.now.timestamp(),
    )
    try:
        yield GitHubSource(client, page_size=2)
    finally:
        client.close()


@pytest.fixture(scope="module")
def odd_github() -> Iterator[MutatingGitHub]:
    with Simulator(small_world(), as_of=NOW) as simulator, mutating(simulator.url, SICK, NOW) as github:
        yield github


class Case:
    """One ledger and a few collections into it, the last one of real answers."""

    def __init__(self, github: MutatingGitHub, ledger: PostgresLedger, seed: int) -> None:
        self.random = Random(seed)
        self.github = github
        self.ledger = ledger
        self.scope = scope(*self.random.sample([SICK, HEALTHY], 2), scope_id=UUID(int=seed + 1))
        self.truth = truth(small_world())

    def run(self) -> None:
        self.github.now = NOW
        for _ in range(ROUNDS):
            self.github.random = self.random
            report = self.collect(full_refresh=self.random.random() < 0.5)
            self.check(report)
            self.github.now += HOUR
        self.github.random = None
        report = self.collect()
        assert not report.failures
        rows = read_ledger(self.ledger._engine, self.scope.scope_id)
        assert held(rows) == set.union(*self.truth.values())
        assert rows.unread == []

    def collect(self, *, full_refresh: bool = False) -> CollectReport:
        with source(self.github) as asked:
            return collect(asked, self.ledger, self.scope, [THIS_WEEK], full_refresh=full_refresh, concurrency=1)

    def check(self, report: CollectReport) -> None:
        for failure in report.failures:
            assert failure.source_scope == SICK, failure
            assert SICK in str(failure)
            assert len(failure.problem) <= 300
            assert str(failure).isprintable()
            assert "error of this program" not in failure.problem
        rows = read_ledger(self.ledger._engine, self.scope.scope_id)
        assert held(rows) <= set.union(*self.truth.values())
        assert held(rows) >= self.truth[HEALTHY]
        assert rows.rejected == []
        for row in self.ledger.unread.items(self.scope.scope_id):
            assert row.source_scope == SICK
            assert len(row.item.reason) <= 300
            assert row.item.reason.isprintable()


@pytest.mark.parametrize("retry_after", ["nan", "", "soon", "1000000000"])
def test_a_limit_that_heads_meet_and_that_names_no_time_holds_up_no_repository(
    odd_github: MutatingGitHub, ledger: PostgresLedger, retry_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = canned(403, [("Retry-After", retry_after)], b'{"message": "Forbidden"}')
    real = odd_github.respond

    def respond(_: MutatingGitHub, request: Asked) -> None:
        (limit if b"query Heads" in request.asked else real)(request)

    monkeypatch.setattr(MutatingGitHub, "respond", respond)
    odd_github.random, odd_github.now = None, NOW
    with mutating(odd_github.upstream, SICK, NOW) as limited, source(limited) as asked:
        report = collect(asked, ledger, scope(SICK, HEALTHY), [THIS_WEEK])
        assert limited.now == NOW, "nothing was waited for"
    assert report.failures == []
    assert held(read_ledger(ledger._engine, scope(NAME).scope_id)) == set.union(*truth(small_world()).values())


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_answer_ends_a_collection(odd_github: MutatingGitHub, ledger: PostgresLedger, batch: int) -> None:
    odd_github.mutated = 0
    seed = batch * 1000
    while odd_github.mutated < ANSWERS // BATCHES:
        try:
            Case(odd_github, ledger, seed).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seed += 1
