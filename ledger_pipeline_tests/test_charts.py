"""Charts as PNG: small, the same for the same numbers, and different for different ones."""

import struct
from datetime import date, timedelta
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from ledger_pipeline import charts
from ledger_pipeline.charts import (
    PEOPLE_SHOWN,
    credits_per_epoch_png,
    events_per_day_png,
    units_per_contributor_png,
    what_if_png,
)
from ledger_pipeline.core.sources import source_kind
from ledger_pipeline.pipeline.contributions import Contribution
from ledger_pipeline.store.records import DayCount
from ledger_pipeline_tests.builders import window
from ledger_pipeline_tests.hostile import HOSTILE

BYTES_AT_MOST = 40_000
WEEK = window()
STREAMS = source_kind("github").streams


def person(number: int, units_milli: int = 1000, login: str = "") -> Contribution:
    return Contribution("github", str(number), login or f"someone-{number}", 1, units_milli)


def size(png: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("days", [1, 7, 14, 28, 84])
def test_days_of_any_epoch_fit_one_picture(days: int) -> None:
    epoch = window("2026-01-05", days)
    types = ("pr_merged", "review_submitted", "issue_closed")
    counts = [
        DayCount(epoch.start.date() + timedelta(n), kind, n * 7919 % 100_000) for n in range(days) for kind in types
    ]
    png = events_per_day_png(counts, epoch, STREAMS)
    assert size(png) == (720, 300)
    assert len(png) < BYTES_AT_MOST


def test_the_same_numbers_give_the_same_picture_and_others_another() -> None:
    chart = events_per_day_png([DayCount(date(2026, 2, 17), "pr_merged", 3)], WEEK, STREAMS)
    assert chart == events_per_day_png([DayCount(date(2026, 2, 17), "pr_merged", 3)], WEEK, STREAMS)
    assert chart != events_per_day_png([DayCount(date(2026, 2, 17), "issue_closed", 3)], WEEK, STREAMS)
    assert chart != events_per_day_png([DayCount(date(2026, 2, 18), "pr_merged", 3)], WEEK, STREAMS)
    assert events_per_day_png([], WEEK, STREAMS) != chart


def test_a_thousand_contributors_are_the_first_and_the_others_in_one_bar() -> None:
    crowd = [person(number, 10_000_000 - number, "x" * 39) for number in range(1000)]
    png = units_per_contributor_png(crowd, WEEK)
    assert len(png) < BYTES_AT_MOST
    assert size(png) == size(units_per_contributor_png(crowd[: PEOPLE_SHOWN + 1], WEEK))
    assert size(png)[1] > size(units_per_contributor_png(crowd[:PEOPLE_SHOWN], WEEK))[1]


@pytest.mark.parametrize("people", [[], [person(1, 0)], [person(1, 0), person(2, 0)]], ids=len)
def test_an_epoch_without_units_has_its_picture_too(people: list[Contribution]) -> None:
    assert units_per_contributor_png(people, WEEK).startswith(b"\x89PNG")


def test_whatever_a_login_holds_is_drawn_as_text_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for first in range(0, len(HOSTILE), PEOPLE_SHOWN // 2):
        names = HOSTILE[first : first + PEOPLE_SHOWN // 2]
        long_names = [name * 40 for name in names]
        people = [person(number, login=name) for number, name in enumerate([*names, *long_names])]
        units_per_contributor_png(people, WEEK)
    assert not caplog.records  # a warning would fail the test by itself


def test_what_the_font_cannot_draw_is_told_apart() -> None:
    chart, second_chart, cut = (
        units_per_contributor_png([person(1, login=login)], WEEK)
        for login in ("\u4e2d\u6587", "\u4e2d\u5b57", "\u4e2d\u6587" * 30)
    )
    assert len({chart, second_chart, cut}) == 3


def test_long_logins_that_begin_alike_are_told_apart() -> None:
    assert units_per_contributor_png([person(1, login="x" * 38 + "1")], WEEK) != units_per_contributor_png(
        [person(1, login="x" * 38 + "2")], WEEK
    )


def test_a_login_is_text_even_where_it_looks_like_a_formula() -> None:
    assert units_per_contributor_png([person(1, login=r"$\frac{")], WEEK).startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 5, 6, 9, 47, 520])
def test_the_dates_of_epochs_stand_apart(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(charts, "_png", lambda figure: drawn.append(figure) or b"")
    mondays = [(date(2026, 1, 5) + timedelta(weeks=week)).isoformat() for week in range(epochs)]
    credits_per_epoch_png({monday: {"a-contributor-with-a-name": 10_000} for monday in mondays})
    [figure] = drawn
    figure.canvas.draw()
    dates = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert dates
    assert all(left.x1 + 4 < right.x0 for left, right in pairwise(dates))


def test_what_would_be_paid_stands_beside_what_is() -> None:
    rows = [(f"user-{number}", 1000 - number, 10**18 + number) for number in range(PEOPLE_SHOWN + 5)]
    png = what_if_png(rows, "fair-v1")
    assert len(png) < BYTES_AT_MOST
    assert png == what_if_png(rows[:PEOPLE_SHOWN], "fair-v1")
    assert png != what_if_png([(name, now, now) for name, now, _ in rows], "fair-v1")
    assert size(what_if_png([], "fair-v1"))[1] < size(png)[1]
    for name in HOSTILE:
        assert what_if_png([(name, 1, 2)], name).startswith(b"\x89PNG")
