"""Which of the fields we ask for a server has: an old GitHub Enterprise lacks some, and refuses the whole query then.

GraphQL tells its own schema; that takes one request, and no repository.
"""

from collections.abc import Mapping

from ledger_pipeline.sources.github.client import GitHubClient

_ITEM = frozenset({"fullDatabaseId", "number", "title", "url", "createdAt", "updatedAt", "author"})
_CONNECTION = frozenset({"totalCount", "pageInfo", "nodes"})

# By type, all that the queries of a collection ask for.
ASKED_FOR: Mapping[str, frozenset[str]] = {
    "Repository": frozenset({"databaseId", "nameWithOwner", "pullRequests", "pullRequest", "issues", "issue"}),
    "PullRequest": _ITEM | {"mergedAt", "baseRefName", "reviews"},
    "PullRequestReview": frozenset({"fullDatabaseId", "state", "submittedAt", "url", "author"}),
    "Issue": _ITEM | {"closedAt", "stateReason"},
    "User": frozenset({"databaseId"}),
    "PullRequestConnection": _CONNECTION,
    "IssueConnection": _CONNECTION,
}

_TELL = "{ fields(includeDeprecated: true) { name } }"  # deprecated fields are served as well

FIELDS = "query Fields {\n" + "\n".join(f'  {name}: __type(name: "{name}") {_TELL}' for name in ASKED_FOR) + "\n}"


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
