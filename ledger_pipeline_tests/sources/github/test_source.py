"""A scan gives every event since its floor, each under its own id, and a watermark by GitHub's own time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.sources.port import ScanRequest, UpdateSpan
from ledger_pipeline.sources.simulator.faults import After, FailedAnswer
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, ReviewState, World
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan
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
WEEK = timedelta(weeks=1)


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    return github


def test_merges_submitted_reviews_and_closed_issues_become_events(github: Simulator) -> None:
    github.replace_world(
        world(merged(1, reviews=(review(8),)), pull_request(2), issue(3, closures=(Closure(NOON),)), issue(4))
    )
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == [
        f"github:issue:{NAME}:3",
        f"github:pr:{NAME}:1",
        f"github:review:{NAME}:1:4000000008",
    ]
    [page] = pages
    by_stream = {event.stream: event for event in page.events}
    assert by_stream[PULL_REQUESTS].metadata["mergedAt"] == "2026-01-05T12:00:00Z"
    assert by_stream[PULL_REQUESTS].source_object_id == "3000000001"
    assert by_stream[REVIEWS].platform_user_id == "7"
    assert by_stream[ISSUES].artifact_url == f"https://github.com/{NAME}/issues/3"
    assert page.usage.requests == len(github.requests) == 1


def test_reviews_of_pull_requests_that_were_never_merged_count(github: Simulator) -> None:
    closed = pull_request(1, closed_at=NOON, reviews=(review(1, state=ReviewState.CHANGES_REQUESTED),))
    github.replace_world(world(closed, pull_request(2, reviews=(review(2),))))
    assert len(event_ids(scan(github.url, MONDAY))) == 2


def test_a_review_that_is_not_submitted_yet_is_no_activity(github: Simulator) -> None:
    github.replace_world(world(merged(1, reviews=(review(1, None, state=ReviewState.PENDING),))))
    [page] = scan(github.url, MONDAY)
    assert [event.stream for event in page.events] == [PULL_REQUESTS]
    assert page.skipped == ()


def test_all_of_250_reviews_of_one_pull_request_are_read(github: Simulator) -> None:
    github.replace_world(world(merged(1, reviews=tuple(review(n) for n in range(250))), merged(2)))
    pages = scan(github.url, MONDAY)
    assert Counter(event_id.split(":")[1] for event_id in event_ids(pages)) == {"review": 250, "pr": 2}
    assert len(github.requests) == 3


def test_authors_that_are_no_users_are_skipped_and_counted_by_reason(github: Simulator) -> None:
    kinds = {
        "bot": ActorKind.BOT,
        "mannequin": ActorKind.MANNEQUIN,
        "organization": ActorKind.ORGANIZATION,
        "enterprise_user_account": ActorKind.ENTERPRISE_USER_ACCOUNT,
    }
    authors = [Actor(reason, 90 + n, kind) for n, (reason, kind) in enumerate(kinds.items())]
    reviews = tuple(replace(review(n), author=author) for n, author in enumerate([*authors, None]))
    github.replace_world(world(pull_request(1, reviews=reviews)))
    [page] = scan(github.url, MONDAY)
    assert page.events == ()
    assert Counter((item.stream, item.reason) for item in page.skipped) == {
        (REVIEWS, reason): 1 for reason in (*kinds, "deleted_account")
    }
    assert {item.event_time for item in page.skipped} == {NOON}


def test_what_is_skipped_is_reported_to_the_source_scope_as_configured(github: Simulator) -> None:
    by_bot = replace(merged(1), author=Actor("dependabot", 49, ActorKind.BOT))
    github.replace_world(World((repository(by_bot, former_names=("old-owner/old-name",)),)))
    [page] = scan(github.url, MONDAY, source_scope="old-owner/old-name")
    assert [(item.event_id, item.source_scope) for item in page.skipped] == [
        (f"github:pr:{NAME}:1", "old-owner/old-name")
    ]


def test_a_page_tells_the_span_of_its_updates_by_stream_and_githubs_totals(github: Simulator) -> None:
    pull_requests = [merged(n, MONDAY + n * HOUR) for n in range(1, 6)]
    issues = [issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in range(11, 14)]
    github.replace_world(world(*pull_requests, *issues))
    first, second, third = scan(github.url, MONDAY, page_size=2)
    of_pull_requests = UpdateSpan(MONDAY + 4 * HOUR, MONDAY + 5 * HOUR, 5)
    assert first.updates == {
        PULL_REQUESTS: of_pull_requests,
        REVIEWS: replace(of_pull_requests, source_total=None),
        ISSUES: UpdateSpan(MONDAY + 12 * HOUR, MONDAY + 13 * HOUR, 3),
    }
    assert second.updates[ISSUES] == UpdateSpan(MONDAY + 11 * HOUR, MONDAY + 11 * HOUR, 3)
    assert third.updates.keys() == {PULL_REQUESTS, REVIEWS}


def test_progress_goes_by_what_is_still_being_read(github: Simulator) -> None:
    pull_requests = [merged(n, MONDAY + n * HOUR) for n in range(1, 6)]
    issues = [issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in range(11, 14)]
    github.replace_world(world(*pull_requests, *issues))
    assert [page.reached for page in scan(github.url, MONDAY, page_size=2)] == [MONDAY + n * HOUR for n in (12, 2, 1)]


def test_the_total_of_issues_is_of_those_updated_since_the_floor(github: Simulator) -> None:
    github.replace_world(world(*(issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in range(1, 6))))
    [page] = scan(github.url, MONDAY + 4 * HOUR)
    assert page.updates[ISSUES].source_total == 2


def test_a_floor_between_two_seconds_means_the_first_of_them(github: Simulator) -> None:
    github.replace_world(world(merged(1, NOON), issue(2, closures=(Closure(NOON),)), merged(3, NOON + HOUR)))
    assert len(event_ids(scan(github.url, NOON + timedelta(milliseconds=500), page_size=1))) == 3


def test_pages_end_where_updates_are_older_than_the_floor(github: Simulator) -> None:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 101))))
    floor = MONDAY + 81 * HOUR
    pages = scan(github.url, floor, page_size=10)
    assert len(github.requests) == 3
    assert len(event_ids(pages)) == 30  # whole pages: a scan keeps every event it sees
    assert min(event.event_time for page in pages for event in page.events) < floor


def test_an_update_exactly_at_the_floor_is_read(github: Simulator) -> None:
    items = [merged(1, NOON), issue(2, closures=(Closure(NOON),)), merged(3, NOON + HOUR)]
    github.replace_world(world(*items))
    assert len(event_ids(scan(github.url, NOON, page_size=1))) == 3


def test_an_old_event_of_an_item_updated_since_the_floor_is_kept(github: Simulator) -> None:
    github.replace_world(world(merged(1, NOON, touched_at=(NOON + 4 * WEEK,))))
    [page] = scan(github.url, NOON + 3 * WEEK)
    assert [event.event_time for event in page.events] == [NOON]


def test_items_that_share_one_update_second_are_all_read_across_pages(github: Simulator) -> None:
    sweep = (NOON + WEEK,)
    github.replace_world(
        world(
            *(merged(n, touched_at=sweep) for n in range(1, 38)),
            *(issue(n, closures=(Closure(NOON),), touched_at=sweep) for n in range(101, 129)),
        )
    )
    ids = event_ids(scan(github.url, NOON + WEEK, page_size=10))
    assert len(ids) == len(set(ids)) == 37 + 28


def test_the_watermark_is_githubs_own_time_when_the_scan_began(github: Simulator) -> None:
    github.replace_world(world(*(merged(n) for n in range(1, 4))))
    github.set_clock(LATER)
    github.faults.next(After(lambda: github.set_clock(LATER + HOUR)))
    pages = scan(github.url, MONDAY, page_size=1)
    assert len(pages) == 3
    assert {page.began_at for page in pages} == {LATER}
    assert [page.retrieved_at for page in pages] == [LATER, LATER + HOUR, LATER + HOUR]


def test_an_item_updated_between_two_pages_is_found_by_the_next_scan(github: Simulator) -> None:
    before = [merged(n, MONDAY + n * HOUR) for n in range(1, 7)]
    moved = [merged(1, MONDAY + HOUR, touched_at=(LATER,)), *before[1:]]
    github.set_clock(LATER - HOUR)
    github.replace_world(world(*before))
    change = After(lambda: (github.set_clock(LATER), github.replace_world(world(*moved))))
    github.faults.next(change)
    first = scan(github.url, MONDAY, page_size=2)
    assert f"github:pr:{NAME}:1" not in event_ids(first)
    second = scan(github.url, first[0].began_at, page_size=2)
    assert {*event_ids(first), *event_ids(second)} == {f"github:pr:{NAME}:{n}" for n in range(1, 7)}


def test_only_the_streams_asked_for_are_read(github: Simulator) -> None:
    github.replace_world(world(merged(1, reviews=(review(1),)), issue(2, closures=(Closure(NOON),))))
    for stream in (PULL_REQUESTS, REVIEWS, ISSUES):
        [page] = scan(github.url, MONDAY, streams=[stream])
        assert {event.stream for event in page.events} == {stream}


def test_ids_hold_the_spelling_that_github_answers(github: Simulator) -> None:
    github.replace_world(World((repository(merged(1), former_names=("old-owner/old-name",)),)))
    for name in (NAME.upper(), "old-owner/old-name"):
        [page] = scan(github.url, MONDAY, source_scope=name)
        assert page.source_scope_name == NAME
        assert [event.id for event in page.events] == [f"github:pr:{NAME}:1"]


def test_a_scan_asks_for_a_page_only_when_the_one_before_is_taken(github: Simulator) -> None:
    github.replace_world(world(*(merged(n) for n in range(1, 10))))
    with github_source(github.url, page_size=3) as source:
        pages = source.scan(ScanRequest(NAME, {PULL_REQUESTS: MONDAY}))
        assert github.requests == ()
        next(pages)
        assert len(github.requests) == 1
        next(pages)
        assert len(github.requests) == 2


def test_a_repository_without_activity_still_gives_one_page_with_a_watermark(github: Simulator) -> None:
    github.replace_world(world())
    [page] = scan(github.url, MONDAY)
    assert (page.events, page.skipped, page.began_at) == ((), (), LATER)
    assert (page.updates, page.reached, page.position) == ({}, None, None)


def test_four_hundred_merges_and_reviews_and_two_hundred_issues_take_four_requests(github: Simulator) -> None:
    pull_requests = (merged(n, MONDAY + n * HOUR, reviews=(review(n, MONDAY + n * HOUR),)) for n in range(1, 401))
    issues = (issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in range(401, 601))
    github.replace_world(world(*pull_requests, *issues))
    pages = scan(github.url, MONDAY)
    assert len(event_ids(pages)) == len(set(event_ids(pages))) == 1000
    assert sum(page.usage.requests for page in pages) == len(github.requests) == 4
    github.clear_requests()
    scan(github.url, LATER)
    assert len(github.requests) == 1


def test_pages_before_a_bad_one_are_given_and_nothing_of_it(github: Simulator) -> None:
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, 7))))
    github.faults.when(lambda asked: asked.number > 1, FailedAnswer.MAINTENANCE)
    with github_source(github.url, page_size=2) as source:
        pages = source.scan(ScanRequest(NAME, {PULL_REQUESTS: MONDAY}))
        assert event_ids([next(pages)]) == [f"github:pr:{NAME}:5", f"github:pr:{NAME}:6"]
        with pytest.raises(SourceUnavailable, match=f"{NAME}.*503"):
            next(pages)


def test_scans_run_in_several_threads(github: Simulator) -> None:
    names = [f"cogni-dao/repo-{n}" for n in range(8)]
    github.replace_world(
        World(tuple(repository(merged(1), merged(2), name=name, database_id=n) for n, name in enumerate(names, 1)))
    )
    with github_source(github.url, page_size=1) as source, ThreadPoolExecutor(4) as threads:
        scans = threads.map(lambda name: list(source.scan(ScanRequest(name, {PULL_REQUESTS: MONDAY}))), names)
        for name, pages in zip(names, scans, strict=True):
            assert event_ids(pages) == [f"github:pr:{name}:1", f"github:pr:{name}:2"]
            assert [page.usage.requests for page in pages] == [1, 1]
