"""A hundred repositories are asked what is new in one request, and one that fails spoils no other's answer."""

import json
from datetime import timedelta
from email.utils import format_datetime

import pytest

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.heads import read_heads
from ledger_pipeline.sources.github.payloads import RepositoryHead, UnusablePayload, read
from ledger_pipeline.sources.port import Head, Heads
from ledger_pipeline.sources.simulator.faults import After, Asked, FailedAnswer, NullNode
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline_tests.sources.github.canned import canned, serving
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.github.patient_client import Time, client
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NOON, issue, merged, repository, review

HOUR = timedelta(hours=1)
NAMES = [f"cogni-dao/repo-{n}" for n in range(250)]


@pytest.fixture
def github(github: Simulator) -> Simulator:
    repositories = (repository(merged(1), name=name, database_id=n) for n, name in enumerate(NAMES, 1))
    github.replace_world(World(tuple(repositories)))
    github.set_clock(LATER)
    return github


def heads(github: Simulator, *names: str) -> Heads:
    with github_source(github.url) as source:
        return source.heads(names)


def test_a_head_has_the_newest_update_of_each_stream_and_the_totals() -> None:
    reviewed_late = merged(1, NOON, reviews=(review(1, NOON + HOUR),))
    items = (reviewed_late, merged(2, NOON), issue(3, closures=(Closure(NOON),)), issue(4))
    with Simulator(World((repository(*items),)), as_of=LATER) as github:
        heads_read = heads(github, "Cogni-DAO/LEDGER")
    newest = {PULL_REQUESTS: NOON + HOUR, REVIEWS: NOON + HOUR, ISSUES: NOON}
    assert heads_read.heads == {"Cogni-DAO/LEDGER": Head(newest, {PULL_REQUESTS: 2, ISSUES: 2}, "1")}
    assert heads_read.began_at == LATER


def test_a_stale_update_at_the_front_hides_no_other() -> None:
    nodes = [{"updatedAt": "2025-12-01T00:00:00Z"}, {"updatedAt": "2026-01-05T00:00:00Z"}]
    items_page = {"totalCount": 2, "nodes": nodes}
    head = read(RepositoryHead, {"pullRequests": items_page, "issues": items_page}, LATER)
    assert (head.pull_requests.newest, head.issues.newest) == (MONDAY, MONDAY)


@pytest.mark.parametrize(("nodes", "total"), [([], 1), ([{"updatedAt": "2026-01-05T00:00:00Z"}], 0)])
def test_a_head_that_contradicts_itself_is_none(nodes: list[object], total: int) -> None:
    with pytest.raises(UnusablePayload, match=f"it shows {len(nodes)} of {total} items"):
        read(RepositoryHead, {"pullRequests": {"totalCount": total, "nodes": nodes}, "issues": {}}, LATER)


def test_a_repository_without_items_has_no_newest_update() -> None:
    with Simulator(World((repository(),)), as_of=LATER) as github:
        heads_read = heads(github, "cogni-dao/ledger")
    [head] = heads_read.heads.values()
    assert set(head.newest.values()) == {None}
    assert head.totals == {PULL_REQUESTS: 0, ISSUES: 0}


def test_heads_of_a_hundred_repositories_take_one_request(github: Simulator) -> None:
    heads_read = heads(github, *NAMES[:100])
    assert list(heads_read.heads) == NAMES[:100]
    assert len(github.requests) == heads_read.usage.requests == 1
    assert heads_read.usage.points == 2


def test_more_than_a_hundred_are_asked_in_turn_and_began_with_the_first(github: Simulator) -> None:
    github.faults.next(After(lambda: github.set_clock(LATER + HOUR)))
    heads_read = heads(github, *NAMES)
    assert list(heads_read.heads) == NAMES
    assert len(github.requests) == 3
    assert heads_read.began_at == LATER


def test_missing_repositories_are_left_out(github: Simulator) -> None:
    heads_read = heads(github, NAMES[0], "cogni-dao/gone", "no-slash", NAMES[1])
    assert list(heads_read.heads) == NAMES[:2]
    assert len(github.requests) == 1


def test_a_repository_named_twice_is_asked_once(github: Simulator) -> None:
    assert list(heads(github, NAMES[0], NAMES[0]).heads) == NAMES[:1]
    assert github.requests[0].repositories == (NAMES[0],)


def test_no_repositories_take_no_request(github: Simulator) -> None:
    assert heads(github).heads == {}
    assert github.requests == ()


def test_a_head_with_a_hole_is_left_out(github: Simulator) -> None:
    github.faults.next(NullNode("pullRequests"))
    assert list(heads(github, *NAMES[:3]).heads) == NAMES[1:3]


