"""Pages: every object exactly once, and what happens when the data moves between two of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.sources.simulator.client import run
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

LIST = """query($first: Int, $last: Int, $after: String, $before: String, $order: IssueOrder,
    $states: [PullRequestState!]) {
  repository(owner: "cogni-dao", name: "ledger") {
    list: pullRequests(first: $first, last: $last, after: $after, before: $before, orderBy: $order, states: $states) {
      totalCount
      nodes { number }
      edges { cursor node { number } }
      pageInfo { endCursor hasNextPage startCursor hasPreviousPage }
    }
  }
}"""

ISSUES_SINCE = """query($since: DateTime) {
  repository(owner: "cogni-dao", name: "ledger") {
    issues(first: 100, filterBy: {since: $since}) { nodes { number } }
  }
}"""

NEWEST_FIRST = {"field": "UPDATED_AT", "direction": "DESC"}


def page(served: World, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = run(served, LATER, LIST, **arguments)["data"]["repository"]["list"]
    return answer


def numbers(answer: dict[str, Any]) -> list[int]:
    return [node["number"] for node in answer["nodes"]]


def forwards(served: World, size: int, **arguments: Any) -> list[int]:
    seen: list[int] = []
    after = None
    while True:
        listed = page(served, first=size, after=after, **arguments)
        seen += numbers(listed)
        if not listed["pageInfo"]["hasNextPage"]:
            return seen
        after = listed["pageInfo"]["endCursor"]


def backwards(served: World, size: int, **arguments: Any) -> list[int]:
    seen: list[int] = []
    before = None
    while True:
        listed = page(served, last=size, before=before, **arguments)
        seen = numbers(listed) + seen
        if not listed["pageInfo"]["hasPreviousPage"]:
            return seen
        before = listed["pageInfo"]["startCursor"]


@settings(max_examples=40)
@given(
    minutes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=14),
    size=st.integers(1, 100),
    field=st.sampled_from(["CREATED_AT", "UPDATED_AT"]),
    direction=st.sampled_from(["ASC", "DESC"]),
)
def test_every_object_is_served_exactly_once(
    minutes: list[tuple[int, int]], size: int, field: str, direction: str
) -> None:
    served = world(
        *(
            pull_request(
                number,
                MONDAY + timedelta(minutes=created),
                touched_at=(MONDAY + timedelta(minutes=created + more),),
            )
            for number, (created, more) in enumerate(minutes, start=1)
        )
    )
    order = {"field": field, "direction": direction}
    seen = forwards(served, size, order=order)
    assert sorted(seen) == list(range(1, len(minutes) + 1))
    assert backwards(served, size, order=order) == seen
    by_number = {pull_request.number: pull_request for pull_request in served.repositories[0].pull_requests}
    moments = [
        by_number[number].created_at if field == "CREATED_AT" else by_number[number].updated_at for number in seen
    ]
    assert moments == sorted(moments, reverse=direction == "DESC")


def test_the_default_order_is_by_creation_oldest_first() -> None:
    served = world(pull_request(1, NOON), pull_request(2, MONDAY))
    assert forwards(served, 100) == [2, 1]


def test_edges_carry_cursors_one_can_go_on_from() -> None:
    served = world(*(pull_request(number) for number in range(1, 6)))
    edges = page(served, first=5)["edges"]
    assert numbers(page(served, first=5, after=edges[2]["cursor"])) == [4, 5]


def test_states_narrow_the_list_and_its_count() -> None:
    served = world(pull_request(1), merged(2), pull_request(3, closed_at=NOON))
    assert forwards(served, 1, states=["MERGED", "CLOSED"]) == [2, 3]
    assert page(served, first=1, states=["OPEN"])["totalCount"] == 1


def test_an_item_updated_between_pages_is_missed_by_the_rest_of_the_scan() -> None:
    ordered = [pull_request(number, MONDAY + timedelta(minutes=number)) for number in (1, 2, 3, 4)]
    first = page(world(*ordered), first=2, order=NEWEST_FIRST)
    assert numbers(first) == [4, 3]
    moved = world(replace(ordered[0], touched_at=(NOON,)), *ordered[1:])
    second = page(moved, first=2, after=first["pageInfo"]["endCursor"], order=NEWEST_FIRST)
    assert numbers(second) == [2]
    assert numbers(page(moved, first=2, order=NEWEST_FIRST)) == [1, 4]


def test_a_served_item_that_moves_does_not_shift_the_next_page() -> None:
    ordered = [pull_request(number, MONDAY + timedelta(minutes=number)) for number in (1, 2, 3, 4)]
    first = page(world(*ordered), first=2, order=NEWEST_FIRST)
    moved = world(*ordered[:2], replace(ordered[2], touched_at=(NOON,)), ordered[3])
    assert numbers(page(moved, first=2, after=first["pageInfo"]["endCursor"], order=NEWEST_FIRST)) == [2, 1]


def test_an_item_that_moves_forward_in_an_ascending_scan_is_served_again() -> None:
    ordered = [pull_request(number, MONDAY + timedelta(minutes=number)) for number in (1, 2, 3)]
    order = {"field": "UPDATED_AT", "direction": "ASC"}
    first = page(world(*ordered), first=2, order=order)
    moved = world(replace(ordered[0], touched_at=(NOON,)), *ordered[1:])
    assert numbers(page(moved, first=2, after=first["pageInfo"]["endCursor"], order=order)) == [3, 1]


def test_since_keeps_what_was_updated_then_or_later() -> None:
    served = world(issue(1), issue(2, touched_at=(NOON,)), issue(3, touched_at=(NOON + timedelta(seconds=1),)))
    answer = run(served, LATER, ISSUES_SINCE, since="2026-01-05T12:00:00Z")
    assert [node["number"] for node in answer["data"]["repository"]["issues"]["nodes"]] == [2, 3]


def test_nested_reviews_page_through_all_250() -> None:
    crowd = tuple(review(number, NOON + timedelta(minutes=number % 7)) for number in range(250))
    query = """query($after: String) { repository(owner: "cogni-dao", name: "ledger") { pullRequest(number: 1) {
        reviews(first: 100, after: $after) {
            totalCount nodes { fullDatabaseId } pageInfo { hasNextPage endCursor } } } } }"""
    seen: list[str] = []
    after = None
    while True:
        data = run(world(pull_request(1, reviews=crowd)), LATER, query, after=after)["data"]
        answer = data["repository"]["pullRequest"]["reviews"]
        seen += [node["fullDatabaseId"] for node in answer["nodes"]]
        after = answer["pageInfo"]["endCursor"]
        if not answer["pageInfo"]["hasNextPage"]:
            break
    assert answer["totalCount"] == 250
    assert len(seen) == len(set(seen)) == 250


@pytest.mark.parametrize(
    ("arguments", "type_", "message"),
    [
        (
            "",
            "MISSING_PAGINATION_BOUNDARIES",
            "You must provide a `first` or `last` value to properly paginate the `pullRequests` connection.",
        ),
        (
            "(first: 101)",
            "EXCESSIVE_PAGINATION",
            "Requesting 101 records on the `pullRequests` connection exceeds the `first` limit of 100 records.",
        ),
        (
            "(last: 500)",
            "EXCESSIVE_PAGINATION",
            "Requesting 500 records on the `pullRequests` connection exceeds the `last` limit of 100 records.",
        ),
        (
            '(first: 1, after: "nonsense")',
            "INVALID_CURSOR_ARGUMENTS",
            "`nonsense` does not appear to be a valid cursor.",
        ),
    ],
)
def test_page_arguments_github_refuses(arguments: str, type_: str, message: str) -> None:
    query = f'{{ repository(owner: "cogni-dao", name: "ledger") {{ pullRequests{arguments} {{ totalCount }} }} }}'
    [error] = run(World((repository(),)), LATER, query)["errors"]
    assert (error["type"], error["message"]) == (type_, message)
    assert error["path"] == ["repository", "pullRequests"]
