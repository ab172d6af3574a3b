"""A connection that the credentials may not read fails alone: what they may read is read."""

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.sources import GITHUB_STREAMS, ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.port import ScanRequest
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Forbidden
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline_tests.sources.github.github_source import event_ids, scan, scan_on
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    repository,
    review,
    world,
)

ITEMS = (merged(1, reviews=(review(1),)), merged(2), issue(3, closures=(Closure(NOON),)))


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.replace_world(world(*ITEMS))
    github.set_clock(LATER)
    return github


def forbid(github: Simulator, *connections: str) -> None:
    for connection in connections:
        github.faults.when(lambda _: True, Forbidden(connection))


def test_pull_requests_are_read_where_issues_are_forbidden(github: Simulator) -> None:
    forbid(github, "issues")
    pages = scan(github.url, MONDAY, page_size=1)
    assert len(event_ids(pages)) == 3
    for page in pages:
        assert page.refused.keys() == {ISSUES}
        assert NAME in page.refused[ISSUES]
        assert '"Issues: read"' in page.refused[ISSUES]
        assert page.totals.keys() == {PULL_REQUESTS}
    assert len(github.requests) == 3  # the refusal is met once


def test_issues_are_read_where_pull_requests_are_forbidden(github: Simulator) -> None:
    forbid(github, "pullRequests")
    [page] = scan(github.url, MONDAY)
    assert [event.stream for event in page.events] == [ISSUES]
    assert page.refused.keys() == {PULL_REQUESTS, REVIEWS}
    assert '"Pull requests: read"' in page.refused[REVIEWS]


@pytest.mark.parametrize(
    ("streams", "connections"), [(GITHUB_STREAMS, ["pullRequests", "issues"]), ((ISSUES,), ["issues"])]
)
def test_where_everything_is_forbidden_the_scan_is_refused(
    github: Simulator, streams: tuple[str, ...], connections: list[str]
) -> None:
    forbid(github, *connections)
    with pytest.raises(SourceRefused, match="Issues: read"):
        scan(github.url, MONDAY, streams=streams)


def test_where_everything_is_forbidden_of_a_long_name_both_permissions_are_named(github: Simulator) -> None:
    name = f"{'o' * 39}/{'r' * 100}"
    github.replace_world(World((repository(merged(1), name=name),)))
    forbid(github, "pullRequests", "issues")
    with pytest.raises(SourceRefused) as raised:
        scan(github.url, MONDAY, source_scope=name)
    assert '"Pull requests: read" and "Issues: read"' in raised.value.problem


def test_a_refusal_that_follows_another_tells_of_both(github: Simulator) -> None:
    github.faults.next(Forbidden("issues"), FailedAnswer.BLOCKED)
    with pytest.raises(SourceRefused, match=r"Issues: read.*451"):
        scan(github.url, MONDAY)


def test_an_unread_issue_that_is_forbidden_stays_unread(github: Simulator) -> None:
    forbid(github, "issues")
    key = ItemKey("issue", 3)
    [page] = scan_on(github.url, ScanRequest(NAME, {}, unread=(key,)))
    assert (page.settled, [item.key for item in page.unread]) == ((), [key])
    assert "Resource not accessible" in page.unread[0].reason
