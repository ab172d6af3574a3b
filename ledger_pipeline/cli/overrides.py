"""`ledger-pipeline overrides`: what a person decides about one event instead of its weight and its claimants."""

from collections.abc import Sequence
from typing import Annotated

import typer

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Json, OneEpoch, ScopeKey
from ledger_pipeline.cli.output import print_json, say
from ledger_pipeline.cli.override_rows import override_json, print_overrides
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.overrides import why_not_shares
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.weights import check_weights
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.overrides import override
from ledger_pipeline.store.settlement_records import Allocation

app = typer.Typer(help="What single events are worth, and to whom, where a person decides it.", no_args_is_help=True)

EventId = Annotated[str, typer.Argument(help="The event's id, as github:pr:owner/repo:7.")]
Units = Annotated[int | None, typer.Option("--units-milli", help="What it is worth instead, in milli-units.")]
Shares = Annotated[
    list[str] | None,
    typer.Option(
        "--share",
        metavar="CLAIMANT=MILLIONTHS",
        help="Who has which part, as user:ada=600000; once for each, 1000000 together.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever recomputes the statement reads it.")]


@app.command("set")
def set_command(
    event_id: EventId,
    epoch_name: OneEpoch,
    reason: Reason,
    units_milli: Units = None,
    shares: Shares = None,
    scope_key: ScopeKey = None,
) -> None:
    """Decide what one event of an epoch that is not finalized is worth, and who has which part of it.

    It holds whatever the policy or the weights say later, in place of what was decided before, until it is taken back.
    """
    shares_ppm = _shares(shares)
    if units_milli is None and shares_ppm is None:
        raise typer.BadParameter("say what: --units-milli, --share or both; `overrides take-back` takes back")
    if units_milli is not None:
        try:
            check_weights({event_id: units_milli})
        except AllocationError as error:
            raise typer.BadParameter(str(error)) from error
    _decide(event_id, epoch_name, reason, units_milli, shares_ppm, scope_key, "overrides set")


@app.command("take-back")
def take_back(event_id: EventId, epoch_name: OneEpoch, reason: Reason, scope_key: ScopeKey = None) -> None:
    """Take back what was decided about one event: its weight and its claimants hold again. What was decided is kept."""
    _decide(event_id, epoch_name, reason, None, None, scope_key, "overrides take-back")


@app.command("list")
def list_command(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print what was decided about single events of an epoch, with what it replaced, who decided it, and why."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        overrides = access.ledger.overrides.of(epoch)
    if as_json:
        print_json([override_json(row) for row in overrides])
        return
    print_overrides(overrides, f"overrides of {epoch.window.key}")


def _decide(
    event_id: str,
    epoch_name: str,
    reason: str,
    units_milli: int | None,
    shares_ppm: dict[str, int] | None,
    scope_key: str | None,
    command: str,
) -> None:
    if not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    with open_access(scope_key) as access:
        before, now = override(
            access.ledger,
            access.scope,
            access.epoch(epoch_name),
            event_id,
            units=units_milli,
            shares_ppm=shares_ppm,
            reason=reason.strip(),
        )
        tell_dagster(access, epoch_name, command)
    _print_changes(before, now)


def _print_changes(before: Sequence[Allocation], now: Sequence[Allocation]) -> None:
    units_before = {allocation.user_id: allocation.units for allocation in before}
    units_now = {allocation.user_id: allocation.units for allocation in now}
    changed = [
        name for name in sorted({*units_before, *units_now}) if units_before.get(name, 0) != units_now.get(name, 0)
    ]
    for name in changed:
        was, has = units_before.get(name, 0), units_now.get(name, 0)
        say(f"{plain_text(name)}: {units_text(was)} -> {units_text(has)} units")
    if not changed:
        say("set; nobody's units change by it")


def _shares(given: Sequence[str] | None) -> dict[str, int] | None:
    if not given:
        return None
    shares_ppm: dict[str, int] = {}
    for text in given:
        key, separator, millionths = text.rpartition("=")
        if not separator or not millionths.isascii() or not millionths.isdecimal() or len(millionths) > 7:
            raise typer.BadParameter(f"--share {text!r} is not CLAIMANT=MILLIONTHS, as user:ada=600000")
        if key in shares_ppm:
            raise typer.BadParameter(f"--share names {key} twice")
        shares_ppm[key] = int(millionths)
    problem = why_not_shares(shares_ppm)
    if problem is not None:
        raise typer.BadParameter(f"the shares {problem}")
    return shares_ppm
