"""Which streams have to be read for a window, from where, and what that covers."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.coverage import (
    SCAN_OVERLAP,
    can_go_on,
    is_unchanged,
    plan_scan,
    reads_back,
)
from ledger_pipeline.sources.port import Head
from ledger_pipeline.store.scan_records import StreamCoverage
from ledger_pipeline_tests.builders import cursor, instant, window

STREAM = "pull_requests"
WANTED = window("2026-02-16")
SECOND = timedelta(seconds=1)


def plan(
    watermark: str | None = None, covered_from: str | None = "2026-01-05", **options: bool
) -> list[StreamCoverage]:
    cursors = {} if watermark is None else {STREAM: cursor(watermark, covered_from)}
    return plan_scan([STREAM], cursors, WANTED, full_refresh=options.get("full_refresh", False))


def test_a_stream_never_read_is_read_from_the_start_of_the_window() -> None:
    [planned] = plan()
    assert planned.covered_from == WANTED.start
    assert planned.floor == WANTED.start - SCAN_OVERLAP


def test_a_cursor_of_unknown_coverage_counts_as_never_read() -> None:
    [planned] = plan("2026-03-01", None)
    assert planned.covered_from == WANTED.start


def test_a_covered_window_is_not_read_again() -> None:
    assert plan("2026-02-24") == ()


def test_a_window_is_covered_only_once_the_watermark_is_past_its_end_by_the_overlap() -> None:
    end = WANTED.end + SCAN_OVERLAP
    at_the_end = {STREAM: cursor(end)}
    assert plan_scan([STREAM], at_the_end, WANTED, full_refresh=False) == ()
    just_before = {STREAM: cursor(end - SECOND)}
    [planned] = plan_scan([STREAM], just_before, WANTED, full_refresh=False)
    assert planned.floor == end - SECOND - SCAN_OVERLAP


def test_a_running_window_is_read_on_from_the_cursor_with_the_overlap() -> None:
    [planned] = plan("2026-02-18T12:00")
    assert planned.floor == instant("2026-02-18T12:00") - timedelta(minutes=10)
    assert planned.covered_from == instant("2026-02-18T12:00")


def test_a_window_before_the_coverage_is_read_from_its_start() -> None:
    [planned] = plan("2026-03-01", "2026-02-20")
    assert planned.covered_from == WANTED.start


def test_a_window_after_the_cursor_is_read_from_the_cursor_so_that_no_hole_is_left() -> None:
    [planned] = plan("2026-01-20")
    assert planned.covered_from == instant("2026-01-20")


def test_a_full_refresh_reads_a_covered_window_again_from_its_start() -> None:
    [planned] = plan("2026-03-01", full_refresh=True)
    assert planned.covered_from == WANTED.start


def test_a_full_refresh_of_a_window_after_the_cursor_leaves_no_hole_either() -> None:
    [planned] = plan("2026-01-20", full_refresh=True)
    assert planned.covered_from == instant("2026-01-20")


def test_streams_are_planned_one_by_one() -> None:
    cursors = {"issues": cursor("2026-03-01", stream="issues")}
    planned = plan_scan(["pull_requests", "reviews", "issues"], cursors, WANTED, full_refresh=False)
    assert [coverage.stream for coverage in planned] == ["pull_requests", "reviews"]


instants = st.integers(0, 400).map(lambda hours: instant("2026-01-05") + timedelta(hours=hours * 7))


@given(instants, instants, instants, instants, st.booleans())
def test_whatever_was_covered_the_scan_touches_it_and_reaches_the_window(
    any_instant: object, any_other: object, start: object, end: object, full_refresh: bool
) -> None:
    covered_from, watermark = sorted([any_instant, any_other])  # type: ignore[type-var]
    first, last = sorted([start, end])  # type: ignore[type-var]
    wanted = EpochWindow(first, last + SECOND)
    stored_cursor = cursor(watermark, covered_from)
    for planned in plan_scan([STREAM], {STREAM: stored_cursor}, wanted, full_refresh=full_refresh):
        assert planned.covered_from <= stored_cursor.watermark
        assert min(planned.covered_from, covered_from) <= wanted.start
        assert planned.floor < planned.covered_from


FLOOR = instant("2026-02-18T12:00") - SCAN_OVERLAP
NEWS = [StreamCoverage(stream, FLOOR, FLOOR + SCAN_OVERLAP) for stream in ("pull_requests", "reviews", "issues")]


def head(pull_requests: object, issues: object) -> Head:
    return Head({"pull_requests": pull_requests, "issues": issues}, {"pull_requests": 1, "issues": 1})  # type: ignore[dict-item]


def test_a_source_scope_whose_newest_update_is_before_the_floor_is_unchanged() -> None:
    before = FLOOR - SECOND
    assert is_unchanged(head(before, before), NEWS)
    assert is_unchanged(head(None, None), NEWS)
    assert not is_unchanged(head(FLOOR, before), NEWS)
    assert not is_unchanged(head(before, FLOOR), NEWS)


def test_reviews_have_changed_when_their_pull_requests_have() -> None:
    reviews = [plan for plan in NEWS if plan.stream == "reviews"]
    assert not is_unchanged(head(FLOOR, None), reviews)
    assert is_unchanged(head(None, FLOOR), reviews)


def test_only_news_reads_no_further_back_than_the_cursor() -> None:
    cursors = {"pull_requests": cursor("2026-02-18T12:00")}
    assert not reads_back(NEWS[:1], cursors)
    assert reads_back([StreamCoverage("pull_requests", FLOOR, instant("2026-02-01"))], cursors)
    assert reads_back(NEWS, cursors)


def test_a_scan_is_gone_on_with_only_by_one_that_reads_all_of_it_and_no_further() -> None:
    assert can_go_on(NEWS, tuple(reversed(NEWS)))
    assert can_go_on(NEWS[:1], NEWS)
    assert not can_go_on((), NEWS)
    assert not can_go_on(NEWS, NEWS[:2])
    assert not can_go_on(NEWS, [StreamCoverage(news.stream, FLOOR - SECOND, FLOOR) for news in NEWS])
