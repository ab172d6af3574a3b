"""An item that cannot be read is told of as unread, asked for again by number, and holds up nothing else."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import GITHUB_STREAMS, ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.sources.github.items import MOST_REQUESTS
from ledger_pipeline.sources.github.repository_scan import MOST_IN_A_ROW, RepositoryScan
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import (
    After,
    BadItem,
    Damage,
    FailedAnswer,
    Fault,
    HeavyItem,
    NullItem,
    NullNode,
    OddField,
)
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan, scan_on
from ledger_pipeline_tests.sources.github.patient_client import Time, client
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    pull_request,
    repository,
    review,
    world,
)

HOUR = timedelta(hours=1)
SEVEN, EIGHT = ItemKey("pull_request", 7), ItemKey("issue", 8)
ALL = [f"github:issue:{NAME}:8", f"github:pr:{NAME}:6", f"github:pr:{NAME}:7", f"github:review:{NAME}:7:4000000001"]
ALL += [f"github:review:{NAME}:7:4000000002"]


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    seven = merged(7, NOON, reviews=(review(1, NOON - HOUR), review(2, NOON - HOUR)))
    github.replace_world(world(merged(6, NOON + HOUR), seven, issue(8, closures=(Closure(NOON),))))
    return github


def always(github: Simulator, *faults: Fault) -> None:
    for fault in faults:
        github.faults.when(lambda _: True, fault)


def unread(pages: list[ScanPage]) -> dict[ItemKey, UnreadItem]:
    return {item.key: item for page in pages for item in page.unread}


def settled(pages: list[ScanPage]) -> list[ItemKey]:
    return [key for page in pages for key in page.settled]


def again(github: Simulator, *keys: ItemKey, floor: datetime | None = None) -> list[ScanPage]:
    floors = {} if floor is None else dict.fromkeys(GITHUB_STREAMS, floor)
    return scan_on(github.url, ScanRequest(NAME, floors, unread=keys))


@pytest.mark.parametrize(
    ("fault", "key", "lost"),
    [
        (OddField(7, "mergedAt", "9999-12-31T23:59:59Z"), SEVEN, {ALL[2]}),
        (OddField(7, "author.databaseId", "7"), SEVEN, {ALL[2]}),
        (OddField(7, "fullDatabaseId", None), SEVEN, {ALL[2]}),
        (OddField(7, "fullDatabaseId", 0), SEVEN, {ALL[2]}),
        (OddField(7, "reviews.nodes.0.state", "approved"), SEVEN, {ALL[3]}),
        (OddField(7, "reviews.nodes.0.state", "APPROVED\0"), SEVEN, {ALL[3]}),
        (OddField(7, "reviews.nodes.1.author", []), SEVEN, {ALL[4]}),
        (OddField(7, "reviews", 5), SEVEN, set(ALL[3:])),
        (OddField(7, "reviews.pageInfo", None), SEVEN, set(ALL[3:])),
        (OddField(8, "closedAt", 5), EIGHT, {ALL[0]}),
        (OddField(7, "mergedAt", None), SEVEN, {ALL[2]}),
        (OddField(7, "merged", False), SEVEN, {ALL[2]}),
        (OddField(7, "reviews.nodes.1.submittedAt", None), SEVEN, {ALL[4]}),
        (OddField(8, "closedAt", None), EIGHT, {ALL[0]}),
    ],
    ids=lambda value: str(value) if isinstance(value, OddField) else "",
)
def test_a_malformed_item_is_unread_and_all_that_is_not_malformed_is_read(
    github: Simulator, fault: OddField, key: ItemKey, lost: set[str]
) -> None:
    always(github, fault)
    pages = scan(github.url, MONDAY)
    assert set(event_ids(pages)) == set(ALL) - lost
    [item] = unread(pages).values()
    assert item.key == key
    assert fault.field.rpartition(".")[2].removesuffix("nodes") in item.reason
    assert (item.earliest, item.latest) == (MONDAY, LATER)
    assert len(github.requests) == 1


def test_an_item_without_a_usable_number_is_unread_as_number_zero(github: Simulator) -> None:
    always(github, OddField(7, "number", "seven"))
    pages = scan(github.url, MONDAY)
    assert unread(pages)[ItemKey("pull_request", 0)].reason.startswith("number cannot be used")
    assert set(event_ids(pages)) == set(ALL[:2])


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (NullNode("pullRequests"), 3),  # the page, a light page, the item
        (NullNode("pullRequests", with_error=True), 3),
        (NullNode("issues"), 3),
        (NullNode("reviews"), 2),  # the page, the item
        (NullNode("reviews", 1, with_error=True), 2),
    ],
    ids=repr,
)
def test_a_null_among_nodes_is_asked_for_by_number(github: Simulator, fault: NullNode, requests: int) -> None:
    github.faults.next(fault)
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == ALL
    assert unread(pages) == {}
    assert len(github.requests) == requests


def test_a_null_that_even_the_light_page_shows_is_unread_as_number_zero(github: Simulator) -> None:
    always(github, NullNode("issues"))
    pages = scan(github.url, MONDAY)
    assert unread(pages) == {
        ItemKey("issue", 0): UnreadItem(ItemKey("issue", 0), "GitHub answers null for it", None, LATER)
    }
    assert event_ids(pages) == ALL[1:]


def test_a_null_page_of_reviews_is_asked_for_by_number(github: Simulator) -> None:
    github.faults.next(OddField(7, "reviews", None))
    assert event_ids(scan(github.url, MONDAY)) == ALL
    assert len(github.requests) == 2


@pytest.mark.parametrize("fault", [HeavyItem(7), NullItem(7)], ids=repr)
def test_an_item_that_is_listed_and_never_comes_is_unread_and_the_scan_goes_on(github: Simulator, fault: Fault) -> None:
    always(github, fault)
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == ALL[:2]
    [item] = unread(pages).values()
    assert (item.key, item.earliest, item.latest) == (SEVEN, MONDAY, LATER)
    assert pages[-1].position is None


def test_an_issue_that_is_too_heavy_even_alone_is_unread(github: Simulator) -> None:
    always(github, HeavyItem(8))
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == ALL[1:]
    assert unread(pages).keys() == {EIGHT}


@pytest.mark.parametrize("over", [0, 1])
def test_of_a_pull_request_with_reviews_that_are_too_heavy_all_that_comes_is_read(github: Simulator, over: int) -> None:
    always(github, HeavyItem(7, reviews_over=over))
    pages = scan(github.url, MONDAY)
    assert set(event_ids(pages)) == set(ALL) - (set(ALL[3:]) if over == 0 else set())
    assert unread(pages).keys() == ({SEVEN} if over == 0 else set())


def test_one_bad_pull_request_costs_a_bounded_number_of_requests_and_waits_in_between(github: Simulator) -> None:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 101)), issue(200)))
    always(github, HeavyItem(50))
    time = Time()
    with client(github.url, time) as asking:
        pages = list(RepositoryScan(asking, ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY)), 100).pages())
    assert len(event_ids(pages)) == 99
    assert unread(pages).keys() == {ItemKey("pull_request", 50)}
    refused = [request for request in github.requests if request.status == 502]
    assert len(refused) <= 8
    assert sum(time.slept) <= 20
    assert len(github.requests) <= 20
    github.clear_requests()
    [page] = again(github, ItemKey("pull_request", 50))
    # The repository; by number with reviews; whether it is there; without reviews.
    assert [request.status for request in github.requests] == [200, 502, 200, 502]
    assert page.unread[0].earliest == MONDAY


@pytest.mark.parametrize("place", [0, 1, 20, 26, 30, 50, 77, 98, 99])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_wherever_it_stands_it_costs_a_handful_of_refused_requests(github: Simulator, place: int, status: int) -> None:
    numbers = range(1, 101)
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in numbers), issue(200)))
    bad = numbers[::-1][place]
    always(github, HeavyItem(bad, status=status))
    time = Time()
    with client(github.url, time) as asking:
        pages = list(RepositoryScan(asking, ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY)), 100).pages())
    assert len(event_ids(pages)) == 99
    assert unread(pages).keys() == {ItemKey("pull_request", bad)}
    refused = [request for request in github.requests if request.status == status]
    # A server that fails is asked the same some times more at first (here 2), after waits of its own.
    assert len(refused) <= (8 if status == 502 else 12)
    assert sum(time.slept) <= 20


@pytest.mark.parametrize("is_listed", [False, True], ids=["below the floor", "above the floor"])
@pytest.mark.parametrize(
    "fault",
    [
        HeavyItem(10),
        HeavyItem(10, status=500),
        BadItem(10, Damage.DROPPED),
        BadItem(10, FailedAnswer.NO_DATA),
        BadItem(10, FailedAnswer.SERVER_ERROR, review="4000000010"),
    ],
    ids=repr,
)
def test_an_item_that_is_known_to_be_bad_is_not_waited_for(github: Simulator, fault: Fault, is_listed: bool) -> None:
    pull_requests = (merged(n, MONDAY + n * HOUR, reviews=(review(n, MONDAY),)) for n in range(1, 21))
    github.replace_world(world(*pull_requests, issue(30)))
    always(github, fault)
    time, key = Time(), ItemKey("pull_request", 10)
    floors = dict.fromkeys(GITHUB_STREAMS, MONDAY if is_listed else LATER - HOUR)
    with client(github.url, time, retries=4, max_wait_seconds=60) as asking:
        pages = list(RepositoryScan(asking, ScanRequest(NAME, floors, unread=(key,)), 100).pages())
    assert unread(pages).keys() == {key}
    assert sum(time.slept) <= (4 if is_listed else 1)
    assert len(github.requests) <= (20 if is_listed else 9)
    if is_listed:
        assert len({id_ for id_ in event_ids(pages) if ":pr:" in id_} | {f"github:pr:{NAME}:10"}) == 20


def test_a_short_outage_is_sat_out_where_an_item_is_known_to_be_bad(github: Simulator) -> None:
    github.faults.next(*[FailedAnswer.SERVER_ERROR] * 3)
    time = Time()
    with client(github.url, time, retries=4, max_wait_seconds=60) as asking:
        request = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY), unread=(SEVEN,))
        pages = list(RepositoryScan(asking, request, 100).pages())
    assert event_ids(pages) == ALL
    assert settled(pages) == [SEVEN]
    assert time.slept[:2] == [1.0, 2.0]


@pytest.mark.parametrize("is_known", [False, True])
def test_items_that_are_known_to_be_bad_are_no_outage_however_many_stand_in_a_row(
    github: Simulator, is_known: bool
) -> None:
    bad = range(2, 2 + MOST_IN_A_ROW + 1)
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, MOST_IN_A_ROW + 4))))
    always(github, *(HeavyItem(n) for n in bad))
    known_items = frozenset(ItemKey("pull_request", n) for n in bad) if is_known else frozenset[ItemKey]()
    with client(github.url) as asking:
        scan_of_all = RepositoryScan(asking, ScanRequest(NAME, {PULL_REQUESTS: MONDAY}, known=known_items), 100).pages()
        if is_known:
            assert event_ids(list(scan_of_all)) == [f"github:pr:{NAME}:1", f"github:pr:{NAME}:{MOST_IN_A_ROW + 3}"]
        else:
            with pytest.raises(SourceUnavailable, match="items in a row"):
                list(scan_of_all)


def test_bad_items_in_a_row_cost_less_each(github: Simulator) -> None:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 61))))
    always(github, *(HeavyItem(n) for n in range(31, 41)))
    time = Time()
    with client(github.url, time) as asking:
        pages = list(RepositoryScan(asking, ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY)), 100).pages())
    assert len(event_ids(pages)) == 50
    assert len(unread(pages)) == 10
    assert sum(request.status == 502 for request in github.requests) <= 16 + 3 * 9
    assert sum(time.slept) <= 3 * 10


@pytest.mark.parametrize("bad", [1, 4, 5, 9])
@pytest.mark.parametrize("page_size", [100, 2])
@pytest.mark.parametrize("status", [502, 500])
def test_an_item_that_cannot_even_be_listed_is_passed_and_unread_without_a_number(
    github: Simulator, bad: int, page_size: int, status: int
) -> None:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 10)), issue(30)))
    always(github, HeavyItem(bad, status=status, is_unlisted=True))
    pages = scan(github.url, MONDAY, page_size=page_size)
    assert event_ids(pages) == [f"github:pr:{NAME}:{n}" for n in range(1, 10) if n != bad]
    [item] = unread(pages).values()
    assert item.key == ItemKey("pull_request", 0)
    assert item.reason.startswith("GitHub gives up even on the lightest page, 2 times: GitHub answers")
    assert (item.earliest, item.latest) == (None, LATER)
    assert pages[-1].position is None
    assert len(github.requests) <= 30


def test_of_an_issue_too(github: Simulator) -> None:
    always(github, HeavyItem(8, is_unlisted=True))
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == ALL[1:]
    assert unread(pages).keys() == {ItemKey("issue", 0)}


def test_a_null_whose_light_page_never_comes_is_unread_without_a_number(github: Simulator) -> None:
    github.faults.on_request(1, NullNode("issues"))
    github.faults.when(lambda asked: asked.number in (2, 3), FailedAnswer.BAD_GATEWAY)
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == ALL[1:]
    assert unread(pages).keys() == {ItemKey("issue", 0)}


def test_an_outage_is_no_items_fault(github: Simulator) -> None:
    always(github, FailedAnswer.BAD_GATEWAY)
    with pytest.raises(SourceUnavailable, match="lightest page"):
        scan(github.url, MONDAY)
    with pytest.raises(SourceUnavailable, match="GitHub gives up"):
        again(github, SEVEN)


def test_an_unread_item_is_asked_for_again_and_settled_once_it_is_read(github: Simulator) -> None:
    [page] = again(github, SEVEN, EIGHT)
    assert event_ids([page]) == [ALL[0], *ALL[2:]]
    assert (page.settled, page.unread, page.position) == ((SEVEN, EIGHT), (), None)
    assert (page.source_scope_name, page.source_scope_id, page.began_at) == (NAME, "1", LATER)
    assert page.updates == {}


def test_an_item_that_is_gone_is_settled(github: Simulator) -> None:
    [page] = again(github, ItemKey("pull_request", 70), ItemKey("issue", 80), ItemKey("issue", 7))
    assert len(page.settled) == 3
    assert (page.events, page.unread) == ((), ())


def test_one_null_beside_an_answer_that_cannot_be_read_does_not_say_that_an_item_is_gone(github: Simulator) -> None:
    # The whole item is too much for GitHub; asked for its number and times alone, GitHub answers null.
    always(github, HeavyItem(8), NullItem(8, is_unlisted=True))
    [page] = again(github, EIGHT)
    assert (page.settled, [item.key for item in page.unread]) == ((), [EIGHT])


def test_an_item_that_is_null_twice_in_a_row_is_gone(github: Simulator) -> None:
    always(github, NullItem(8, is_unlisted=True))
    assert again(github, EIGHT)[0].settled == (EIGHT,)


@pytest.mark.parametrize("fault", [HeavyItem(7), NullItem(7), OddField(7, "mergedAt", 5)], ids=repr)
def test_an_item_that_is_still_bad_is_unread_again(github: Simulator, fault: Fault) -> None:
    always(github, fault)
    github.set_clock(LATER + HOUR)
    [page] = again(github, SEVEN)
    assert page.settled == ()
    [item] = page.unread
    assert (item.key, item.earliest, item.latest) == (SEVEN, MONDAY, LATER + HOUR)


def test_an_item_without_a_number_is_left_alone(github: Simulator) -> None:
    [page] = again(github, ItemKey("issue", 0))
    assert (page.settled, page.unread, page.events) == ((), (), ())
    assert len(github.requests) == 1


def test_unread_items_come_with_the_first_page_of_a_scan(github: Simulator) -> None:
    old = merged(1, MONDAY + HOUR)
    github.replace_world(world(old, *(merged(n, NOON + n * HOUR) for n in range(2, 7))))
    with github_source(github.url, page_size=2) as source:
        request = ScanRequest(NAME, {PULL_REQUESTS: NOON}, unread=(ItemKey("pull_request", 1),))
        first, *others = source.scan(request)
    assert first.settled == (ItemKey("pull_request", 1),)
    assert f"github:pr:{NAME}:1" in event_ids([first])
    assert settled(others) == []


def test_an_unread_item_that_a_page_holds_is_not_asked_for_once_more(github: Simulator) -> None:
    pages = again(github, SEVEN, EIGHT, floor=MONDAY)
    assert sorted(settled(pages)) == [EIGHT, SEVEN]
    assert event_ids(pages) == ALL
    assert len(github.requests) == 1


def test_an_unread_pull_request_is_read_with_its_reviews_whatever_the_floors_are_of(github: Simulator) -> None:
    request = ScanRequest(NAME, {ISSUES: MONDAY}, unread=(SEVEN,))
    assert event_ids(scan_on(github.url, request)) == [ALL[0], *ALL[2:]]
    only_reviews = replace(request, floors={REVIEWS: MONDAY}, streams=(REVIEWS,))
    pages = scan_on(github.url, only_reviews)
    assert event_ids(pages) == ALL[3:]
    assert settled(pages) == [SEVEN]


def test_hundreds_of_reviews_are_read_by_number_too(github: Simulator) -> None:
    github.replace_world(world(merged(7, reviews=tuple(review(n, MONDAY) for n in range(60)))))
    assert len(event_ids(again(github, SEVEN))) == 61
    assert len(github.requests) == 1 + 3


def test_an_item_takes_no_more_than_so_many_requests(github: Simulator) -> None:
    github.replace_world(world(pull_request(7, reviews=tuple(review(n, MONDAY) for n in range(150)))))
    always(github, HeavyItem(7, reviews_over=1))
    [page] = again(github, SEVEN)
    assert len(github.requests) == 1 + MOST_REQUESTS  # the page, and the item
    assert page.unread[0].reason == f"its reviews take more than {MOST_REQUESTS} requests"
    assert page.unread[0].earliest == MONDAY


def test_another_repository_that_takes_the_name_meanwhile_is_not_read_for_the_first(github: Simulator) -> None:
    second_repository = repository(merged(7, NOON), database_id=2)
    github.faults.next(After(lambda: github.replace_world(World((second_repository,)))))
    with pytest.raises(SourceUnavailable, match="another repository has this name"):
        again(github, SEVEN)


def test_a_pull_request_that_vanishes_between_two_pages_of_its_reviews_is_told_of(github: Simulator) -> None:
    github.replace_world(world(merged(7, reviews=tuple(review(n, MONDAY) for n in range(150)))))
    github.faults.next(After(lambda: github.replace_world(world())))
    pages = scan(github.url, MONDAY)
    assert len(event_ids(pages)) == 101
    assert unread(pages)[SEVEN].reason == "it is gone since the page before"
