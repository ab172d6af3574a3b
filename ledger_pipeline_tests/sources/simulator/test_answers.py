"""What is answered besides pages: who may ask, names, errors, headers, budgets, search, REST, and the clock."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import github
import pytest
import requests

from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, World
from ledger_pipeline_tests.sources.simulator.client import NUMBERS, ask, post, pygithub, run
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NOON,
    issue,
    merged,
    pull_request,
    repository,
    review,
    world,
)

REPOSITORIES = World(
    (
        repository(merged(1, reviews=(review(1),)), issue(2), former_names=("old-dao/books",)),
        repository(name="cogni-dao/website", database_id=2),
    )
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(REPOSITORIES, as_of=NOON, bad_tokens=["stolen"]) as running:
        yield running


def test_who_does_not_say_who_they_are_is_refused(simulator: Simulator) -> None:
    answer = requests.post(f"{simulator.url}/graphql", json={"query": NUMBERS}, timeout=10)
    assert (answer.status_code, answer.json()["message"]) == (
        401,
        "This endpoint requires you to be authenticated.",
    )


def test_a_bad_token_is_refused(simulator: Simulator) -> None:
    answer = post(simulator.url, token="stolen")
    assert (answer.status_code, answer.json()["message"]) == (401, "Bad credentials")


def test_an_unknown_repository_is_null_and_the_others_are_served(simulator: Simulator) -> None:
    answer = post(
        simulator.url,
        """{ good: repository(owner: "cogni-dao", name: "website") { name }
             bad: repository(owner: "x", name: "y") { name } }""",
    )
    body = answer.json()
    assert answer.status_code == 200
    assert body["data"] == {"good": {"name": "website"}, "bad": None}
    [error] = body["errors"]
    assert error["type"] == "NOT_FOUND"
    assert error["path"] == ["bad"]
    assert error["message"] == "Could not resolve to a Repository with the name 'x/y'."
    assert error["locations"] == [{"line": 2, "column": 14}]


@pytest.mark.parametrize("name", ["cogni-dao/ledger", "COGNI-DAO/Ledger", "old-dao/books"])
def test_any_spelling_and_a_former_name_answer_with_the_name_of_today(name: str) -> None:
    owner, _, short = name.partition("/")
    query = "query($owner: String!, $name: String!) { repository(owner: $owner, name: $name) { url nameWithOwner } }"
    answer = run(REPOSITORIES, LATER, query, owner=owner, name=short)["data"]["repository"]
    assert answer == {"nameWithOwner": "cogni-dao/ledger", "url": "https://github.com/cogni-dao/ledger"}


def test_renames_are_not_followed_when_told_so() -> None:
    query = '{ repository(owner: "old-dao", name: "books", followRenames: false) { name } }'
    assert run(REPOSITORIES, LATER, query)["errors"][0]["type"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"query": "{ nonsense }"}, 200, "nonsense"),
        ({"query": "{ repository("}, 200, "Syntax Error"),
        ({}, 200, "A query attribute must be specified and must be a string."),
        ({"query": "query($n: Int!) { repository(owner: $n, name: $n) { id } }", "variables": {}}, 200, "$n"),
        ({"query": "query a { viewer { login } } query b { viewer { login } }"}, 200, "No operation named"),
    ],
)
def test_a_bad_query_is_answered_with_errors_and_no_data(
    simulator: Simulator, body: dict[str, Any], status: int, says: str
) -> None:
    answer = requests.post(f"{simulator.url}/graphql", json=body, headers={"Authorization": "token t"}, timeout=10)
    assert answer.status_code == status
    assert "data" not in answer.json()
    assert says in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"nonsense", b"[" * 50_000 + b"]" * 50_000], ids=["nonsense", "nested"])
def test_a_body_that_is_no_json_is_a_bad_request(simulator: Simulator, body: bytes) -> None:
    answer = requests.post(f"{simulator.url}/graphql", data=body, headers={"Authorization": "token t"}, timeout=10)
    assert (answer.status_code, answer.json()["message"]) == (400, "Problems parsing JSON")


def test_authors_have_their_own_types_and_ids() -> None:
    query = """{ repository(owner: "cogni-dao", name: "ledger") { pullRequests(first: 9) { nodes { author {
        __typename login ... on User { databaseId } ... on Bot { databaseId } ... on Mannequin { databaseId }
        ... on Organization { databaseId } } } } } }"""
    kinds = [Actor(f"who-{place}", place + 10, kind) for place, kind in enumerate(ActorKind)]
    served = world(*(replace(pull_request(kind.database_id), author=kind) for kind in kinds))
    nodes = run(served, LATER, query)["data"]["repository"]["pullRequests"]["nodes"]
    database_ids = {node["author"]["__typename"]: node["author"].get("databaseId") for node in nodes}
    assert database_ids == {
        "User": 10,
        "Bot": 11,
        "Mannequin": 12,
        "Organization": 13,
        "EnterpriseUserAccount": None,
    }


def test_ids_lead_back_to_their_objects(simulator: Simulator) -> None:
    query = """{ repository(owner: "cogni-dao", name: "ledger") { id
        pullRequest(number: 1) { id reviews(first: 1) { nodes { id } } } issue(number: 2) { id } } }"""
    repository_answer = ask(simulator.url, query)["data"]["repository"]
    ids = [
        repository_answer["id"],
        repository_answer["pullRequest"]["id"],
        repository_answer["pullRequest"]["reviews"]["nodes"][0]["id"],
    ]
    ids += [repository_answer["issue"]["id"], "bm9uc2Vuc2U="]
    answer = post(simulator.url, "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=ids).json()
    kinds = ["Repository", "PullRequest", "PullRequestReview", "Issue"]
    expected = [{"__typename": kind, "id": database_id} for kind, database_id in zip(kinds, ids, strict=False)]
    assert answer["data"]["nodes"] == [*expected, None]
    assert answer["errors"][0]["message"] == "Could not resolve to a node with the global id of 'bm9uc2Vuc2U='."


def test_dates_and_budget_are_in_every_answer(simulator: Simulator) -> None:
    headers = post(simulator.url, token="fresh").headers
    assert headers["Date"] == "Mon, 05 Jan 2026 12:00:00 GMT"
    assert headers["X-GitHub-Request-Id"]
    assert "server" not in headers
    assert [headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Used", "Resource")] == [
        "5000",
        "4999",
        "1",
        "graphql",
    ]


def test_a_spent_budget_refuses_until_the_hour_is_over() -> None:
    query = "{ rateLimit { cost limit remaining used resetAt nodeCount } }"
    with Simulator(REPOSITORIES, as_of=NOON, points_per_hour=2) as simulator:
        post(simulator.url, query)
        last = post(simulator.url, query).json()["data"]["rateLimit"]
        spent = post(simulator.url, query)
        assert post(simulator.url, query, token="another").json()["data"]
        simulator.set_clock(NOON + timedelta(hours=1))
        assert post(simulator.url, query).json()["data"]["rateLimit"]["remaining"] == 1
    assert last == {
        "cost": 1,
        "limit": 2,
        "remaining": 0,
        "used": 2,
        "resetAt": "2026-01-05T13:00:00Z",
        "nodeCount": 0,
    }
    assert (spent.status_code, spent.json()["errors"][0]["type"]) == (200, "RATE_LIMITED")
    assert spent.headers["X-RateLimit-Remaining"] == "0"


def test_advancing_the_clock_is_activity_arriving(simulator: Simulator) -> None:
    query = """{ repository(owner: "cogni-dao", name: "ledger") { pullRequest(number: 1) { state mergedAt } } }"""
    simulator.set_clock(MONDAY)
    before = ask(simulator.url, query)["data"]["repository"]["pullRequest"]
    simulator.set_clock(NOON)
    after = ask(simulator.url, query)["data"]["repository"]["pullRequest"]
    assert (before, after) == (
        {"state": "OPEN", "mergedAt": None},
        {"state": "MERGED", "mergedAt": "2026-01-05T12:00:00Z"},
    )


def test_requests_are_recorded(simulator: Simulator) -> None:
    simulator.clear_requests()
    query = 'query Page($name: String!) { repository(owner: "cogni-dao", name: $name) { id } }'
    post(simulator.url, query, name="website")
    [requests_seen] = simulator.requests
    assert (requests_seen.at, requests_seen.method, requests_seen.path, requests_seen.status) == (
        NOON,
        "POST",
        "/graphql",
        200,
    )
    assert (requests_seen.query, requests_seen.variables, requests_seen.cost_points) == (query, {"name": "website"}, 1)
    assert requests_seen.repositories == ("cogni-dao/website",)


def test_github_enterprise_addresses_are_served(simulator: Simulator) -> None:
    assert ask(f"{simulator.url}/api/v3")["data"]["repository"]
    with pygithub(f"{simulator.url}/api/v3") as client:
        assert client.get_repo("cogni-dao/ledger").full_name == "cogni-dao/ledger"


def test_rest_finds_a_renamed_repository_and_misses_an_unknown_one(simulator: Simulator) -> None:
    with pygithub(simulator.url) as client:
        assert client.get_repo("old-dao/books").full_name == "cogni-dao/ledger"
        assert client.get_rate_limit().resources.graphql.limit == 5000
        with pytest.raises(github.UnknownObjectException):
            client.get_repo("x/y")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("repo:cogni-dao/ledger is:pr", 3),
        ("repo:cogni-dao/ledger is:pr is:merged", 2),
        ("repo:cogni-dao/ledger is:pr merged:2026-01-05T12:00:00Z..2026-01-05T12:00:00Z", 1),
        ("repo:cogni-dao/ledger is:pr merged:2026-01-05", 1),
        ("repo:cogni-dao/ledger is:pr merged:>2026-01-05", 1),
        ("repo:cogni-dao/ledger is:pr merged:>=2026-01-05", 2),
        ("repo:cogni-dao/ledger is:pr merged:2026-01-05..*", 2),
        ("repo:cogni-dao/ledger is:pr merged:<2026-01-05", 0),
        ("repo:cogni-dao/ledger is:issue closed:<=2026-01-05", 1),
        ("repo:cogni-dao/ledger author:ANA", 4),
        ("repo:x/y is:pr", 0),
    ],
)
def test_search_counts(query: str, count: int) -> None:
    served = world(
        merged(1), merged(2, MONDAY + timedelta(days=1)), pull_request(3), issue(4, closures=(Closure(NOON),))
    )
    search = "query($q: String!) { search(query: $q, type: ISSUE) { issueCount } }"
    assert run(served, LATER, search, q=query)["data"]["search"]["issueCount"] == count


@pytest.mark.parametrize("query", ["repo:cogni-dao/ledger mood:good", "repo:cogni-dao/ledger merged:soon", "is:pr"])
def test_a_search_that_is_not_understood_is_refused(query: str) -> None:
    search = "query($q: String!) { search(query: $q, type: ISSUE, first: 1) { issueCount } }"
    [error] = run(REPOSITORIES, LATER, search, q=query)["errors"]
    assert error["type"] == "UNSUPPORTED_SEARCH"


def test_a_clock_without_time_zone_is_refused(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        simulator.set_clock(NOON.replace(tzinfo=None))


SERVE = """
from ledger_pipeline.sources.simulator.server import serve
from ledger_pipeline.sources.simulator.world import World
serve(World(), on_ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_server_of_the_command_line_ends_cleanly_on_a_signal(sent: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        assert post(url, "{ viewer { login } }").ok
        process.send_signal(sent)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
