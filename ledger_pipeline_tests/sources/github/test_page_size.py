"""What GitHub finds too heavy is asked for in smaller pages, and in larger ones again when it goes well."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.repository_scan import RepositoryScan
from ledger_pipeline.sources.port import ScanRequest
from ledger_pipeline.sources.simulator.faults import FailedAnswer, HeavyPage
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline_tests.sources.github.github_source import event_ids, scan
from ledger_pipeline_tests.sources.github.patient_client import Time, client
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NAME, issue, merged, review, world

HOUR = timedelta(hours=1)
EVERYTHING = {"pull_requests": True, "reviews": True, "issues": True}


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 61))))
    github.set_clock(LATER)
    return github


def asked(github: Simulator, size: str = "pullRequestsFirst") -> list[int]:
    """The size that each request asked for."""
    return [request.variables[size] for request in github.requests if request.variables and size in request.variables]


@pytest.mark.parametrize(
    "failure",
    [
        FailedAnswer.BAD_GATEWAY,
        FailedAnswer.GATEWAY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT,
        FailedAnswer.QUERY_TIMEOUT_502,
    ],
)
def test_the_page_is_asked_for_ever_smaller_until_github_can_serve_it(github: Simulator, failure: FailedAnswer) -> None:
    github.faults.next(failure, failure, failure)
    pages = scan(github.url, MONDAY, streams=[PULL_REQUESTS], page_size=40)
    assert asked(github)[:4] == [40, 10, 2, 1]
    assert len(event_ids(pages)) == len(set(event_ids(pages))) == 60


def test_failed_requests_count(github: Simulator) -> None:
    github.faults.next(FailedAnswer.BAD_GATEWAY, FailedAnswer.BAD_GATEWAY)
    pages = scan(github.url, MONDAY, page_size=40)
    assert pages[0].usage.requests == 3
    assert sum(page.usage.requests for page in pages) == len(github.requests)


def test_pages_grow_again_up_to_the_size_configured(github: Simulator) -> None:
    github.faults.next(FailedAnswer.BAD_GATEWAY, FailedAnswer.BAD_GATEWAY)
    scan(github.url, MONDAY, streams=[PULL_REQUESTS], page_size=12)
    assert asked(github) == [12, 3, 1, 1, 2, 2, 4, 4, 8, 8, 12, 12, 12]


def test_a_size_that_stays_too_large_is_tried_ever_more_rarely(github: Simulator) -> None:
    github.faults.when(lambda _: True, HeavyPage(5))
    scan(github.url, MONDAY, streams=[PULL_REQUESTS], page_size=8)
    assert [n for n, size in enumerate(asked(github)) if size == 8] == [0, 5, 10]


def test_everything_arrives_however_small_the_pages_must_be(github: Simulator) -> None:
    reviews = {n: tuple(review(100 * n + i, MONDAY) for i in range(12)) for n in range(1, 5)}
    pull_requests = (merged(n, MONDAY + n * HOUR, reviews=reviews[n]) for n in reviews)
    github.replace_world(world(*pull_requests, *(issue(n, closures=(Closure(MONDAY),)) for n in range(11, 41))))
    github.faults.when(lambda _: True, HeavyPage(5))
    ids = event_ids(scan(github.url, MONDAY))
    assert len(ids) == len(set(ids)) == 4 + 48 + 30


def test_one_that_is_too_heavy_alone_has_its_reviews_read_in_smaller_pages(github: Simulator) -> None:
    github.replace_world(world(merged(1, reviews=tuple(review(n, MONDAY) for n in range(60)))))
    github.faults.when(lambda _: True, HeavyPage(25))
    pages = scan(github.url, MONDAY, streams=[REVIEWS], page_size=4)
    assert asked(github) == [4, 1]
    assert asked(github, "reviewsFirst") == [100, 25, 25, 25]
    assert len(event_ids(pages)) == 60


def test_pages_of_issues_alone_are_made_smaller_too(github: Simulator) -> None:
    github.replace_world(world(*(issue(n, closures=(Closure(MONDAY),)) for n in range(1, 9))))
    github.faults.next(FailedAnswer.BAD_GATEWAY)
    assert len(event_ids(scan(github.url, MONDAY, streams=[ISSUES], page_size=8))) == 8
    assert asked(github, "issuesFirst") == [8, 2, 2, 4]


@pytest.mark.parametrize("streams", [[PULL_REQUESTS], [ISSUES]])
def test_it_is_given_up_where_even_the_lightest_page_gets_no_answer(github: Simulator, streams: Sequence[str]) -> None:
    github.faults.when(lambda _: True, FailedAnswer.BAD_GATEWAY)
    with pytest.raises(SourceUnavailable, match="gives up even on the lightest page, 2 times"):
        scan(github.url, MONDAY, streams=streams, page_size=4)
    assert len(github.requests) == 2 + 2 + 1  # pages, light pages, and the place behind the next item


def test_sizes_give_way_together() -> None:
    sizes = PageSizes(4)
    seen = []
    while sizes.shrink(**EVERYTHING):
        seen.append((sizes.pull_requests, sizes.reviews, sizes.issues))
    assert seen == [(1, 25, 1), (1, 6, 1), (1, 1, 1)]


def test_what_was_one_items_fault_leaves_the_sizes_as_they_were() -> None:
    sizes = PageSizes(100)
    sizes.shrink(**EVERYTHING)
    sizes.went_well(pull_requests=True)
    while sizes.shrink(**EVERYTHING):
        pass
    sizes.restore()
    assert (sizes.pull_requests, sizes.reviews, sizes.issues) == (25, 25, 25)
    while sizes.shrink(**EVERYTHING):
        pass
    sizes.restore()
    assert sizes.pull_requests == 1, "not a second time, without a page that went well"
    sizes.went_well(pull_requests=True)
    sizes.restore()


def test_sizes_that_grew_too_early_are_as_they_were_before() -> None:
    sizes = PageSizes(100)
    sizes.shrink(**EVERYTHING)
    for _ in range(2):
        sizes.went_well(pull_requests=True)
    assert sizes.pull_requests == 50
    assert sizes.shrink(**EVERYTHING)
    assert (sizes.pull_requests, sizes.reviews, sizes.issues) == (25, 25, 25)


def test_sizes_grow_back_to_where_they_were() -> None:
    sizes = PageSizes(40)
    while sizes.shrink(**EVERYTHING):
        pass
    for _ in range(40):
        sizes.went_well(pull_requests=True)
    assert (sizes.pull_requests, sizes.reviews, sizes.issues) == (40, 100, 40)


def test_an_outage_is_asked_less_and_less_often(github: Simulator) -> None:
    time = Time()
    github.faults.next(*[FailedAnswer.BAD_GATEWAY] * 20)
    request = ScanRequest(NAME, {PULL_REQUESTS: MONDAY})
    with client(github.url, time) as asking, pytest.raises(SourceUnavailable, match="lightest page"):
        list(RepositoryScan(asking, request, 40).pages())
    github.faults.clear()
    # 40, 10, 2, 1, a light page twice, and a place: first at once, for one page alone may have been too heavy.
    assert len(github.requests) == 7
    assert time.slept == [1.0, 2.0, 4.0, 8.0, 8.0]
