"""Every query we send is one that GitHub's published schema answers, and far from what GitHub refuses."""

import pytest
from graphql import GraphQLSchema, parse, validate

from ledger_pipeline.sources.github import queries
from ledger_pipeline.sources.github.counts import WINDOWS_PER_QUERY
from ledger_pipeline.sources.github.fact_fields import FACT_FIELDS, PATHS, FactField, without
from ledger_pipeline.sources.github.facts_reader import MOST_AT_ONCE
from ledger_pipeline.sources.simulator.cost import NODE_LIMIT
from ledger_pipeline.sources.simulator.query import read_query

QUERIES = {name: text for name, text in vars(queries).items() if name.isupper() and not name.startswith("_")}
BUILT = {f"heads of {count}": queries.heads_query(count) for count in (1, 2, 100)} | {
    f"counts of {count}": queries.counts_query(count) for count in (1, 2, WINDOWS_PER_QUERY)
}
BUILT |= {f"items, {counts}": queries.items_query(*counts) for counts in ((1, 0), (0, 1), (2, 3), (MOST_AT_ONCE, 0))}


def test_every_query_of_the_module_is_tested() -> None:
    assert set(QUERIES) == {"ACTIVITY", "PLACE", "NAME", "OWNER", "PULL_REQUEST", "ISSUE"}
    assert [name for name in vars(queries) if name.endswith("_query")] == ["items_query", "heads_query", "counts_query"]


@pytest.mark.parametrize("name", [*QUERIES, *BUILT])
def test_a_query_validates_against_githubs_published_schema(name: str, published: GraphQLSchema) -> None:
    assert validate(published, parse((QUERIES | BUILT)[name])) == []


def test_a_query_with_a_field_github_lacks_is_reported(published: GraphQLSchema) -> None:
    wrong = queries.ACTIVITY.replace("fullDatabaseId", "fullDatabaseIdentifier", 1)
    assert validate(published, parse(wrong))


def test_a_whole_page_costs_six_points_with_all_that_tells_facts() -> None:
    variables = {
        "owner": "x",
        "name": "x",
        "whole": True,
        "withPullRequests": True,
        "withReviews": True,
        "withIssues": True,
        **{f"{of}First": 100 for of in ("pullRequests", "reviews", "issues")},
    }
    with_paths = read_query(queries.ACTIVITY, variables, None).cost
    assert (with_paths.requests, with_paths.points) == (703, 7)
    cost = read_query(without(queries.ACTIVITY, [PATHS]), variables, None).cost
    assert (cost.requests, cost.points) == (603, 6)
    assert cost.node_count < NODE_LIMIT / 5
    light = read_query(queries.ACTIVITY, {**variables, "whole": False, "withReviews": False}, None).cost
    assert (light.requests, light.points) == (3, 1)


@pytest.mark.parametrize("left_out", [*FACT_FIELDS, None], ids=lambda field: getattr(field, "line", "all")[:40])
@pytest.mark.parametrize("name", ["ACTIVITY", "PULL_REQUEST", "ISSUE"])
def test_a_query_is_good_without_what_tells_a_fact(
    name: str, left_out: FactField | None, published: GraphQLSchema
) -> None:
    fields, query = FACT_FIELDS if left_out is None else (left_out,), QUERIES[name]
    lighter = without(query, fields)
    assert validate(published, parse(lighter)) == []
    assert (lighter != query) is any(f" on {field.type} {{\n" in query for field in fields)


def test_heads_of_a_hundred_repositories_are_cheap_to_ask_for() -> None:
    variables = {f"{letter}{n}": "x" for letter in "on" for n in range(100)}
    cost = read_query(queries.heads_query(100), variables, None).cost
    assert (cost.points, cost.node_count) == (2, 400)
    assert len(queries.heads_query(100)) < 10_000


def test_facts_of_many_items_are_cheap_to_ask_for() -> None:
    variables = {"owner": "x", "name": "x", "reviewsFirst": 100, **{f"p{n}": n for n in range(MOST_AT_ONCE)}}
    cost = read_query(without(queries.items_query(MOST_AT_ONCE, 0), [PATHS]), variables, None).cost
    assert (cost.points, cost.requests) == (2, 4 * MOST_AT_ONCE)
    assert cost.node_count < NODE_LIMIT / 5


def test_counts_of_many_windows_are_cheap_to_ask_for() -> None:
    query = queries.counts_query(WINDOWS_PER_QUERY)
    variables = dict.fromkeys(("owner", "name", *(f"{x}{n}" for x in "mc" for n in range(25))), "repo:a/b")
    cost = read_query(query, variables, None).cost
    assert (cost.points, cost.node_count) == (1, 0)
    assert len(query) < 10_000
