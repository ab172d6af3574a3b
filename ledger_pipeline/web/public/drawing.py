"""Bars of credits per epoch, as places in a picture: templates draw them, and style sheets give them their colours."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720.0, 140.0
_FILLED = 0.8  # of a bar's place
_WIDEST = 44.0


@dataclass(frozen=True)
class Amounts:
    """What one bar stands for: the epoch's first day, credits that users have, and credits that are reserved."""

    day: str
    paid: int
    reserved: int = 0


@dataclass(frozen=True)
class Bar:
    """A bar from the ground up: what is reserved stands on what is paid. `title` says both in words."""

    x: str
    width: str
    paid_y: str
    paid_height: str
    reserved_y: str
    reserved_height: str
    title: str


@dataclass(frozen=True)
class Chart:
    """Bars, oldest first, days under them, and the largest amount, which is as high as the picture.

    `line` are the points of the running total, empty where it is not drawn.
    """

    bars: Sequence[Bar]
    days: Sequence[str]
    largest: int
    line: str
    has_paid: bool
    has_reserved: bool


def chart(amounts: Sequence[Amounts], *, running_total: bool = False) -> Chart:
    """The bars of `amounts`, oldest first; with a line of their running total, where asked, on a scale of its own."""
    largest = max((amount.paid + amount.reserved for amount in amounts), default=0)
    place = WIDTH / max(len(amounts), 1)
    width = min(place * _FILLED, _WIDEST)
    bars = []
    for number, amount in enumerate(amounts):
        # By fractions of the largest: amounts are exact integers, larger than a picture's arithmetic takes.
        paid = HEIGHT * (amount.paid / largest) if largest else 0.0
        reserved = HEIGHT * (amount.reserved / largest) if largest else 0.0
        title = f"{amount.day}: {amount.paid + amount.reserved:,} credits"
        bars.append(
            Bar(
                x=_place((number + 0.5) * place - width / 2),
                width=_place(width),
                paid_y=_place(HEIGHT - paid),
                paid_height=_place(paid),
                reserved_y=_place(HEIGHT - paid - reserved),
                reserved_height=_place(reserved),
                title=f"{title}, {amount.reserved:,} of them reserved" if amount.reserved else title,
            )
        )
    # The middle one is in the middle where there is one.
    shown = [0, len(amounts) // 2, -1] if len(amounts) % 2 else [0, -1]
    return Chart(
        bars,
        list(dict.fromkeys(amounts[number].day for number in shown)) if amounts else [],
        largest,
        _line(amounts, place) if running_total else "",
        has_paid=any(amount.paid for amount in amounts),
        has_reserved=any(amount.reserved for amount in amounts),
    )


def _line(amounts: Sequence[Amounts], place: float) -> str:
    total = sum(amount.paid + amount.reserved for amount in amounts)
    points, sum_so_far = [], 0
    for number, amount in enumerate(amounts):
        sum_so_far += amount.paid + amount.reserved
        height = HEIGHT * (sum_so_far / total) if total else 0.0
        points.append(f"{_place((number + 0.5) * place)},{_place(HEIGHT - height)}")
    return " ".join(points)


def _place(value: float) -> str:
    """To a hundredth, in as few characters as that takes."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
