"""Pages that lead nowhere end the scan after a few of them, with one message that says where."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import chain, count, islice, repeat
from typing import Any

import pytest

from ledger_pipeline.core.errors import SourceError, SourceUnavailable
from ledger_pipeline.core.sources import ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.github.endless import IDLE_PAGES, UNREADABLE_PAGES, Advance, LeadsNowhere
from ledger_pipeline.sources.github.payloads import PageInfo, UnusablePayload, read
from ledger_pipeline.sources.github.repository_scan import RepositoryScan
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline_tests.sources.github.canned import Respond, canned, serving
from ledger_pipeline_tests.sources.github.patient_client import client
from ledger_pipeline_tests.sources.simulator.worlds import LATER, NAME

SEVEN = ItemKey("pull_request", 7)
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MOMENT = "2026-01-05T11:00:00Z"
ANA = {"__typename": "User", "login": "ana", "databaseId": 7}
LAST = {"hasNextPage": False, "endCursor": None}
REVIEW = {"fullDatabaseId": "1", "state": "APPROVED", "submittedAt": MOMENT, "url": "u", "author": ANA}
ITEM = {"number": 7, "fullDatabaseId": "2", "title": "t", "url": "u", "createdAt": MOMENT, "updatedAt": MOMENT}
PULL_REQUEST = ITEM | {"merged": True, "mergedAt": MOMENT, "baseRefName": "main", "author": ANA}
ISSUE = ITEM | {"closed": True, "closedAt": MOMENT, "stateReason": None, "author": ANA}


class Endless:
    """Answers every query with pages of one place; each has the next of `infos`, and says there is more."""

    def __init__(self, place: str, cursors: Iterator[Any], *, empty: bool = False) -> None:
        self.asked = 0
        self._place = place
        self._infos = ({"hasNextPage": True, "endCursor": cursor} for cursor in cursors)
        self._empty = empty

    def __call__(self) -> Respond:
        self.asked += 1

        def page(place: str, node: dict[str, Any]) -> dict[str, Any]:
            endless = place == self._place
            info = next(self._infos) if endless else LAST
            return {"totalCount": 1, "pageInfo": info, "nodes": [] if endless and self._empty else [node]}

        pull_request = PULL_REQUEST | {"reviews": page("reviews", REVIEW)}
        repository = {
            "nameWithOwner": NAME,
            "databaseId": 1,
            "pullRequest": pull_request,
            "pullRequests": page("pullRequests", pull_request),
            "issues": page("issues", ISSUE),
        }
        body = {"data": {"repository": repository}}
        return canned(200, [("Date", format_datetime(NOW, usegmt=True))], json.dumps(body).encode())


def scanned(answers: Endless, request: ScanRequest | None = None) -> list[ScanPage]:
    floors = dict.fromkeys((PULL_REQUESTS, REVIEWS, ISSUES), datetime(2026, 1, 1, tzinfo=UTC))
    with serving(answers) as url, client(url) as asking:
        return list(RepositoryScan(asking, request or ScanRequest(NAME, floors), 100).pages())


def fresh() -> Iterator[str]:
    return (f"c{n}" for n in count())


NOWHERE = [
    pytest.param(lambda: repeat("same"), False, r"does not move on: same", id="the same cursor"),
    pytest.param(lambda: repeat(None), False, r"does not move on: None", id="a null cursor"),
    pytest.param(lambda: iter(["a", "b"] * 50), False, r"does not move on: [ab]", id="alternating cursors"),
    pytest.param(fresh, True, rf"{IDLE_PAGES} pages .* cursor c", id="empty pages"),
    pytest.param(fresh, False, rf"{IDLE_PAGES} pages .* cursor c", id="the same item on every page"),
]


@pytest.mark.parametrize("place", ["pullRequests", "issues"])
@pytest.mark.parametrize(("cursors", "empty", "says"), NOWHERE)
def test_pages_that_lead_nowhere_end_the_scan_and_say_where(place: str, cursors: Any, empty: bool, says: str) -> None:
    answers = Endless(place, cursors(), empty=empty)
    with pytest.raises(SourceError, match=says) as raised:
        scanned(answers)
    assert raised.match(f"{NAME}: .*{place}")
    assert len(raised.value.problem) <= 300
    assert answers.asked <= IDLE_PAGES + 2  # one short page is asked for once more


@pytest.mark.parametrize(("cursors", "empty", "says"), NOWHERE)
@pytest.mark.parametrize("is_asked_for_again", [False, True])
def test_reviews_that_lead_nowhere_are_one_items_fault(
    cursors: Any, empty: bool, says: str, is_asked_for_again: bool
) -> None:
    answers = Endless("reviews", cursors(), empty=empty)
    request = ScanRequest(NAME, {}, unread=(SEVEN,)) if is_asked_for_again else None
    pages = scanned(answers, request)
    [item] = [item for page in pages for item in page.unread]
    assert item.key == SEVEN
    assert f"reviews of pull request {NAME}#7" in item.reason
    assert re.search(says, item.reason)
    read = {event.stream for page in pages for event in page.events}
    assert PULL_REQUESTS in read
    assert is_asked_for_again or ISSUES in read
    assert answers.asked <= IDLE_PAGES + 3


def test_a_few_pages_without_anything_new_are_no_end() -> None:
    class Slow(Endless):
        def __call__(self) -> Respond:
            self._empty = self.asked < IDLE_PAGES - 1
            if self.asked == IDLE_PAGES - 1:
                self._infos = repeat(LAST)
            return super().__call__()

    answers = Slow("issues", chain(fresh()), empty=True)
    assert [event.stream for page in scanned(answers) for event in page.events].count(ISSUES) == 1
    assert answers.asked == IDLE_PAGES


def test_pages_of_items_that_cannot_be_told_apart_end_too_after_more_of_them() -> None:
    advance = Advance("issues")
    cursors = islice(fresh(), UNREADABLE_PAGES)
    *bearable, last = [read(PageInfo, {"hasNextPage": True, "endCursor": cursor}, LATER) for cursor in cursors]
    for info in bearable:
        advance.check((), info, has_unreadable=True)
    with pytest.raises(LeadsNowhere, match=f"^{UNREADABLE_PAGES} pages of issues .* {last.end_cursor}$"):
        advance.check((), last, has_unreadable=True)


@pytest.mark.parametrize("page", [None, 5, {}, {"pageInfo": None, "nodes": []}, {"pageInfo": LAST, "nodes": None}])
def test_a_page_that_is_no_page_is_one_clear_message(page: Any) -> None:
    class Broken(Endless):
        def __call__(self) -> Respond:
            body = {"data": {"repository": {"nameWithOwner": NAME, "databaseId": 1, "pullRequests": page}}}
            return canned(200, [("Date", format_datetime(NOW, usegmt=True))], json.dumps(body).encode())

    request = ScanRequest(NAME, {PULL_REQUESTS: datetime(2026, 1, 1, tzinfo=UTC)})
    with pytest.raises(SourceError, match=f"{NAME}: a page of pullRequests is malformed: "):
        scanned(Broken("", fresh()), request)


def forbidding_issues(message: str, **headers: str) -> tuple[list[int], Callable[[], Respond]]:
    """Answers that say that the token may not read issues, whatever was asked; and how many there were."""
    asked = [0]
    error = {"type": "FORBIDDEN", "message": message, "path": ["repository", "issues"]}
    body = json.dumps({"data": {"repository": None}, "errors": [error]}).encode()

    def answer() -> Respond:
        asked[0] += 1
        return canned(200, [("Date", format_datetime(NOW, usegmt=True)), *headers.items()], body)

    return asked, answer


@pytest.mark.parametrize("streams", [(PULL_REQUESTS,), (PULL_REQUESTS, REVIEWS, ISSUES)], ids=["not asked", "asked"])
def test_a_refusal_of_what_was_not_asked_is_not_asked_about_for_ever(streams: tuple[str, ...]) -> None:
    asked, answer = forbidding_issues("Resource not accessible by personal access token")
    floors = dict.fromkeys(streams, datetime(2026, 1, 1, tzinfo=UTC))
    with serving(answer) as url, client(url) as asking, pytest.raises(SourceError, match=NAME):
        list(RepositoryScan(asking, ScanRequest(NAME, floors), 100).pages())
    assert asked[0] <= 4


def test_a_limit_that_calls_itself_forbidden_refuses_no_stream() -> None:
    _, answer = forbidding_issues("You have exceeded a secondary rate limit", **{"Retry-After": "3600"})
    floors = dict.fromkeys((PULL_REQUESTS, REVIEWS, ISSUES), datetime(2026, 1, 1, tzinfo=UTC))
    with serving(answer) as url, client(url) as asking, pytest.raises(SourceUnavailable, match="rate limit") as limited:
        list(RepositoryScan(asking, ScanRequest(NAME, floors), 100).pages())
    assert limited.value.retry_after_seconds == pytest.approx(3600, abs=60)


@pytest.mark.parametrize("cursor", ["a\0", "", "\ud83d", 5, "x" * 5000], ids=ascii)
def test_a_cursor_that_cannot_be_used_matters_only_where_there_is_more(cursor: object) -> None:
    assert read(PageInfo, {"hasNextPage": False, "endCursor": cursor}, LATER).end_cursor is None
    with pytest.raises(UnusablePayload, match="endCursor cannot be used"):
        read(PageInfo, {"hasNextPage": True, "endCursor": cursor}, LATER)
