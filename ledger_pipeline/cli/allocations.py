"""`ledger-pipeline allocations`: units per user, proposed by the weights or decided by a person."""

from dataclasses import asdict
from typing import Annotated

import typer

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Json, OneEpoch, ScopeKey
from ledger_pipeline.cli.output import print_json, print_table
from ledger_pipeline.core.allocations import MAX_UNITS
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.pipeline.allocate import propose
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Allocation

app = typer.Typer(help="Units per user of an epoch.", no_args_is_help=True)

User = Annotated[str, typer.Option("--user", help="Whose units: a user, or an account as identity:PROVIDER:ACCOUNT.")]
UnitsMilli = Annotated[
    int | None, typer.Option("--units-milli", min=0, max=MAX_UNITS, help="The units decided, in milli-units.")
]
Clear = Annotated[bool, typer.Option("--clear", help="Take the decision back: the proposal counts again.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; whoever recomputes the statement reads it.")]


@app.command("propose")
def propose_command(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Curate an epoch and propose its allocations and pool, as the Dagster job allocate_epoch does."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        _print(epoch, propose(access.ledger, access.scope, epoch), as_json=as_json)
        tell_dagster(access, epoch_name, "allocations propose")


@app.command("list")
def list_command(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print an epoch's allocations as they stand."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        _print(epoch, access.ledger.allocations.of(epoch), as_json=as_json)


@app.command("set")
def set_command(
    epoch_name: OneEpoch,
    user: User,
    units_milli: UnitsMilli = None,
    reason: Reason = None,
    clear: Clear = False,
    scope_key: ScopeKey = None,
) -> None:
    """Decide a user's units by hand, with a reason, and print what the epoch then has; nothing overwrites it."""
    if clear == (units_milli is not None):
        raise typer.BadParameter("give --units-milli, or --clear to take a decision back")
    if not clear and not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        if epoch.status is EpochStatus.FINALIZED:
            raise EpochNotReady(
                f"epoch {epoch.window.key} is finalized: `ledger-pipeline epoch amend` puts units right"
            )
        propose(access.ledger, access.scope, epoch)
        access.ledger.allocations.decide(epoch, user, units_milli, None if clear else (reason or "").strip())
        _print(epoch, propose(access.ledger, access.scope, epoch), as_json=False)
        tell_dagster(access, epoch_name, "allocations set")


def _print(epoch: Epoch, allocations: list[Allocation], *, as_json: bool) -> None:
    if as_json:
        print_json([_strings(allocation) for allocation in allocations])
        return
    rows = [
        [
            allocation.user_id,
            allocation.activity_count,
            units_text(allocation.proposed_units),
            None if allocation.final_units is None else units_text(allocation.final_units),
            allocation.override_reason,
        ]
        for allocation in allocations
    ]
    columns = ["user", "events", "proposed units", "decided units", "reason"]
    print_table(f"{counted(len(rows), 'user')} in epoch {epoch.window.key}", columns, rows)


def _strings(allocation: Allocation) -> dict[str, object]:
    """The row as JSON; milli-units are strings, for they may be larger than JSON keeps exact."""
    row = asdict(allocation)
    proposed, final = row.pop("proposed_units"), row.pop("final_units")
    return {
        **row,
        "proposed_units_milli": str(proposed),
        "final_units_milli": None if final is None else str(final),
    }
