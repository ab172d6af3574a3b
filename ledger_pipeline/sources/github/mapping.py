"""GitHub's payloads -> activity events, or why an item counts for nobody. No network here.

What is activity: a pull request that is merged, a review that is submitted (of a merged pull request or not), an
issue that is closed. Only authors of type User count; the others are skipped by reason, never fatal.
"""

from typing import Any

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import (
    ISSUES,
    PULL_REQUESTS,
    REVIEWS,
    ActivityEvent,
    Actor,
    issue_closed,
    parse_instant,
    pull_request_merged,
    review_submitted,
)
from ledger_pipeline.sources.port import SkippedItem

DELETED_ACCOUNT = "deleted_account"

# GitHub's actor types, as the reasons an item is skipped for.
_SKIP_REASONS = {
    "Bot": "bot",
    "Mannequin": "mannequin",
    "Organization": "organization",
    "EnterpriseUserAccount": "enterprise_user_account",
}


def pull_request_item(repo: str, node: dict[str, Any]) -> ActivityEvent | SkippedItem | None:
    """The merge of a pull request; None while it is not merged. Raises EventError naming a malformed item."""
    try:
        merged_at = node["mergedAt"]
        if merged_at is None:
            return None
        author = _author(node)
        if isinstance(author, str):
            return SkippedItem(PULL_REQUESTS, author, parse_instant(merged_at))
        return pull_request_merged(
            repo=repo,
            number=node["number"],
            author=author,
            merged_at=merged_at,
            object_id=_object_id(node),
            url=node["url"],
            details={"title": node["title"], "createdAt": node["createdAt"], "baseRefName": node["baseRefName"]},
        )
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("pull request", f"{repo}#{_number(node)}", error) from error


def review_item(repo: str, number: int, node: dict[str, Any]) -> ActivityEvent | SkippedItem | None:
    """A submitted review of pull request `number`; None while it is pending. Raises EventError when malformed."""
    try:
        submitted_at = node["submittedAt"]
        if submitted_at is None:
            return None
        author = _author(node)
        if isinstance(author, str):
            return SkippedItem(REVIEWS, author, parse_instant(submitted_at))
        return review_submitted(
            repo=repo,
            number=number,
            author=author,
            state=node["state"],
            submitted_at=submitted_at,
            object_id=_object_id(node),
            url=node["url"],
            details={},
        )
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("review", f"of {repo}#{number}", error) from error


def issue_item(repo: str, node: dict[str, Any]) -> ActivityEvent | SkippedItem | None:
    """The closing of an issue, for its author; None while it is open. Raises EventError naming a malformed item."""
    try:
        closed_at = node["closedAt"]
        if closed_at is None:
            return None
        author = _author(node)
        if isinstance(author, str):
            return SkippedItem(ISSUES, author, parse_instant(closed_at))
        return issue_closed(
            repo=repo,
            number=node["number"],
            author=author,
            closed_at=closed_at,
            object_id=_object_id(node),
            url=node["url"],
            details={
                "title": node["title"],
                "createdAt": node["createdAt"],
                "stateReason": node["stateReason"],
            },
        )
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("issue", f"{repo}#{_number(node)}", error) from error


def _author(node: dict[str, Any]) -> Actor | str:
    """The user an item counts for, or the reason it counts for nobody."""
    author = node["author"]
    if author is None:
        return DELETED_ACCOUNT
    kind: str = author["__typename"]
    if kind != "User":
        return _SKIP_REASONS.get(kind, kind.lower())
    if author["databaseId"] is None:
        raise EventError(f"user {author['login']} has no databaseId")
    return Actor(user_id=author["databaseId"], login=author["login"])


def _object_id(node: dict[str, Any]) -> str:
    object_id = node["fullDatabaseId"]
    if object_id is None:
        raise EventError("fullDatabaseId is null")
    return str(object_id)


def _number(node: object) -> object:
    return node.get("number", "?") if isinstance(node, dict) else "?"


def _malformed(kind: str, name: str, error: Exception) -> EventError:
    problem = f"no field {error}" if isinstance(error, KeyError) else str(error)
    return EventError(f"GitHub's {kind} {name} is malformed: {problem}")
