"""The simulator's schema is part of the one GitHub publishes, down to every argument's type."""

from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    is_required_argument,
    is_required_input_field,
    print_schema,
)

from ledger_pipeline.sources.simulator.query import SCHEMA


def test_every_line_of_ours_agrees_with_what_github_publishes(published: GraphQLSchema) -> None:
    assert list(disagreements(SCHEMA, published)) == []


@pytest.mark.parametrize(
    ("ours", "wrong", "reported"),
    [
        ("submittedAt: DateTime\n", "submittedAt: DateTime!\n", "PullRequestReview.submittedAt"),
        ("  fullDatabaseId: BigInt\n", "  fullDatabaseID: BigInt\n", "PullRequest.fullDatabaseID"),
        ("first: Int, ", "first: Int!, ", "Repository.pullRequests(first)"),
        ("dryRun: Boolean = false", "dryRun: Boolean = true", "Query.rateLimit(dryRun)"),
        ("owner: String!", "owner: String", "Query.repository(owner)"),
        ("(number: Int!)", "", "Repository.pullRequest(number)"),
        ("  DISMISSED\n", "  DISMISSED\n  IGNORED\n", "PullRequestReviewState.IGNORED"),
        ("direction: OrderDirection!", "direction: OrderDirection", "IssueOrder.direction"),
        ("type Bot implements Actor & Node", "type Bot implements Actor & Node & RepositoryOwner", "Bot"),
        ("= Issue | PullRequest", "= Issue | PullRequest | PullRequestReview", "SearchResultItem"),
        ("scalar GitObjectID", "enum GitObjectID { X }", "GitObjectID"),
        ("type Label {", "type Label implements RepositoryOwner & Actor {", "Label"),
    ],
)
def test_a_schema_that_differs_is_reported(published: GraphQLSchema, ours: str, wrong: str, reported: str) -> None:
    text = print_schema(SCHEMA)
    assert ours in text
    changed = build_schema(text.replace(ours, wrong), assume_valid=True)
    assert any(disagreement.startswith(f"{reported}:") for disagreement in disagreements(changed, published))


def disagreements(ours: GraphQLSchema, theirs: GraphQLSchema) -> Iterator[str]:
    """Whatever our schema has that theirs has not, or has otherwise."""
    for name, mine in ours.type_map.items():
        if name.startswith("__"):
            continue
        yours = theirs.type_map.get(name)
        if yours is None or type(mine) is not type(yours):
            yield f"{name}: {yours!r} is published, not {mine!r}"
        else:
            yield from _type(mine, yours, ours, theirs)


def _type(mine: GraphQLNamedType, yours: GraphQLNamedType, ours: GraphQLSchema, theirs: GraphQLSchema) -> Iterator[str]:
    if isinstance(mine, GraphQLObjectType | GraphQLInterfaceType):
        assert isinstance(yours, GraphQLObjectType | GraphQLInterfaceType)
        yield from _subset(
            mine.name, [interface.name for interface in mine.interfaces], [i.name for i in yours.interfaces]
        )
        for name, field in mine.fields.items():
            where = f"{mine.name}.{name}"
            if name not in yours.fields or str(field.type) != str(yours.fields[name].type):
                yield f"{where}: is not published like this"
            else:
                yield from _arguments(where, field.args, yours.fields[name].args)
    if isinstance(mine, GraphQLInterfaceType | GraphQLUnionType):
        possible = [possible_type.name for possible_type in ours.get_possible_types(mine)]
        yield from _subset(
            mine.name, possible, [possible_type.name for possible_type in theirs.get_possible_types(yours)]
        )  # type: ignore[arg-type]
    if isinstance(mine, GraphQLEnumType):
        for value in mine.values:
            if value not in yours.values:  # type: ignore[attr-defined]
                yield f"{mine.name}.{value}: is not published"
    if isinstance(mine, GraphQLInputObjectType):
        assert isinstance(yours, GraphQLInputObjectType)
        for name, field in mine.fields.items():
            if name not in yours.fields or str(field.type) != str(yours.fields[name].type):
                yield f"{mine.name}.{name}: is not published like this"
        for name, field in yours.fields.items():
            if name not in mine.fields and is_required_input_field(field):
                yield f"{mine.name}.{name}: is required and left out"


def _arguments(where: str, mine: dict[str, GraphQLArgument], yours: dict[str, GraphQLArgument]) -> Iterator[str]:
    for name, argument in mine.items():
        published = yours.get(name)
        if published is None or (str(argument.type), argument.default_value) != (
            str(published.type),
            published.default_value,
        ):
            yield f"{where}({name}): is not published like this"
    for name, argument in yours.items():
        if name not in mine and is_required_argument(argument):
            yield f"{where}({name}): is required and left out"


def _subset(where: str, mine: list[str], yours: list[str]) -> Iterator[str]:
    if not set(mine) <= set(yours):
        yield f"{where}: {sorted(set(mine) - set(yours))} is not published"
