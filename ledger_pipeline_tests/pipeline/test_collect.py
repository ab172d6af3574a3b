"""Collection on real Postgres from the simulated GitHub: nothing lost, nothing twice, failures kept apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable, StoreUnavailable
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.collect import ScanProgress, collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.sources.simulator.faults import After, Failure
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, World
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.port import AppendOutcome, EpochStatus
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, SCOPE_ID, instant, scope, weeks, window
from ledger_pipeline_tests.postgres import fresh_database, set_status
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review, world

NOW = instant("2026-02-18T12:00")
HOUR = timedelta(hours=1)
ALWAYS = EpochWindow(instant("2000-01-01"), instant("2100-01-01"))
THIS_WEEK = window("2026-02-16")
LAST_WEEK = window("2026-02-09")

Collect = Callable[..., CollectReport]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(World(), as_of=NOW) as simulator:
        yield simulator


@pytest.fixture
def github(running: Simulator) -> Simulator:
    running.faults.clear()
    running.set_clock(NOW)
    running.clear_requests()
    return running


@pytest.fixture
def run(github: Simulator, ledger: PostgresLedger) -> Collect:
    def collect_now(
        windows: Sequence[EpochWindow] = (THIS_WEEK,), of: Scope | None = None, page_size: int = 100, **options: object
    ) -> CollectReport:
        with github_source(github.url, page_size) as source:
            return collect(source, ledger, of or scope(NAME), windows, **options)  # type: ignore[arg-type]

    return collect_now


@pytest.fixture
def other_ledger(postgres_server: str, migrated_template: str) -> Iterator[PostgresLedger]:
    with fresh_database(postgres_server, migrated_template) as url:
        engine = make_engine(url)
        yield PostgresLedger(engine, NODE_ID)
        engine.dispose()


def stored_ids(ledger: PostgresLedger, within: EpochWindow = ALWAYS) -> list[str]:
    return [event.id for event in ledger.events(SCOPE_ID, within)]


def counts(report: CollectReport, of: EpochWindow = THIS_WEEK) -> tuple[int, int, int]:
    tally = report.tally(of, report.streams)
    return tally.seen, tally.new, tally.duplicate


def test_activity_of_the_window_is_stored_and_counted_by_stream(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    bot = replace(merged(4, NOW), author=Actor("renovate", 99, ActorKind.BOT))
    closed = issue(3, closures=(Closure(NOW - HOUR),))
    github.replace_world(world(merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR),)), bot, closed))
    report = run()
    assert [report.tally(THIS_WEEK, [stream]).new for stream in report.streams] == [1, 1, 1]
    assert report.tally(THIS_WEEK, ["pull_requests"]).skipped == {"bot": 1}
    assert report.tally(THIS_WEEK, ["pull_requests"]).seen == 2
    assert len(stored_ids(ledger)) == 3
    assert report.requests == len(github.requests) == 1


def test_collecting_again_adds_nothing_and_says_so(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW - HOUR), merged(2, NOW)))
    assert counts(run()) == (2, 2, 0)
    assert counts(run()) == (2, 0, 2)
    assert len(stored_ids(ledger)) == 2


def test_an_event_at_midnight_on_monday_belongs_to_the_week_that_begins(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    monday = THIS_WEEK.start
    github.replace_world(world(merged(1, monday), merged(2, monday - timedelta(seconds=1))))
    run([LAST_WEEK, THIS_WEEK])
    assert stored_ids(ledger, THIS_WEEK) == [f"github:pr:{NAME}:1"]
    assert stored_ids(ledger, LAST_WEEK) == [f"github:pr:{NAME}:2"]


def test_an_event_of_another_window_is_kept_and_reported(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    sunday_evening = THIS_WEEK.start - HOUR
    github.replace_world(world(merged(1, sunday_evening, touched_at=(NOW,))))
    report = run()
    assert counts(report) == (0, 0, 0)
    assert report.added_elsewhere() == {LAST_WEEK: 1}
    assert stored_ids(ledger, LAST_WEEK) == [f"github:pr:{NAME}:1"]


def test_the_cursor_is_githubs_time_at_the_start_of_the_scan(github: Simulator, run: Collect) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 4))))
    github.faults.next(After(lambda: github.set_clock(NOW + HOUR)))
    report = run(page_size=1)
    [part] = report.source_scopes
    assert {cursor.watermark for cursor in part.after.values()} == {NOW}
    assert {cursor.covered_from for cursor in part.after.values()} == {THIS_WEEK.start}
    assert part.before == {}


def test_a_covered_window_costs_no_request(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, LAST_WEEK.start + HOUR)))
    run([LAST_WEEK])
    github.clear_requests()
    report = run([LAST_WEEK])
    assert github.requests == ()
    assert report.requests == 0
    report = run([LAST_WEEK], full_refresh=True)
    assert (len(github.requests), counts(report, LAST_WEEK)) == (1, (1, 0, 1))


def test_a_backfill_of_many_windows_is_one_scan(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    windows = weeks(6, "2026-01-12")
    github.replace_world(world(*(merged(n, windows[0].start + n * 24 * HOUR) for n in range(36))))
    run([windows[-1]])
    github.clear_requests()
    report = run(windows[:-1], page_size=9)
    assert len(github.requests) == 4
    assert sum(counts(report, each)[0] for each in windows) == 36
    assert len(stored_ids(ledger)) == 36


def test_an_interrupted_scan_leaves_the_cursor_and_is_repeated_whole(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 7))))
    github.faults.next(None, Failure.BAD_GATEWAY)
    report = run(page_size=2)
    [failure] = report.failures
    assert isinstance(failure, SourceUnavailable)
    assert ledger.cursors(SCOPE_ID, "github") == {}
    assert len(stored_ids(ledger)) == 2
    assert counts(run(page_size=2)) == (6, 4, 2)


def test_a_missing_repository_fails_by_name_and_the_others_are_stored(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((repository(merged(1, NOW)), repository(merged(2, NOW), name="a/b", database_id=2))))
    report = run(of=scope(NAME, "cogni-dao/gone", "a/b"))
    [failure] = report.failures
    assert isinstance(failure, SourceRefused)
    assert failure.source_scope == "cogni-dao/gone"
    assert sorted(stored_ids(ledger)) == ["github:pr:a/b:2", f"github:pr:{NAME}:1"]
    assert {source_scope for _, source_scope in ledger.cursors(SCOPE_ID, "github")} == {NAME, "a/b"}
    assert report.complete_until(report.streams) is None


def test_a_late_event_of_a_closed_epoch_is_kept_aside_and_never_raised(
    github: Simulator, ledger: PostgresLedger, ledger_engine: Engine, run: Collect
) -> None:
    github.replace_world(world(merged(1, LAST_WEEK.start)))
    run([LAST_WEEK, THIS_WEEK])
    set_status(ledger_engine, SCOPE_ID, LAST_WEEK, EpochStatus.REVIEW)
    github.replace_world(world(merged(1, LAST_WEEK.start), merged(2, LAST_WEEK.start, touched_at=(NOW,))))
    report = run()
    assert report.tally(LAST_WEEK, report.streams).outcomes == {AppendOutcome.LATE: 1, AppendOutcome.DUPLICATE: 1}
    [rejected] = ledger.rejected(SCOPE_ID, LAST_WEEK)
    assert (rejected.event_id, rejected.reason) == (f"github:pr:{NAME}:2", AppendOutcome.LATE)


def test_an_issue_closed_again_keeps_its_first_fact_and_the_other_aside(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    once = Closure(NOW - 2 * HOUR)
    github.replace_world(world(issue(1, closures=(once,))))
    run()
    again = (replace(once, reopened_at=NOW - HOUR), Closure(NOW))
    github.replace_world(world(issue(1, closures=again)))
    report = run()
    assert report.tally(THIS_WEEK, ["issues"]).outcomes == {AppendOutcome.CONFLICT: 1}
    assert [event.event_time for event in ledger.events(SCOPE_ID, ALWAYS)] == [once.closed_at]
    assert [each.reason for each in ledger.rejected(SCOPE_ID, ALWAYS)] == [AppendOutcome.CONFLICT]


def test_a_renamed_repository_pays_nobody_twice(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW)))
    run()
    github.replace_world(World((repository(merged(1, NOW), name="cogni-dao/renamed", former_names=(NAME,)),)))
    report = run()
    assert report.tally(THIS_WEEK, report.streams).outcomes == {AppendOutcome.RENAMED: 1}
    assert stored_ids(ledger) == [f"github:pr:{NAME}:1"]


def test_an_event_updated_while_pages_are_read_is_found_by_the_next_collection(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    before = [merged(n, NOW - n * HOUR) for n in range(1, 7)]
    moved = [*before[:-1], merged(6, NOW - 6 * HOUR, touched_at=(NOW + HOUR,))]
    github.replace_world(world(*before))
    github.faults.next(After(lambda: (github.set_clock(NOW + HOUR), github.replace_world(world(*moved)))))
    assert counts(run(page_size=2)) == (5, 5, 0)
    assert counts(run(page_size=2))[1] == 1
    assert len(stored_ids(ledger)) == 6


def test_streams_can_be_collected_one_by_one_and_each_has_its_own_cursor(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW, reviews=(review(1, NOW),)), issue(2, closures=(Closure(NOW),))))
    for stream, size in (("issues", 1), ("reviews", 2), ("pull_requests", 3)):
        run(streams=[stream])
        assert len(stored_ids(ledger)) == size
        assert len(ledger.cursors(SCOPE_ID, "github")) == size


def test_epochs_are_created_for_the_windows_asked_for_and_no_others(ledger: PostgresLedger, run: Collect) -> None:
    run(weeks(3, "2026-02-02"))
    epochs = ledger.epochs(SCOPE_ID, ALWAYS)
    assert [epoch.window for epoch in epochs] == weeks(3, "2026-02-02")
    assert {epoch.status for epoch in epochs} == {EpochStatus.OPEN}
    assert epochs[0].weights_milli["github:pr_merged"] == 1000


def test_two_scopes_may_both_count_one_pull_request(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW)))
    other = scope(NAME, scope_key="other", scope_id=OTHER_SCOPE_ID)
    run()
    assert counts(run(of=other)) == (1, 1, 0)


def test_a_store_that_fails_stops_the_collection_and_moves_no_cursor(
    github: Simulator, ledger: PostgresLedger, run: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.replace_world(world(merged(1, NOW)))

    def fail(*_: object) -> None:
        raise StoreUnavailable("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append_events", fail)
        with pytest.raises(StoreUnavailable):
            run()
    assert ledger.cursors(SCOPE_ID, "github") == {}


def test_progress_is_told_page_by_page_and_ends_at_the_whole(github: Simulator, run: Collect) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 7))))
    told: list[ScanProgress] = []
    run(page_size=2, on_progress=told.append)
    assert [progress.seen for progress in told] == [2, 4, 6]
    assert [progress.fraction for progress in told] == sorted(progress.fraction for progress in told)
    assert told[-1].fraction == 1.0


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
    digests = ledger.digests(SCOPE_ID, windows)
    assert digests == other_ledger.digests(SCOPE_ID, windows)
    assert sum(digest.events for digest in digests) > 30
