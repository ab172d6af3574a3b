"""What stands in the way of an epoch, and the way out: an epoch length that was changed, nearly always."""

from collections.abc import Sequence
from datetime import datetime

from ledger_pipeline.core.errors import EpochOverlap, WindowError
from ledger_pipeline.core.windows import EPOCH_ANCHOR, EpochCalendar, EpochWindow


def epoch_overlap(
    window: EpochWindow, stored: Sequence[EpochWindow], name: str, overlapping: EpochWindow
) -> EpochOverlap:
    """The refusal of `window`, part of which an epoch `overlapping`, called `name`, covers; with the way out, if any.

    `stored` are all epochs the scope has: their last one says from which day on epochs of another length can be.
    """
    problem = f"no epoch {_days(window)}: {name}, {_days(overlapping)}, covers part of it"
    try:
        calendar = _calendar(window)
    except WindowError:
        return EpochOverlap(problem)
    ways = "; or ".join([*_back(calendar, stored), *_onwards(calendar, stored)])
    return EpochOverlap(f"{problem}. {ways[0].upper()}{ways[1:]}" if ways else problem)


def _back(calendar: EpochCalendar, stored: Sequence[EpochWindow]) -> list[str]:
    """To the length of the last epoch, where it is another."""
    try:
        last = _calendar(max(stored)) if stored else calendar
    except WindowError:
        return []
    return [f"put epoch_length_days back to {last.length_days}"] if last != calendar else []


def _onwards(calendar: EpochCalendar, stored: Sequence[EpochWindow]) -> list[str]:
    """To the new length, from the first day on that neither cuts an epoch of another calendar nor precedes one."""
    others = [epoch for epoch in stored if calendar.window_at(epoch.start) != epoch]
    if not others:
        return []
    end = max(others).end
    first = _first_start(calendar, end)
    advice = f"for epochs of {calendar.length_days} days set activity_ledger.first_epoch to {first.date()}"
    if first == end:
        return [advice]
    gap = f"{advice}, which leaves {end.date()} to {first.date()} in no epoch"
    try:
        old = _calendar(max(others))
    except WindowError:
        return [gap]
    # Where windows of both lengths start. Lengths are whole weeks or a day, so there is one before long.
    whole = first
    while old.window_at(whole).start != whole:
        whole += calendar.length
    until = f"epochs of {old.length_days} days are collected up to"
    if whole == first:
        return [f"{gap} unless {until} there first"]
    return [f"{gap}, or to {whole.date()} once {until} there, which leaves none"]


def _calendar(window: EpochWindow) -> EpochCalendar:
    """The calendar `window` is of. Raises WindowError where it is of none."""
    calendar = EpochCalendar((window.end - window.start).days)
    if calendar.window_at(window.start) != window:
        raise WindowError(f"{_days(window)} is not an epoch from {EPOCH_ANCHOR.date()} on")
    return calendar


def _first_start(calendar: EpochCalendar, instant: datetime) -> datetime:
    """The first start of a window at `instant` or after."""
    window = calendar.window_at(instant)
    return window.start if window.start == instant else window.end


def _days(window: EpochWindow) -> str:
    return f"{window.key} to {window.end.date()}"
