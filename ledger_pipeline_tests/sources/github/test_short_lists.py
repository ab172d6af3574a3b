"""A list that ends before it holds what GitHub counts is asked for once more, and never taken as whole."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.port import SCAN_OVERLAP, ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import After, HeavyItem, NullNode, OddField, ShortPage
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, Issue, PullRequest
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NAME, issue, merged, review, world

HOUR = timedelta(hours=1)
FLOORS = dict.fromkeys(GITHUB_STREAMS, MONDAY)
SEVEN = ItemKey("pull_request", 7)
REVIEWS = tuple(review(n, MONDAY + n * HOUR) for n in (1, 2, 3))
ITEMS: list[PullRequest | Issue] = [merged(n, MONDAY + n * HOUR) for n in range(1, 7)]
ITEMS += [merged(7, MONDAY + 7 * HOUR, reviews=REVIEWS)]
ITEMS += [issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in (11, 12, 13)]
ALL = sorted(
    [f"github:pr:{NAME}:{n}" for n in range(1, 8)]
    + [f"github:issue:{NAME}:{n}" for n in (11, 12, 13)]
    + [f"github:review:{NAME}:7:{4_000_000_000 + n}" for n in (1, 2, 3)]
)


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    github.replace_world(world(*ITEMS))
    return github


def taken(github: Simulator, page_size: int, kind: str = "pull_request") -> tuple[list[ScanPage], str]:
    """The pages of a scan that comes to its end, and what it says of the items without a number that it lacks."""
    with github_source(github.url, page_size) as source:
        pages = list(source.scan(ScanRequest(NAME, FLOORS)))
    assert pages[-1].position is None
    [unread] = [item for page in pages for item in page.unread]
    assert (unread.key, unread.earliest) == (ItemKey(kind, 0), None)
    return pages, unread.reason


@pytest.mark.parametrize("connection", ["pullRequests", "issues", "reviews"])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("page_size", [100, 2])
def test_a_list_that_ends_too_early_once_is_asked_for_once_more(
    github: Simulator, connection: str, keep: int, page_size: int
) -> None:
    github.faults.next(ShortPage(connection, keep))
    pages = scan(github.url, MONDAY, page_size=page_size)
    assert event_ids(pages) == ALL
    assert [item for page in pages for item in page.unread] == []
    assert len(github.requests) == (1 if page_size == 100 else 4) + 1


@pytest.mark.parametrize(("connection", "count"), [("pullRequests", 7), ("issues", 3)])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("page_size", [100, 2])
def test_a_list_that_ends_too_early_again_is_not_whole_and_what_came_is_kept(
    github: Simulator, connection: str, count: int, keep: int, page_size: int
) -> None:
    github.faults.when(lambda _: True, ShortPage(connection, keep))
    kind = "issue" if connection == "issues" else "pull_request"
    pages, problem = taken(github, page_size, kind)
    assert problem == f"GitHub counts {count} {connection} and lists {keep} of them, asked twice"
    of_kind = "issue" if connection == "issues" else "pr"
    assert len([id_ for id_ in event_ids(pages) if f":{of_kind}:" in id_]) == keep


def test_a_list_that_goes_on_after_a_page_that_was_wrong_is_read_from_its_front_at_once(github: Simulator) -> None:
    github.faults.next(ShortPage("pullRequests", 1, says_more=True))
    with github_source(github.url, 2) as source:
        first = next(source.scan(ScanRequest(NAME, FLOORS)))
        rest = list(source.scan(ScanRequest(NAME, FLOORS, first.position)))
        assert set(event_ids([first, *rest])) == set(ALL)
        assert rest[-1].position is None


@pytest.mark.parametrize("floor", [MONDAY, MONDAY + 5 * HOUR], ids=["whole list", "stops at its floor"])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_short_page_in_the_middle_of_a_list_is_asked_for_once_more(
    github: Simulator, floor: datetime, keep: int
) -> None:
    expected, requests = event_ids(scan(github.url, floor, page_size=2)), len(github.requests)
    github.clear_requests()
    github.faults.on_request(1, ShortPage("pullRequests", keep, says_more=True))
    pages = scan(github.url, floor, page_size=2)
    assert event_ids(pages) == expected
    assert [item for page in pages for item in page.unread] == []
    assert len(github.requests) == requests + 1


def test_a_list_whose_pages_are_short_for_good_is_asked_for_once_more_only_once(github: Simulator) -> None:
    github.faults.when(lambda asked: asked.largest_page > 1, ShortPage("pullRequests", 1, says_more=True))
    scan(github.url, MONDAY, page_size=2)
    assert (
        len(github.requests) == 4 + 3
    )  # the first page, the last one, which ends a list that lacks items, and its front


def test_what_a_page_leaves_out_twice_in_the_middle_of_a_list_is_lacking_at_its_end(github: Simulator) -> None:
    for number in (1, 2):
        github.faults.on_request(number, ShortPage("pullRequests", 1, says_more=True))
    pages, problem = taken(github, 2)
    assert problem == "GitHub counts 7 pullRequests and lists 6 of them, asked twice"
    assert len(event_ids(pages)) == len(ALL) - 1


@pytest.mark.parametrize("keep", [0, 2])
def test_reviews_that_are_short_again_make_the_pull_request_unread_and_nothing_else(
    github: Simulator, keep: int
) -> None:
    github.faults.when(lambda _: True, ShortPage("reviews", keep))
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == [id_ for id_ in ALL if "review" not in id_ or int(id_[-1]) <= keep]
    [unread] = [item for page in pages for item in page.unread]
    assert unread.key == SEVEN
    assert unread.reason == (f"GitHub counts 3 reviews of pull request {NAME}#7 and lists {keep} of them, asked twice")


def test_reviews_on_several_pages_are_compared_at_their_end(github: Simulator) -> None:
    many = tuple(review(n, MONDAY + n * HOUR) for n in range(1, 151))
    github.replace_world(world(merged(7, reviews=many)))
    github.faults.on_request(2, ShortPage("reviews", 10))
    assert len(event_ids(scan(github.url, MONDAY))) == 151
    assert len(github.requests) == 3
    github.faults.when(lambda asked: asked.number > 4, ShortPage("reviews", 10))
    pages = scan(github.url, MONDAY)
    assert len(event_ids(pages)) == 111
    [unread] = [item for page in pages for item in page.unread]
    assert "counts 150 reviews" in unread.reason
    assert "lists 110 of them" in unread.reason


def test_reviews_without_a_count_are_not_taken_as_whole(github: Simulator) -> None:
    github.faults.when(lambda _: True, OddField(7, "reviews.totalCount", None))
    pages = scan(github.url, MONDAY)
    assert set(event_ids(pages)) == set(ALL)
    [unread] = [item for page in pages for item in page.unread]
    assert unread.reason.endswith("does not say how many there are")


# What changes while it is read is nothing that is lacking.


def changed(github: Simulator, *items: PullRequest | Issue, gone: int = 0) -> After:
    kept = [item for item in ITEMS if item.number not in {gone, *(item.number for item in items)}]
    return After(lambda: github.replace_world(world(*kept, *items)))


@pytest.mark.parametrize("late", [timedelta(0), SCAN_OVERLAP], ids=["at once", "shown late"])
def test_what_moves_to_the_front_meanwhile_is_left_to_the_next_scan(github: Simulator, late: timedelta) -> None:
    moved = replace(ITEMS[0], touched_at=(LATER - late,))
    github.faults.next(changed(github, moved))
    pages = scan(github.url, MONDAY, page_size=2)
    assert event_ids(pages) == [id_ for id_ in ALL if id_ != f"github:pr:{NAME}:1"]
    with github_source(github.url) as source:
        news = source.scan(ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, pages[0].began_at - SCAN_OVERLAP)))
        assert f"github:pr:{NAME}:1" in event_ids(list(news))


def test_a_page_of_items_that_have_moved_to_the_front_is_followed_by_the_next(github: Simulator) -> None:
    moved = [replace(item, touched_at=(LATER,)) for item in ITEMS[:5]]
    github.faults.next(changed(github, *moved))
    assert len(event_ids(scan(github.url, MONDAY, page_size=2))) == len(ALL) - 5


def test_what_was_read_and_moves_again_hides_none_that_has_moved_before_it(github: Simulator) -> None:
    # 7 and 6 are read; then 1 moves to the front unread, and both of them before it.
    moved = [replace(ITEMS[n - 1], touched_at=(LATER - at * timedelta(minutes=1),)) for at, n in enumerate((7, 6, 1))]
    github.faults.next(changed(github, *moved))
    pages = scan(github.url, MONDAY, page_size=2)
    assert set(event_ids(pages)) == {id_ for id_ in ALL if id_ != f"github:pr:{NAME}:1"}


def test_what_moved_too_long_ago_for_the_next_scan_is_lacking(github: Simulator) -> None:
    moved = replace(ITEMS[0], touched_at=(LATER - SCAN_OVERLAP - HOUR,))
    github.faults.next(changed(github, moved))
    _, problem = taken(github, 2)
    assert problem == "GitHub counts 7 pullRequests and lists 6 of them, asked twice"


def test_what_is_made_meanwhile_and_what_is_gone_is_not_lacking(github: Simulator) -> None:
    github.faults.next(changed(github, merged(8, LATER, created_at=LATER)))
    assert event_ids(scan(github.url, MONDAY, page_size=2)) == ALL
    assert len(github.requests) == 4
    github.replace_world(world(*ITEMS))
    github.faults.next(changed(github, gone=1))
    assert event_ids(scan(github.url, MONDAY, page_size=2)) == [id_ for id_ in ALL if id_ != f"github:pr:{NAME}:1"]


def test_what_an_interrupted_scan_read_counts_where_it_goes_on(github: Simulator) -> None:
    with github_source(github.url, 2) as source:
        first = next(source.scan(ScanRequest(NAME, FLOORS)))
        github.clear_requests()
        rest = list(source.scan(ScanRequest(NAME, FLOORS, first.position)))
    assert event_ids([first, *rest]) == ALL
    assert len(github.requests) == 3


def test_a_null_that_no_light_page_lists_is_unread(github: Simulator) -> None:
    github.faults.on_request(1, NullNode("pullRequests"))
    github.faults.on_request(1, changed(github, gone=7))
    pages = scan(github.url, MONDAY)
    [unread] = [item for page in pages for item in page.unread]
    assert unread.key == ItemKey("pull_request", 0)
    assert unread.reason == "GitHub answers null for it, and then does not list it"


# What is lacking is not hidden by what moves meanwhile, and ends no scan.


def lacking(pages: list[ScanPage]) -> list[ItemKey]:
    return [item.key for page in pages for item in page.unread]


def short_twice(github: Simulator, request: int) -> None:
    """The page of that request lists nothing, nor does it when it is asked for once more."""
    for number in (request, request + 1):
        github.faults.on_request(number, ShortPage("pullRequests"))


def test_an_item_that_nobody_can_list_and_that_moves_meanwhile_is_unread(github: Simulator) -> None:
    github.faults.for_repository(NAME, HeavyItem(1, is_unlisted=True))
    github.faults.next(changed(github, replace(ITEMS[0], touched_at=(LATER,))))
    pages = scan(github.url, MONDAY, page_size=2)
    assert set(event_ids(pages)) == {id_ for id_ in ALL if id_ != f"github:pr:{NAME}:1"}
    assert lacking(pages) == [ItemKey("pull_request", 0)]


def test_an_item_that_nobody_can_list_is_unread_though_another_is_deleted_meanwhile(github: Simulator) -> None:
    github.faults.for_repository(NAME, HeavyItem(11, is_unlisted=True))
    github.faults.next(changed(github, gone=13))
    pages = scan(github.url, MONDAY, page_size=2)
    assert f"github:issue:{NAME}:11" not in event_ids(pages)
    assert set(lacking(pages)) == {ItemKey("issue", 0)}


def test_what_is_made_meanwhile_is_in_the_place_of_nothing_that_is_lacking(github: Simulator) -> None:
    github.faults.next(changed(github, merged(8, LATER, created_at=LATER)))
    short_twice(github, 4)
    pages = scan(github.url, MONDAY, page_size=2)
    assert f"github:pr:{NAME}:1" not in event_ids(pages)
    assert lacking(pages) == [ItemKey("pull_request", 0)]


def test_what_an_interrupted_scan_read_is_in_the_place_of_nothing_that_is_lacking(github: Simulator) -> None:
    with github_source(github.url, 2) as source:
        first = next(source.scan(ScanRequest(NAME, FLOORS)))
        touched = replace(ITEMS[6], touched_at=(LATER,))
        github.replace_world(world(*ITEMS[:6], touched, *ITEMS[7:]))
        short_twice(github, 4)
        rest = list(source.scan(ScanRequest(NAME, FLOORS, first.position)))
    assert set(event_ids([first, *rest])) == set(ALL)
    assert lacking(rest) == []


def test_items_in_a_row_that_nobody_can_list_are_unread(github: Simulator) -> None:
    for number in range(2, 7):
        github.faults.for_repository(NAME, HeavyItem(number, is_unlisted=True))
    pages = scan(github.url, MONDAY)
    assert {f"github:pr:{NAME}:1", f"github:pr:{NAME}:7"} <= set(event_ids(pages))
    assert set(lacking(pages)) == {ItemKey("pull_request", 0)}


def test_a_list_that_is_read_in_pieces_and_stays_short_comes_to_an_end(github: Simulator) -> None:
    # Of six requests three are of its first pages, two of its last, and one is of its front once more.
    github.faults.when(lambda asked: asked.number % 6 in {4, 5}, ShortPage("pullRequests"))
    github.replace_world(world(*ITEMS[:7]))
    position, pages = None, []
    with github_source(github.url, 2) as source:
        for _ in range(20):
            pages.append(next(source.scan(ScanRequest(NAME, FLOORS, position))))
            position = pages[-1].position
            if position is None:
                break
    assert position is None
    assert lacking(pages) == [ItemKey("pull_request", 0)]
