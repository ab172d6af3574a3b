"""Options that several commands share, and how they name epochs."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, TypeAlias

import typer

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow, parse_epoch_key

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ScopeKey: TypeAlias = Annotated[
    str | None, typer.Option("--scope", help="Which scope, by its key; the repo-spec's own where left out.")
]
Epoch: TypeAlias = Annotated[
    str | None, typer.Option("--epoch", metavar="DATE", help="One epoch, by its first day, as 2026-02-16.")
]
OneEpoch: TypeAlias = Annotated[
    str, typer.Option("--epoch", metavar="DATE", help="The epoch, by its first day, as 2026-02-16.")
]
FromEpoch: TypeAlias = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="The first epoch of a range, by its first day.")
]
ToEpoch: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="The last epoch of a range, by its first day.")
]


def windows_of(scope: Scope, epoch: str | None, first: str | None, last: str | None) -> Sequence[EpochWindow]:
    """The epochs that the options name, oldest first; the running one where they name none.

    Raises WindowError for a day on which no epoch starts, an epoch that has not begun, or a range that is none;
    typer.BadParameter for options that exclude each other.
    """
    running = scope.calendar.window_at(datetime.now(UTC))
    if epoch is not None and (first is not None or last is not None):
        raise typer.BadParameter("give --epoch for one epoch, or --from and --to for a range, not both")
    if (first is None) != (last is None):
        raise typer.BadParameter("a range has both ends: give --from and --to")
    if epoch is None and first is None:
        return [scope.window(running.start.date())]
    start = scope.window(_begun(epoch or first, running))
    end = scope.window(_begun(epoch or last, running))
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


def _begun(key: str | None, running: EpochWindow) -> date:
    day = parse_epoch_key(key or "")
    if day > running.start.date():
        raise typer.BadParameter(f"epoch {day.isoformat()} has not begun: the running one is {running.key}")
    return day
