"""Which of the fields we ask for a server has: an old GitHub Enterprise lacks some, and refuses the whole query then.

GraphQL tells its own schema; that takes one request, and no repository.
"""

import re
from collections.abc import Mapping
from threading import Lock

from ledger_pipeline.sources.github.client import GitHubClient

_ITEM = frozenset({"fullDatabaseId", "number", "title", "url", "createdAt", "updatedAt", "author"})
_CONNECTION = frozenset({"totalCount", "pageInfo", "nodes"})

# By type, all that the queries of a collection ask for.
ASKED_FOR: Mapping[str, frozenset[str]] = {
    "Repository": frozenset({"databaseId", "nameWithOwner", "pullRequests", "pullRequest", "issues", "issue"}),
    "PullRequest": _ITEM | {"merged", "mergedAt", "baseRefName", "reviews"},
    "PullRequestReview": frozenset({"fullDatabaseId", "state", "submittedAt", "url", "author"}),
    "Issue": _ITEM | {"closed", "closedAt", "stateReason"},
    "User": frozenset({"databaseId"}),
    "PullRequestConnection": _CONNECTION,
    "IssueConnection": _CONNECTION,
}

_TELL = "{ fields(includeDeprecated: true) { name } }"  # deprecated fields are served as well

FIELDS = "query Fields {\n" + "\n".join(f'  {name}: __type(name: "{name}") {_TELL}' for name in ASKED_FOR) + "\n}"


# What can be asked for in the place of a field that is lacking.
FULL_ID = "fullDatabaseId"
_IN_FRAGMENT = re.compile(rf"(fragment \w+ on (\w+) {{\s+){FULL_ID}\b")


class ServerSchema:
    """What a server's schema lacks, asked for once, when it first refuses a query for it. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._lacking: frozenset[str] | None = None

    def learn(self, client: GitHubClient, source_scope: str) -> bool:
        """Ask the server, where nobody has; whether it lacks a field that `adapted` does without."""
        with self._lock:
            if self._lacking is None:
                self._lacking = frozenset(lacking_fields(client, source_scope))
            return any(name.endswith(f".{FULL_ID}") for name in self._lacking)

    def adapted(self, query: str) -> str:
        """The query as the server can answer it, as far as is known: ids in the place of full ids it does not have."""
        lacking = self._lacking
        if not lacking:
            return query
        return _IN_FRAGMENT.sub(
            lambda fragment: f"{fragment[1]}id databaseId" if f"{fragment[2]}.{FULL_ID}" in lacking else fragment[0],
            query,
        )


def needed(lacking: list[str]) -> list[str]:
    """Those of `lacking` that a collection cannot do without."""
    return [name for name in lacking if not name.endswith(f".{FULL_ID}")]


def lacking_fields(client: GitHubClient, source_scope: str) -> list[str]:
    """What we ask for and this server does not have, as `PullRequestReview.fullDatabaseId`, sorted.

    Asked with the credentials for `source_scope`. A type whose fields the server does not tell lacks nothing, as far
    as we know. Raises as `GitHubClient.query` does.
    """
    data = client.query(source_scope, FIELDS, {}).data
    return sorted(
        f"{name}.{field}"
        for name, asked_for in ASKED_FOR.items()
        if (known := _names(data.get(name)))
        for field in asked_for - known
    )


def _names(type_: object) -> frozenset[str]:
    fields = type_.get("fields") if isinstance(type_, dict) else None
    names = (field.get("name") for field in fields or [] if isinstance(field, dict)) if isinstance(fields, list) else ()
    return frozenset(name for name in names if isinstance(name, str))
