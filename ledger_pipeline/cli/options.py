"""Options that several commands share, and how they name epochs."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, TypeAlias

import typer

from ledger_pipeline.core.errors import EventError, WindowError
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow, parse_epoch_key

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ScopeKey: TypeAlias = Annotated[
    str | None, typer.Option("--scope", help="Which scope, by its key; the repo-spec's own where left out.")
]
HOW_EPOCHS_ARE_NAMED = (
    "its first day, as 2026-02-16; or running, last (the newest that is over), last-1 (the one before it), last-2, ..."
)
Epoch: TypeAlias = Annotated[
    str | None, typer.Option("--epoch", metavar="EPOCH", help=f"One epoch: {HOW_EPOCHS_ARE_NAMED}")
]
OneEpoch: TypeAlias = Annotated[
    str, typer.Option("--epoch", metavar="EPOCH", help=f"The epoch: {HOW_EPOCHS_ARE_NAMED}")
]
FromEpoch: TypeAlias = Annotated[
    str | None, typer.Option("--from", metavar="EPOCH", help="The first epoch of a range, named as for --epoch.")
]
ToEpoch: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="EPOCH", help="The last epoch of a range, named as for --epoch.")
]

_BEFORE_THE_RUNNING_ONE = re.compile(r"last(?:-([1-9][0-9]{0,2}))?")


def windows_of(scope: Scope, epoch: str | None, first: str | None, last: str | None) -> Sequence[EpochWindow]:
    """The epochs that the options name, oldest first; the running one where they name none.

    Raises WindowError for a day on which no epoch starts, and for an epoch before the scope's first one;
    typer.BadParameter for an epoch that has not begun, a range that is none, or options that exclude each other.
    """
    running = scope.calendar.window_at(datetime.now(UTC))
    if epoch is not None and (first is not None or last is not None):
        raise typer.BadParameter("give --epoch for one epoch, or --from and --to for a range, not both")
    if (first is None) != (last is None):
        raise typer.BadParameter("a range has both ends: give --from and --to")
    if epoch is None and first is None:
        return [scope.window(running.start.date())]
    start = scope.window(_first_day(epoch or first or "", running))
    end = scope.window(_first_day(epoch or last or "", running))
    if start > end:
        raise typer.BadParameter(f"--from {first} is after --to {last}")
    return list(scope.calendar.windows_between(start, end))


def instant(text: str | None) -> datetime | None:
    """An instant given as an option: ISO 8601, or a date for its midnight UTC. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        return parse_instant(f"{text}T00:00:00Z" if len(text) == len("2026-02-16") else text)
    except EventError as error:
        raise typer.BadParameter(str(error)) from error


def _first_day(name: str, running: EpochWindow) -> date:
    """The first day of the epoch that a person calls `name`."""
    if name == "running":
        return running.start.date()
    if match := _BEFORE_THE_RUNNING_ONE.fullmatch(name):
        before = 1 + int(match[1] or 0)
        return (running.start - before * (running.end - running.start)).date()
    try:
        day = parse_epoch_key(name)
    except WindowError as error:
        raise typer.BadParameter(f"{error}; or running, last, last-1, last-2, ...") from error
    if day > running.start.date():
        raise typer.BadParameter(f"epoch {day.isoformat()} has not begun: the running one is {running.key}")
    return day
