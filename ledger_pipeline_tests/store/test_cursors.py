"""Cursors: watermarks only move forward, coverage only grows, and never claims what no scan read."""

from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.scan_records import Cursor
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID, SCOPE_ID, cursor, instant

NOW = instant("2026-02-18")


def advance(ledger: PostgresLedger, scan: Cursor) -> Cursor:
    """What the ledger holds after one finished scan."""
    (stored,) = ledger.scans.finish(SCOPE_ID, [scan], NOW)
    assert ledger.scans.cursors(SCOPE_ID, "github")[scan.stream, scan.source_scope] == stored
    return stored


def test_the_first_scan_is_stored_as_it_is(ledger: PostgresLedger) -> None:
    scan = cursor("2026-02-17", "2026-01-05")
    assert advance(ledger, scan) == scan


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(("2026-02-18", "2026-02-16"), ("2026-02-18", "2026-02-10"), id="later, overlapping"),
        pytest.param(("2026-02-18", "2026-02-17"), ("2026-02-18", "2026-02-10"), id="later, touching"),
        pytest.param(("2026-02-17", "2026-01-05"), ("2026-02-17", "2026-01-05"), id="reaches further back"),
        pytest.param(("2026-02-10", "2026-01-05"), ("2026-02-17", "2026-01-05"), id="earlier, touching"),
        pytest.param(("2026-02-12", "2026-02-11"), ("2026-02-17", "2026-02-10"), id="within what is covered"),
        pytest.param(("2026-02-20", "2026-01-05"), ("2026-02-20", "2026-01-05"), id="around what is covered"),
        pytest.param(("2026-02-20", "2026-02-18"), ("2026-02-17", "2026-02-10"), id="after a gap"),
        pytest.param(("2026-02-09", "2026-01-05"), ("2026-02-17", "2026-02-10"), id="before a gap"),
    ],
)
def test_a_scan_joins_what_it_touches_and_no_more(
    ledger: PostgresLedger, scan: tuple[str, str], expected: tuple[str, str]
) -> None:
    advance(ledger, cursor("2026-02-17", "2026-02-10"))
    assert advance(ledger, cursor(*scan)) == cursor(*expected)


@pytest.mark.parametrize("watermark", ["2026-02-17", "2026-01-01"])
def test_an_inherited_cursor_gives_way_to_the_first_scan(
    ledger: PostgresLedger, ledger_engine: Engine, watermark: str
) -> None:
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO source_cursors
                    (node_id, scope_id, source, stream, source_scope, cursor_value, retrieved_at)
                VALUES (:node, :scope, 'github', 'pull_requests', 'cogni-dao/cogni', '2026-02-01Z', '2026-02-01Z')
            """),
            {"node": ledger.node_id, "scope": SCOPE_ID},
        )
    assert list(ledger.scans.cursors(SCOPE_ID, "github").values()) == [cursor("2026-02-01", None)]
    scan = cursor(watermark, "2025-12-01")
    assert advance(ledger, scan) == scan


def test_many_cursors_come_back_in_the_order_given(ledger: PostgresLedger) -> None:
    scans = [
        cursor("2026-02-17", stream=stream, source_scope=repo)
        for repo in ("z/z", "a/a")
        for stream in ("reviews", "issues")
    ]
    assert ledger.scans.finish(SCOPE_ID, scans, NOW) == scans
    assert ledger.scans.finish(SCOPE_ID, [], NOW) == []
    assert ledger.scans.cursors(SCOPE_ID, "github") == {(scan.stream, scan.source_scope): scan for scan in scans}


def test_scopes_sources_and_nodes_have_cursors_of_their_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    advance(ledger, cursor("2026-02-17"))
    assert ledger.scans.cursors(SCOPE_ID, "gitlab") == {}
    assert ledger.scans.cursors(OTHER_SCOPE_ID, "github") == {}
    assert PostgresLedger(ledger_engine, OTHER_SCOPE_ID).scans.cursors(SCOPE_ID, "github") == {}


@pytest.mark.parametrize(
    "scans",
    [
        pytest.param([cursor("2026-02-17", None)], id="coverage unknown"),
        pytest.param([cursor("2026-02-17", "2026-02-18")], id="covers nothing"),
        pytest.param([cursor("2026-02-17"), cursor("2026-02-18")], id="twice the same stream"),
    ],
)
def test_what_is_no_finished_scan_is_refused(ledger: PostgresLedger, scans: list[Cursor]) -> None:
    with pytest.raises(ValueError, match="finished scan"):
        ledger.scans.finish(SCOPE_ID, scans, NOW)
    assert ledger.scans.cursors(SCOPE_ID, "github") == {}


FRESH = count(1)
START = datetime.fromisoformat("2026-01-05T00:00:00+00:00")
SCANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=6)


@given(scans=SCANS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_scans_moves_forward_and_claims_only_what_was_scanned(
    ledger: PostgresLedger, scans: list[tuple[int, int]]
) -> None:
    source_scope = f"owner/repo-{next(FRESH)}"
    scanned: set[int] = set()
    before: Cursor | None = None
    for first, length in scans:
        scanned.update(range(first, first + length))
        scan = cursor(
            START + timedelta(hours=first + length), START + timedelta(hours=first), source_scope=source_scope
        )
        after = advance(ledger, scan)
        assert after.covered_from is not None
        hours = range(
            (after.covered_from - START) // timedelta(hours=1), (after.watermark - START) // timedelta(hours=1)
        )
        assert scanned.issuperset(hours)
        if before is not None:
            assert before.covered_from is not None
            assert after.watermark >= before.watermark
            assert after.covered_from <= before.covered_from
        before = after
