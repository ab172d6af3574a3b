"""Each fault looks on the wire as GitHub's does, to `requests` and to PyGithub."""

import time
from datetime import timedelta
from typing import Any

import github
import pytest
import requests

from ledger_pipeline.sources.simulator.faults import (
    After,
    Asked,
    Damage,
    FailedAnswer,
    Fault,
    Faults,
    Forbidden,
    HeavyItem,
    HeavyPage,
    NullItem,
    NullNode,
    OddField,
    PartialErrors,
    SecondaryLimit,
    ShortPage,
    Slow,
)
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.sources.simulator.client import NUMBERS, ask, post
from ledger_pipeline_tests.sources.simulator.worlds import MONDAY, NOON, pull_request, repository, review, world

RESET = str(int((NOON + timedelta(hours=1)).timestamp()))


@pytest.fixture
def simulator(github: Simulator) -> Simulator:
    github.replace_world(world(pull_request(1), pull_request(2)))
    github.set_clock(NOON)
    return github


@pytest.mark.parametrize(
    ("fault", "status", "says", "raised"),
    [
        (FailedAnswer.BAD_GATEWAY, 502, "502 Bad Gateway", github.GithubException),
        (FailedAnswer.MAINTENANCE, 503, "503 Service Unavailable", github.GithubException),
        (FailedAnswer.GATEWAY_TIMEOUT, 504, "504 Gateway Time-out", github.GithubException),
        (
            FailedAnswer.QUERY_TIMEOUT_502,
            502,
            "Something went wrong while executing your query",
            github.GithubException,
        ),
        (FailedAnswer.PRIMARY_LIMIT_403, 403, "API rate limit exceeded", github.RateLimitExceededException),
        (FailedAnswer.PRIMARY_LIMIT_429, 429, "API rate limit exceeded", github.GithubException),
        (SecondaryLimit(), 403, "secondary rate limit", github.RateLimitExceededException),
        (SecondaryLimit(60, status=429), 429, "secondary rate limit", github.GithubException),
        (FailedAnswer.BAD_CREDENTIALS, 401, "Bad credentials", github.BadCredentialsException),
        (FailedAnswer.NOT_FOUND, 404, "Not Found", github.UnknownObjectException),
        (FailedAnswer.BLOCKED, 451, "Repository access blocked", github.GithubException),
    ],
)
def test_a_failure_with_a_status(
    simulator: Simulator, fault: Fault, status: int, says: str, raised: type[github.GithubException]
) -> None:
    simulator.faults.next(fault, fault)
    answer = post(simulator.url)
    assert (answer.status_code, says in answer.text) == (status, True)
    with pytest.raises(raised) as error:
        ask(simulator.url)
    assert error.value.status == status
    assert post(simulator.url).ok, "the queue is used up"
    assert [request.status for request in simulator.requests] == [status, status, 200]


@pytest.mark.parametrize(
    ("fault", "type_"),
    [
        (FailedAnswer.RATE_LIMITED, "RATE_LIMITED"),
        (FailedAnswer.RATE_LIMIT, "RATE_LIMIT"),
        (FailedAnswer.QUERY_TIMEOUT, None),
    ],
)
def test_a_failure_behind_status_200(simulator: Simulator, fault: FailedAnswer, type_: str | None) -> None:
    simulator.faults.next(fault, fault)
    answer = post(simulator.url)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error.get("type"), answer.json().get("data")) == (200, type_, None)
    with pytest.raises(github.GithubException) as raised:
        ask(simulator.url)
    assert raised.value.data["errors"][0].get("type") == type_


@pytest.mark.parametrize(
    "fault", [FailedAnswer.PRIMARY_LIMIT_403, FailedAnswer.PRIMARY_LIMIT_429, FailedAnswer.RATE_LIMITED]
)
def test_a_spent_primary_limit_says_until_when(simulator: Simulator, fault: FailedAnswer) -> None:
    simulator.faults.next(fault)
    headers = post(simulator.url).headers
    assert (headers["X-RateLimit-Remaining"], headers["X-RateLimit-Reset"]) == ("0", RESET)


