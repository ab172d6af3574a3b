"""Charts in a materialization's metadata: bars of text, where people would rather look than read numbers.

Dagster's UI shows Markdown in its place while it has fewer than 1,000 characters, and from then on behind
"[Show Markdown]", where nobody looks. No picture is as short, and a link to one would need a server of ours; a page of
`report` has them. So each chart is a block of text with a bar a line, and as many lines as fit.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from ledger_pipeline.core.claimants import is_account_key
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.pipeline.contributions import contributions, units_text
from ledger_pipeline.pipeline.epoch_state import EVENTS_PER_DAY, UNITS_PER_CONTRIBUTOR
from ledger_pipeline.store.records import Epoch

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# Of a run over more windows only the latest are drawn: nobody looks at 1,300 charts, and each is stored.
WINDOWS_DRAWN = 13

# Together they stay below Dagster's limit, also with amounts of twenty digits; a line is as wide as a laptop shows.
_LINES, _NAME_LENGTH, _BAR_LENGTH = 12, 16, 16
_DAYS_OF_A_WEEK = 7


def windows_to_draw(windows: Sequence[EpochWindow]) -> frozenset[EpochWindow]:
    """Which windows of a run get charts: the latest WINDOWS_DRAWN."""
    return frozenset(sorted(windows)[-WINDOWS_DRAWN:])


def chart_metadata(
    store: "PostgresLedger", scope: Scope, window: EpochWindow, epoch: Epoch | None
) -> Mapping[str, dg.MetadataValue]:
    """Events per day (UTC), and units per contributor by the weights that are pinned in `epoch`."""
    weights = scope.weights_milli if epoch is None else epoch.weights_milli
    people = contributions(store.events.per_person(scope.scope_id, window), weights)
    events: defaultdict[date, int] = defaultdict(int)
    for count in store.events.per_day(scope.scope_id, window):
        events[count.day] += count.events
    return {
        EVENTS_PER_DAY: bars(_by_day(events, window), "No events."),
        UNITS_PER_CONTRIBUTOR: units_bars([(person.login, person.units_milli) for person in people], "No events."),
    }


def units_bars(units_milli: Sequence[tuple[str, int]], nothing: str) -> dg.MetadataValue:
    """A bar of units for each name, most first, and one for all those that have no line of their own."""
    ordered = sorted(units_milli, key=lambda line: (-line[1], line[0]))
    return bars([(_claimant(name), units, units_text(units)) for name, units in _fitting(ordered)], nothing)


def credits_bars(credits_by_user: Mapping[str, int]) -> dg.MetadataValue:
    """The same of a statement's credits."""
    ordered = sorted(credits_by_user.items(), key=lambda line: (-line[1], line[0]))
    return bars([(_claimant(name), amount, f"{amount:,}") for name, amount in _fitting(ordered)], "No payouts.")


def bars(lines: Sequence[tuple[str, int, str]], nothing: str) -> dg.MetadataValue:
    """A line for each name, amount and what it reads as; `nothing` where there is none."""
    names = [plain_text(name, _NAME_LENGTH) for name, _, _ in lines]
    width = max(map(len, names), default=0)
    widest = max([amount for _, amount, _ in lines], default=0) or 1
    drawn = [
        f"{name:<{width}} {'█' * -(-amount * _BAR_LENGTH // widest)} {text}"
        for name, (_, amount, text) in zip(names, lines, strict=True)
    ]
    return plain.preformatted(drawn or [nothing])


def _claimant(name: str) -> str:
    """An account as `github 7390112`: of its key no more would fit than what all accounts begin with."""
    return name.partition(":")[2].replace(":", " ") if is_account_key(name) else name


def _fitting(ordered: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    if len(ordered) <= _LINES:
        return list(ordered)
    shown, others = ordered[: _LINES - 1], ordered[_LINES - 1 :]
    return [*shown, (f"{len(others)} others", sum(amount for _, amount in others))]


def _by_day(events: Mapping[date, int], window: EpochWindow) -> list[tuple[str, int, str]]:
    """A line for each day; for each seven where the window is longer than a week."""
    days = (window.end - window.start).days
    step = 1 if days <= _DAYS_OF_A_WEEK else _DAYS_OF_A_WEEK
    lines = []
    for first in range(0, days, step):
        together = [window.start.date() + timedelta(first + day) for day in range(step)]
        count = sum(events.get(day, 0) for day in together)
        lines.append((f"{together[0]:%a %Y-%m-%d}" if step == 1 else f"from {together[0]}", count, f"{count:,}"))
    return lines
