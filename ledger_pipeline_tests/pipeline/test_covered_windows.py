"""Every epoch inside covered time has a receipt that says which scan read it, whichever epochs were asked for."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.pieces import PieceLimits, begin_scan, read_piece
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, scope, window
from ledger_pipeline_tests.pipeline.collecting import HOUR, Collect
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

CALENDAR = EpochCalendar(7)
FIRST = window("2026-02-16")
NOW = window("2026-05-04").start + 60 * HOUR
# More than any sequence covers, at both ends.
WEEKS = list(CALENDAR.windows_between(window("2026-01-05"), window("2026-06-29")))

_collections = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 4), st.integers(0, 10 * 24)), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def year() -> Iterator[tuple[Simulator, GitHubSource]]:
    """A GitHub with a merge in every week, and a source that reads it."""
    weeks = CALENDAR.windows_between(FIRST, WEEKS[-1])
    of = world(*(merged(number, week.start + HOUR) for number, week in enumerate(weeks, 1)))
    with Simulator(of, as_of=NOW) as github, github_source(github.url) as source:
        yield github, source


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_collections)
def test_an_epoch_has_a_receipt_exactly_where_it_is_covered(
    year: tuple[Simulator, GitHubSource], ledger: PostgresLedger, collections: list[tuple[int, int, int]]
) -> None:
    github, source = year
    of = scope(NAME, scope_id=uuid4())
    now = NOW
    for start, length, hours_later in collections:
        now += timedelta(hours=hours_later)
        github.set_clock(now)
        windows = WEEKS[6 + start : 7 + start + length]
        collect(source, ledger, of, [week for week in windows if week.start <= now])
    covered = {
        (week, stream)
        for (stream, _), cursor in ledger.scans.cursors(of.scope_id, source.name).items()
        for week in WEEKS
        if cursor.covered_from is not None and cursor.covered_from < week.end and week.start <= cursor.watermark
    }
    receipts = ledger.scans.receipts(of.scope_id, source.name, WEEKS)
    assert {(receipt.window, receipt.stream) for receipt in receipts} == covered
    for receipt in receipts:
        merges = FIRST.start <= receipt.window.start and receipt.window.start + HOUR <= receipt.covered_to
        assert receipt.kept == (1 if receipt.stream == "pull_requests" and merges else 0)


def test_a_scan_of_an_old_epoch_leaves_receipts_of_all_weeks_since(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    old, between = window("2026-01-12"), window("2026-01-26")
    github.replace_world(world(merged(1, between.start + HOUR)))
    run([old])
    [receipt] = [row for row in ledger.scans.receipts(SCOPE_ID, "github", [between]) if row.stream == "pull_requests"]
    assert (receipt.covered_from, receipt.scans, receipt.kept) == (old.start, 1, 1)


def test_a_scan_in_pieces_leaves_the_same_receipts(github: Simulator, ledger: PostgresLedger) -> None:
    of, old = scope(NAME), window("2026-01-12")
    weeks = list(CALENDAR.windows_between(old, window("2026-02-16")))
    github.replace_world(world(*(merged(number, week.start + HOUR) for number, week in enumerate(weeks, 1))))
    with github_source(github.url, 2) as source:
        scan = begin_scan(source, ledger, of, NAME, old, ["pull_requests"], old.start)
        while not scan.is_complete:
            scan = read_piece(source, scan, PieceLimits(1, 10**6, 10**6), lambda page: len(page.events)).scan
    finished = scan.finished("pull_requests")
    assert finished is not None
    assert [(receipt.window, receipt.seen) for receipt in finished.receipts()] == [(week, 1) for week in weeks]