def test_a_secondary_limit_says_when_to_retry_or_does_not(simulator: Simulator) -> None:
    simulator.faults.next(SecondaryLimit(), SecondaryLimit(retry_after_seconds=60))
    without, with_ = post(simulator.url), post(simulator.url)
    assert "Retry-After" not in without.headers
    assert with_.headers["Retry-After"] == "60"
    assert int(with_.headers["X-RateLimit-Remaining"]) > 0


@pytest.mark.parametrize(
    ("damage", "raised"),
    [
        (Damage.DROPPED, requests.exceptions.ConnectionError),
        (Damage.CUT_SHORT, requests.exceptions.ChunkedEncodingError),
    ],
)
def test_a_broken_connection(
    simulator: Simulator, damage: Damage, raised: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    simulator.faults.next(damage, damage)
    with pytest.raises(raised):
        post(simulator.url)
    with pytest.raises(raised):
        ask(simulator.url)
    assert post(simulator.url).ok
    assert caplog.records == [], "breaking a connection on purpose is no error of the server's"


def test_truncated_json(simulator: Simulator) -> None:
    simulator.faults.next(Damage.TRUNCATED_JSON, Damage.TRUNCATED_JSON)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        post(simulator.url).json()
    # PyGithub hands on text it could not read as if it were an answer; a collector has to look.
    assert "data" not in ask_loosely(simulator.url)


def ask_loosely(url: str) -> dict[str, Any]:
    try:
        return ask(url)
    except (github.GithubException, ValueError, TypeError, AttributeError):
        return {}


def test_a_slow_answer_meets_the_timeout_of_an_impatient_client(simulator: Simulator) -> None:
    simulator.faults.next(Slow(delay_seconds=0.3))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{simulator.url}/graphql", json={}, headers={"Authorization": "token t"}, timeout=0.05)
    simulator.faults.next(Slow(delay_seconds=0.05))
    assert len(ask(simulator.url)["data"]["repository"]["pullRequests"]["nodes"]) == 2


def test_what_is_held_up_holds_up_no_stop() -> None:
    with Simulator(world(), as_of=NOON) as stopped:
        stopped.faults.next(Slow(delay_seconds=60))
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{stopped.url}/graphql", json={}, headers={"Authorization": "token t"}, timeout=0.05)
        stopped_at = time.monotonic()
    assert time.monotonic() - stopped_at < 30


def test_a_null_node_comes_in_silence_or_with_an_error(simulator: Simulator) -> None:
    simulator.faults.next(NullNode("pullRequests", 1), NullNode("pullRequests", 0, with_error=True))
    assert ask(simulator.url)["data"]["repository"]["pullRequests"]["nodes"] == [{"number": 1}, None]
    with pytest.raises(github.GithubException) as raised:
        ask(simulator.url)
    assert raised.value.data["data"]["repository"]["pullRequests"]["nodes"] == [None, {"number": 2}]
    [error] = raised.value.data["errors"]
    assert (error["type"], error["path"]) == ("FORBIDDEN", ["repository", "pullRequests", "nodes", 0])


@pytest.mark.parametrize(("says_more", "goes_on"), [(True, True), (False, False)])
def test_a_page_may_have_fewer_nodes_than_it_counts(simulator: Simulator, says_more: bool, goes_on: bool) -> None:
    paged = NUMBERS.replace("2", "1").replace("nodes", "totalCount pageInfo{hasNextPage} nodes")
    simulator.faults.next(ShortPage("pullRequests", says_more=says_more))
    page = {"totalCount": 2, "pageInfo": {"hasNextPage": goes_on}, "nodes": []}
    assert ask(simulator.url, paged)["data"]["repository"]["pullRequests"] == page


def test_errors_beside_complete_data(simulator: Simulator) -> None:
    simulator.faults.next(PartialErrors())
    answer = post(simulator.url).json()
    assert len(answer["data"]["repository"]["pullRequests"]["nodes"]) == 2
    assert answer["errors"] == [{"message": "Something went wrong while executing your query."}]


def test_a_heavy_page_fails_until_it_is_made_smaller(simulator: Simulator) -> None:
    simulator.faults.when(lambda _asked: True, HeavyPage(page_size_over=50))
    assert [post(simulator.url, NUMBERS.replace("2", str(size))).status_code for size in (100, 51, 50)] == [
        502,
        502,
        200,
    ]


ITEMS = """{ repository(owner: "cogni-dao", name: "ledger") {
  pullRequests(first: 2) { nodes { number title reviews(first: 2) { nodes { state } } } } } }"""


def test_an_item_can_be_too_heavy_null_or_odd_and_is_listed_all_the_same(simulator: Simulator) -> None:
    simulator.replace_world(world(pull_request(1, reviews=(review(1, MONDAY), review(2, MONDAY))), pull_request(2)))

    def answers(fault: Fault) -> list[Any]:
        simulator.faults.next(fault, fault)
        assert ask(simulator.url)["data"]["repository"]["pullRequests"]["nodes"] == [{"number": 1}, {"number": 2}]
        answer = post(simulator.url, ITEMS)
        return [] if answer.status_code == 502 else answer.json()["data"]["repository"]["pullRequests"]["nodes"]

    two = {"number": 2, "title": "Change 2", "reviews": {"nodes": []}}
    assert answers(HeavyItem(1)) == answers(HeavyItem(1, reviews_over=1)) == []
    simulator.faults.next(HeavyItem(1, is_unlisted=True))
    assert post(simulator.url).status_code == 502
    assert answers(HeavyItem(1, reviews_over=2))[1] == answers(HeavyItem(3))[1] == two
    assert answers(NullItem(1)) == [None, two]
    odd = answers(OddField(1, "reviews.nodes.1.state", 5))
    assert [odd[0]["reviews"]["nodes"][n]["state"] for n in (0, 1)] == ["COMMENTED", 5]
    assert answers(OddField(2, "title", None))[1]["title"] is None


def test_a_stream_that_the_token_may_not_read_takes_the_repository_with_it(simulator: Simulator) -> None:
    simulator.faults.next(Forbidden("pullRequests"), Forbidden("issues"))
    refused = post(simulator.url).json()
    assert refused["data"]["repository"] is None
    assert [(error["type"], error["path"]) for error in refused["errors"]] == [
        ("FORBIDDEN", ["repository", "pullRequests"])
    ]
    assert len(ask(simulator.url)["data"]["repository"]["pullRequests"]["nodes"]) == 2


def test_faults_for_one_repository_spare_the_others(simulator: Simulator) -> None:
    simulator.replace_world(World((repository(pull_request(1)), repository(name="cogni-dao/website", database_id=2))))
    simulator.faults.for_repository("Cogni-DAO/website", FailedAnswer.BAD_GATEWAY, times=1)
    second_query = NUMBERS.replace("ledger", "website")
    assert [post(simulator.url, query).status_code for query in (NUMBERS, second_query, second_query)] == [
        200,
        502,
        200,
    ]


def test_data_changes_after_the_request_one_names(simulator: Simulator) -> None:
    grown = world(*(pull_request(number) for number in (1, 2, 3)))
    simulator.faults.on_request(2, After(lambda: simulator.replace_world(grown)))
    count = NUMBERS.replace("nodes{number}", "totalCount")
    seen = [ask(simulator.url, count)["data"]["repository"]["pullRequests"]["totalCount"] for _ in range(3)]
    assert seen == [2, 2, 3]


def test_time_moves_after_a_request(simulator: Simulator) -> None:
    simulator.faults.next(After(lambda: simulator.set_clock(MONDAY)))
    assert post(simulator.url).headers["Date"] == "Mon, 05 Jan 2026 12:00:00 GMT"
    assert post(simulator.url).headers["Date"] == "Mon, 05 Jan 2026 00:00:00 GMT"


def test_one_request_meets_the_queue_and_every_rule() -> None:
    faults, asked = Faults(), Asked(3, ("o/r",), 100)
    faults.next(None, FailedAnswer.BLOCKED)
    faults.on_request(3, Slow(1))
    faults.for_repository("o/r", Damage.DROPPED)
    assert faults.take(asked) == [Slow(1), Damage.DROPPED]
    assert faults.take(asked) == [FailedAnswer.BLOCKED, Damage.DROPPED]
    faults.clear()
    assert faults.take(asked) == []
