"""What is done to a ledger, and what goes wrong meanwhile: steps drawn from a seed, as data that prints itself.

Windows and clock are relative, because a step's own requests move the clock on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from random import Random

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.sources.simulator.faults import (
    Damage,
    FailedAnswer,
    Fault,
    Forbidden,
    HeavyItem,
    HeavyPage,
    NullItem,
    NullNode,
    OddField,
    PartialErrors,
    SecondaryLimit,
    ShortPage,
)

# How late GitHub shows an update, and how wrong its Date is: together within the ten minutes scans read back over.
MAX_LAG_SECONDS = 8 * 60
MAX_SKEW_SECONDS = 30
SLACK = timedelta(seconds=MAX_LAG_SECONDS + 2 * MAX_SKEW_SECONDS + 1)

MOODS: tuple[Fault, ...] = (
    *FailedAnswer,
    *Damage,
    SecondaryLimit(),
    SecondaryLimit(retry_after_seconds=60),
    SecondaryLimit(status=429),
    NullNode("pullRequests"),
    NullNode("pullRequests", 1, with_error=True),
    NullNode("issues"),
    NullNode("reviews"),
    NullNode("reviews", 1, with_error=True),
    ShortPage("pullRequests"),
    ShortPage("issues", 1),
    ShortPage("reviews"),
    PartialErrors(),
    PartialErrors(type="SERVICE_UNAVAILABLE"),
    PartialErrors(type="NOT_FOUND"),
)
# Each can be told from a real answer, so that what it hides can be missed.
ODD_FIELDS: tuple[tuple[str, object], ...] = (
    ("mergedAt", "9999-12-31T23:59:59Z"),
    ("closedAt", 5),
    ("mergedAt", None),
    ("closed", False),
    ("reviews.nodes.0.submittedAt", None),
    ("fullDatabaseId", None),
    ("author", []),
    ("author.databaseId", "x"),
    ("number", "x"),
    ("reviews", None),
    ("reviews.pageInfo", None),
    ("reviews.nodes.0.state", "a\0"),
    ("reviews.nodes.1.submittedAt", "yesterday"),
    ("updatedAt", None),
)


class Toward(Enum):
    """Where the clock is moved to, before `Advance.by` is added."""

    NOW = auto()
    NEXT_CHANGE = auto()
    NEXT_WINDOW = auto()


@dataclass(frozen=True)
class Advance:
    toward: Toward
    by: timedelta

    def __str__(self) -> str:
        return f"{self.toward.name.lower()} + {self.by.total_seconds():g} s"


@dataclass(frozen=True)
class CrashPoint:
    """The process ends before or after the store's nth call of a collection, whatever verb it is."""

    call: int
    after: bool

    def __str__(self) -> str:
        return f"crash {'after' if self.after else 'before'} store call {self.call}"


@dataclass(frozen=True)
class Collection:
    """One call of `collect`, of the windows from `oldest` to `newest`, counted back from the running one."""

    oldest: int
    newest: int
    streams: tuple[str, ...] | None
    full_refresh: bool
    page_size: int
    crash: CrashPoint | None

    def __str__(self) -> str:
        parts = [f"windows -{self.oldest}..-{self.newest}", f"pages of {self.page_size}"]
        parts += ["full refresh"] if self.full_refresh else []
        parts += list(self.streams or ()) + ([str(self.crash)] if self.crash else [])
        return f"collect({', '.join(parts)})"


@dataclass(frozen=True)
class PlacedFault:
    """A fault of one request (counted from 1 in the step), or of every request for one repository."""

    fault: Fault
    request: int | None = None
    repository: int | None = None

    def __str__(self) -> str:
        where = f"request {self.request}" if self.request is not None else f"repository {self.repository}"
        return f"{self.fault} at {where}"


@dataclass(frozen=True)
class Closing:
    """The epoch so many windows back goes to review, at the step's start or once a request was answered."""

    window: int
    after_request: int | None

    def __str__(self) -> str:
        when = "first" if self.after_request is None else f"after request {self.after_request}"
        return f"review of window -{self.window} {when}"


