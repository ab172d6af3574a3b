"""A scan that was interrupted goes on where it stood: nothing is read twice, and nothing is missed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.sources import GITHUB_STREAMS, ISSUES, PULL_REQUESTS
from ledger_pipeline.sources.github.endless import LeadsNowhere
from ledger_pipeline.sources.github.payloads import PageInfo
from ledger_pipeline.sources.github.position import ConnectionProgress
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import PartialErrors
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan_on
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NAME, issue, merged, review, world

HOUR = timedelta(hours=1)
PULL_REQUEST_LIST = [merged(n, MONDAY + n * HOUR, reviews=(review(n, MONDAY),)) for n in range(1, 10)]
ISSUE_LIST = [issue(n, closures=(Closure(MONDAY + n * HOUR),)) for n in range(11, 15)]
FULL = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY))
PAGES = 5  # of two, with two pages of issues


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    github.replace_world(world(*PULL_REQUEST_LIST, *ISSUE_LIST))
    return github


def interrupted(github: Simulator, after: int, request: ScanRequest = FULL) -> list[ScanPage]:
    """The first pages of a scan that then breaks off; its requests are forgotten."""
    with github_source(github.url, page_size=2) as source:
        pages = source.scan(request)
        taken = [next(pages) for _ in range(after)]
    github.clear_requests()
    return taken


def resumed(github: Simulator, position: Mapping[str, Json] | None) -> list[ScanPage]:
    return scan_on(github.url, replace(FULL, position=json.loads(json.dumps(position))), page_size=2)


@pytest.mark.parametrize("after", range(1, PAGES))
def test_both_parts_together_are_what_an_uninterrupted_scan_reads(github: Simulator, after: int) -> None:
    before = interrupted(github, after)
    rest = resumed(github, before[-1].position)
    assert event_ids([*before, *rest]) == event_ids(scan_on(github.url, FULL, page_size=2))


@pytest.mark.parametrize("after", range(1, PAGES))
def test_only_the_pages_that_remain_are_asked_for(github: Simulator, after: int) -> None:
    before = interrupted(github, after)
    resumed(github, before[-1].position)
    assert len(github.requests) == PAGES - after


def test_the_last_page_has_no_position_and_every_other_one_has(github: Simulator) -> None:
    pages = scan_on(github.url, FULL, page_size=2)
    assert [page.position is None for page in pages] == [False] * (PAGES - 1) + [True]


def test_a_resumed_scan_says_when_it_was_resumed_not_when_it_began(github: Simulator) -> None:
    before = interrupted(github, 2)
    github.set_clock(LATER + HOUR)
    rest = resumed(github, before[-1].position)
    assert {page.began_at for page in before} == {LATER}
    assert {page.began_at for page in rest} == {LATER + HOUR}


def test_what_is_updated_in_between_moves_to_the_next_scan_and_nothing_else_is_lost(github: Simulator) -> None:
    before = interrupted(github, 1)
    moved = replace(PULL_REQUEST_LIST[0], touched_at=(LATER + HOUR,))
    newcomers = [merged(n, LATER + HOUR) for n in range(21, 26)]
    github.set_clock(LATER + 2 * HOUR)
    github.replace_world(world(moved, *PULL_REQUEST_LIST[1:], *newcomers, *ISSUE_LIST))
    rest = resumed(github, before[-1].position)
    read = event_ids([*before, *rest])
    assert len(read) == len(set(read))
    next_scan = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, before[0].began_at))
    read += event_ids(scan_on(github.url, next_scan, page_size=2))
    assert set(read) == set(event_ids(scan_on(github.url, FULL)))


def test_the_item_the_position_stands_at_may_have_moved(github: Simulator) -> None:
    before = interrupted(github, 1)
    moved = replace(PULL_REQUEST_LIST[7], touched_at=(LATER,))
    github.replace_world(world(*PULL_REQUEST_LIST[:7], moved, PULL_REQUEST_LIST[8], *ISSUE_LIST))
    rest = resumed(github, before[-1].position)
    assert event_ids([*before, *rest]) == event_ids(scan_on(github.url, FULL))


PLACE: Mapping[str, Json] = {**ConnectionProgress("pullRequests", MONDAY).place(), "after": "x", "counted": 1}


@pytest.mark.parametrize(
    "position",
    [
        {"pullRequests": {**PLACE, "after": "what GitHub gave out once"}},
        {"pullRequests": "of an older version"},
        {"pullRequests": {**PLACE, "after": ""}},
        {"pullRequests": {**PLACE, "read": -1, "since": "yesterday"}},
        {"pullRequests": {**PLACE, "numbers": 5}},
        {"pullRequests": {**PLACE, "numbers": "no numbers"}},
        {"pullRequests": None, "issues": None},
        {"discussions": "of another version"},
        {},
    ],
    ids=[
        "refused by GitHub",
        "of an older version",
        "without a cursor",
        "of nonsense",
        "with numbers of another type",
        "with numbers that nobody packed",
        "without cursors",
        "of other connections",
        "empty",
    ],
)
def test_a_position_that_is_worth_nothing_begins_again_from_the_front(
    github: Simulator, position: Mapping[str, Json]
) -> None:
    assert event_ids(resumed(github, position)) == event_ids(scan_on(github.url, FULL))


def test_a_position_of_a_stream_that_is_not_asked_for_begins_again(github: Simulator) -> None:
    [page] = interrupted(github, 1, ScanRequest(NAME, {PULL_REQUESTS: MONDAY}))
    request = ScanRequest(NAME, {ISSUES: MONDAY}, page.position)
    assert len(event_ids(scan_on(github.url, request))) == len(ISSUE_LIST)


def test_another_refusal_of_a_resumed_scan_does_not_begin_it_again(github: Simulator) -> None:
    [page] = interrupted(github, 1)
    github.faults.next(PartialErrors("Resource not accessible", "FORBIDDEN"))
    with pytest.raises(SourceRefused, match="Resource not accessible"):
        resumed(github, page.position)
    assert len(github.requests) == 1


@pytest.mark.parametrize("cursor", [None, "here"])
def test_a_page_whose_cursor_does_not_move_on_is_an_error_not_a_loop(cursor: str | None) -> None:
    connection = ConnectionProgress("issues", MONDAY)
    connection.move_behind(PageInfo.model_validate({"hasNextPage": True, "endCursor": "here"}), [])
    with pytest.raises(LeadsNowhere, match=rf"issues .* does not move on: {cursor}"):
        connection.move_behind(PageInfo.model_validate({"hasNextPage": True, "endCursor": cursor}), [])
