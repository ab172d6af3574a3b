"""Receipts: who looked, how often and how far, and what is stored of it, counted once."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.core.sources import GITHUB_STREAMS, ISSUES, PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus
from ledger_pipeline.store.scan_records import Cursor, Receipt, WindowReceipt
from ledger_pipeline_tests.builders import (
    NODE_ID,
    OTHER_SCOPE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    checkpoint,
    cursor,
    instant,
    issue,
    pull_request,
    receipt,
    review,
    save_checkpoint,
    skipped,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import set_status

NOW = instant("2026-02-24")
NEXT_WEEK = "2026-02-24T12:00:00Z"


def finish(ledger: PostgresLedger, *receipts: Receipt) -> None:
    """Finish the scans that `receipts` are of."""
    scans = {
        (given.stream, given.source_scope): cursor(
            given.covered_to, given.covered_from, stream=given.stream, source_scope=given.source_scope
        )
        for given in receipts
    }
    ledger.scans.finish(SCOPE_ID, list(scans.values()), NOW, receipts)


def append(ledger: PostgresLedger, *events: ActivityEvent) -> None:
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)


def read(ledger: PostgresLedger, *windows: EpochWindow) -> list[WindowReceipt]:
    return ledger.scans.receipts(SCOPE_ID, "github", windows or [window()])


def only(ledger: PostgresLedger) -> WindowReceipt:
    """The one receipt of the week of `window()`."""
    (receipt,) = read(ledger)
    return receipt


def hash_of(events: Iterable[ActivityEvent]) -> str:
    return event_set_hash((event.id, event.payload_hash) for event in events)


def test_a_receipt_is_kept_as_it_was_handed_over(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    given = receipt(
        instant("2026-02-24T00:00:00.000001"),
        instant("2026-02-16T00:00:00.999999"),
        source_scope="Ünï/cödé",
        name="cödé/🎉",
        pages=3,
        seen=5,
        skipped_by_reason={"bot": 1, "ünknown": 2},
        updated=(instant("2026-02-16T01:02:03.456789"), instant("2026-02-23T23:59:59.999999")),
        source_total=77,
    )
    finish(ledger, given)
    with ledger_engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM scan_receipts")).mappings()
    columns = {name: value for name, value in vars(given).items() if name != "window"}
    assert {name: row[name] for name in columns} == columns
    assert EpochWindow(row["period_start"], row["period_end"]) == given.window
    assert (row["node_id"], row["scope_id"], row["recorded_at"].tzname()) == (NODE_ID, SCOPE_ID, "UTC")


def test_a_receipt_of_nothing_is_there_and_says_nothing_was_found(ledger: PostgresLedger) -> None:
    finish(ledger, receipt("2026-02-24", "2026-02-16"))
    assert only(ledger) == WindowReceipt(
        window=window(),
        source="github",
        stream=PULL_REQUESTS,
        source_scope=REPO,
        covered_from=instant("2026-02-16"),
        covered_to=instant("2026-02-24"),
        scans=1,
        pages=1,
        first_updated_at=None,
        last_updated_at=None,
        source_total=None,
        kept=0,
        skipped_by_reason={},
        rejected=0,
        set_hash=event_set_hash([]),
    )
    assert only(ledger).seen == 0


def test_what_was_never_looked_at_is_absent_whatever_is_stored_of_it(ledger: PostgresLedger) -> None:
    looked_at, never = weeks(2)
    finish(ledger, receipt(of=looked_at))
    append(ledger, pull_request(), issue(), pull_request(2, at=NEXT_WEEK), pull_request(3, repo="cogni-dao/other"))
    receipts = read(ledger, looked_at, never, window("2026-02-16", days=14))
    assert [(row.window, row.stream, row.source_scope, row.kept) for row in receipts] == [
        (looked_at, PULL_REQUESTS, REPO, 1)
    ]
    assert ledger.scans.receipts(SCOPE_ID, "github", []) == []
    assert read(ledger, never) == []


def test_several_scans_add_up(ledger: PostgresLedger) -> None:
    finish(
        ledger,
        receipt("2026-02-18", "2026-02-16", pages=2, updated=("2026-02-16", "2026-02-17"), source_total=10),
    )
    finish(
        ledger,
        receipt("2026-02-25", "2026-02-18", pages=3, updated=("2026-02-18", "2026-02-24T01:00"), source_total=12),
    )
    finish(ledger, receipt("2026-02-26", "2026-02-25", pages=1))  # it read nothing, and so was told no total
    finish(ledger, receipt("2026-02-20", "2026-02-01", pages=4, updated=("2026-02-01", "2026-02-19"), source_total=11))
    stored_receipt = only(ledger)
    assert (stored_receipt.covered_from, stored_receipt.covered_to) == (instant("2026-02-01"), instant("2026-02-26"))
    assert (stored_receipt.scans, stored_receipt.pages) == (4, 10)
    assert (stored_receipt.first_updated_at, stored_receipt.last_updated_at) == (
        instant("2026-02-01"),
        instant("2026-02-24T01:00"),
    )
    assert stored_receipt.source_total == 12


def test_receipts_come_by_window_stream_and_source_scope_once_each(ledger: PostgresLedger) -> None:
    first, second = weeks(2)
    repos = ("Zeta/z", "alpha/a", "alpha/B")  # a collation would mix their cases
    given = [
        receipt(of=of, stream=stream, source_scope=repo)
        for of in (second, first)
        for stream in GITHUB_STREAMS
        for repo in repos
    ]
    finish(ledger, *given)
    places = [(row.window, row.stream, row.source_scope) for row in read(ledger, second, first, second)]
    assert places == sorted((row.window, row.stream, row.source_scope) for row in given)


def test_an_event_counts_for_its_own_window_stream_and_source_scope(ledger: PostgresLedger) -> None:
    first, second = weeks(2)
    second_name = "cogni-dao/other"
    finish(
        ledger,
        *(receipt(of=first, stream=stream) for stream in GITHUB_STREAMS),
        *(receipt(of=second), receipt(of=second, source_scope=second_name)),
    )
    mine = [pull_request(1), pull_request(2, at="2026-02-16T00:00:00Z")]
    at_the_end = pull_request(3, at="2026-02-23T00:00:00Z")
    others = pull_request(4, repo=second_name, at=NEXT_WEEK)
    append(ledger, *mine, at_the_end, others, review(1), pull_request(5, repo="cogni-dao/third"))
    by_place = {(row.window, row.stream, row.source_scope): row for row in read(ledger, first, second)}
    expected = {
        (first, PULL_REQUESTS, REPO): mine,
        (first, REVIEWS, REPO): [review(1)],
        (first, ISSUES, REPO): [],
        (second, PULL_REQUESTS, REPO): [at_the_end],
        (second, PULL_REQUESTS, second_name): [others],
    }
    assert {place: (row.kept, row.set_hash) for place, row in by_place.items()} == {
        place: (len(events), hash_of(events)) for place, events in expected.items()
    }


def test_a_renamed_repository_counts_under_every_name_it_ever_answered_to(ledger: PostgresLedger) -> None:
    events = [
        pull_request(1, repo="Old/Name"),
        pull_request(2, repo="New/Name"),
        pull_request(3, repo="newest/NAME"),
    ]
    append(ledger, *events, pull_request(4, repo="some/name"))
    before, now = weeks(2, "2026-02-09")
    finish(ledger, receipt(of=before, source_scope="old/name", name="new/name", stream=ISSUES))
    finish(ledger, receipt(of=now, source_scope="old/name", name="Newest/Name"))
    assert (only(ledger).kept, only(ledger).set_hash) == (3, hash_of(events))


def test_what_was_skipped_is_counted_by_reason(ledger: PostgresLedger) -> None:
    finish(ledger, receipt(skipped_by_reason={"bot": 9}), receipt(stream=ISSUES))
    items = [
        skipped(pull_request(1), "bot"),
        skipped(pull_request(2), "bot"),
        skipped(pull_request(3), "deleted_account"),
        skipped(issue(1), "bot"),
        skipped(pull_request(4), source_scope="cogni-dao/other"),
        skipped(pull_request(5, at=NEXT_WEEK)),
        skipped(pull_request(6, repo="new/name"), source_scope=REPO),
    ]
    ledger.scans.record_skipped(SCOPE_ID, items, NOW)
    ledger.scans.record_skipped(SCOPE_ID, items, NOW)
    append(ledger, pull_request(7))
    issues, pull_requests = read(ledger)
    assert issues.skipped_by_reason == {"bot": 1}
    assert pull_requests.skipped_by_reason == {"bot": 3, "deleted_account": 1}
    assert pull_requests.seen == 5


@pytest.fixture
def closed(ledger: PostgresLedger, ledger_engine: Engine) -> PostgresLedger:
    """A ledger that looked at the week of `window()`, holds one issue of it, and then closed it."""
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    append(ledger, issue(1))
    finish(ledger, receipt(stream=ISSUES))
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    return ledger


def test_a_late_event_is_rejected_once_however_often_it_was_told(closed: PostgresLedger) -> None:
    append(closed, issue(2), issue(3, repo="cogni-dao/other"))
    append(closed, issue(2, at="2026-02-18T00:00:00Z"))
    assert [row.reason for row in closed.events.rejected(SCOPE_ID, window())] == [AppendOutcome.LATE] * 3
    assert (only(closed).kept, only(closed).rejected, only(closed).seen) == (1, 1, 2)


def test_a_conflict_with_what_the_window_keeps_is_kept_only(closed: PostgresLedger) -> None:
    append(closed, issue(1, at="2026-02-18T00:00:00Z"))
    assert [row.reason for row in closed.events.rejected(SCOPE_ID, window())] == [AppendOutcome.CONFLICT]
    assert (only(closed).kept, only(closed).rejected, only(closed).set_hash) == (1, 0, hash_of([issue(1)]))


def test_a_conflict_with_what_another_window_keeps_is_rejected(closed: PostgresLedger) -> None:
    """Closed again a week later: the source has the issue there now, and so somebody saw it there."""
    following = weeks(2)[1]
    finish(closed, receipt(of=following, stream=ISSUES))
    append(closed, issue(1, at=NEXT_WEEK))
    assert [(row.kept, row.rejected, row.seen) for row in read(closed, window(), following)] == [(1, 0, 1), (0, 1, 1)]


def test_what_is_skipped_later_counts_as_what_it_was_before(closed: PostgresLedger) -> None:
    """The account was deleted between two scans: the event of the first stays, and is not counted twice."""
    append(closed, issue(2))
    closed.scans.record_skipped(SCOPE_ID, [skipped(issue(number), "deleted_account") for number in (1, 2, 3)], NOW)
    receipt = only(closed)
    assert (receipt.kept, receipt.rejected, receipt.skipped_by_reason) == (1, 1, {"deleted_account": 1})


def test_events_that_do_not_say_their_repository_count_for_none(ledger: PostgresLedger) -> None:
    odd = pull_request(1)
    append(ledger, replace(odd, metadata={**odd.metadata, "repository": None}), pull_request(2))
    append(ledger, replace(pull_request(3), event_type="unheard_of"))
    finish(ledger, receipt())
    assert only(ledger).kept == 1


def test_scopes_and_nodes_do_not_see_each_other(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    neighbour = PostgresLedger(ledger_engine, OTHER_SCOPE_ID)
    finish(ledger, receipt())
    for store, scope_id in ((ledger, OTHER_SCOPE_ID), (neighbour, SCOPE_ID)):
        assert store.scans.receipts(scope_id, "github", [window()]) == []
        store.events.append(scope_id, [pull_request(1, repo="new/name"), pull_request(2)], PRODUCER, NOW)
        store.events.append(scope_id, [pull_request(2, at="2026-02-18T00:00:00Z")], PRODUCER, NOW)
        store.scans.record_skipped(scope_id, [skipped(pull_request(3))], NOW)
        renamed = receipt("2026-03-01", name="new/name")
        store.scans.finish(scope_id, [cursor("2026-03-01")], NOW, [renamed])
    append(ledger, pull_request(1, repo="new/name"))
    stored_receipt = only(ledger)
    assert (stored_receipt.scans, stored_receipt.covered_to, stored_receipt.seen) == (1, instant("2026-02-24"), 0)


def test_sources_do_not_see_each_other(ledger: PostgresLedger) -> None:
    finish(ledger, receipt())
    for item in (pull_request(1), pull_request(2, at=NEXT_WEEK), pull_request(2)):  # one kept, one a conflict
        append(ledger, replace(item, source="gitlab"))
    ledger.scans.record_skipped(SCOPE_ID, [replace(skipped(pull_request(3)), source="gitlab")], NOW)
    assert ledger.scans.receipts(SCOPE_ID, "gitlab", [window()]) == []
    of_gitlab = replace(receipt(name="new/name"), source="gitlab")
    ledger.scans.finish(SCOPE_ID, [replace(cursor("2026-02-24"), source="gitlab")], NOW, [of_gitlab])
    append(ledger, pull_request(4, repo="new/name"))
    (receipts,) = ledger.scans.receipts(SCOPE_ID, "gitlab", [window()])
    assert (receipts.kept, receipts.rejected, receipts.skipped_by_reason) == (1, 1, {"bot": 1})
    assert only(ledger).seen == 0


def test_a_refused_receipt_leaves_everything_as_it_was(ledger: PostgresLedger) -> None:
    save_checkpoint(ledger, SCOPE_ID, checkpoint())
    good, bad = receipt(), receipt("2026-02-16", "2026-02-17", of=weeks(2)[1])
    with pytest.raises(StoreError, match="scan_receipts_coverage_check"):
        ledger.scans.finish(SCOPE_ID, [cursor("2026-02-17")], NOW, [good, bad])
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}
    assert read(ledger, *weeks(2)) == []
    assert ledger.scans.checkpoint(SCOPE_ID, "github", REPO) == checkpoint()


@pytest.mark.parametrize("scans", [[], [cursor("2026-02-17", stream=ISSUES)]])
def test_a_receipt_of_no_finished_scan_is_refused(ledger: PostgresLedger, scans: list[Cursor]) -> None:
    with pytest.raises(ValueError, match="none of the finished scans"):
        ledger.scans.finish(SCOPE_ID, scans, NOW, [receipt()])
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}
    assert read(ledger) == []


def test_receipts_are_of_one_snapshot(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    """What another connection commits after the first query is not seen by those that follow."""
    finish(ledger, receipt())
    late = [pull_request()]

    def write_meanwhile(conn: object, cursor: object, statement: str, *rest: object) -> None:
        if late and "JOIN scan_receipts" in statement:
            append(ledger, late.pop())

    event.listen(ledger_engine, "after_cursor_execute", write_meanwhile)
    assert only(ledger).kept == 0
    assert only(ledger).kept == 1


def test_twelve_years_of_five_repositories_are_read_in_three_queries(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    windows = weeks(650, "2014-01-06")
    repos = [f"cogni-dao/repo-{n}" for n in range(5)]
    append(
        ledger,
        *(pull_request(n, at=f"{windows[n % 650].key}T12:00:00Z", repo=repos[n // 650 % 5]) for n in range(3250 * 3)),
    )
    for repo in repos:
        finish(
            ledger,
            *(receipt(of=of, stream=stream, source_scope=repo) for of in windows for stream in GITHUB_STREAMS),
        )
    statements: list[str] = []

    def note(conn: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(ledger_engine, "before_cursor_execute", note)
    receipts = read(ledger, *windows)
    assert len(statements) == 3
    assert len(receipts) == 650 * 5 * 3
    assert {(row.stream, row.kept) for row in receipts} == {(PULL_REQUESTS, 3), (REVIEWS, 0), (ISSUES, 0)}


def test_a_sources_total_may_be_beyond_32_bits(ledger: PostgresLedger) -> None:
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-24")], NOW, [receipt(source_total=2**40)])
    [receipts] = ledger.scans.receipts(SCOPE_ID, "github", [window()])
    assert receipts.source_total == 2**40
