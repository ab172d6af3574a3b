"""What a query asks for so as to know an event's facts, each on a line of its own that a query can do without.

A server may lack a field, and credentials may not read one: the line is left out then, and the fact is unknown. What is
asked for is cheap by GitHub's rule, which counts a point for each hundred connections: a connection of a hundred pull
requests costs one. One of their reviews would cost a hundred, so nobody asks for the number of a review's comments.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.failed_tries import is_limit

_FRAGMENT = "\nfragment "
_KEY_AND_FIELD = re.compile(r"(\w+)(?:: (\w+))?")


@dataclass(frozen=True)
class FactField:
    """A `line` in the fragment on `type`. It needs all of `needs`, named as `Issue.labels`."""

    type: str
    line: str
    below: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The field's name in an answer; empty for a line that only names a type."""
        match = _KEY_AND_FIELD.match(self.line)
        return "" if match is None else match[1]

    @property
    def needs(self) -> frozenset[str]:
        """What a server has to have."""
        match = _KEY_AND_FIELD.match(self.line)
        own = () if match is None else (f"{self.type}.{match[2] or match[1]}",)
        return frozenset((*own, *self.below))


_LABELS = "labels(first: 100) { nodes { name } }"
_OF = "repository { nameWithOwner }"
# An item's number has another name here, so that nobody takes it for an item that is to be read.
_ISSUE = f"issue: number {_OF}"
_CLOSER = f"__typename ... on PullRequest {{ pullRequest: number {_OF} }} ... on Commit {{ oid }}"

# GitHub makes them of a diff: they are left out but where somebody routes events by them.
PATHS = FactField(
    "PullRequest",
    "files(first: 100) { pageInfo { hasNextPage } nodes { path } }",
    ("PullRequestChangedFile.path",),
)
FACT_FIELDS = (
    FactField("Actor", "... on Bot { databaseId }", ("Bot.databaseId",)),
    FactField("Actor", "... on Mannequin { databaseId }", ("Mannequin.databaseId",)),
    FactField("Actor", "... on Organization { databaseId }", ("Organization.databaseId",)),
    FactField("Repository", "defaultBranchRef { name }", ("Ref.name",)),
    FactField("PullRequest", "headRefName"),
    FactField("PullRequest", "isDraft"),
    FactField("PullRequest", "mergedBy { ...actor }"),
    FactField(
        "PullRequest",
        "mergeCommit { oid message author { email user { databaseId } } }",
        ("Commit.oid", "Commit.message", "Commit.author", "GitActor.email", "GitActor.user"),
    ),
    FactField("PullRequest", _LABELS, ("Label.name",)),
    FactField(
        "PullRequest", "commits(first: 100) { nodes { commit { oid } } }", ("PullRequestCommit.commit", "Commit.oid")
    ),
    FactField(
        "PullRequest", f"closes: closingIssuesReferences(first: 100) {{ nodes {{ {_ISSUE} }} }}", ("Issue.repository",)
    ),
    PATHS,
    FactField("PullRequestReview", "body"),
    FactField("Issue", "stateReason"),
    FactField("Issue", _LABELS, ("Label.name",)),
    FactField(
        "Issue",
        "timelineItems(last: 1, itemTypes: [CLOSED_EVENT]) { nodes { ... on ClosedEvent { actor { ...actor } "
        f"closer {{ {_CLOSER} }} }} }} }}",
        ("ClosedEvent.actor", "ClosedEvent.closer", "PullRequest.repository", "Commit.oid"),
    ),
)


def lines_of(type_: str) -> str:
    """The lines of the fragment on a type."""
    return "\n".join(f"  {field.line}" for field in FACT_FIELDS if field.type == type_)


def without(query: str, left_out: Collection[FactField]) -> str:
    """The query without these fields."""
    if not left_out:
        return query
    operation, *fragments = query.split(_FRAGMENT)
    return _FRAGMENT.join((operation, *(_without(fragment, left_out) for fragment in fragments)))


def lacking_from(lacking: Collection[str]) -> frozenset[FactField]:
    """The fields that a server cannot answer that lacks these, named as `Issue.labels`."""
    return frozenset(field for field in FACT_FIELDS if not field.needs.isdisjoint(lacking))


def is_of_a_fact(error: GraphQLError) -> bool:
    """Whether the error is in something that was asked for as a fact, so that no event depends on it."""
    return _key_of(error) is not None


def failed_facts(errors: Iterable[GraphQLError]) -> frozenset[FactField]:
    """The fields that any of the errors is in."""
    keys = {key for error in errors if (key := _key_of(error)) is not None}
    return frozenset(field for field in FACT_FIELDS if field.key in keys)


_KEYS = frozenset(field.key for field in FACT_FIELDS if field.key)


def _key_of(error: GraphQLError) -> str | None:
    if is_limit(error) or error.path[:1] != ("repository",):
        return None
    return next((step for step in error.path if isinstance(step, str) and step in _KEYS), None)


def _without(fragment: str, left_out: Collection[FactField]) -> str:
    type_ = fragment.split(maxsplit=3)[2]
    lines = {field.line for field in left_out if field.type == type_}
    return "\n".join(line for line in fragment.split("\n") if line.strip() not in lines)
