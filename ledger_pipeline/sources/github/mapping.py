"""GitHub's payloads -> activity events, or why an item counts for nobody. No network here.

What is activity: a pull request that is merged, a review that is submitted (of a merged pull request or not), an
issue that is closed. Only authors of type User count; the others are skipped by reason, never fatal. `repo` is the
repository as GitHub spells it, of which ids are made; `source_scope` is it as configured, to which a skip is reported.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import (
    ActivityEvent,
    Actor,
    SkippedActivity,
    issue_closed,
    pull_request_merged,
    review_submitted,
)
from ledger_pipeline.core.storable_text import is_storable, storable_text

_T = TypeVar("_T")

DELETED_ACCOUNT = "deleted_account"

# GitHub's actor types, as the reasons an item is skipped for.
_SKIP_REASONS = {
    "Bot": "bot",
    "Mannequin": "mannequin",
    "Organization": "organization",
    "EnterpriseUserAccount": "enterprise_user_account",
}


def pull_request_item(source_scope: str, repo: str, node: dict[str, Any]) -> ActivityEvent | SkippedActivity | None:
    """The merge of a pull request; None while it is not merged. Raises EventError naming a malformed item."""
    try:
        if node["mergedAt"] is None:
            return None
        author = _author(node)
        event = pull_request_merged(
            repo=repo,
            number=node["number"],
            author=author.actor,
            merged_at=node["mergedAt"],
            object_id=_object_id(node),
            url=_shown(node["url"]),
            details={
                "title": _shown(node["title"]),
                "createdAt": _shown(node["createdAt"]),
                "baseRefName": _shown(node["baseRefName"]),
            },
        )
        return author.counted(event, source_scope)
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("pull request", f"{repo}#{_number(node)}", error) from error


def review_item(
    source_scope: str, repo: str, number: int, node: dict[str, Any]
) -> ActivityEvent | SkippedActivity | None:
    """A submitted review of pull request `number`; None while it is pending. Raises EventError when malformed."""
    try:
        if node["submittedAt"] is None:
            return None
        author = _author(node)
        event = review_submitted(
            repo=repo,
            number=number,
            author=author.actor,
            state=_hashed(node["state"]),
            submitted_at=node["submittedAt"],
            object_id=_object_id(node),
            url=_shown(node["url"]),
            details={},
        )
        return author.counted(event, source_scope)
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("review", f"of {repo}#{number}", error) from error


def issue_item(source_scope: str, repo: str, node: dict[str, Any]) -> ActivityEvent | SkippedActivity | None:
    """The closing of an issue, for its author; None while it is open. Raises EventError naming a malformed item."""
    try:
        if node["closedAt"] is None:
            return None
        author = _author(node)
        event = issue_closed(
            repo=repo,
            number=node["number"],
            author=author.actor,
            closed_at=node["closedAt"],
            object_id=_object_id(node),
            url=_shown(node["url"]),
            details={
                "title": _shown(node["title"]),
                "createdAt": _shown(node["createdAt"]),
                "stateReason": _shown(node["stateReason"]),
            },
        )
        return author.counted(event, source_scope)
    except (KeyError, TypeError, EventError) as error:
        raise _malformed("issue", f"{repo}#{_number(node)}", error) from error


@dataclass(frozen=True)
class _Author:
    """Who made an item; `skipped_as` is the reason it counts for nobody, None for a user."""

    actor: Actor
    skipped_as: str | None

    def counted(self, event: ActivityEvent, source_scope: str) -> ActivityEvent | SkippedActivity:
        """The event, or that it is skipped: only what no author changes is taken over, its id above all."""
        if self.skipped_as is None:
            return event
        return SkippedActivity(
            event_id=event.id,
            source=event.source,
            stream=event.stream,
            source_scope=source_scope,
            event_type=event.event_type,
            reason=self.skipped_as,
            event_time=event.event_time,
        )


_NOBODY = Actor(user_id=0, login="")


def _author(node: dict[str, Any]) -> _Author:
    author = node["author"]
    if author is None:
        return _Author(_NOBODY, DELETED_ACCOUNT)
    kind: str = author["__typename"]
    if kind != "User":
        return _Author(_NOBODY, _SKIP_REASONS.get(kind, kind.lower()))
    if author["databaseId"] is None:
        raise EventError(f"user {author['login']} has no databaseId")
    return _Author(Actor(user_id=author["databaseId"], login=_shown(author["login"])), None)


def _shown(value: _T) -> _T:
    """What people are shown of an item, and no hash covers."""
    return storable_text(value) if isinstance(value, str) else value  # type: ignore[return-value]


def _hashed(value: str) -> str:
    if not is_storable(value):
        raise EventError(f"{value!r} is text that no ledger can hold, and the event's hash covers it")
    return value


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
