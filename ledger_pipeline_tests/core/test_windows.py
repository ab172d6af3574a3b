"""Epoch windows tile all time from one anchor, half-open, exactly as the system we join has them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import WindowError
from ledger_pipeline.core.windows import (
    EPOCH_ANCHOR,
    EpochCalendar,
    EpochWindow,
    iso_millis,
    parse_epoch_key,
    span,
)
from ledger_pipeline_tests.builders import instant, weeks, window

SUPPORTED_DAYS = (1, *range(7, 85, 7))
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)

calendars = st.sampled_from(SUPPORTED_DAYS).map(EpochCalendar)
# A year is left at both ends of what datetime can say, for the windows around the instant.
instants = st.datetimes(
    datetime(2, 1, 1),  # noqa: DTZ001 (hypothesis adds the time zone)
    datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.timezones() | st.timedeltas(-DAY + MICROSECOND, DAY - MICROSECOND).map(timezone),
)
days = st.dates(date(2, 1, 1), date(9998, 12, 31))


def at_midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# The contract.


def test_windows_are_those_of_the_system_we_join(shared: Path) -> None:
    rows = json.loads((shared / "golden" / "windows.json").read_text())
    assert {row["epochLengthDays"] for row in rows} == {7, 14, 21, 28, 56, 84}
    for row in rows:
        containing = EpochCalendar(row["epochLengthDays"]).window_at(datetime.fromisoformat(row["asOf"]))
        assert (iso_millis(containing.start), iso_millis(containing.end)) == (
            row["periodStartIso"],
            row["periodEndIso"],
        ), row


def test_the_anchor_is_a_monday_and_starts_a_window_of_every_length() -> None:
    assert at_midnight(date(2026, 1, 5)) == EPOCH_ANCHOR
    assert EPOCH_ANCHOR.isoweekday() == 1
    for length in SUPPORTED_DAYS:
        assert EpochCalendar(length).window_at(EPOCH_ANCHOR) == EpochWindow(EPOCH_ANCHOR, EPOCH_ANCHOR + length * DAY)


@pytest.mark.parametrize(
    ("length", "when", "start", "end"),
    [
        (7, "2026-02-16T00:00:00", "2026-02-16", "2026-02-23"),
        (7, "2026-02-22T23:59:59.999999", "2026-02-16", "2026-02-23"),
        (7, "2026-02-23T00:00:00", "2026-02-23", "2026-03-02"),
        (7, "2026-01-04T23:59:59.999999", "2025-12-29", "2026-01-05"),
        (14, "2026-01-04T00:00:00", "2025-12-22", "2026-01-05"),
        (84, "2026-01-04T23:59:59.999999", "2025-10-13", "2026-01-05"),
        (1, "2024-02-29T12:00:00", "2024-02-29", "2024-03-01"),
        (7, "1969-12-31T23:59:59", "1969-12-29", "1970-01-05"),
    ],
)
def test_an_instant_at_the_end_belongs_to_the_next_window(length: int, when: str, start: str, end: str) -> None:
    assert EpochCalendar(length).window_at(instant(when)) == EpochWindow(instant(start), instant(end))


@pytest.mark.parametrize(
    ("when", "first_day"),
    [
        ("2026-02-23T00:30:00+01:00", "2026-02-16"),  # still Sunday in UTC
        ("2026-02-22T23:30:00-05:00", "2026-02-23"),
        ("2026-02-23T13:59:59.999999+14:00", "2026-02-16"),
        ("2026-02-23T14:00:00+14:00", "2026-02-23"),
    ],
)
def test_the_window_is_decided_in_utc_whatever_the_time_zone_given(when: str, first_day: str) -> None:
    assert EpochCalendar(7).window_at(datetime.fromisoformat(when)) == window(first_day)


# The laws.


@given(calendars, instants)
def test_every_instant_lies_in_exactly_one_window(calendar: EpochCalendar, when: datetime) -> None:
    containing = calendar.window_at(when)
    before = calendar.window_at(containing.start - MICROSECOND)
    after = calendar.window_at(containing.end)
    assert when in containing
    assert when not in before
    assert when not in after


@given(calendars, instants)
def test_windows_tile_without_gap_or_overlap(calendar: EpochCalendar, when: datetime) -> None:
    containing = calendar.window_at(when)
    before = calendar.window_at(containing.start - MICROSECOND)
    after = calendar.window_at(containing.end)
    assert containing.end - containing.start == calendar.length
    assert before.end == containing.start
    assert containing.end == after.start
    for inside in (containing.start, containing.start + MICROSECOND, containing.end - MICROSECOND):
        assert calendar.window_at(inside) == containing


@given(calendars, instants)
def test_windows_start_at_midnight_utc_a_whole_number_of_lengths_from_the_anchor(
    calendar: EpochCalendar, when: datetime
) -> None:
    start = calendar.window_at(when).start
    assert start.tzinfo is UTC
    assert (start - EPOCH_ANCHOR) % calendar.length == timedelta(0)


@given(calendars, instants, st.timezones())
def test_the_same_instant_in_another_time_zone_has_the_same_window(
    calendar: EpochCalendar, when: datetime, zone: timezone
) -> None:
    assert calendar.window_at(when.astimezone(zone)) == calendar.window_at(when)


@given(calendars, days)
def test_window_starting_accepts_exactly_the_starts_and_names_the_neighbours(
    calendar: EpochCalendar, day: date
) -> None:
    holding = calendar.window_at(at_midnight(day))
    if at_midnight(day) == holding.start:
        assert calendar.window_starting(day) == holding
    else:
        with pytest.raises(WindowError, match=f"{day}.* {holding.start.date()} and {holding.end.date()}"):
            calendar.window_starting(day)


@given(calendars, instants, st.integers(0, 60))
def test_windows_between_lists_each_window_once_oldest_first(
    calendar: EpochCalendar, when: datetime, steps: int
) -> None:
    first = calendar.window_at(when.replace(year=2026, day=1))
    last = calendar.window_at(first.start + steps * calendar.length)
    listed = list(calendar.windows_between(first, last))
    assert listed == [calendar.window_at(first.start + step * calendar.length) for step in range(steps + 1)]


def test_there_is_nothing_between_a_window_and_an_earlier_one() -> None:
    assert list(EpochCalendar(7).windows_between(window("2026-02-23"), window("2026-02-16"))) == []


# What is refused.


@pytest.mark.parametrize("length", SUPPORTED_DAYS)
def test_a_day_and_whole_weeks_up_to_twelve_are_supported(length: int) -> None:
    assert EpochCalendar(length).length == length * DAY


@pytest.mark.parametrize("length", [0, -1, -7, 2, 6, 8, 13, 30, 83, 85, 91, 365, 10**100])
def test_any_other_length_is_refused_with_the_reason(length: int) -> None:
    with pytest.raises(WindowError, match=rf"{length} days .*1, or a multiple of 7 up to 84.*same weekday"):
        EpochCalendar(length)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(WindowError, match="2026-02-16T12:00:00 has no time zone"):
        EpochCalendar(7).window_at(datetime(2026, 2, 16, 12))  # noqa: DTZ001 (the point)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_a_window_that_leaves_the_years_python_knows_is_refused(day: date) -> None:
    with pytest.raises(WindowError, match="leaves the years 1 to 9999"):
        EpochCalendar(56).window_starting(day)


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("2026-02-16T00:00:00", "2026-02-23T00:00:00+00:00", "2026-02-16T00:00:00 is not in UTC"),
        ("2026-02-16T00:00:00+00:00", "2026-02-23T00:00:00", "2026-02-23T00:00:00 is not in UTC"),
        ("2026-02-16T00:00:00+01:00", "2026-02-23T00:00:00+01:00", "not in UTC"),
        ("2026-02-16T00:00:00+00:00", "2026-02-16T00:00:00+00:00", "not after its start"),
        ("2026-02-23T00:00:00+00:00", "2026-02-16T00:00:00+00:00", "not after its start"),
    ],
)
def test_a_window_is_in_utc_and_ends_after_it_starts(start: str, end: str, reason: str) -> None:
    with pytest.raises(WindowError, match=reason.replace("+", r"\+")):
        EpochWindow(datetime.fromisoformat(start), datetime.fromisoformat(end))


# Keys, spans, spelling.


@given(days)
def test_a_date_written_as_iso_is_an_epoch_key(day: date) -> None:
    assert parse_epoch_key(day.isoformat()) == day


@given(calendars, instants)
def test_a_windows_key_leads_back_to_it(calendar: EpochCalendar, when: datetime) -> None:
    containing = calendar.window_at(when)
    assert calendar.window_starting(parse_epoch_key(containing.key)) == containing


@pytest.mark.parametrize(
    "key",
    [
        "",
        "default",
        "2026-2-16",
        "16-02-2026",
        "2026-02-30",
        "2026-02-16T00:00:00",
        "2026-02-16 ",
        "26-02-16",
        "2026/02/16",
    ],
)
def test_what_is_not_a_date_is_no_epoch_key(key: str) -> None:
    with pytest.raises(WindowError, match="is not a date: give the epoch's first day, as 2026-02-16"):
        parse_epoch_key(key)


@pytest.mark.parametrize("key", ["20260216", "2026-W08-1", "2026W081"])
def test_a_date_spelt_in_another_way_is_refused_with_the_right_spelling(key: str) -> None:
    with pytest.raises(WindowError, match=f"{key!r}: write it as 2026-02-16"):
        parse_epoch_key(key)


@given(st.text(max_size=12))
def test_an_epoch_key_is_a_date_in_one_spelling_or_refused(key: str) -> None:
    try:
        day = parse_epoch_key(key)
    except WindowError:
        return
    assert day.isoformat() == key


def test_a_span_reaches_from_the_first_start_to_the_last_end_in_any_order() -> None:
    first, second, third = weeks(3)
    assert span([second]) == second
    assert span([third, first]) == EpochWindow(first.start, third.end)
    assert span([window("2026-01-05", days=84), second]) == window("2026-01-05", days=84)


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("2026-02-16T00:00:00+00:00", "2026-02-16T00:00:00.000Z"),
        ("2026-02-16T00:00:00.007999+00:00", "2026-02-16T00:00:00.007Z"),
        ("2026-02-16T01:00:00+01:00", "2026-02-16T00:00:00.000Z"),
    ],
)
def test_an_instant_is_written_as_the_system_we_join_writes_it(when: str, text: str) -> None:
    assert iso_millis(datetime.fromisoformat(when)) == text
