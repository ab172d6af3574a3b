"""GitHub's own count of a window has the window's bounds, and where it cannot be had, there is none."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from itertools import cycle

import pytest

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, World
from ledger_pipeline_tests.sources.github.canned import Respond, canned, serving
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    pull_request,
    repository,
)

WEEK = EpochWindow(MONDAY, MONDAY + timedelta(days=7))
WEEKS = list(EpochCalendar(7).windows_between(EpochCalendar(7).window_at(WEEK.start - timedelta(weeks=519)), WEEK))
TEN_YEARS_OF_REQUESTS = 21  # 520 weeks, 25 to a request
SECOND = timedelta(seconds=1)
BEFORE = MONDAY - timedelta(days=30)


@pytest.fixture
def github() -> Iterator[Simulator]:
    items = [
        pull_request(1, BEFORE, closed_at=MONDAY, merged_at=MONDAY),
        merged(2, WEEK.end - SECOND),
        merged(3, WEEK.end),
        pull_request(4, BEFORE, closed_at=MONDAY - SECOND, merged_at=MONDAY - SECOND),
        pull_request(5, closed_at=NOON),
        replace(merged(6), author=Actor("dependabot", 49, ActorKind.BOT)),
        issue(11, closures=(Closure(MONDAY),)),
        issue(12, closures=(Closure(WEEK.end),)),
        issue(13),
    ]
    with Simulator(World((repository(*items, former_names=("old-owner/old-name",)),)), as_of=LATER) as simulator:
        yield simulator


def test_a_window_counts_from_its_first_second_up_to_but_without_its_end(github: Simulator) -> None:
    with github_source(github.url) as source:
        assert source.count_events(NAME, [WEEK]) == {WEEK: {PULL_REQUESTS: 3, ISSUES: 1}}
    assert len(github.requests) == 1


def test_a_renamed_repository_is_counted_under_its_new_name(github: Simulator) -> None:
    with github_source(github.url) as source:
        counts = source.count_events("old-owner/old-name", WEEKS)
    assert counts[WEEK] == {PULL_REQUESTS: 3, ISSUES: 1}
    assert len(github.requests) == 1 + TEN_YEARS_OF_REQUESTS  # to learn the name costs one


def test_ten_years_of_weeks_are_counted_in_twenty_one_requests(github: Simulator) -> None:
    with github_source(github.url) as source:
        counts = source.count_events(NAME, WEEKS)
    assert list(counts) == WEEKS
    assert {window: of for window, of in counts.items() if any(of.values())} == {
        WEEKS[-2]: {PULL_REQUESTS: 1, ISSUES: 0},
        WEEK: {PULL_REQUESTS: 3, ISSUES: 1},
    }
    assert len(github.requests) == TEN_YEARS_OF_REQUESTS


def test_of_no_window_nothing_is_asked(github: Simulator) -> None:
    with github_source(github.url) as source:
        assert source.count_events(NAME, []) == {}
    assert github.requests == ()


def test_a_query_too_heavy_for_github_asks_for_fewer_windows(github: Simulator) -> None:
    github.faults.next(FailedAnswer.BAD_GATEWAY)
    with github_source(github.url) as source:
        assert source.count_events(NAME, WEEKS[-25:])[WEEK] == {PULL_REQUESTS: 3, ISSUES: 1}
    assert len(github.requests) == 1 + 3  # 25 refused; 12, 12 and 1


def test_one_window_that_is_too_heavy_is_no_count(github: Simulator) -> None:
    github.faults.when(lambda _: True, FailedAnswer.BAD_GATEWAY)
    with github_source(github.url) as source, pytest.raises(SourceUnavailable, match=NAME):
        source.count_events(NAME, WEEKS[-25:])


def test_a_repository_that_is_not_there_is_refused_and_not_counted_as_empty(github: Simulator) -> None:
    with github_source(github.url) as source, pytest.raises(SourceRefused, match="cogni-dao/gone"):
        source.count_events("cogni-dao/gone", [WEEK])


class Wavering:
    """A search under another name each time; `count` is what it finds."""

    def __init__(self, names: list[str], count: object = 1) -> None:
        self._names = cycle(names)
        self._count = count

    def __call__(self) -> Respond:
        counts = {f"{letter}0": {"issueCount": self._count} for letter in "mc"}
        body = {"data": {"repository": {"nameWithOwner": next(self._names)}, **counts}}
        return canned(200, [("Date", format_datetime(LATER, usegmt=True))], json.dumps(body).encode())


def test_a_repository_that_changes_its_name_with_every_answer_is_no_count() -> None:
    with (
        serving(Wavering(["a/b", "a/c"])) as url,
        github_source(url) as source,
        pytest.raises(SourceUnavailable, match=r"now one way and now another: x/y, then a/b, then a/c, then a/b"),
    ):
        source.count_events("x/y", [WEEK])


@pytest.mark.parametrize("count", [None, -1, "1", 1.5, 2**40, [], True])
def test_what_is_no_number_is_no_count(count: object) -> None:
    with (
        serving(Wavering([NAME], count)) as url,
        github_source(url) as source,
        pytest.raises(SourceUnavailable, match="search gives no count"),
    ):
        source.count_events(NAME, [WEEK])


def test_a_search_for_what_is_no_repository_is_no_count() -> None:
    with (
        serving(Wavering(["no slash"])) as url,
        github_source(url) as source,
        pytest.raises(SourceUnavailable, match="nameWithOwner"),
    ):
        source.count_events(NAME, [WEEK])
