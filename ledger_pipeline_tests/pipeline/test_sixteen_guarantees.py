"""The sixteen ways in which the system we join loses or doubles data; each is impossible here, and proven so."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import EpochOverlap, SourceRefused, SourceUnavailable
from ledger_pipeline.core.weights import weight_drift
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.sources.simulator.faults import After, FailedAnswer, NullItem
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, ReviewState, World
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NODE_ID, SCOPE_ID, scope, weeks
from ledger_pipeline_tests.pipeline.collecting import (
    ALWAYS,
    HOUR,
    LAST_WEEK,
    NOW,
    THIS_WEEK,
    Collect,
    counts,
    stored_ids,
)
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, pull_request, repository, review, world


def test_01_the_cursor_moves_only_when_every_page_is_stored(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 7))))
    github.faults.when(lambda asked: asked.number > 2, FailedAnswer.MAINTENANCE)
    [failure] = run(page_size=2, streams=["pull_requests"]).failures
    assert isinstance(failure, SourceUnavailable)
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}
    github.faults.clear()
    run(page_size=2, streams=["pull_requests"])
    assert len(stored_ids(ledger)) == 6
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW}


def test_02_a_tie_at_the_cursor_is_found(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW)))
    run()
    # Merged in the very second of the watermark, and visible only after the scan.
    github.replace_world(world(merged(1, NOW), merged(2, NOW)))
    github.set_clock(NOW + HOUR)
    assert counts(run())[1] == 1
    assert len(stored_ids(ledger)) == 2


def test_03_a_repository_named_badly_fails_alone_and_by_name(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((repository(merged(1, NOW)), repository(merged(2, NOW), name="a/b", database_id=2))))
    report = run(of=scope(NAME, "cogni-dao/gone", "a/b"))
    [failure] = report.failures
    assert isinstance(failure, SourceRefused)
    assert failure.source_scope == "cogni-dao/gone"
    assert sorted(stored_ids(ledger)) == ["github:pr:a/b:2", f"github:pr:{NAME}:1"]
    assert {source_scope for _, source_scope in ledger.scans.cursors(SCOPE_ID, "github")} == {NAME, "a/b"}
    assert report.complete_until(report.streams) is None


def test_04_all_reviews_count_also_past_a_hundred_and_of_unmerged_pull_requests(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    many = merged(1, NOW, reviews=tuple(review(n, NOW) for n in range(250)))
    unmerged = pull_request(2, closed_at=NOW, reviews=(review(900, NOW, state=ReviewState.CHANGES_REQUESTED),))
    github.replace_world(world(many, unmerged))
    assert run().tally(THIS_WEEK, ["reviews"]).new == 251


def test_05_an_event_at_midnight_on_monday_belongs_to_the_week_that_begins(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    monday = THIS_WEEK.start
    github.replace_world(world(merged(1, monday), merged(2, monday - timedelta(seconds=1))))
    run([LAST_WEEK, THIS_WEEK])
    assert stored_ids(ledger, THIS_WEEK) == [f"github:pr:{NAME}:1"]
    assert stored_ids(ledger, LAST_WEEK) == [f"github:pr:{NAME}:2"]


def test_06_sunday_evenings_events_are_kept_by_mondays_collection_and_reported(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    sunday_evening = THIS_WEEK.start - HOUR
    github.replace_world(world(merged(1, sunday_evening, touched_at=(NOW,))))
    report = run([THIS_WEEK])
    assert counts(report) == (0, 0, 0)
    assert report.added_elsewhere() == {LAST_WEEK: 1}
    assert stored_ids(ledger, LAST_WEEK) == [f"github:pr:{NAME}:1"]


def test_07_a_backfill_behind_the_cursor_finds_everything_in_one_scan_and_then_costs_nothing(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    windows = weeks(6, "2026-01-12")
    github.replace_world(world(*(merged(n + 1, windows[0].start + n * 24 * HOUR) for n in range(36))))
    run([windows[-1]])
    github.clear_requests()
    run(windows[:-1], page_size=9)
    assert len(github.requests) == 1 + 4  # the head, and one page for every nine pull requests
    assert len(stored_ids(ledger)) == 36
    github.clear_requests()
    assert run(windows[:-1]).asked_nothing
    assert github.requests == ()


def test_08_a_week_in_review_does_not_block_the_next_and_epochs_never_overlap(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect
) -> None:
    run([LAST_WEEK])
    set_status(ledger_engine, SCOPE_ID, LAST_WEEK, EpochStatus.REVIEW)
    github.replace_world(world(merged(1, NOW)))
    assert counts(run([THIS_WEEK]))[1] == 1
    skewed = EpochWindow(LAST_WEEK.start + 24 * HOUR, LAST_WEEK.end + 24 * HOUR)
    with pytest.raises(EpochOverlap):
        ledger.epochs.ensure(SCOPE_ID, [skewed], DEFAULT_WEIGHTS_MILLI)
    with pytest.raises(DBAPIError, match="forward"):
        set_status(ledger_engine, SCOPE_ID, LAST_WEEK, EpochStatus.OPEN)


def test_09_a_late_event_is_kept_aside_with_its_reason_and_a_stored_one_is_no_error(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect
) -> None:
    github.replace_world(world(merged(1, LAST_WEEK.start)))
    run([LAST_WEEK, THIS_WEEK])
    set_status(ledger_engine, SCOPE_ID, LAST_WEEK, EpochStatus.REVIEW)
    github.replace_world(world(merged(1, LAST_WEEK.start), merged(2, LAST_WEEK.start, touched_at=(NOW,))))
    report = run()
    assert report.tally(LAST_WEEK, report.streams).outcomes == {AppendOutcome.LATE: 1, AppendOutcome.DUPLICATE: 1}
    [rejected] = ledger.events.rejected(SCOPE_ID, LAST_WEEK)
    assert (rejected.event_id, rejected.reason) == (f"github:pr:{NAME}:2", AppendOutcome.LATE)


def test_10_authors_that_are_no_users_are_counted_by_reason_and_never_fatal(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    authors = [Actor("renovate", 90, ActorKind.BOT), Actor("imported", 91, ActorKind.MANNEQUIN), None]
    items = [replace(merged(n, NOW), author=author) for n, author in enumerate(authors, 1)]
    github.replace_world(world(*items, merged(9, NOW)))
    report = run()
    assert report.tally(THIS_WEEK, ["pull_requests"]).skipped == {"bot": 1, "mannequin": 1, "deleted_account": 1}
    assert stored_ids(ledger) == [f"github:pr:{NAME}:9"]
    [receipt] = [
        receipt
        for receipt in ledger.scans.receipts(SCOPE_ID, "github", [THIS_WEEK])
        if receipt.stream == "pull_requests"
    ]
    assert (receipt.seen, receipt.kept, receipt.skipped_by_reason["bot"]) == (4, 1, 1)


def test_08_an_epoch_closes_by_itself_after_its_grace_once_the_cursors_have_passed_its_end(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect
) -> None:
    of = replace(scope(NAME), approvers=("0xB0", "0xa1"))

    def statuses() -> list[EpochStatus]:
        return [epoch.status for epoch in ledger.epochs.within(SCOPE_ID, ALWAYS)]

    run([LAST_WEEK, THIS_WEEK], of)
    assert [epoch.window for epoch in close_due_epochs(ledger, of)] == [LAST_WEEK]
    assert statuses() == [EpochStatus.REVIEW, EpochStatus.OPEN]
    github.set_clock(THIS_WEEK.end + 23 * HOUR)
    run([THIS_WEEK], of)
    assert close_due_epochs(ledger, of) == []  # read to its end, and still within its grace
    unread = replace(of, sources=(replace(of.sources[0], source_scopes=(NAME, "a/unread")),))
    github.set_clock(THIS_WEEK.end + 24 * HOUR)
    run([THIS_WEEK], of, full_refresh=True)
    assert close_due_epochs(ledger, unread) == []  # a repository that was never read holds it open
    assert [epoch.window for epoch in close_due_epochs(ledger, of)] == [THIS_WEEK]
    with ledger_engine.connect() as connection:
        pinned = connection.execute(text("SELECT DISTINCT allocation_algo_ref, approver_set_hash FROM epochs")).one()
    assert pinned == ("weight-sum-v0", sha256(b"0xa1,0xb0").hexdigest())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE activity_events SET platform_user_id = '1'",
        "DELETE FROM activity_events",
        "TRUNCATE activity_events CASCADE",
    ],
)
def test_11_facts_can_be_neither_changed_nor_deleted_nor_truncated(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect, change: str
) -> None:
    github.replace_world(world(merged(1, NOW)))
    run()
    with pytest.raises(DBAPIError, match="refused"), ledger_engine.begin() as connection:
        connection.execute(text(change))
    assert len(stored_ids(ledger)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE activity_events SET platform_user_id = '1'",
        "DELETE FROM activity_events",
        "TRUNCATE activity_events CASCADE",
        "ALTER TABLE activity_events DISABLE TRIGGER ALL",
        "DELETE FROM rejected_events",
        "UPDATE scan_receipts SET seen = 0",
    ],
)
def test_11_the_pipelines_role_holds_no_right_to_change_facts_either(ledger_url: str, change: str) -> None:
    url = make_url(ledger_url).update_query_dict({"options": "-c role=ledger_writer"})
    engine = make_engine(url.render_as_string(hide_password=False))
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()


def test_11_the_pipelines_role_can_do_all_that_a_collection_needs(github: Simulator, ledger_url: str) -> None:
    github.replace_world(world(merged(1, NOW), issue(2, closures=(Closure(NOW),))))
    url = make_url(ledger_url).update_query_dict({"options": "-c role=ledger_writer"})
    with (
        open_ledger(url.render_as_string(hide_password=False), NODE_ID) as ledger,
        github_source(github.url, page_size=1) as source,
    ):
        report = collect(source, ledger, scope(NAME), [LAST_WEEK, THIS_WEEK])
        assert report.failures == []
        assert len(close_due_epochs(ledger, scope(NAME))) == 1
        assert len(stored_ids(ledger)) == 2


def test_12_weights_are_pinned_when_an_epoch_is_created_and_drift_is_reported(
    ledger: PostgresLedger, run: Collect
) -> None:
    run()
    heavier = replace(scope(NAME), weights_milli={**DEFAULT_WEIGHTS_MILLI, "github:pr_merged": 9000})
    run(of=heavier)
    [epoch] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    assert epoch.weights_milli == DEFAULT_WEIGHTS_MILLI
    assert weight_drift(epoch.weights_milli, heavier.weights_milli) == {"github:pr_merged": (1000, 9000)}


def test_13_a_renamed_repository_pays_nobody_twice_and_says_so(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW)))
    run()
    renamed = repository(merged(1, NOW), merged(2, NOW), name="cogni-dao/renamed", former_names=(NAME,))
    github.replace_world(World((renamed,)))
    github.set_clock(NOW + HOUR)
    report = run()
    assert report.tally(THIS_WEEK, report.streams).outcomes == {AppendOutcome.RENAMED: 1, AppendOutcome.NEW: 1}
    assert report.renamed == {NAME: "cogni-dao/renamed"}
    assert stored_ids(ledger) == [f"github:pr:{NAME}:1", "github:pr:cogni-dao/renamed:2"]
    [receipt] = [
        receipt
        for receipt in ledger.scans.receipts(SCOPE_ID, "github", [THIS_WEEK])
        if receipt.stream == "pull_requests"
    ]
    assert receipt.kept == 2


def test_14_an_issue_closed_again_keeps_its_first_fact_and_the_other_aside(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    once = Closure(NOW - 2 * HOUR)
    github.replace_world(world(issue(1, closures=(once,))))
    run()
    again = (replace(once, reopened_at=NOW - HOUR), Closure(NOW))
    github.replace_world(world(issue(1, closures=again)))
    report = run()
    assert report.tally(THIS_WEEK, ["issues"]).outcomes == {AppendOutcome.CONFLICT: 1}
    assert [event.event_time for event in ledger.events.within(SCOPE_ID, ALWAYS)] == [once.closed_at]
    assert [rejection.reason for rejection in ledger.events.rejected(SCOPE_ID, ALWAYS)] == [AppendOutcome.CONFLICT]


def test_14_an_issue_closed_again_after_its_repository_was_renamed_is_a_conflict_too(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    once = Closure(NOW - 2 * HOUR)
    github.replace_world(world(issue(1, closures=(once,))))
    run()
    again = (replace(once, reopened_at=NOW - HOUR), Closure(NOW))
    renamed = repository(issue(1, closures=again), name="cogni-dao/renamed", former_names=(NAME,))
    github.replace_world(World((renamed,)))
    assert run().tally(THIS_WEEK, ["issues"]).outcomes == {AppendOutcome.CONFLICT: 1}
    assert stored_ids(ledger) == [f"github:issue:{NAME}:1"]
    assert [rejection.reason for rejection in ledger.events.rejected(SCOPE_ID, ALWAYS)] == [AppendOutcome.CONFLICT]


def test_15_an_item_that_cannot_be_read_blocks_neither_its_repository_nor_another(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    null = repository(merged(1, NOW), merged(4, NOW), name="a/null", database_id=2)
    malformed = replace(merged(3, NOW), author=Actor("nobody", None))  # type: ignore[arg-type]
    odd = repository(malformed, merged(5, NOW), name="a/odd", database_id=3)
    github.replace_world(World((null, odd, repository(merged(2, NOW)))))
    github.faults.for_repository("a/null", NullItem(1))
    github.faults.for_repository("a/down", FailedAnswer.MAINTENANCE)
    report = run(of=scope("a/null", "a/odd", "a/down", NAME))
    assert [failure.source_scope for failure in report.failures] == ["a/down"]
    assert stored_ids(ledger) == ["github:pr:a/null:4", "github:pr:a/odd:5", f"github:pr:{NAME}:2"]


def test_16_an_item_that_moves_while_pages_are_read_is_found_by_the_next_scan(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    before = [merged(n, NOW - n * HOUR) for n in range(1, 7)]
    moved = [*before[:-1], merged(6, NOW - 6 * HOUR, touched_at=(NOW + HOUR,))]
    github.replace_world(world(*before))
    streams = ["pull_requests"]
    change = After(lambda: (github.set_clock(NOW + HOUR), github.replace_world(world(*moved))))
    github.faults.on_request(2, change)  # after the first page
    first = run(page_size=2, streams=streams)
    assert counts(first) == (5, 5, 0)
    assert {cursor.watermark for cursor in first.source_scopes[0].after.values()} == {NOW}
    assert counts(run(page_size=2, streams=streams))[1] == 1
    assert len(stored_ids(ledger)) == 6
