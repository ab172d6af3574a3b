"""What people look at of a window, counted by the database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from sqlalchemy import Engine, text

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, DayCount, EpochStatus
from ledger_pipeline.store.statements import LOCK_EPOCH
from ledger_pipeline.store.stating import INSERT_STATEMENT
from ledger_pipeline.store.tallies import REJECTIONS_LISTED
from ledger_pipeline_tests.builders import (
    ADA,
    GRACE,
    NODE_ID,
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
from ledger_pipeline_tests.pipeline.test_chain import forge
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import Books, finalized, reviewed
from ledger_pipeline_tests.waiting import eventually

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
    ledger.events.append(SCOPE_ID, events, PRODUCER, AT)
    ledger.events.append(OTHER_SCOPE_ID, [pull_request(7, at="2026-02-16T12:00:00Z")], PRODUCER, AT)
    assert ledger.events.per_day(SCOPE_ID, WEEK) == [
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
    ledger.events.append(SCOPE_ID, events, PRODUCER, AT)
    tallies = ledger.events.per_person(SCOPE_ID, WEEK)
    assert [(tally.user_id, tally.login, tally.event_type, tally.events) for tally in tallies] == [
        (str(GRACE.user_id), "grace", "review_submitted", 1),
        (str(ADA.user_id), "countess", "pr_merged", 2),
    ]
    assert tallies[1].last_event_at == instant("2026-02-17T08:00")


def test_an_empty_window_has_no_counts(ledger: PostgresLedger) -> None:
    assert ledger.events.per_day(SCOPE_ID, WEEK) == []
    assert ledger.events.per_person(SCOPE_ID, WEEK) == []
    [rejections] = ledger.events.unsettled_rejections(SCOPE_ID, [WEEK])
    assert (rejections.window, rejections.events, rejections.first) == (WEEK, 0, ())


def test_rejections_are_all_counted_and_the_first_listed_by_window(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    before = window("2026-02-09")
    ledger.epochs.ensure(SCOPE_ID, [before, WEEK], {})
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    late = [pull_request(number) for number in range(REJECTIONS_LISTED + 5)]
    ledger.events.append(SCOPE_ID, late, PRODUCER, AT)
    quiet, loud = ledger.events.unsettled_rejections(SCOPE_ID, [before, WEEK])
    assert (quiet.window, quiet.events) == (before, 0)
    assert loud.by_reason == {AppendOutcome.LATE: REJECTIONS_LISTED + 5}
    assert len(loud.first) == REJECTIONS_LISTED
    assert loud.first == tuple(ledger.events.rejected(SCOPE_ID, WEEK)[:REJECTIONS_LISTED])


def late_event(books: Books) -> ActivityEvent:
    """An event of the epoch that nobody has seen before."""
    return pull_request(900, at=(books.of.start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))


def unsettled(books: Books) -> int:
    [rejections] = books.ledger.events.unsettled_rejections(SCOPE_ID, [books.of])
    return rejections.events


def test_what_is_rejected_after_a_statement_is_unsettled_though_its_transaction_began_before(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    with ledger_engine.begin() as collecting:
        collecting.execute(text("SELECT now()"))
        books.finalize(books.signature())
        Append(collecting, NODE_ID, SCOPE_ID, PRODUCER, AT).run([late_event(books)])
    assert unsettled(books) == 1


def test_a_statement_that_was_set_aside_settles_nothing(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    books.append(late_event(books))
    [original] = ledger.statements.of(books.epoch)
    forged = forge(ledger_engine, books, original.id)
    assert unsettled(books) == 0
    set_aside(ledger, books.spec, forged, "nobody of ours wrote it")
    assert unsettled(books) == 1


def test_a_statement_waits_for_a_rejection_under_way_and_settles_it(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    with ThreadPoolExecutor(1) as threads:
        with ledger_engine.begin() as collecting:
            Append(collecting, NODE_ID, SCOPE_ID, PRODUCER, AT).run([late_event(books)])
            finalizing = threads.submit(books.finalize, signature)
            eventually(lambda: waiting_for_locks(ledger_engine))
            assert not finalizing.done()
        finalizing.result()
    assert unsettled(books) == 0


def test_a_rejection_waits_for_a_statement_under_way_and_is_unsettled(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    with ThreadPoolExecutor(1) as threads:
        with ledger_engine.begin() as finalizing:
            finalizing.execute(LOCK_EPOCH, {"epoch_id": books.epoch.id, "node_id": NODE_ID})
            appending = threads.submit(ledger.events.append, SCOPE_ID, [late_event(books)], PRODUCER, AT)
            eventually(lambda: waiting_for_locks(ledger_engine))
            assert not appending.done()
            numbers = {"epoch_id": books.epoch.id, "node_id": NODE_ID, "pool_total_credits": 1}
            finalizing.execute(
                INSERT_STATEMENT, {**numbers, "allocation_set_hash": "0" * 64, "payouts": [], "supersedes": None}
            )
        appending.result()
    assert unsettled(books) == 1


def waiting_for_locks(engine: Engine) -> int:
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.scalar(text(query)) or 0
