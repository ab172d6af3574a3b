"""One item for which GitHub fails, in whatever way: the rest of its repository is stored, and the item is remembered.

An outage that fails in the same way is nobody's fault: it is known as one, and no item is called unread for it.
"""

from dataclasses import dataclass

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import PULL_REQUEST
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.sources.github.repository_scan import MOST_IN_A_ROW
from ledger_pipeline.sources.simulator.faults import BadItem, Damage, FailedAnswer, HeavyItem, Slow
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK, stored_ids
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, review, world

SEVEN = ItemKey(PULL_REQUEST, 7)
TIMEOUT_SECONDS = 1
MOST_REQUESTS = 20
MOST_REQUESTS_OF_AN_OUTAGE = 8

# Each way to fail, and what the reason says of it.
WAYS: dict[FailedAnswer | Damage | Slow, str] = {
    FailedAnswer.NO_DATA: "GitHub answered without data",
    FailedAnswer.INTERNAL: "GitHub could not finish the query: We could not serve you",
    FailedAnswer.UNTYPED: "GitHub could not finish the query: We could not serve you",
    FailedAnswer.SERVICE_UNAVAILABLE: "GitHub could not finish the query: We could not serve you",
    FailedAnswer.NULL_CONNECTION: "GitHub could not finish the query: We could not serve you",
    FailedAnswer.NULL_BELOW_A_NODE: "GitHub could not finish the query: We could not serve you",
    FailedAnswer.FORBIDDEN_BELOW_A_NODE: "GitHub could not finish the query: We may not serve you",
    FailedAnswer.MAINTENANCE_FOR_A_WHILE: "GitHub answers 503: no message",
    FailedAnswer.SERVER_ERROR: "GitHub answers 500: no message",
    Damage.DROPPED: "no whole answer from {url}: ",
    Damage.CUT_SHORT: "no whole answer from {url}: ",
    Damage.TRUNCATED_JSON: "no whole answer from {url}: the body is no JSON",
    Damage.UNDATED: "an answer without a Date header",
    FailedAnswer.HTML_PAGE: "no whole answer from {url}: the body is no JSON",
    Slow(TIMEOUT_SECONDS + 0.2): "no whole answer from {url}: timed out",
}


@dataclass(frozen=True)
class Bad:
    """What GitHub never gives of a pull request."""

    review: str | None
    lost: frozenset[str]


PULL_REQUEST_SEVEN = Bad(None, frozenset({f"github:pr:{NAME}:7", f"github:review:{NAME}:7:4000000001"}))
REVIEW = Bad("4000000001", frozenset({f"github:review:{NAME}:7:4000000001"}))


def run(github: Simulator, ledger: PostgresLedger, retries: int) -> CollectReport:
    with github_source(github.url, retries=retries, timeout_seconds=TIMEOUT_SECONDS) as source:
        return collect(source, ledger, scope(NAME), [THIS_WEEK], concurrency=1)


def all_ids() -> list[str]:
    return sorted(
        [f"github:pr:{NAME}:{n}" for n in range(5, 10)]
        + [f"github:issue:{NAME}:3", f"github:review:{NAME}:7:4000000001", f"github:review:{NAME}:8:4000000002"]
    )


@pytest.fixture
def of_five(github: Simulator) -> Simulator:
    """Five pull requests of which the third is bad, and an issue."""
    reviews = {7: (review(1, NOW - 8 * HOUR),), 8: (review(2, NOW - 9 * HOUR),)}
    pull_requests = (merged(n, NOW - n * HOUR, reviews=reviews.get(n, ())) for n in range(5, 10))
    github.replace_world(world(*pull_requests, issue(3, closures=(Closure(NOW - HOUR),))))
    return github


# Those that wait for a time-out, again and again, take as long as all others.
EACH_WAY = [pytest.param(way, 0, marks=pytest.mark.e2e if isinstance(way, Slow) else ()) for way in WAYS]


