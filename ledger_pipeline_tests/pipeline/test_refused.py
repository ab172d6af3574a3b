"""A stream that the credentials may not read fails alone: the others are collected, and the failure says what to do."""

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.pipeline.report import CollectReport, ScanOutcome
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Forbidden
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, Collect, stored_ids
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review

OTHER = "cogni-dao/other"
ISSUE = issue(3, closures=(Closure(NOW),))


@pytest.fixture
def forbidden(github: Simulator) -> Simulator:
    """NAME's issues are forbidden, OTHER's are not."""
    items = (merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR),)), merged(2, NOW), ISSUE)
    github.replace_world(World((repository(*items), repository(merged(4, NOW), name=OTHER, database_id=2))))
    github.faults.for_repository(NAME, Forbidden("issues"))
    return github


def streams_with_a_cursor(ledger: PostgresLedger) -> set[str]:
    return {stream for stream, source_scope in ledger.scans.cursors(SCOPE_ID, "github") if source_scope == NAME}


def check_refused(report: CollectReport) -> None:
    [failure] = report.failures
    assert isinstance(failure, SourceRefused)
    assert NAME in failure.problem
    assert '"Issues: read"' in failure.problem


@pytest.mark.usefixtures("forbidden")
def test_what_may_be_read_is_collected_and_only_its_cursors_move(ledger: PostgresLedger, run: Collect) -> None:
    report = run(of=scope(NAME, OTHER), page_size=1)
    check_refused(report)
    assert report.source_scopes[0].outcome is ScanOutcome.FAILED
    assert len(stored_ids(ledger)) == 4
    assert streams_with_a_cursor(ledger) == {"pull_requests", "reviews"}


def test_once_it_may_be_read_the_refused_stream_is_collected_whole(
    forbidden: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    run()
    check_refused(run())
    forbidden.faults.clear()
    assert run().failures == []
    assert f"github:issue:{NAME}:3" in stored_ids(ledger)
    assert streams_with_a_cursor(ledger) == {"pull_requests", "reviews", "issues"}


def test_a_scan_that_was_interrupted_still_ends_with_what_is_refused(
    forbidden: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    forbidden.faults.when(lambda asked: asked.number > 3, FailedAnswer.MAINTENANCE)  # the head, the refusal, a page
    assert run(page_size=1).failures[0].retryable
    forbidden.faults.clear()
    forbidden.faults.for_repository(NAME, Forbidden("issues"))
    forbidden.clear_requests()
    report = run(page_size=1)
    check_refused(report)
    assert report.source_scopes[0].resumed
    # The head, the page that was missing; then the news, for which the issues are asked for once more and refused.
    assert len(forbidden.requests) == 2 + 3
    assert len(stored_ids(ledger)) == 3
    assert streams_with_a_cursor(ledger) == {"pull_requests", "reviews"}


def test_a_stream_that_may_be_read_by_the_time_the_scan_goes_on_is_read_whole(
    forbidden: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    forbidden.faults.when(lambda asked: asked.number > 3, FailedAnswer.MAINTENANCE)
    run(page_size=1)
    forbidden.faults.clear()
    assert run(page_size=1).failures == []
    assert f"github:issue:{NAME}:3" in stored_ids(ledger)
    assert streams_with_a_cursor(ledger) == {"pull_requests", "reviews", "issues"}


@pytest.mark.usefixtures("forbidden")
def test_a_stream_that_is_collected_alone_and_refused_fails(ledger: PostgresLedger, run: Collect) -> None:
    check_refused(run(streams=["issues"]))
    assert streams_with_a_cursor(ledger) == set()
