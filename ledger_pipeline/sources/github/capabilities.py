"""Which of the fields we ask for a server has: an old GitHub Enterprise lacks some, and refuses the whole query then.

GraphQL tells its own schema; that takes one request, and no repository. What only tells facts is left out where a
server lacks it, and where the credentials may not read it: those facts are unknown then.
"""

import re
from collections.abc import Mapping
from threading import Lock

from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.fact_fields import FACT_FIELDS, FactField, lacking_from, without

_ITEM = frozenset({"fullDatabaseId", "number", "title", "url", "createdAt", "updatedAt", "author"})
_CONNECTION = frozenset({"totalCount", "pageInfo", "nodes"})

# By type, what the queries of a collection ask for and cannot do without, but for full ids.
_EVENTS: Mapping[str, frozenset[str]] = {
    "Repository": frozenset({"databaseId", "nameWithOwner", "pullRequests", "pullRequest", "issues", "issue"}),
    "PullRequest": _ITEM | {"merged", "mergedAt", "baseRefName", "reviews"},
    "PullRequestReview": frozenset({"fullDatabaseId", "state", "submittedAt", "url", "author"}),
    "Issue": _ITEM | {"closed", "closedAt"},
    "User": frozenset({"databaseId"}),
    "PullRequestConnection": _CONNECTION,
    "IssueConnection": _CONNECTION,
}

_OF_EVENTS = frozenset(f"{type_}.{field}" for type_, fields in _EVENTS.items() for field in fields)
_OF_FACTS = frozenset(name for field in FACT_FIELDS for name in field.needs) - _OF_EVENTS


def _asked_for() -> Mapping[str, frozenset[str]]:
    by_type: dict[str, set[str]] = {}
    for name in sorted(_OF_EVENTS | _OF_FACTS):
        type_, _, field = name.partition(".")
        by_type.setdefault(type_, set()).add(field)
    return {type_: frozenset(fields) for type_, fields in by_type.items()}


# By type, all that the queries of a collection ask for.
ASKED_FOR = _asked_for()

_TELL = "{ fields(includeDeprecated: true) { name } }"  # deprecated fields are served as well

FIELDS = "query Fields {\n" + "\n".join(f'  {name}: __type(name: "{name}") {_TELL}' for name in ASKED_FOR) + "\n}"


# What can be asked for in the place of a field that is lacking.
FULL_ID = "fullDatabaseId"
_UNKNOWN_FIELD = re.compile(r"[Ff]ield '(\w+)'.* on type '(\w+)'")
_IN_FRAGMENT = re.compile(rf"(fragment \w+ on (\w+) {{\s+){FULL_ID}\b")


class ServerSchema:
    """What a server's schema lacks, asked for once, when it first refuses a query for it. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lacking: frozenset[str] | None = None
        self._left_out: frozenset[FactField] = frozenset()
        self._forbidden: dict[str, frozenset[FactField]] = {}

    def learn(self, client: GitHubClient, source_scope: str) -> bool:
        """Ask the server, where nobody has; whether it lacks a field that `adapted` does without."""
        with self._lock:
            if self._lacking is None:
                self._lacking = frozenset(lacking_fields(client, source_scope))
                self._left_out = lacking_from(self._lacking)
            return any(map(_can_do_without, self._lacking))

    def forbid(self, source_scope: str, fields: frozenset[FactField]) -> None:
        """Remember what the credentials may not read of the source_scope."""
        with self._lock:
            self._forbidden[source_scope] = self._forbidden.get(source_scope, frozenset()) | fields

    def adapted(self, query: str, source_scope: str, left_out: frozenset[FactField] = frozenset()) -> str:
        """The query as the server can answer it, as far as is known, and without what is `left_out`.

        It asks for ids in the place of full ids that the server does not have.
        """
        lacking = self._lacking or frozenset()
        query = without(query, self._left_out | self._forbidden.get(source_scope, frozenset()) | left_out)
        return _IN_FRAGMENT.sub(
            lambda fragment: f"{fragment[1]}id databaseId" if f"{fragment[2]}.{FULL_ID}" in lacking else fragment[0],
            query,
        )


def is_of_what_may_lack(error: GraphQLError) -> bool:
    """Whether the error says that the server does not know a field that a query can do without."""
    unknown = _UNKNOWN_FIELD.search(error.message)
    return unknown is not None and _can_do_without(f"{unknown[2]}.{unknown[1]}")


def needed(lacking: list[str]) -> list[str]:
    """Those of `lacking` that a collection cannot do without."""
    return [name for name in lacking if not _can_do_without(name)]


def facts_unknown(lacking: list[str]) -> list[str]:
    """Those of `lacking` that only tell facts."""
    return [name for name in lacking if name in _OF_FACTS]


def _can_do_without(name: str) -> bool:
    return name in _OF_FACTS or name.endswith(f".{FULL_ID}")


def lacking_fields(client: GitHubClient, source_scope: str) -> list[str]:
    """What we ask for and this server does not have, as `PullRequestReview.fullDatabaseId`, sorted.

    Asked with the credentials for `source_scope`. A type whose fields the server does not tell lacks nothing, as far
    as we know. Raises as `GitHubClient.query` does.
    """
    data = client.query(source_scope, FIELDS, {}).data
    return sorted(
        f"{name}.{field}"
        for name, asked_for in ASKED_FOR.items()
        if (served := _names(data.get(name)))
        for field in asked_for - served
    )


def _names(type_: object) -> frozenset[str]:
    fields = type_.get("fields") if isinstance(type_, dict) else None
    names = (field.get("name") for field in fields or [] if isinstance(field, dict)) if isinstance(fields, list) else ()
    return frozenset(name for name in names if isinstance(name, str))
