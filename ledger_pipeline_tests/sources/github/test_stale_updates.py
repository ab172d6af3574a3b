"""Items that GitHub shows with an older `updatedAt` than their place in the list tells end no scan of the others."""

from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.sources import PULL_REQUESTS
from ledger_pipeline.sources.port import ScanRequest
from ledger_pipeline.sources.simulator.faults import OddField
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NAME, merged, world

HOUR = timedelta(hours=1)
FLOOR = MONDAY + 5 * HOUR
NEWEST = 12


@pytest.fixture
def github(github: Simulator) -> Simulator:
    """Twelve pull requests, one an hour; those of the numbers 5 to 12 were updated since FLOOR."""
    github.replace_world(world(*(merged(n, MONDAY + n * HOUR) for n in range(1, NEWEST + 1))))
    github.set_clock(LATER)
    return github


def wanted() -> set[str]:
    return {f"github:pr:{NAME}:{n}" for n in range(5, NEWEST + 1)}


def stale(number: int, updated: datetime = MONDAY - HOUR) -> OddField:
    return OddField(number, "updatedAt", updated.strftime("%Y-%m-%dT%H:%M:%SZ"))


@pytest.mark.parametrize("number", range(6, NEWEST + 1))
@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
def test_a_stale_update_anywhere_in_the_list_hides_nothing_behind_it(
    github: Simulator, number: int, page_size: int
) -> None:
    github.faults.when(lambda _: True, stale(number))
    assert wanted() <= set(event_ids(scan(github.url, FLOOR, page_size=page_size)))


@pytest.mark.parametrize("number", range(6, NEWEST + 1))
@pytest.mark.parametrize("page_size", [1, 3])
def test_a_stale_update_hides_nothing_from_calls_that_read_a_page_each(
    github: Simulator, number: int, page_size: int
) -> None:
    github.faults.when(lambda _: True, stale(number))
    ids, position, is_done = set(), None, False
    with github_source(github.url, page_size) as source:
        while not is_done:
            page = next(source.scan(ScanRequest(NAME, {PULL_REQUESTS: FLOOR}, position)))
            ids.update(event_ids([page]))
            position, is_done = page.position, page.position is None
    assert wanted() <= ids
    assert len(github.requests) < NEWEST  # it stops all the same


@pytest.mark.parametrize("first", range(6, NEWEST))
@pytest.mark.parametrize(("page_size", "stale_items"), [(3, 2), (4, 3), (5, 4), (7, 4)])
def test_some_stale_updates_in_a_row_hide_nothing_behind_them(
    github: Simulator, first: int, page_size: int, stale_items: int
) -> None:
    for number in range(first, min(first + stale_items, NEWEST + 1)):
        github.faults.when(lambda _: True, stale(number))
    assert wanted() <= set(event_ids(scan(github.url, FLOOR, page_size=page_size)))


@pytest.mark.parametrize(("page_size", "requests"), [(100, 1), (10, 2), (9, 2), (8, 2), (4, 3), (2, 5)])
def test_a_list_in_order_ends_with_five_items_below_the_floor_or_a_whole_page_of_them(
    github: Simulator, page_size: int, requests: int
) -> None:
    scan(github.url, FLOOR, page_size=page_size)
    assert len(github.requests) == requests