@dataclass(frozen=True)
class Step:
    """Collections, one or two at once, under conditions. `drift` is how far the clock moves with every request."""

    advance: Advance
    collections: tuple[Collection, ...]
    page_lag: timedelta
    date_skew: timedelta
    drift: timedelta
    faults: tuple[PlacedFault, ...]
    closing: Closing | None

    def __str__(self) -> str:
        conditions = {"lag": self.page_lag, "skew": self.date_skew, "drift": self.drift}
        parts = [f"{name} {value.total_seconds():g} s" for name, value in conditions.items() if value]
        whole = [*self.collections, *self.faults, *([self.closing] if self.closing else [])]
        return f"[{self.advance}] " + "; ".join([*map(str, whole), *parts])


def draw_schedule(random: Random, newer: Random, repositories: int) -> list[Step]:
    """Three to nine steps; `newer` decides what was not drawn always, so that seeds stay."""
    steps = [_step(random, repositories) for _ in range(random.randint(3, 9))]
    return [replace(step, faults=(*step.faults, *_newer_faults(newer, repositories))) for step in steps]


def _step(random: Random, repositories: int) -> Step:
    collectors = 2 if random.random() < 0.15 else 1
    return Step(
        _advance(random),
        tuple(_collection(random) for _ in range(collectors)),
        timedelta(seconds=random.choice((0, 0, 20, random.randint(1, MAX_LAG_SECONDS), MAX_LAG_SECONDS))),
        timedelta(seconds=random.choice((0, 0, random.randint(-MAX_SKEW_SECONDS, MAX_SKEW_SECONDS)))),
        timedelta(seconds=random.choice((0, 0, 1, random.randint(1, 600), random.randint(1, 30_000)))),
        tuple(_faults(random, repositories)),
        _closing(random),
    )


def _advance(random: Random) -> Advance:
    kind = random.random()
    if kind < 0.35:
        return Advance(Toward.NEXT_CHANGE, timedelta(seconds=random.choice((0, 1, random.randint(0, 700)))))
    if kind < 0.5:
        return Advance(Toward.NEXT_WINDOW, timedelta(seconds=random.choice((-1, 0, 1, 599, 600, 601, 7200))))
    if kind < 0.6:
        return Advance(Toward.NOW, timedelta(0))
    unit = random.choice((timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)))
    return Advance(Toward.NOW, unit * random.randint(1, 9))


def _collection(random: Random) -> Collection:
    oldest, newest = 0, 0
    if random.random() < 0.35:
        oldest = random.randint(0, 4)
        newest = random.randint(0, oldest)
    crash = CrashPoint(random.randint(1, 10), random.random() < 0.5) if random.random() < 0.25 else None
    return Collection(
        oldest,
        newest,
        (random.choice(GITHUB_STREAMS),) if random.random() < 0.2 else None,
        random.random() < 0.1,
        random.choice((1, 2, 3, 5, 7)),
        crash,
    )


def _faults(random: Random, repositories: int) -> Iterator[PlacedFault]:
    if random.random() < 0.35:
        for _ in range(random.choice((1, 1, 2, 3))):
            yield PlacedFault(random.choice(MOODS), request=random.randint(1, 12))
    if random.random() < 0.08:
        yield PlacedFault(random.choice(MOODS), repository=random.randint(1, repositories))
    if random.random() < 0.03:
        yield PlacedFault(HeavyPage(random.randint(1, 3)), repository=random.randint(1, repositories))


def _newer_faults(random: Random, repositories: int) -> Iterator[PlacedFault]:
    """What one item is to be seen by, for as long as the step lasts."""
    if random.random() > 0.25:
        return
    for _ in range(random.choice((1, 1, 2))):
        number = random.randint(1, 8)
        fault = random.choice(
            (
                HeavyItem(number),
                HeavyItem(number, reviews_over=random.randint(0, 1)),
                HeavyItem(number, status=500),
                NullItem(number),
                OddField(number, *random.choice(ODD_FIELDS)),
                OddField(number, *random.choice(ODD_FIELDS)),
                Forbidden(random.choice(("issues", "pullRequests"))),
            )
        )
        yield PlacedFault(fault, repository=random.randint(1, repositories))


def _closing(random: Random) -> Closing | None:
    if random.random() < 0.88:
        return None
    return Closing(random.randint(1, 3), random.choice((None, random.randint(1, 6))))
