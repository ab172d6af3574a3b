"""Scans read piece by piece: together they are one scan, and nothing is written by reading."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.errors import ConfigurationError, SourceRefused
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.finish import is_recorded, record
from ledger_pipeline.pipeline.pieces import Piece, PieceLimits, begin_scan, read_piece
from ledger_pipeline.pipeline.scan_state import ScanState
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import ScanPage
from ledger_pipeline.sources.simulator.faults import FailedAnswer, HeavyItem
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.scan_records import WindowReceipt
from ledger_pipeline_tests.builders import SCOPE_ID, cursor, instant, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, LAST_WEEK, NOW, THIS_WEEK, Collect
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, review, world

BOT = Actor("renovate", 99, ActorKind.BOT)
EVERYTHING = PieceLimits(items=10_000, size=10_000, largest=10_000)


@pytest.fixture
def source(github: Simulator) -> Iterator[GitHubSource]:
    """Ten pull requests of this week, one of a bot, two to a page."""
    items = [merged(n, NOW - n * HOUR, reviews=(review(n, NOW - n * HOUR),)) for n in range(1, 10)]
    github.replace_world(world(*items, replace(merged(10, NOW - 10 * HOUR), author=BOT)))
    with github_source(github.url, page_size=2) as source:
        yield source


def items(page: ScanPage) -> int:
    """The measure of these tests: a byte an item."""
    return len(page.events) + len(page.skipped)


def begin(
    source: GitHubSource, ledger: PostgresLedger, window: EpochWindow = THIS_WEEK, read_from: datetime = THIS_WEEK.start
) -> ScanState:
    return begin_scan(source, ledger, scope(NAME), NAME, window, GITHUB_STREAMS, read_from)


def read_all(source: GitHubSource, scan: ScanState, limits: PieceLimits) -> list[Piece]:
    pieces = [read_piece(source, scan, limits, items)]
    while not pieces[-1].scan.is_complete:
        pieces.append(read_piece(source, pieces[-1].scan, limits, items))
    return pieces


def ids(pieces: list[Piece]) -> list[str]:
    return [event.id for piece in pieces for event in piece.events]


@pytest.mark.parametrize(
    "limits",
    [
        replace(EVERYTHING, items=1),
        replace(EVERYTHING, items=5),
        replace(EVERYTHING, size=6),
        replace(EVERYTHING, largest=6),
    ],
    ids=str,
)
def test_pieces_of_any_size_are_the_whole_scan(
    source: GitHubSource, ledger: PostgresLedger, limits: PieceLimits
) -> None:
    [whole] = read_all(source, begin(source, ledger), EVERYTHING)
    pieces = read_all(source, begin(source, ledger), limits)
    assert len(pieces) > 2
    assert ids(pieces) == ids([whole])
    assert [item for piece in pieces for item in piece.skipped] == list(whole.skipped)
    assert pieces[-1].scan == whole.scan


def test_no_piece_is_larger_than_it_may_be_and_the_page_left_out_begins_the_next(
    source: GitHubSource, ledger: PostgresLedger
) -> None:
    pieces = read_all(source, begin(source, ledger), replace(EVERYTHING, largest=7))
    assert [len(piece.events) + len(piece.skipped) for piece in pieces] == [4, 4, 4, 7]


def test_what_its_end_says_is_what_a_collection_records(
    source: GitHubSource, ledger: PostgresLedger, other_ledger: PostgresLedger, run: Collect
) -> None:
    run(page_size=2)
    scan = read_all(source, begin(source, other_ledger), replace(EVERYTHING, items=3))[-1].scan
    for stream in GITHUB_STREAMS:
        finished = scan.finished(stream)
        assert finished is not None
        record(other_ledger, SCOPE_ID, finished)
    assert other_ledger.scans.cursors(SCOPE_ID, "github") == ledger.scans.cursors(SCOPE_ID, "github")
    assert [receipt.pages for receipt in _receipts(other_ledger)] == [5, 5, 5]
    spans = [
        (receipt.stream, receipt.first_updated_at, receipt.last_updated_at, receipt.source_total)
        for receipt in _receipts(ledger)
    ]
    assert spans == [
        (receipt.stream, receipt.first_updated_at, receipt.last_updated_at, receipt.source_total)
        for receipt in _receipts(other_ledger)
    ]


def test_a_scan_is_recorded_once_it_was_and_not_before(source: GitHubSource, ledger: PostgresLedger) -> None:
    finished = read_all(source, begin(source, ledger), EVERYTHING)[-1].scan.finished("reviews")
    assert finished is not None
    assert not is_recorded(ledger, SCOPE_ID, finished)
    # The cursor alone is not enough: nobody left a receipt for the window.
    ledger.scans.finish(SCOPE_ID, finished.cursors(), NOW)
    assert not is_recorded(ledger, SCOPE_ID, finished)
    record(ledger, SCOPE_ID, finished)
    assert is_recorded(ledger, SCOPE_ID, finished)
    assert not is_recorded(ledger, SCOPE_ID, replace(finished, watermark=NOW + HOUR))


def test_an_unfinished_scan_says_nothing(source: GitHubSource, ledger: PostgresLedger) -> None:
    scan = read_piece(source, begin(source, ledger), replace(EVERYTHING, items=1), items).scan
    assert (scan.is_complete, scan.finished("reviews")) == (False, None)


def test_a_covered_window_is_complete_at_once_and_says_nothing(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger, run: Collect
) -> None:
    run([LAST_WEEK])
    github.clear_requests()
    scan = begin(source, ledger, LAST_WEEK, LAST_WEEK.start)
    assert read_piece(source, scan, EVERYTHING, items) == Piece(scan)
    assert (scan.is_complete, scan.coverage, scan.finished("issues")) == (True, (), None)
    assert github.requests == ()


def test_a_page_that_no_piece_can_hold_is_an_operators_matter(source: GitHubSource, ledger: PostgresLedger) -> None:
    with pytest.raises(ConfigurationError, match="lower GITHUB_PAGE_SIZE"):
        read_piece(source, begin(source, ledger), replace(EVERYTHING, largest=3), items)


def test_a_scan_put_aside_for_days_begins_again_from_the_front(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger
) -> None:
    scan = read_piece(source, begin(source, ledger), replace(EVERYTHING, items=1), items).scan
    later = NOW + timedelta(hours=51)
    github.set_clock(later)
    piece = read_piece(source, scan, EVERYTHING, items)
    assert (piece.scan.watermark, piece.scan.pages) == (later, 5)
    assert len(piece.events) + len(piece.skipped) == 19


def test_what_moves_to_the_front_between_two_pieces_is_left_to_the_next_scan_and_nothing_is_lost(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger
) -> None:
    first = read_piece(source, begin(source, ledger), replace(EVERYTHING, items=1), items)
    repository = github.world.repositories[0]
    oldest = replace(repository.pull_requests[8], touched_at=(NOW + HOUR,))
    moved = (*repository.pull_requests[:8], oldest, repository.pull_requests[9])
    github.replace_world(World((replace(repository, pull_requests=moved),)))
    github.set_clock(NOW + 2 * HOUR)
    rest = read_all(source, first.scan, EVERYTHING)
    assert rest[-1].scan.watermark == NOW
    assert f"github:pr:{NAME}:9" not in ids([first, *rest])
    for stream in GITHUB_STREAMS:
        finished = rest[-1].scan.finished(stream)
        assert finished is not None
        record(ledger, SCOPE_ID, finished)
    assert f"github:pr:{NAME}:9" in ids(read_all(source, begin(source, ledger, read_from=NOW), EVERYTHING))


@pytest.mark.parametrize(
    ("read_from", "floor"),
    [
        ("2026-02-18T12:00", "2026-02-18T10:50"),
        ("2026-02-18T11:00", "2026-02-18T10:50"),
        ("2026-02-17T00:00", "2026-02-16T23:50"),
        ("2026-02-01T00:00", "2026-01-31T23:50"),
        ("0001-01-01T00:00", "1970-01-01T23:50"),
    ],
)
def test_who_asks_can_only_have_it_read_more(
    source: GitHubSource, ledger: PostgresLedger, read_from: str, floor: str
) -> None:
    stored = [cursor(NOW - HOUR, "2026-02-16", stream=stream, source_scope=NAME) for stream in GITHUB_STREAMS]
    ledger.scans.finish(SCOPE_ID, stored, NOW)
    scan = begin(source, ledger, read_from=instant(read_from))
    assert {coverage.floor for coverage in scan.coverage} == {instant(floor)}
    assert {coverage.covered_from for coverage in scan.coverage} == {NOW - HOUR}


def _receipts(ledger: PostgresLedger) -> list[WindowReceipt]:
    return ledger.scans.receipts(SCOPE_ID, "github", [THIS_WEEK])


def test_items_in_a_row_that_nobody_can_list_stop_no_scan_in_pieces(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 31))))
    for number in range(3, 28):
        github.faults.for_repository(NAME, HeavyItem(number, is_unlisted=True))
    pieces = read_all(source, begin(source, ledger), EVERYTHING)
    assert {f"github:pr:{NAME}:{number}" for number in (1, 2, 28, 29, 30)} <= set(ids(pieces))
    assert {item.key for item in pieces[-1].scan.unread} == {ItemKey("pull_request", 0)}
    assert len(pieces) < 6


def test_what_fails_behind_a_page_that_was_read_is_for_the_next_piece(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger
) -> None:
    scan = begin(source, ledger)
    github.faults.when(lambda asked: asked.number > 2, FailedAnswer.NOT_FOUND)
    piece = read_piece(source, scan, EVERYTHING, items)
    assert (piece.scan.pages > 0, piece.scan.is_complete) == (True, False)
    with pytest.raises(SourceRefused):
        read_piece(source, piece.scan, EVERYTHING, items)


def test_what_a_scan_in_pieces_reads_twice_to_read_back_counts_once_in_its_receipts(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(merged(1, NOW - HOUR)))
    run([LAST_WEEK, THIS_WEEK])
    updated = merged(1, NOW - HOUR, touched_at=(NOW + HOUR,))
    came_back, made = merged(2, THIS_WEEK.start + HOUR), merged(9, NOW + HOUR, created_at=NOW + HOUR)
    github.replace_world(world(updated, came_back, made))
    github.set_clock(NOW + 2 * HOUR)
    scan = read_all(source, begin(source, ledger, read_from=NOW), EVERYTHING)[-1].scan
    assert scan.back_to is None, "it has read back"
    assert scan.sightings[THIS_WEEK]["pull_requests"].seen == 3


def test_what_came_back_is_noticed_although_a_scan_in_pieces_began_again_from_the_front(
    github: Simulator, source: GitHubSource, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 9))))
    run([LAST_WEEK, THIS_WEEK])
    updated = [merged(n, NOW - n * HOUR, touched_at=(NOW + HOUR,)) for n in range(1, 5)]
    came_back = merged(50, THIS_WEEK.start + HOUR)
    github.replace_world(world(*updated, *(merged(n, NOW - n * HOUR) for n in range(5, 9)), came_back))
    github.set_clock(NOW + 2 * HOUR)
    first = read_piece(source, begin(source, ledger, read_from=NOW), replace(EVERYTHING, items=1), items)
    github.set_clock(NOW + 53 * HOUR)
    rest = read_all(source, first.scan, EVERYTHING)
    for stream in GITHUB_STREAMS:
        finished = rest[-1].scan.finished(stream)
        assert finished is not None
        record(ledger, SCOPE_ID, finished)
    following = read_all(source, begin(source, ledger, read_from=NOW), EVERYTHING)
    assert f"github:pr:{NAME}:50" in ids([first, *rest, *following])
