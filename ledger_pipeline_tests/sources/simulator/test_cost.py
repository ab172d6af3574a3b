"""Points and nodes, against the numbers worked out in GitHub's documentation and by hand."""

from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse

from ledger_pipeline.sources.simulator.cost import Cost, Survey
from ledger_pipeline.sources.simulator.query import RefusedError, read_query

DOCUMENTED_POINTS = """{ viewer { login repositories(first: 100) { edges { node { id
    issues(first: 50) { edges { node { id labels(first: 60) { edges { node { id name } } } } } } } } } } }"""

DOCUMENTED_SIMPLE_NODES = """{ viewer { repositories(first: 50) { edges { repository: node { name
    issues(first: 10) { totalCount edges { node { title bodyHTML } } } } } } } }"""

DOCUMENTED_COMPLEX_NODES = """{ viewer {
    repositories(first: 50) { edges { repository: node { name
        pullRequests(first: 20) { edges { pullRequest: node { title
            comments(first: 10) { edges { comment: node { bodyHTML } } } } } }
        issues(first: 20) { totalCount edges { issue: node { title bodyHTML
            comments(first: 10) { edges { comment: node { bodyHTML } } } } } } } } }
    followers(first: 10) { edges { follower: node { login } } } } }"""


def documented(published: GraphQLSchema, text: str) -> Cost:
    operation = parse(text).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return Survey(published, {}, {}).cost(operation)


def cost(fields: str, **variables: Any) -> Cost:
    return read_query(fields, variables, None).cost


def test_the_documented_example_costs_51_points(published: GraphQLSchema) -> None:
    points = documented(published, DOCUMENTED_POINTS)
    assert (points.requests, points.points) == (5101, 51)


def test_the_documented_simple_query_has_550_nodes(published: GraphQLSchema) -> None:
    assert documented(published, DOCUMENTED_SIMPLE_NODES).node_count == 550


def test_the_documented_complex_query_has_22060_nodes(published: GraphQLSchema) -> None:
    assert documented(published, DOCUMENTED_COMPLEX_NODES).node_count == 22_060


@pytest.mark.parametrize(
    ("lists", "requests", "points"),
    [
        ("id", 0, 1),
        ("pullRequests(first: 100) { totalCount }", 1, 1),
        ("pullRequests(first: 100) { nodes { reviews(first: 100) { totalCount } } }", 101, 1),
        (
            "pullRequests(first: 50) { nodes { a: reviews(first: 9) { totalCount } b: files(first: 9) { totalCount } "
            "labels(first: 9) { totalCount } } }",
            151,
            2,
        ),
        (
            "pullRequests(last: 100) { nodes { reviews(first: 1) { totalCount } } } issues(first: 100) { totalCount }",
            102,
            1,
        ),
    ],
)
def test_a_connection_is_one_request_for_each_parent(lists: str, requests: int, points: int) -> None:
    query_cost = cost(f'{{ repository(owner: "o", name: "r") {{ {lists} }} }}')
    assert (query_cost.requests, query_cost.points) == (requests, points)


def test_aliased_repositories_add_up_and_are_told() -> None:
    query_cost = cost(
        """query($name: String!, $size: Int!) {
            a: repository(owner: "o", name: $name) { ...lists }
            b: repository(owner: "o", name: "b") { ...lists }
        }
        fragment lists on Repository { pullRequests(first: $size) { nodes { reviews(first: 100) { totalCount } } } }""",
        name="a",
        size=80,
    )
    assert (query_cost.requests, query_cost.node_count, query_cost.largest_page) == (162, 2 * (80 + 8000), 100)
    assert query_cost.repositories == ["o/a", "o/b"]


def test_what_include_and_skip_leave_out_costs_nothing() -> None:
    query = """query($wanted: Boolean!) { repository(owner: "o", name: "r") {
        pullRequests(first: 100) { nodes { reviews(first: 5) @include(if: $wanted) { totalCount } } }
        issues(first: 100) @skip(if: $wanted) { totalCount } } }"""
    assert cost(query, wanted=False).requests == 2
    assert cost(query, wanted=True).requests == 101


def test_the_same_connection_named_twice_counts_once() -> None:
    query = """{ repository(owner: "o", name: "r") { issues(first: 100) { totalCount }
        issues(first: 100) { nodes { number } } } }"""
    assert (cost(query).requests, cost(query).node_count) == (1, 100)


def test_more_than_500_000_nodes_are_refused() -> None:
    query = """{ repository(owner: "o", name: "r") { pullRequests(first: 100) { nodes {
        reviews(first: 100) { nodes { pullRequest { labels(first: 50) { totalCount } } } } } } } }"""
    with pytest.raises(RefusedError) as refused:
        read_query(query, {}, None)
    assert refused.value.errors == [
        {
            "type": "MAX_NODE_LIMIT_EXCEEDED",
            "message": "This query requests up to 510,100 possible nodes which exceeds the maximum limit of 500,000.",
        }
    ]