@pytest.mark.parametrize("place", [("issues",), ()])
def test_one_of_which_something_is_forbidden_is_left_out_by_the_same_question(place: tuple[str, ...]) -> None:
    head = {"totalCount": 0, "nodes": []}
    data = {"r0": None, "r1": {"databaseId": 1, "pullRequests": head, "issues": head}}
    error = {"type": "FORBIDDEN", "path": ["r0", *place], "message": "Resource not accessible by personal access token"}
    body = json.dumps({"data": data, "errors": [error]}).encode()
    answer = canned(200, [("Date", format_datetime(LATER, usegmt=True))], body)
    with serving(lambda: answer) as url, github_source(url) as source:
        heads_read = source.heads(NAMES[:2])
    assert list(heads_read.heads) == [NAMES[1]]
    assert heads_read.usage.requests == 1


@pytest.mark.parametrize(
    "failure", [FailedAnswer.BAD_GATEWAY, FailedAnswer.GATEWAY_TIMEOUT, FailedAnswer.QUERY_TIMEOUT]
)
def test_too_many_at_once_are_asked_by_halves(github: Simulator, failure: FailedAnswer) -> None:
    github.faults.when(lambda asked: len(asked.repositories) > 30, failure)
    heads_read = heads(github, *NAMES[:100])
    assert list(heads_read.heads) == NAMES[:100]
    assert heads_read.usage.requests == len(github.requests)
    assert (
        max(len(request.repositories) for request in github.requests if request.status == 200 and request.cost_points)
        >= 25
    )


@pytest.mark.parametrize("failure", [FailedAnswer.BAD_GATEWAY, FailedAnswer.BLOCKED])
def test_one_that_spoils_every_question_is_left_out_and_no_other(github: Simulator, failure: FailedAnswer) -> None:
    github.faults.for_repository(NAMES[42], failure)
    heads_read = heads(github, *NAMES[:100])
    assert set(NAMES[:100]) - set(heads_read.heads) == {NAMES[42]}
    assert len(github.requests) < 25


@pytest.mark.parametrize(
    ("failure", "raises"),
    [(FailedAnswer.BAD_GATEWAY, SourceUnavailable), (FailedAnswer.BAD_CREDENTIALS, SourceRefused)],
)
def test_an_outage_is_raised_soon(github: Simulator, failure: FailedAnswer, raises: type[Exception]) -> None:
    github.faults.when(lambda asked: True, failure)
    with pytest.raises(raises):
        heads(github, *NAMES[:100])
    assert len(github.requests) < 12


def test_repositories_of_different_credentials_are_asked_apart(
    github: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GitHubClient, "group_key", lambda _, source_scope: source_scope[-1])
    heads_read = heads(github, *NAMES[:20])
    assert set(heads_read.heads) == set(NAMES[:20])
    assert sorted(len(request.repositories) for request in github.requests) == [2] * 10


def test_a_group_that_fails_is_left_out_while_another_answers(
    github: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group_key(_: GitHubClient, source_scope: str) -> str:
        if source_scope == NAMES[9]:
            raise SourceRefused("github", source_scope, "no installation")
        return "odd" if source_scope == NAMES[3] else "even"

    def asks_for_odd(asked: Asked) -> bool:
        return NAMES[3] in asked.repositories

    monkeypatch.setattr(GitHubClient, "group_key", group_key)
    github.faults.when(asks_for_odd, FailedAnswer.MAINTENANCE)
    assert set(heads(github, *NAMES[:10]).heads) == {*NAMES[:10]} - {NAMES[3], NAMES[9]}


def test_an_update_after_the_question_is_not_in_the_heads(github: Simulator) -> None:
    github.set_clock(MONDAY)
    assert heads(github, NAMES[0]).heads[NAMES[0]].newest[PULL_REQUESTS] == MONDAY


def test_an_outage_is_asked_less_and_less_often_and_given_up(github: Simulator) -> None:
    github.faults.when(lambda _: True, FailedAnswer.BAD_GATEWAY)
    time = Time()
    with client(github.url, time) as asking, pytest.raises(SourceUnavailable):
        read_heads(asking, NAMES[:100])
    # 100, 50, 25, 12, 6, 3, 1, and two single ones more.
    assert len(github.requests) == 9
    assert time.slept == [1.0, 2.0, 4.0, *[8.0] * 5]


def test_a_group_that_was_too_much_at_once_is_halved_without_waiting(github: Simulator) -> None:
    time = Time()
    github.faults.next(FailedAnswer.BAD_GATEWAY)
    with client(github.url, time) as asking:
        assert list(read_heads(asking, NAMES[:100]).heads) == NAMES[:100]
    assert time.slept == []
