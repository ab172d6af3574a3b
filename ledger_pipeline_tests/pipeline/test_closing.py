"""Nothing lost in silence: repositories that change hands, items that come back, epochs that close too early."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.closing import closes_at, open_epochs
from ledger_pipeline.pipeline.completeness import Completeness, StreamReach
from ledger_pipeline.pipeline.coverage import SCAN_OVERLAP, plan_scan, shown_whole_at
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.finish import record
from ledger_pipeline.pipeline.pieces import PieceLimits, begin_scan, read_piece
from ledger_pipeline.pipeline.report import ScanOutcome
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, PullRequest, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, Producer
from ledger_pipeline_tests.builders import SCOPE_ID, cursor, scope
from ledger_pipeline_tests.pipeline.collecting import ALWAYS, HOUR, LAST_WEEK, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, world

DAY = timedelta(days=1)
OTHER = "cogni-dao/other"
NEW_NAME = "cogni-dao/moved"
AFTER_GRACE = THIS_WEEK.end + DAY + HOUR
NEXT_WEEK = EpochWindow(THIS_WEEK.end, THIS_WEEK.end + 7 * DAY)


def made_anew(number: int, *at: object) -> PullRequest:
    """A pull request of that number in another repository: another object."""
    return replace(merged(number, *at), database_id=8_000_000_000 + number)  # type: ignore[arg-type]


def collect_in_pieces(ledger: PostgresLedger, github: Simulator, window: EpochWindow) -> None:
    """As callers of the five activities do, the pieces as small as can be."""
    limits = PieceLimits(items=1, size=1, largest=10**9)
    with github_source(github.url, page_size=2) as source:
        ledger.epochs.ensure(SCOPE_ID, [window], scope(NAME).weights_milli)
        scan = begin_scan(source, ledger, scope(NAME), NAME, window, GITHUB_STREAMS, window.start)
        while not scan.is_complete:
            piece = read_piece(source, scan, limits, lambda _: 1)
            if piece.retrieved_at is not None:
                ledger.events.append(SCOPE_ID, piece.events, Producer("p", "1"), piece.retrieved_at)
            scan = piece.scan
        for stream in GITHUB_STREAMS:
            finished = scan.finished(stream)
            if finished is not None:
                record(ledger, SCOPE_ID, finished)


# A repository deleted and made anew under its old name.


def test_another_repository_under_the_name_is_read_from_the_oldest_open_epoch_and_reported(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run([LAST_WEEK, THIS_WEEK])
    # Older than what was covered of the one before.
    github.replace_world(world(made_anew(2, LAST_WEEK.start + HOUR), made_anew(3, NOW - 2 * HOUR), database_id=2))
    github.set_clock(NOW + HOUR)
    report = run()
    assert report.replaced == {NAME: ("1", "2")}
    assert stored_ids(ledger) == [f"github:pr:{NAME}:{number}" for number in (2, 3, 1)]
    stored = ledger.scans.cursors(SCOPE_ID, "github").values()
    assert {(row.source_scope_id, row.covered_from) for row in stored} == {("2", LAST_WEEK.start)}
    assert run().replaced == {}


@pytest.mark.parametrize("known_first", ["1", "2"])
def test_a_name_whose_streams_were_read_of_two_repositories_is_read_whole_of_the_one_that_has_it(
    github: Simulator, ledger: PostgresLedger, run: Collect, known_first: str
) -> None:
    ids = {"1": 1, "2": 2}
    [known_last] = ids.keys() - {known_first}
    unseen = issue(5, NOW - 3 * HOUR, closures=(Closure(NOW - 3 * HOUR),))
    first, last = world(unseen, database_id=ids[known_first]), world(database_id=ids[known_last])
    github.replace_world(first)
    run(streams=["pull_requests", "reviews"])
    github.replace_world(last)
    run(streams=["issues"])
    github.replace_world(first)
    github.set_clock(NOW + HOUR)
    report = run()
    assert report.replaced == {NAME: (known_last, known_first)}
    assert stored_ids(ledger) == [f"github:issue:{NAME}:5"]
    assert {stored.source_scope_id for stored in ledger.scans.cursors(SCOPE_ID, "github").values()} == {known_first}
    assert run().replaced == {}


def test_another_repository_is_never_unchanged_because_its_updates_are_old(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = scope(NAME, OTHER)
    second_repository = repository(name=OTHER, database_id=9)
    github.replace_world(World((repository(merged(1, NOW - HOUR)), second_repository)))
    run([LAST_WEEK, THIS_WEEK], of)
    github.replace_world(World((repository(made_anew(2, LAST_WEEK.start + HOUR), database_id=2), second_repository)))
    github.set_clock(NOW + HOUR)
    report = run(of=of)
    assert report.replaced == {NAME: ("1", "2")}
    assert f"github:pr:{NAME}:2" in stored_ids(ledger)


def test_an_event_whose_id_belongs_to_another_repositorys_is_kept_aside_as_replaced(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run()
    github.replace_world(world(made_anew(1, NOW), database_id=2))
    github.set_clock(NOW + HOUR)
    report = run()
    assert report.tally(THIS_WEEK, report.streams).outcomes == {AppendOutcome.REPLACED: 1}
    assert [rejection.reason for rejection in ledger.events.rejected(SCOPE_ID, ALWAYS)] == [AppendOutcome.REPLACED]


def test_a_cursor_from_before_ids_were_kept_takes_the_first_id_it_meets(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    ledger.scans.finish(
        SCOPE_ID, [cursor(NOW - HOUR, stream=stream, source_scope=NAME) for stream in GITHUB_STREAMS], NOW
    )
    github.replace_world(world(merged(1, LAST_WEEK.start), merged(2, NOW)))
    report = run()
    assert report.replaced == {}
    assert {cursor.source_scope_id for cursor in ledger.scans.cursors(SCOPE_ID, "github").values()} == {"1"}
    assert report.source_scopes[0].before["issues"].watermark == NOW - HOUR


def test_a_late_scan_of_the_repository_before_does_not_take_the_cursor_back(ledger: PostgresLedger) -> None:
    now_read = replace(cursor("2026-02-18", "2026-02-16"), source_scope_id="2")
    ledger.scans.finish(SCOPE_ID, [now_read], NOW)
    before = replace(cursor("2026-02-17", "2026-01-05"), source_scope_id="1")
    assert ledger.scans.finish(SCOPE_ID, [before], NOW) == [now_read]


# Names that pass from one collected repository to another.


@pytest.mark.parametrize("names", [(NAME, OTHER), (NAME, OTHER, NEW_NAME), (OTHER, NEW_NAME, NAME)])
def test_names_that_change_hands_lose_nothing_and_double_nothing(
    github: Simulator, ledger: PostgresLedger, run: Collect, names: tuple[str, ...]
) -> None:
    of = scope(*names)
    first, second = merged(1, NOW - 2 * HOUR), made_anew(2, NOW - 2 * HOUR)
    github.replace_world(World((repository(first), repository(second, name=OTHER, database_id=2))))
    run(of=of)
    # The first is NEW_NAME now, the second has the first's name; both got one more, before and after the change.
    third, fourth = merged(3, NOW + HOUR), made_anew(4, NOW + HOUR)
    moved = repository(first, third, name=NEW_NAME, former_names=(NAME,))
    taken = repository(second, fourth, name=NAME, database_id=2, former_names=(OTHER,))
    github.replace_world(World((moved, taken)))
    github.set_clock(NOW + 2 * HOUR)
    report = run(of=of)
    assert report.replaced == {NAME: ("1", "2")}
    objects = [event.source_object_id for event in ledger.events.within(SCOPE_ID, ALWAYS)]
    wanted = {first.database_id, second.database_id, fourth.database_id}
    wanted |= {third.database_id} if NEW_NAME in names else set()
    assert sorted(objects) == sorted(str(object_id) for object_id in wanted)
    assert ledger.events.rejected(SCOPE_ID, ALWAYS) == []


# Items that come back with their old update.


@pytest.mark.parametrize("news", [0, 1], ids=["idle", "with news"])
def test_items_that_come_back_with_their_old_update_make_the_scan_read_back(
    github: Simulator, ledger: PostgresLedger, run: Collect, news: int
) -> None:
    pull = merged(1, NOW - HOUR)
    github.replace_world(world(pull))
    run([LAST_WEEK, THIS_WEEK])
    back = (merged(2, LAST_WEEK.start + HOUR), merged(3, THIS_WEEK.start + HOUR))
    github.replace_world(world(pull, *back, *(merged(9, NOW + HOUR) for _ in range(news))))
    github.set_clock(NOW + 2 * HOUR)
    report = run()
    assert report.read_back == [NAME]
    assert len(stored_ids(ledger)) == 3 + news
    github.clear_requests()
    assert run().read_back == []
    assert len(github.requests) == 1


def test_an_item_that_comes_back_is_not_explained_by_the_update_of_another(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run([LAST_WEEK, THIS_WEEK])
    updated = merged(1, NOW - HOUR, touched_at=(NOW + HOUR,))
    github.replace_world(
        world(updated, merged(2, THIS_WEEK.start + HOUR), merged(9, NOW + HOUR, created_at=NOW + HOUR))
    )
    github.set_clock(NOW + 2 * HOUR)
    report = run()
    assert report.read_back == [NAME]
    assert f"github:pr:{NAME}:2" in stored_ids(ledger)
    # The updated one and the made one were met before the scan read back over them, and count once.
    assert report.tally(THIS_WEEK, report.streams).outcomes == {AppendOutcome.NEW: 2, AppendOutcome.DUPLICATE: 1}


def test_items_that_are_made_explain_a_total_that_grows(github: Simulator, run: Collect) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run()
    made = (merged(n, NOW + HOUR, created_at=NOW + HOUR / 2) for n in range(2, 5))
    github.replace_world(world(merged(1, NOW - HOUR), *made))
    github.set_clock(NOW + 2 * HOUR)
    github.clear_requests()
    assert run().read_back == []
    assert len(github.requests) == 1


def test_many_repositories_see_what_came_back_by_their_heads(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = scope(NAME, OTHER)
    second_repository = repository(merged(8, NOW - HOUR), name=OTHER, database_id=9)
    github.replace_world(World((repository(merged(1, NOW - HOUR)), second_repository)))
    run(of=of)
    github.replace_world(
        World((repository(merged(1, NOW - HOUR), merged(2, THIS_WEEK.start + HOUR)), second_repository))
    )
    github.set_clock(NOW + 2 * HOUR)
    report = run(of=of)
    assert report.read_back == [NAME]
    assert [scope_report.outcome for scope_report in report.source_scopes] == [
        ScanOutcome.SCANNED,
        ScanOutcome.UNCHANGED,
    ]
    assert f"github:pr:{NAME}:2" in stored_ids(ledger)


# Closing scans.


def test_an_epoch_closes_only_after_it_was_read_once_more_past_its_grace(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    seen, deleted = merged(1, NOW - HOUR), merged(2, NOW - HOUR)
    github.replace_world(world(seen, deleted))
    run()
    github.set_clock(THIS_WEEK.end + HOUR)
    run([NEXT_WEEK])
    assert close_due_epochs(ledger, scope(NAME)) == []
    # One has gone and one has come back with its old update: no total tells.
    back = merged(3, THIS_WEEK.start + HOUR)
    github.replace_world(world(seen, back))
    github.set_clock(AFTER_GRACE)
    github.clear_requests()
    run([NEXT_WEEK])
    assert len(github.requests) <= 2
    assert f"github:pr:{NAME}:3" in stored_ids(ledger, THIS_WEEK)
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [THIS_WEEK]
    whole = ledger.scans.whole_scans(SCOPE_ID, [THIS_WEEK])
    assert set(whole.values()) == {AFTER_GRACE}
    github.clear_requests()
    assert run([THIS_WEEK]).asked_nothing
    assert github.requests == ()


def test_what_comes_back_beside_an_item_made_within_the_overlap_is_found_by_the_closing_scan(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    just_before = merged(1, NOW - SCAN_OVERLAP / 2, created_at=NOW - SCAN_OVERLAP / 2)
    items = (just_before, *(merged(n, NOW - n * HOUR) for n in range(2, 6)))
    github.replace_world(world(*items))
    run(page_size=2)
    github.replace_world(world(*items, merged(9, THIS_WEEK.start + HOUR)))
    github.set_clock(NOW + 2 * HOUR)
    # The next scan reads `just_before` again and takes it for the one by which the total grew.
    assert run(page_size=2).read_back == []
    assert f"github:pr:{NAME}:9" not in stored_ids(ledger)
    assert close_due_epochs(ledger, scope(NAME)) == []
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], page_size=2)
    assert f"github:pr:{NAME}:9" in stored_ids(ledger, THIS_WEEK)
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [THIS_WEEK]


def test_a_repository_without_an_update_since_the_epochs_start_closes_by_its_head_alone(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, LAST_WEEK.start)))
    run()
    github.set_clock(AFTER_GRACE)
    github.clear_requests()
    report = run([NEXT_WEEK])
    assert [scope_report.outcome for scope_report in report.source_scopes] == [ScanOutcome.UNCHANGED]
    assert len(github.requests) == 1
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [THIS_WEEK]


def test_a_failed_repository_holds_the_epoch_open_and_the_others_are_not_read_again(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = scope(NAME, "cogni-dao/gone")
    github.replace_world(world(merged(1, NOW - HOUR)))
    run(of=of)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of)
    assert close_due_epochs(ledger, of) == []
    opened = open_epochs(ledger, of)
    assert opened.due("github", NAME, GITHUB_STREAMS, AFTER_GRACE) == []
    assert opened.due("github", "cogni-dao/gone", GITHUB_STREAMS, AFTER_GRACE) == [THIS_WEEK]


def test_a_scan_of_the_repository_before_is_no_closing_scan_of_the_one_that_took_its_name(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    run()
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK])
    github.replace_world(world(made_anew(1, THIS_WEEK.start + HOUR), database_id=2))
    github.set_clock(AFTER_GRACE + HOUR)
    run([NEXT_WEEK])
    assert stored_ids(ledger, THIS_WEEK) == [f"github:pr:{NAME}:1"]
    assert set(ledger.scans.whole_scans(SCOPE_ID, [THIS_WEEK]).values()) == {AFTER_GRACE + HOUR}


def test_scans_in_pieces_close_begin_anew_and_read_back_as_a_collection_does(
    github: Simulator, ledger: PostgresLedger
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    collect_in_pieces(ledger, github, THIS_WEEK)
    github.replace_world(world(merged(1, NOW - HOUR), merged(2, THIS_WEEK.start + HOUR)))
    github.set_clock(NOW + HOUR)
    collect_in_pieces(ledger, github, THIS_WEEK)
    assert f"github:pr:{NAME}:2" in stored_ids(ledger)
    github.replace_world(world(made_anew(5, THIS_WEEK.start + 2 * HOUR), database_id=2))
    github.set_clock(NOW + 2 * HOUR)
    collect_in_pieces(ledger, github, THIS_WEEK)
    assert f"github:pr:{NAME}:5" in stored_ids(ledger)
    github.replace_world(world(made_anew(6, THIS_WEEK.start + 2 * HOUR), database_id=2))
    github.set_clock(AFTER_GRACE)
    collect_in_pieces(ledger, github, NEXT_WEEK)
    assert f"github:pr:{NAME}:6" in stored_ids(ledger)
    assert [epoch.window for epoch in close_due_epochs(ledger, scope(NAME))] == [THIS_WEEK]


def test_covered_complete_and_closed_begin_with_the_same_moment() -> None:
    whole = shown_whole_at(THIS_WEEK)
    second = timedelta(seconds=1)
    assert whole == THIS_WEEK.end + SCAN_OVERLAP
    assert closes_at(replace(scope(NAME), auto_close_grace_hours=0), THIS_WEEK) == whole
    for watermark, is_whole in ((whole - second, False), (whole, True)):
        cursors = {"issues": cursor(watermark)}
        assert (plan_scan(["issues"], cursors, THIS_WEEK, full_refresh=False) == ()) is is_whole
        assert Completeness(THIS_WEEK, (StreamReach(NAME, "issues", watermark),)).is_complete is is_whole
