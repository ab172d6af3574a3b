"""GitHub's payloads -> activity events, or why an item counts for nobody. No network here.

What is activity: a pull request that is merged, a review that is submitted (of a merged pull request or not), an
issue that is closed. Only authors of type User count; the others are skipped by reason, never fatal. `repo` is the
repository as GitHub spells it, of which ids are made; `source_scope` is it as configured, to which a skip is reported.
"""

from ledger_pipeline.core.events import (
    ActivityEvent,
    Actor,
    SkippedActivity,
    issue_closed,
    pull_request_merged,
    review_submitted,
)
from ledger_pipeline.sources.github.payloads import Author, ClosedIssue, MergedPullRequest, SubmittedReview, User

Item = ActivityEvent | SkippedActivity

DELETED_ACCOUNT = "deleted_account"

# GitHub's actor types, as the reasons an item is skipped for.
_SKIP_REASONS = {
    "Bot": "bot",
    "Mannequin": "mannequin",
    "Organization": "organization",
    "EnterpriseUserAccount": "enterprise_user_account",
}

_NOBODY = Actor(user_id=0, login="")


def pull_request_item(source_scope: str, repo: str, merged: MergedPullRequest) -> Item:
    """The merge of a pull request."""
    event = pull_request_merged(
        repo=repo,
        number=merged.number,
        author=_actor(merged.author),
        merged_at=merged.merged_at,
        object_id=merged.full_database_id,
        url=merged.url,
        details={"title": merged.title, "createdAt": merged.created_at, "baseRefName": merged.base_ref_name},
    )
    return _counted(event, merged.author, source_scope)


def review_item(source_scope: str, repo: str, number: int, review: SubmittedReview) -> Item:
    """A submitted review of pull request `number`."""
    event = review_submitted(
        repo=repo,
        number=number,
        author=_actor(review.author),
        state=review.state,
        submitted_at=review.submitted_at,
        object_id=review.full_database_id,
        url=review.url,
        details={},
    )
    return _counted(event, review.author, source_scope)


def issue_item(source_scope: str, repo: str, closed: ClosedIssue) -> Item:
    """The closing of an issue, for its author."""
    event = issue_closed(
        repo=repo,
        number=closed.number,
        author=_actor(closed.author),
        closed_at=closed.closed_at,
        object_id=closed.full_database_id,
        url=closed.url,
        details={"title": closed.title, "createdAt": closed.created_at, "stateReason": closed.state_reason},
    )
    return _counted(event, closed.author, source_scope)


def _actor(author: Author | None) -> Actor:
    return Actor(author.database_id, author.login) if isinstance(author, User) else _NOBODY


def _counted(event: ActivityEvent, author: Author | None, source_scope: str) -> Item:
    """The event, or that it is skipped: only what no author changes is taken over, its id above all."""
    if isinstance(author, User):
        return event
    reason = DELETED_ACCOUNT if author is None else _SKIP_REASONS.get(author.kind, author.kind.lower())
    return SkippedActivity(
        event_id=event.id,
        source=event.source,
        stream=event.stream,
        source_scope=source_scope,
        event_type=event.event_type,
        reason=reason,
        event_time=event.event_time,
    )