@pytest.mark.parametrize("bad", [PULL_REQUEST_SEVEN, REVIEW], ids=["pull request", "review"])
@pytest.mark.parametrize(("way", "retries"), [*EACH_WAY, (FailedAnswer.SERVER_ERROR, 2), (Damage.DROPPED, 2)], ids=repr)
def test_one_bad_item_holds_up_nothing_and_is_asked_for_again(
    of_five: Simulator, ledger: PostgresLedger, way: FailedAnswer | Damage | Slow, bad: Bad, retries: int
) -> None:
    of_five.faults.when(lambda _: True, BadItem(7, way, bad.review))
    report = run(of_five, ledger, retries)
    assert report.failures == []
    assert sorted(stored_ids(ledger)) == sorted(set(all_ids()) - bad.lost)
    [row] = ledger.unread.items(SCOPE_ID)
    assert row.item.key == SEVEN
    assert row.item.reason.startswith(WAYS[way].format(url=of_five.url))
    words = row.item.reason.split(": ")
    assert len(words) == len(set(words)), "the reason says nothing twice"
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW}
    assert len(of_five.requests) <= MOST_REQUESTS + retries

    of_five.clear_requests()
    of_five.set_clock(NOW + HOUR)
    assert run(of_five, ledger, retries).unread[0].last_tried_at == NOW + HOUR
    assert len(of_five.requests) <= MOST_REQUESTS + retries
    of_five.faults.clear()
    run(of_five, ledger, retries)
    assert sorted(stored_ids(ledger)) == all_ids()
    assert ledger.unread.items(SCOPE_ID) == []


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_an_outage_that_fails_the_same_way_is_no_items_fault(
    of_five: Simulator, ledger: PostgresLedger, way: FailedAnswer | Damage | Slow
) -> None:
    for began_after in range(1 if isinstance(way, Slow) else 100):
        of_five.faults.clear()
        of_five.clear_requests()
        of_five.faults.when(lambda asked, after=began_after: asked.number <= after, BadItem(7, way))  # type: ignore[misc]
        of_five.faults.when(lambda asked, after=began_after: asked.number > after, way)  # type: ignore[misc]
        failures = run(of_five, ledger, retries=2).failures
        if not failures:
            assert began_after > 5, "the collection was whole before the outage began"
            break
        if way is FailedAnswer.FORBIDDEN_BELOW_A_NODE:
            assert "We may not serve you" in failures[0].problem
        else:
            assert isinstance(failures[0], SourceUnavailable)
        assert NAME in str(failures[0])
        assert len(of_five.requests) <= began_after + MOST_REQUESTS_OF_AN_OUTAGE
        passed = ledger.scans.checkpoint(SCOPE_ID, "github", NAME) or ledger.scans.cursors(SCOPE_ID, "github")
        assert passed or ledger.unread.items(SCOPE_ID) == []


def test_an_outage_of_all_but_lists_is_known_as_one_and_the_next_scan_goes_on_behind_it(
    github: Simulator, ledger: PostgresLedger
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 31))))
    for n in range(1, 26):
        github.faults.when(lambda _: True, BadItem(n, FailedAnswer.SERVER_ERROR))
    for unread in (MOST_IN_A_ROW, 2 * MOST_IN_A_ROW):
        github.clear_requests()
        [failure] = run(github, ledger, retries=0).failures
        assert failure.problem == f"GitHub gives up on more than {MOST_IN_A_ROW} items in a row"
        assert len(ledger.unread.items(SCOPE_ID)) == unread
        assert len(github.requests) <= 10 * MOST_IN_A_ROW
    assert run(github, ledger, retries=0).failures == []
    assert len(ledger.unread.items(SCOPE_ID)) == 25
    assert len(stored_ids(ledger)) == 5


def test_more_items_in_a_row_than_an_outage_shows_are_passed_by_the_second_scan_where_nobody_can_list_them(
    github: Simulator, ledger: PostgresLedger
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 36))))
    for n in range(3, 34):
        github.faults.when(lambda _: True, HeavyItem(n, is_unlisted=True))
    [failure] = run(github, ledger, retries=0).failures
    assert failure.problem == f"GitHub gives up on more than {MOST_IN_A_ROW} items in a row"
    assert run(github, ledger, retries=0).failures == []
    assert stored_ids(ledger) == [f"github:pr:{NAME}:{n}" for n in (35, 34, 2, 1)]
    [row] = ledger.unread.items(SCOPE_ID)
    assert row.item.key.number == 0


def test_an_outage_that_names_a_time_is_left_alone_until_then(of_five: Simulator, ledger: PostgresLedger) -> None:
    of_five.faults.when(lambda _: True, FailedAnswer.MAINTENANCE_FOR_A_WHILE)
    [failure] = run(of_five, ledger, retries=2).failures
    assert isinstance(failure, SourceUnavailable)
    assert failure.retry_after_seconds == 60
