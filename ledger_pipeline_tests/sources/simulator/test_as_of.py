"""A world is seen as of the clock: what lies ahead of it has not happened."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger_pipeline.sources.simulator.as_of import seen_at
from ledger_pipeline.sources.simulator.view import Timeline
from ledger_pipeline.sources.simulator.world import Closure, Issue, PullRequest, StateReason
from ledger_pipeline_tests.sources.simulator.worlds import LATER, MONDAY, NOON, issue, merged, review, world

SECOND = timedelta(seconds=1)
EVENING = MONDAY + timedelta(hours=20)


def pull_request_at(instant: datetime, **facts: Any) -> PullRequest:
    [visible] = seen_at(world(merged(1, **facts)), instant).repositories[0].pull_requests
    return visible


def issue_at(instant: datetime, *closures: Closure) -> Issue:
    [visible] = seen_at(world(issue(1, closures=closures)), instant).repositories[0].issues
    return visible


def test_nothing_exists_before_it_is_created() -> None:
    [repository] = seen_at(world(merged(1), issue(2)), MONDAY - SECOND).repositories
    assert (repository.pull_requests, repository.issues) == ((), ())


def test_a_merge_ahead_is_not_there_yet() -> None:
    before, after = pull_request_at(NOON - SECOND, merge_commit="abc"), pull_request_at(NOON, merge_commit="abc")
    assert (before.state, before.merged_at, before.closed_at, before.merged_by) == ("OPEN", None, None, None)
    assert before.merge_commit is None
    assert (after.state, after.merged_at, after.merge_commit) == ("MERGED", NOON, "abc")


def test_a_review_is_there_from_its_submission_and_bumps_its_pull_request() -> None:
    reviews = (review(1, EVENING), review(2, None))
    assert pull_request_at(EVENING - SECOND, reviews=reviews).updated_at == NOON
    item = pull_request_at(EVENING, reviews=reviews)
    assert [review.database_id for review in item.reviews] == [4_000_000_001]
    assert item.updated_at == EVENING


def test_updated_at_is_the_latest_known_change_until_the_recorded_one_has_come() -> None:
    recorded = (MONDAY + timedelta(days=1),)
    assert pull_request_at(NOON - SECOND, touched_at=recorded).updated_at == MONDAY
    assert pull_request_at(NOON, touched_at=recorded).updated_at == NOON
    assert pull_request_at(LATER, touched_at=recorded).updated_at == recorded[0]


def test_an_edited_review_shows_its_edit_only_afterwards() -> None:
    reviews = (review(1, NOON, edited_at=EVENING),)
    assert pull_request_at(EVENING - SECOND, reviews=reviews).reviews[0].edited_at is None
    assert pull_request_at(EVENING, reviews=reviews).reviews[0].edited_at == EVENING


@pytest.mark.parametrize(
    ("hours", "state", "reason", "closed_hours"),
    [
        (0, "OPEN", None, None),
        (1, "CLOSED", StateReason.NOT_PLANNED, 1),
        (2, "OPEN", StateReason.REOPENED, None),
        (3, "CLOSED", StateReason.COMPLETED, 3),
    ],
)
def test_an_issue_is_closed_opened_again_and_closed_again(
    hours: int, state: str, reason: StateReason | None, closed_hours: int | None
) -> None:
    at = [MONDAY + timedelta(hours=hour) for hour in range(4)]
    item = issue_at(at[hours], Closure(at[1], StateReason.NOT_PLANNED, at[2]), Closure(at[3]))
    assert (item.state, item.state_reason) == (state, reason)
    assert item.closed_at == (None if closed_hours is None else at[closed_hours])
    assert item.updated_at == at[hours]


def test_a_view_is_kept_while_nothing_happens() -> None:
    timeline = Timeline(world(merged(1)))
    assert timeline.at(NOON - SECOND) is timeline.at(MONDAY)
    assert timeline.at(NOON) is not timeline.at(MONDAY)
