"""Collection on real Postgres from the simulated GitHub: what is read, what it costs, and what it leaves behind."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import SourceUnavailable, StoreUnavailable
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.pipeline.collect import CollectEstimate, collect
from ledger_pipeline.pipeline.report import ScanOutcome
from ledger_pipeline.pipeline.scan import ScanProgress
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, Repository, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID, SCOPE_ID, save_checkpoint, scope, weeks
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
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review, world

PULL_REQUESTS = ["pull_requests"]


def repositories(count: int) -> tuple[Repository, ...]:
    return tuple(
        repository(merged(n, NOW - HOUR, created_at=NOW - 2 * HOUR), name=f"dao/repo-{n}", database_id=n)
        for n in range(1, count + 1)
    )


def test_activity_of_the_window_is_stored_and_counted_by_stream(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    bot = replace(merged(4, NOW), author=Actor("renovate", 99, ActorKind.BOT))
    closed = issue(3, closures=(Closure(NOW - HOUR),))
    github.replace_world(world(merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR),)), bot, closed))
    report = run()
    assert [report.tally(THIS_WEEK, [stream]).new for stream in report.streams] == [1, 1, 1]
    assert report.tally(THIS_WEEK, PULL_REQUESTS).skipped == {"bot": 1}
    assert report.tally(THIS_WEEK, PULL_REQUESTS).seen == 2
    assert len(stored_ids(ledger)) == 3
    assert report.requests == len(github.requests)


def test_collecting_again_adds_nothing_and_says_so(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW - HOUR), merged(2, NOW)))
    assert counts(run()) == (2, 2, 0)
    github.clear_requests()
    assert counts(run()) == (2, 0, 2)
    assert len(github.requests) == 1
    assert len(stored_ids(ledger)) == 2


def test_a_full_refresh_reads_again_what_is_covered(github: Simulator, run: Collect) -> None:
    github.replace_world(world(merged(1, LAST_WEEK.start + HOUR)))
    run([LAST_WEEK])
    assert run([LAST_WEEK]).asked_nothing
    assert counts(run([LAST_WEEK], full_refresh=True), LAST_WEEK) == (1, 0, 1)


def test_streams_can_be_collected_one_by_one_and_each_has_its_own_cursor(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW, reviews=(review(1, NOW),)), issue(2, closures=(Closure(NOW),))))
    for stream, size in (("issues", 1), ("reviews", 2), ("pull_requests", 3)):
        run(streams=[stream])
        assert len(stored_ids(ledger)) == size
        assert len(ledger.scans.cursors(SCOPE_ID, "github")) == size


def test_epochs_are_created_for_the_windows_asked_for_and_no_others(ledger: PostgresLedger, run: Collect) -> None:
    run(weeks(3, "2026-02-02"))
    epochs = ledger.epochs.within(SCOPE_ID, ALWAYS)
    assert [epoch.window for epoch in epochs] == weeks(3, "2026-02-02")
    assert {epoch.status for epoch in epochs} == {EpochStatus.OPEN}
    assert epochs[0].weights_milli["github:pr_merged"] == 1000


def test_two_scopes_may_both_count_one_pull_request(github: Simulator, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW)))
    second_scope = scope(NAME, scope_key="other", scope_id=OTHER_SCOPE_ID)
    run()
    assert counts(run(of=second_scope)) == (1, 1, 0)


def test_a_store_that_fails_stops_the_collection_and_moves_no_cursor(
    github: Simulator, ledger: PostgresLedger, run: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.replace_world(world(merged(1, NOW)))

    def fail(*_: object) -> None:
        raise StoreUnavailable("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr(ledger.scans, "store_page", fail)
        with pytest.raises(StoreUnavailable):
            run()
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}


def test_progress_is_told_page_by_page_and_ends_at_the_whole(github: Simulator, run: Collect) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 7))))
    messages: list[ScanProgress] = []
    run(page_size=2, streams=PULL_REQUESTS, on_progress=messages.append)
    assert [progress.seen for progress in messages] == [2, 4, 6]
    assert [progress.fraction for progress in messages] == sorted(progress.fraction for progress in messages)
    assert messages[-1].fraction == 1.0


def test_merges_and_reviews_arrive_the_same_in_daily_steps_as_in_one_backfill(
    github: Simulator, ledger: PostgresLedger, run: Collect, other_ledger: PostgresLedger
) -> None:
    # Issues are left out: one that is closed again has two facts, of which a late collection sees only the second.
    of = scope(NAME, streams=("pull_requests", "reviews"))
    windows = weeks(6, "2026-01-19")
    end = windows[-1].end
    github.replace_world(generate_world(7, end, (NAME,)))
    day = windows[0].start
    while day <= end:
        github.set_clock(day + HOUR)
        run([EpochCalendar(7).window_at(day)], of)
        day += timedelta(days=1)
    with github_source(github.url) as source:
        collect(source, other_ledger, of, windows)
    digests = ledger.events.digests(SCOPE_ID, windows)
    assert digests == other_ledger.events.digests(SCOPE_ID, windows)
    assert sum(digest.events for digest in digests) > 30


# Interrupted scans.


def test_an_interrupted_scan_is_resumed_where_it_stood_and_then_caught_up(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    items = [merged(n, NOW - n * HOUR) for n in range(1, 41)]
    github.replace_world(world(*items))
    github.faults.when(lambda asked: asked.number > 8, FailedAnswer.MAINTENANCE)  # the head, and seven pages of two
    [failure] = run(page_size=2, streams=PULL_REQUESTS).failures
    assert isinstance(failure, SourceUnavailable)
    assert len(stored_ids(ledger)) == 14
    github.faults.clear()
    github.replace_world(world(*items, merged(99, NOW + HOUR, created_at=NOW + HOUR)))
    github.set_clock(NOW + 2 * HOUR)
    github.clear_requests()
    report = run(page_size=2, streams=PULL_REQUESTS)
    [scope_report] = report.source_scopes
    assert scope_report.resumed
    assert len(stored_ids(ledger)) == 41
    # The head, the thirteen pages that were left, and what happened since the scan began: a page, and one more, for
    # a single item below the floor ends no list.
    assert len(github.requests) == 1 + 13 + 2
    assert scope_report.after["pull_requests"].watermark == NOW + 2 * HOUR
    assert ledger.scans.checkpoint(SCOPE_ID, "github", NAME) is None


def test_a_scan_whose_place_github_does_not_know_any_more_counts_what_comes_again_once(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    github.faults.when(lambda asked: asked.number > 4, FailedAnswer.MAINTENANCE)
    run(page_size=2, streams=PULL_REQUESTS)
    github.faults.clear()
    checkpoint = ledger.scans.checkpoint(SCOPE_ID, "github", NAME)
    assert checkpoint is not None
    place = checkpoint.state["position"]["pullRequests"]
    state = {**checkpoint.state, "position": {"pullRequests": {**place, "after": "bm9uc2Vuc2U="}}}
    save_checkpoint(ledger, SCOPE_ID, replace(checkpoint, state=state))
    github.set_clock(NOW + HOUR)
    report = run(page_size=2, streams=PULL_REQUESTS)
    assert report.source_scopes[0].resumed
    assert len(stored_ids(ledger)) == 20
    with ledger_engine.connect() as connection:
        receipts = connection.execute(text("SELECT seen, covered_to FROM scan_receipts ORDER BY id")).all()
    assert receipts[0] == (20, NOW)


def test_a_checkpoint_of_days_ago_is_not_trusted(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    github.faults.when(lambda asked: asked.number > 4, FailedAnswer.MAINTENANCE)
    run(page_size=2, streams=PULL_REQUESTS)
    github.faults.clear()
    assert ledger.scans.checkpoint(SCOPE_ID, "github", NAME) is not None
    github.set_clock(NOW + 51 * HOUR)
    report = run(page_size=2, streams=PULL_REQUESTS)
    [scope_report] = report.source_scopes
    assert (scope_report.resumed, scope_report.seen) == (False, 20)
    assert scope_report.after["pull_requests"].watermark == NOW + 51 * HOUR


def test_a_checkpoint_behind_which_no_page_is_ever_given_expires_too(
    github: Simulator, ledger: PostgresLedger, run: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    github.faults.when(lambda asked: asked.number > 4, FailedAnswer.MAINTENANCE)
    run(page_size=2, streams=PULL_REQUESTS)
    github.faults.clear()
    scan = GitHubSource.scan

    def stuck(source: GitHubSource, request: ScanRequest) -> Iterator[ScanPage]:
        if request.position is not None:
            raise SourceUnavailable("github", request.source_scope, "no answer")
        return scan(source, request)

    monkeypatch.setattr(GitHubSource, "scan", stuck)
    github.set_clock(NOW + 49 * HOUR)
    [failure] = run(page_size=2, streams=PULL_REQUESTS).failures
    assert str(failure) == f"github {NAME}: no answer"
    github.set_clock(NOW + 51 * HOUR)
    [scope_report] = run(page_size=2, streams=PULL_REQUESTS).source_scopes
    assert (scope_report.failure, scope_report.resumed, scope_report.seen) == (None, False, 20)


def test_a_checkpoint_expires_by_our_own_clock_where_no_head_is_given_either(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    github.faults.when(lambda asked: asked.number > 4, FailedAnswer.MAINTENANCE)
    run(page_size=2, streams=PULL_REQUESTS)
    github.clear_requests()
    github.faults.clear()
    github.faults.when(lambda _: True, FailedAnswer.MAINTENANCE)
    for hours, resumed in ((49, True), (51, False)):
        [scope_report] = run(page_size=2, streams=PULL_REQUESTS, now=NOW + hours * HOUR).source_scopes
        assert (scope_report.failure is None, scope_report.resumed) == (False, resumed)


def test_a_long_scan_that_is_interrupted_each_day_a_little_later_comes_to_its_end(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 41))))
    for day in range(8):
        github.set_clock(NOW + day * timedelta(days=1, minutes=1))
        github.faults.clear()
        github.clear_requests()
        github.faults.when(lambda asked: asked.number > 5, FailedAnswer.MAINTENANCE)
        [scope_report] = run(page_size=2, streams=PULL_REQUESTS).source_scopes
        if scope_report.failure is None:
            break
    assert scope_report.failure is None
    assert len(stored_ids(ledger)) == 40


def test_a_scan_that_asks_for_something_else_does_not_resume(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    github.faults.when(lambda asked: asked.number > 4, FailedAnswer.MAINTENANCE)
    run(page_size=2, streams=PULL_REQUESTS)
    github.faults.clear()
    report = run([LAST_WEEK, THIS_WEEK], page_size=2, streams=PULL_REQUESTS)
    assert not report.source_scopes[0].resumed
    assert len(stored_ids(ledger)) == 20


# Many repositories.


def test_repositories_that_did_not_change_are_not_read_and_their_cursors_move(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World(repositories(100)))
    of = scope(*(repository.name_with_owner for repository in repositories(100)))
    first = run(of=of, concurrency=4)
    assert len(stored_ids(ledger)) == first.tally(THIS_WEEK, PULL_REQUESTS).new == 100
    github.set_clock(NOW + 2 * HOUR)
    github.clear_requests()
    again = run(of=of)
    assert {scope_report.outcome for scope_report in again.source_scopes} == {ScanOutcome.UNCHANGED}
    assert len(github.requests) == again.requests <= 2
    assert {cursor.watermark for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {NOW + 2 * HOUR}


def test_the_one_of_many_that_changed_is_read(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    of = scope(*(repository.name_with_owner for repository in repositories(5)))
    github.replace_world(World(repositories(5)))
    run(of=of)
    github.set_clock(NOW + 3 * HOUR)
    third = repositories(5)[2]
    late_review = replace(third.pull_requests[0], reviews=(review(7, NOW + 2 * HOUR),))
    github.replace_world(World(repositories(5)).with_repository(replace(third, pull_requests=(late_review,))))
    report = run(of=of)
    assert [scope_report.outcome for scope_report in report.source_scopes].count(ScanOutcome.SCANNED) == 1
    assert report.tally(THIS_WEEK, ["reviews"]).new == 1


def test_what_it_will_cost_is_told_before_anything_is_read(github: Simulator, run: Collect) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 21))))
    messages: list[tuple[CollectEstimate, int]] = []
    report = run(page_size=5, on_estimate=lambda estimate: messages.append((estimate, len(github.requests))))
    [(estimate, requests_so_far)] = messages
    assert (estimate.to_scan, estimate.requests_at_most, requests_so_far) == (1, 4, 1)
    assert report.requests - 1 <= 4
    assert estimate.points_left == 4999


def test_repositories_read_side_by_side_give_the_same_as_one_by_one(
    github: Simulator, ledger: PostgresLedger, other_ledger: PostgresLedger, run: Collect
) -> None:
    names = tuple(f"dao/repo-{n}" for n in range(1, 8))
    github.replace_world(generate_world(3, NOW, names))
    windows = weeks(4, "2026-01-26")
    run(windows, scope(*names), page_size=7, concurrency=4)
    with github_source(github.url) as source:
        collect(source, other_ledger, scope(*names), windows, concurrency=1)
    assert ledger.events.digests(SCOPE_ID, windows) == other_ledger.events.digests(SCOPE_ID, windows)


def test_a_failing_repository_leaves_those_beside_it_whole(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World(repositories(6)))
    github.faults.for_repository("dao/repo-3", FailedAnswer.BLOCKED)
    report = run(of=scope(*(repository.name_with_owner for repository in repositories(6))), concurrency=3)
    assert [failure.source_scope for failure in report.failures] == ["dao/repo-3"]
    assert len(stored_ids(ledger)) == 5


# Receipts.


def test_zero_events_and_did_not_look_are_never_the_same(ledger: PostgresLedger, run: Collect) -> None:
    run([THIS_WEEK])
    looked = ledger.scans.receipts(SCOPE_ID, "github", [LAST_WEEK, THIS_WEEK])
    assert {receipt.window for receipt in looked} == {THIS_WEEK}
    assert [(receipt.stream, receipt.seen, receipt.scans) for receipt in looked] == [
        ("issues", 0, 1),
        ("pull_requests", 0, 1),
        ("reviews", 0, 1),
    ]
    assert {receipt.covered_to for receipt in looked} == {NOW}


def test_a_receipt_sums_up_all_scans_of_a_window(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run()
    github.set_clock(NOW + 4 * HOUR)
    github.replace_world(world(merged(1, NOW - HOUR), merged(2, NOW + HOUR)))
    run()
    [receipt] = [
        receipt
        for receipt in ledger.scans.receipts(SCOPE_ID, "github", [THIS_WEEK])
        if receipt.stream == "pull_requests"
    ]
    assert (receipt.scans, receipt.kept, receipt.seen, receipt.source_total) == (2, 2, 2, 2)
    assert (receipt.covered_from, receipt.covered_to) == (THIS_WEEK.start, NOW + 4 * HOUR)
    assert (receipt.first_updated_at, receipt.last_updated_at) == (NOW - HOUR, NOW + HOUR)
