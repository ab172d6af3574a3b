"""A Date header that is not the time: it never moves a watermark, and no window is complete by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.simulator.faults import After
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, instant, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, LAST_WEEK, NOW, THIS_WEEK, stored_ids
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

TWO_DAYS = timedelta(days=2)
SCOPE = scope(NAME)


@contextmanager
def source_at(github: Simulator, now: datetime) -> Iterator[GitHubSource]:
    """GitHub as a deployment asks it whose clock says `now`."""
    client = GitHubClient(
        api_url=github.url,
        credentials=GitHubTokens.of("t"),
        timeout_seconds=10,
        max_wait_seconds=0,
        retries=0,
        now=now.timestamp,
    )
    try:
        yield GitHubSource(client, 100)
    finally:
        client.close()


@pytest.mark.parametrize(
    "dated",
    [NOW + timedelta(days=365), NOW + TWO_DAYS, NOW - TWO_DAYS, instant("9999-12-31T20:00")],
    ids=lambda dated: f"{dated:%Y-%m-%d}",
)
def test_an_answer_dated_otherwise_fails_the_repository_and_loses_nothing(
    github: Simulator, ledger: PostgresLedger, dated: datetime
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    with source_at(github, NOW) as source:
        collect(source, ledger, SCOPE, [THIS_WEEK])
        before = ledger.scans.cursors(SCOPE_ID, "github")
        github.replace_world(world(merged(1, NOW - HOUR), merged(2, NOW - HOUR / 2)))
        github.set_clock(dated)
        report = collect(source, ledger, SCOPE, [LAST_WEEK, THIS_WEEK])
    [failure] = report.failures
    assert failure.retryable
    for named in (f"{dated:%Y-%m-%dT%H:%M}", f"{NOW:%Y-%m-%dT%H:%M}", "GITHUB_CLOCK_TOLERANCE_SECONDS is 300", NAME):
        assert named in str(failure)
    assert ledger.scans.cursors(SCOPE_ID, "github") == before
    assert {receipt.covered_to for receipt in ledger.scans.receipts(SCOPE_ID, "github", [LAST_WEEK, THIS_WEEK])} == {
        NOW
    }
    github.set_clock(NOW + HOUR)
    with source_at(github, NOW + HOUR) as source:
        assert collect(source, ledger, SCOPE, [THIS_WEEK]).failures == []
    assert stored_ids(ledger) == [f"github:pr:{NAME}:{number}" for number in (1, 2)]


def test_one_odd_answer_in_the_middle_of_a_scan_does_no_harm_either(github: Simulator, ledger: PostgresLedger) -> None:
    github.replace_world(world(*(merged(number, NOW - number * HOUR) for number in range(1, 6))))
    github.faults.on_request(1, After(lambda: github.set_clock(NOW + TWO_DAYS)))
    with source_at(github, NOW) as source:
        [failure] = collect(source, ledger, SCOPE, [THIS_WEEK]).failures
    assert failure.retryable
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} <= {NOW}


def test_clocks_that_differ_within_the_tolerance_go_by_githubs(github: Simulator, ledger: PostgresLedger) -> None:
    with source_at(github, NOW + timedelta(minutes=4)) as source:
        assert collect(source, ledger, SCOPE, [THIS_WEEK]).failures == []
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW}
