"""What people look at of a window, counted by the database."""

from datetime import date

from sqlalchemy import Engine

from ledger_pipeline.store.port import AppendOutcome, DayCount, EpochStatus
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.tallies import REJECTIONS_LISTED
from ledger_pipeline_tests.builders import (
    ADA,
    GRACE,
    OTHER_SCOPE_ID,
    PRODUCER,
    SCOPE_ID,
    Actor,
    instant,
    issue,
    pull_request,
    review,
    window,
)
from ledger_pipeline_tests.postgres import set_status

WEEK = window()
AT = instant("2026-02-18")


def test_events_are_counted_by_utc_day_and_type_within_the_window(ledger: PostgresLedger) -> None:
    events = [
        pull_request(1, at="2026-02-16T00:00:00Z"),
        pull_request(2, at="2026-02-16T23:59:59Z"),
        pull_request(3, at="2026-02-22T23:59:59Z"),
        pull_request(4, at="2026-02-23T00:00:00Z"),
        pull_request(5, at="2026-02-15T23:59:59Z"),
        issue(6, at="2026-02-16T12:00:00Z"),
    ]
    ledger.append_events(SCOPE_ID, events, PRODUCER, AT)
    ledger.append_events(OTHER_SCOPE_ID, [pull_request(7, at="2026-02-16T12:00:00Z")], PRODUCER, AT)
    assert ledger.events_per_day(SCOPE_ID, WEEK) == [
        DayCount(date(2026, 2, 16), "issue_closed", 1),
        DayCount(date(2026, 2, 16), "pr_merged", 2),
        DayCount(date(2026, 2, 22), "pr_merged", 1),
    ]


def test_events_are_counted_by_person_who_goes_by_their_latest_login(ledger: PostgresLedger) -> None:
    renamed = Actor(ADA.user_id, "countess")
    events = [
        pull_request(1, at="2026-02-16T08:00:00Z"),
        pull_request(2, at="2026-02-17T08:00:00Z", author=renamed),
        review(3, author=GRACE),
    ]
    ledger.append_events(SCOPE_ID, events, PRODUCER, AT)
    found = ledger.events_per_person(SCOPE_ID, WEEK)
    assert [(each.user_id, each.login, each.event_type, each.events) for each in found] == [
        (str(GRACE.user_id), "grace", "review_submitted", 1),
        (str(ADA.user_id), "countess", "pr_merged", 2),
    ]
    assert found[1].last_event_at == instant("2026-02-17T08:00")


def test_an_empty_window_has_no_counts(ledger: PostgresLedger) -> None:
    assert ledger.events_per_day(SCOPE_ID, WEEK) == []
    assert ledger.events_per_person(SCOPE_ID, WEEK) == []
    [found] = ledger.unsettled_rejections(SCOPE_ID, [WEEK])
    assert (found.window, found.events, found.first) == (WEEK, 0, ())


def test_rejections_are_all_counted_and_the_first_listed_by_window(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    before = window("2026-02-09")
    ledger.ensure_epochs(SCOPE_ID, [before, WEEK], {})
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    late = [pull_request(number) for number in range(REJECTIONS_LISTED + 5)]
    ledger.append_events(SCOPE_ID, late, PRODUCER, AT)
    quiet, loud = ledger.unsettled_rejections(SCOPE_ID, [before, WEEK])
    assert (quiet.window, quiet.events) == (before, 0)
    assert loud.by_reason == {AppendOutcome.LATE: REJECTIONS_LISTED + 5}
    assert len(loud.first) == REJECTIONS_LISTED
    assert loud.first == tuple(ledger.rejected(SCOPE_ID, WEEK)[:REJECTIONS_LISTED])
