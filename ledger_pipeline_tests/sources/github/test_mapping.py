"""What a payload of GitHub's becomes: an event, a skip with its reason, nothing yet, or an error that names it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.sources.github.mapping import issue_item, pull_request_item, review_item

REPO = "Cogni-DAO/Ledger"
CONFIGURED = "cogni-dao/ledger"
NOON = "2026-01-05T12:00:00Z"
ANA = {"__typename": "User", "login": "ana", "databaseId": 7}

PULL_REQUEST = {
    "fullDatabaseId": "3000000001",
    "number": 1,
    "title": "Change",
    "url": "https://github.com/x",
    "createdAt": NOON,
    "updatedAt": NOON,
    "mergedAt": NOON,
    "baseRefName": "main",
    "author": ANA,
}
REVIEW = {
    "fullDatabaseId": "4000000001",
    "state": "APPROVED",
    "submittedAt": NOON,
    "url": "https://github.com/x",
    "author": ANA,
}
ISSUE = {
    "fullDatabaseId": "5000000001",
    "number": 3,
    "title": "Problem",
    "url": "https://github.com/x",
    "createdAt": NOON,
    "updatedAt": NOON,
    "closedAt": NOON,
    "stateReason": None,
    "author": ANA,
}

Mapped = ActivityEvent | SkippedActivity | None


def pull_request(**fields: Any) -> Mapped:
    return pull_request_item(CONFIGURED, REPO, PULL_REQUEST | fields)


def review(**fields: Any) -> Mapped:
    return review_item(CONFIGURED, REPO, 1, REVIEW | fields)


def issue(**fields: Any) -> Mapped:
    return issue_item(CONFIGURED, REPO, ISSUE | fields)


KINDS = [
    pytest.param(pull_request, "pull_requests", "pr_merged", f"github:pr:{REPO}:1", id="pull request"),
    pytest.param(review, "reviews", "review_submitted", f"github:review:{REPO}:1:4000000001", id="review"),
    pytest.param(issue, "issues", "issue_closed", f"github:issue:{REPO}:3", id="issue"),
]


@pytest.mark.parametrize(("item", "stream", "event_type", "event_id"), KINDS)
def test_a_users_item_is_an_event_in_githubs_spelling(
    item: Callable[..., Mapped], stream: str, event_type: str, event_id: str
) -> None:
    event = item()
    assert isinstance(event, ActivityEvent)
    assert (event.id, event.stream, event.event_type) == (event_id, stream, event_type)
    assert (event.platform_user_id, event.platform_login, event.source_scope) == ("7", "ana", REPO)


@pytest.mark.parametrize(("item", "stream", "event_type", "event_id"), KINDS)
def test_a_bots_item_is_skipped_under_the_id_its_event_would_have_had(
    item: Callable[..., Mapped], stream: str, event_type: str, event_id: str
) -> None:
    assert item(author={"__typename": "Bot", "login": "dependabot"}) == SkippedActivity(
        event_id=event_id,
        source="github",
        stream=stream,
        source_scope=CONFIGURED,
        event_type=event_type,
        reason="bot",
        event_time=datetime(2026, 1, 5, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("author", "reason"),
    [
        (None, "deleted_account"),
        ({"__typename": "Mannequin", "login": "m"}, "mannequin"),
        ({"__typename": "Organization", "login": "o"}, "organization"),
        ({"__typename": "EnterpriseUserAccount", "login": "e"}, "enterprise_user_account"),
        ({"__typename": "Newcomer", "login": "n"}, "newcomer"),
    ],
)
def test_every_author_that_is_no_user_is_skipped_by_reason(author: Any, reason: str) -> None:
    skipped = pull_request(author=author)
    assert isinstance(skipped, SkippedActivity)
    assert skipped.reason == reason


def test_what_has_not_happened_yet_is_nothing() -> None:
    assert pull_request(mergedAt=None) is None
    assert review(submittedAt=None) is None
    assert issue(closedAt=None) is None


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (lambda: pull_request(fullDatabaseId=None), f"pull request {REPO}#1 is malformed: fullDatabaseId is null"),
        (lambda: review(fullDatabaseId=None), f"review of {REPO}#1 is malformed: fullDatabaseId is null"),
        (lambda: issue(closedAt="yesterday"), f"issue {REPO}#3 is malformed: 'yesterday' is not an instant"),
        (lambda: issue(author=ANA | {"databaseId": None}), f"issue {REPO}#3 .* user ana has no databaseId"),
        (lambda: issue_item(CONFIGURED, REPO, {"closedAt": NOON}), r"issue .*#\? is malformed: no field 'author'"),
    ],
)
def test_a_malformed_item_is_named_with_what_is_wrong(item: Callable[[], Mapped], says: str) -> None:
    with pytest.raises(EventError, match=says):
        item()


def test_half_a_surrogate_pair_or_nul_is_replaced_where_no_hash_covers_it_and_refused_where_one_does() -> None:
    odd = {"__typename": "User", "login": "a\0na", "databaseId": 7}
    event = pull_request(title="\ud83d", url="https://x/\0", baseRefName="\udc00", author=odd)
    assert isinstance(event, ActivityEvent)
    assert (event.platform_login, event.artifact_url) == ("a\ufffdna", "https://x/\ufffd")
    assert (event.metadata["title"], event.metadata["baseRefName"]) == ("\ufffd", "\ufffd")
    with pytest.raises(EventError, match="no ledger can hold"):
        review(state="APPROVED\0")
