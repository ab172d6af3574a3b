"""Charts of a window as PNG, for the epoch's page. Knows matplotlib, and neither Dagster nor SQL.

Matplotlib is imported when something is drawn: no other command waits for it. No pyplot: it keeps figures in
global state. The light panel is part of the picture, so that it reads the same
on a light page and on a dark one.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import CUT, plain_text
from ledger_pipeline.core.sources import StreamKind
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.contributions import Contribution, units_text
from ledger_pipeline.store.records import DayCount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PEOPLE_SHOWN = 20

_WIDTH_INCHES, _DPI = 6.0, 120
_PANEL, _INK, _QUIET_INK, _GRID = "#fbfbfa", "#1f2328", "#59636e", "#d8dbdf"
# Okabe and Ito's palette: told apart by colour-blind eyes, and by brightness alone.
_OTHERS = "#8c959f"
_STACK = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_LABELS_AT_MOST = 8
_DATES_AT_MOST = 5  # of ten characters each, beside a legend
_NAME_LENGTH = 26
_PALETTE_COLOURS = 48


def events_per_day_png(counts: Sequence[DayCount], window: EpochWindow, streams: Sequence[StreamKind]) -> bytes:
    """Stacked bars, one a day of the window (UTC), by stream: those of `streams`, each in the legend with its sum."""
    from matplotlib.ticker import MaxNLocator

    days = [window.start.date() + timedelta(n) for n in range((window.end - window.start).days)]
    events_of_type: defaultdict[str, dict[date, int]] = defaultdict(dict)
    for count in counts:
        events_of_type[count.event_type][count.day] = count.events
    figure, axes = _panel(2.5, f"Events per day (UTC), epoch {window.key}")
    bottom = [0] * len(days)
    for stream, colour in zip(streams, cycle(_STACK)):
        heights = [events_of_type[stream.event_type].get(day, 0) for day in days]
        label = f"{stream.name.replace('_', ' ')} ({sum(heights):,})"
        axes.bar(range(len(days)), heights, bottom=bottom, color=colour, label=label, width=0.8)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    step = -(-len(days) // _LABELS_AT_MOST)
    axes.set_xticks(range(0, len(days), step), [_day_label(day, len(days)) for day in days[::step]])
    axes.set_xlim(-0.6, len(days) - 0.4)
    axes.set_ylim(0, max(*bottom, 1) * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 0.985), ncols=3, frameon=False, fontsize=8, labelcolor=_INK,
        handlelength=1, handletextpad=0.4, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    return _png(figure)


def units_per_contributor_png(people: Sequence[Contribution], window: EpochWindow) -> bytes:
    """Horizontal bars, most units first: the first PEOPLE_SHOWN, and all others as one."""
    units = [(person.login, person.units_milli) for person in people]
    return _bars_png(f"Units per contributor before curation, epoch {window.key}", units, units_text, "No events.")


def credits_per_epoch_png(credits_by_epoch: Mapping[str, Mapping[str, int]]) -> bytes:
    """Stacked bars, one an epoch (by its first day), of credits: the seven users with most, and the others as one."""
    totals: defaultdict[str, int] = defaultdict(int)
    for credits_ in credits_by_epoch.values():
        for user_id, amount in credits_.items():
            totals[user_id] += amount
    ordered = sorted(totals, key=lambda user_id: (-totals[user_id], user_id))
    shown = ordered[: len(_STACK)]
    epochs = list(credits_by_epoch)
    largest = max([*(sum(credits_.values()) for credits_ in credits_by_epoch.values()), 1])
    figure, axes = _panel(3.0, "Credits per epoch and user")
    bottom = [0.0] * len(epochs)
    parts = [([user_id], _label(user_id), colour) for user_id, colour in zip(shown, _STACK, strict=False)]
    if others := ordered[len(_STACK) :]:
        parts.append((others, counted(len(others), "other"), _OTHERS))
    for users, label, colour in parts:
        # By fractions of the largest: amounts are exact integers, larger than a picture's arithmetic takes.
        heights = [sum(credits_by_epoch[epoch].get(user, 0) for user in users) / largest for epoch in epochs]
        axes.bar(range(len(epochs)), heights, bottom=bottom, color=colour, width=0.8, label=label)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    step = max(1, -(-len(epochs) // _DATES_AT_MOST))
    axes.set_xticks(range(0, len(epochs), step), epochs[::step])
    axes.set_xlim(-0.6, max(len(epochs), 1) - 0.4)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([1.0], [f"{largest:,}"])
    if parts:
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, labelcolor=_INK, handlelength=1
        )
        for label_text in legend.get_texts():
            label_text.set_parse_math(False)  # a user's id is text, whatever it holds
    else:
        axes.text(0.0, 0.5, "Nobody has units.", fontsize=9, color=_QUIET_INK, transform=axes.transAxes)
    return _png(figure)


def what_if_png(credits_of: Sequence[tuple[str, int, int]], policy: str) -> bytes:
    """Two horizontal bars a contributor, credits as they are and as they would be; the first PEOPLE_SHOWN of them."""
    shown = credits_of[:PEOPLE_SHOWN]
    figure, axes = _panel(1.0 + 0.36 * max(len(shown), 2), f"Credits as they are, and under {_label(policy)}")
    widest = max([*(max(now, then) for _, now, then in shown), 1])
    # By fractions of the widest: amounts are exact integers, larger than a picture's arithmetic takes.
    for offset, colour, label, amounts in (
        (-0.2, _OTHERS, "as they are", [now for _, now, _ in shown]),
        (0.2, _STACK[0], "as they would be", [then for _, _, then in shown]),
    ):
        places = [place + offset for place in range(len(shown))]
        axes.barh(places, [amount / widest for amount in amounts], color=colour, height=0.36, label=label)
        for place, amount in zip(places, amounts, strict=True):
            axes.text(amount / widest + 0.01, place, f"{amount:,}", va="center", fontsize=7, color=_INK)
    for tick in axes.set_yticks(range(len(shown)), [_label(name) for name, _, _ in shown]):
        tick.label1.set_parse_math(False)  # a user's id is text, whatever it holds
    axes.set_ylim(max(len(shown), 2) - 0.4, -0.6)
    axes.set_xlim(0, 1.16)
    axes.xaxis.set_visible(False)
    if shown:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 0.985), ncols=2, frameon=False, fontsize=8, labelcolor=_INK
        )
    else:
        axes.text(0.0, 0.5, "Nobody has credits.", fontsize=9, color=_QUIET_INK, transform=axes.transAxes)
    return _png(figure)


def _bars_png(title: str, amounts: Sequence[tuple[str, int]], text: Callable[[int], str], nothing: str) -> bytes:
    shown, others = list(amounts[:PEOPLE_SHOWN]), amounts[PEOPLE_SHOWN:]
    names = [_label(name) for name, _ in shown]
    values = [amount for _, amount in shown]
    colours = [_STACK[0]] * len(shown)
    if others:
        names.append(counted(len(others), "other"))
        values.append(sum(amount for _, amount in others))
        colours.append(_OTHERS)
    figure, axes = _panel(0.7 + 0.24 * max(len(names), 2), title)
    places = range(len(names))
    widest = max([*values, 1])
    # By fractions of the widest: amounts are exact integers, larger than a picture's arithmetic takes.
    axes.barh(places, [value / widest for value in values], color=colours, height=0.72)
    for place, value in zip(places, values, strict=True):
        axes.text(value / widest + 0.01, place, text(value), va="center", fontsize=8, color=_INK)
    for label in axes.set_yticks(places, names):
        label.label1.set_parse_math(False)  # a login is text, whatever it holds
    axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
    axes.set_xlim(0, 1.12)
    axes.xaxis.set_visible(False)
    if not names:
        axes.text(0.0, 0.5, nothing, fontsize=9, color=_QUIET_INK, transform=axes.transAxes)
    return _png(figure)


def _panel(height_inches: float, title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DPI, facecolor=_PANEL, layout="constrained")
    # Over the whole figure: an axes' own title starts where its labels end, and long logins would push it out.
    figure.suptitle(title, x=0.012, ha="left", fontsize=10, color=_INK)
    axes = figure.add_subplot(facecolor=_PANEL)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, colors=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    file = BytesIO()
    # A handful of colours and their shades: a palette makes it a third of the size, and metadata holds it as text.
    picture = Image.open(drawn).convert("RGB").quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE)
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _label(name: str) -> str:
    """`name` as text, with escapes for what the font has no glyph for, and without its middle where it is long."""
    shown = plain_text(name, can_show=_has_glyph)
    half = _NAME_LENGTH // 2
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[:half]}{CUT}{shown[1 - half :]}"


def _has_glyph(character: str) -> bool:
    return ord(character) in _glyphs()


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _day_label(day: date, days: int) -> str:
    return f"{day:%a} {day.day} {day:%b}" if days <= _LABELS_AT_MOST else f"{day.day} {day:%b}"
