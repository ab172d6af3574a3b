"""What a payload of GitHub's becomes: an event, a skip with its reason, nothing yet, or a problem."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.sources.github.payloads import Page
from ledger_pipeline.sources.github.reading import Reader, Reading

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
    "merged": True,
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
    "closed": True,
    "closedAt": NOON,
    "stateReason": None,
    "author": ANA,
}

Mapped = ActivityEvent | SkippedActivity | None


ANSWERED_AT = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
READER = Reader(CONFIGURED, REPO, frozenset(GITHUB_STREAMS), ANSWERED_AT)


def read_pull_request(**fields: Any) -> Reading:
    return READER.pull_request(PULL_REQUEST | fields)


def read_review(**fields: Any) -> Reading:
    reading = Reading(ItemKey("pull_request", 1))
    page = {"pageInfo": {"hasNextPage": False}, "nodes": [REVIEW | fields]}
    READER.add_reviews(reading, Page.model_validate(page))
    return reading


def read_issue(**fields: Any) -> Reading:
    return READER.issue(ISSUE | fields)


def whole(reading: Reading) -> Mapped:
    assert reading.problem is None
    return next(iter(reading.items), None)


def pull_request(**fields: Any) -> Mapped:
    return whole(read_pull_request(**fields))


def review(**fields: Any) -> Mapped:
    return whole(read_review(**fields))


def issue(**fields: Any) -> Mapped:
    return whole(read_issue(**fields))


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
    assert pull_request(merged=False, mergedAt=None) is None
    assert review(state="PENDING", submittedAt=None) is None
    assert issue(closed=False, closedAt=None) is None


FAR = "9999-12-31T23:59:59Z"
UNUSABLE: list[tuple[Callable[..., Reading], dict[str, Any], str]] = [
    (read_pull_request, {"fullDatabaseId": None}, "fullDatabaseId is null"),
    (read_pull_request, {"fullDatabaseId": "12x"}, "fullDatabaseId cannot be used"),
    (read_pull_request, {"fullDatabaseId": True}, "fullDatabaseId cannot be used"),
    (read_pull_request, {"mergedAt": FAR}, f"mergedAt cannot be used: {FAR} is later than GitHub's own time"),
    (read_pull_request, {"mergedAt": "2026-01-05T13:31:00Z"}, "mergedAt cannot be used"),
    (read_pull_request, {"mergedAt": "2004-12-31T23:59:59Z"}, "mergedAt cannot be used"),
    (read_pull_request, {"mergedAt": f"{NOON}\0"}, "mergedAt cannot be used"),
    (read_pull_request, {"mergedAt": 5}, "mergedAt cannot be used"),
    (read_pull_request, {"author": ANA | {"databaseId": "7"}}, "author.databaseId cannot be used"),
    (read_pull_request, {"author": ANA | {"databaseId": True}}, "author.databaseId cannot be used"),
    (read_pull_request, {"author": ANA | {"login": None}}, "author.login is null"),
    (read_pull_request, {"author": {}}, "author.__typename is missing"),
    (read_pull_request, {"author": 7}, "author cannot be used"),
    (read_pull_request, {"baseRefName": None}, "baseRefName is null"),
    (read_pull_request, {"url": ["x"]}, "url cannot be used"),
    (read_issue, {"closedAt": "yesterday"}, "closedAt cannot be used: 'yesterday' is not an instant"),
    (read_issue, {"author": ANA | {"databaseId": None}}, "author.databaseId is null"),
    (read_review, {"fullDatabaseId": None}, "a review's fullDatabaseId is null"),
    (read_review, {"state": "APPROVED\0"}, "a review's state cannot be used"),
    (read_review, {"state": "\ud83d"}, "a review's state cannot be used"),
    (read_review, {"submittedAt": FAR}, "a review's submittedAt cannot be used"),
    (read_pull_request, {"mergedAt": None}, "mergedAt is null although merged is true"),
    (read_pull_request, {"merged": False}, f"mergedAt is {NOON} although merged is false"),
    (read_pull_request, {"merged": None, "mergedAt": None}, "merged is null"),
    (read_pull_request, {"merged": 1}, "merged cannot be used"),
    (read_issue, {"closedAt": None}, "closedAt is null although closed is true"),
    (read_issue, {"closed": False}, f"closedAt is {NOON} although closed is false"),
    (read_issue, {"closed": "no", "closedAt": None}, "closed cannot be used"),
    (read_review, {"submittedAt": None}, "a review's submittedAt is null although state is APPROVED"),
    (read_review, {"state": "PENDING"}, f"a review's submittedAt is {NOON} although state is PENDING"),
    (read_review, {"state": None, "submittedAt": None}, "a review's state is null"),
]


@pytest.mark.parametrize(("read", "fields", "says"), UNUSABLE, ids=[str(case[1]) for case in UNUSABLE])
def test_an_item_with_a_field_that_cannot_be_used_is_unread_for_a_reason_that_names_it(
    read: Callable[..., Reading], fields: dict[str, Any], says: str
) -> None:
    reading = read(**fields)
    assert reading.items == []
    assert (reading.problem or "").startswith(says)
    unread = reading.unread(ANSWERED_AT)
    assert unread.key.number == (3 if read is read_issue else 1)
    assert unread.reason.isprintable()
    assert len(unread.reason) <= 300


def test_an_unread_item_says_since_when_its_events_can_be_where_that_can_be_told() -> None:
    key = ItemKey("pull_request", 1)
    named = read_pull_request(author=7).unread(ANSWERED_AT)
    assert named == UnreadItem(key, named.reason, datetime(2026, 1, 5, 12, tzinfo=UTC), ANSWERED_AT)
    assert read_pull_request(author=7, createdAt=FAR).unread(ANSWERED_AT).earliest is None
    assert read_pull_request(author=7, createdAt=None).unread(ANSWERED_AT).earliest is None


@pytest.mark.parametrize("number", [None, "1", True, 0, -1, 2**31, 1.5, []])
def test_an_item_whose_number_cannot_be_used_has_none(number: Any) -> None:
    for reading in (read_pull_request(number=number), read_issue(number=number)):
        assert (reading.key.number, reading.items) == (0, [])
        assert (reading.problem or "").startswith("number ")


@pytest.mark.parametrize("node", [7, "x", [], True])
def test_what_is_no_item_at_all_is_unread(node: Any) -> None:
    for reading in (READER.pull_request(node), READER.issue(node)):
        assert reading.key.number == 0
        assert (reading.problem or "").startswith("what stands in place of the item cannot be used")


def test_an_instant_of_endless_digits_makes_its_item_unread() -> None:
    endless = f"2026-01-05T12:00:00.{'1' * 100_000}Z"
    for reading in (read_pull_request(mergedAt=endless), read_review(submittedAt=endless)):
        assert reading.items == []
        assert len(reading.problem or "") <= 300
    assert isinstance(pull_request(mergedAt="2026-01-05T12:00:00.123456789Z"), ActivityEvent)


def test_what_is_only_shown_makes_no_item_unread() -> None:
    event = pull_request(title=None, createdAt=5, updatedAt=FAR)
    assert isinstance(event, ActivityEvent)
    assert (event.metadata["title"], event.metadata["createdAt"]) == (None, None)


def test_an_open_item_needs_nothing_but_its_number() -> None:
    assert pull_request(merged=False, mergedAt=None, author=7, fullDatabaseId=[]) is None
    assert issue(closed=False, closedAt=None, author=7, url=3) is None


def test_half_a_surrogate_pair_or_nul_is_replaced_where_no_hash_covers_it_and_unread_where_one_does() -> None:
    odd = {"__typename": "User", "login": "a\0na", "databaseId": 7}
    event = pull_request(title="\ud83d", url="https://x/\0", baseRefName="\udc00", author=odd)
    assert isinstance(event, ActivityEvent)
    assert (event.platform_login, event.artifact_url) == ("a\ufffdna", "https://x/\ufffd")
    assert (event.metadata["title"], event.metadata["baseRefName"]) == ("\ufffd", "\ufffd")
    assert read_review(state="APPROVED\0").items == []
