"""`ledger-pipeline pool`: the credits an epoch shares out."""

import json
from functools import partial
from typing import Annotated

import typer

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Json, OneEpoch, ScopeKey
from ledger_pipeline.cli.output import print_json, print_table, say
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.core.pool import BASE_ISSUANCE, KPI_BONUS_V0, TOP_UP, NewPoolComponent, base_issuance
from ledger_pipeline.pipeline.allocate import add_to_pool, base_issuance_to_come

app = typer.Typer(help="The credits an epoch shares out.", no_args_is_help=True)

Component = Annotated[str, typer.Option("--component", help=f"{TOP_UP}, {KPI_BONUS_V0} or {BASE_ISSUANCE}.")]
Amount = Annotated[int, typer.Option("--amount-credits", min=0, help="Credits, a whole number.")]
Inputs = Annotated[str, typer.Option("--inputs", metavar="JSON", help="What the amount was computed from.")]
Evidence = Annotated[str, typer.Option("--evidence", help="Where the evidence is: a URL, a vote, a report.")]


@app.command()
def add(
    epoch_name: OneEpoch,
    component: Component,
    amount_credits: Amount,
    evidence: Evidence,
    inputs: Inputs = "{}",
    scope_key: ScopeKey = None,
) -> None:
    """Add a component to the pool of an open epoch. It never changes afterwards.

    The base issuance joins by itself; the owner alone (DATABASE_OWNER_URL) adds that of an epoch that closed with none.
    """
    try:
        parsed = json_of(inputs, partial(json.loads, parse_float=str))
    except ValueError as error:
        raise typer.BadParameter(f"--inputs is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise typer.BadParameter('--inputs must be a JSON object, as {"metric": "1.2"}')
    is_base = component == BASE_ISSUANCE
    of_base = base_issuance(amount_credits).inputs if is_base else {}
    new = NewPoolComponent(component, amount_credits, {**parsed, **of_base}, evidence)
    with open_access(scope_key, as_owner=is_base) as access:
        added = add_to_pool(access.ledger, access.epoch(epoch_name), new)
        tell_dagster(access, epoch_name, "pool add")
    say("added" if added else "it was there already")


@app.command("list")
def list_command(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print the components of an epoch's pool."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        components = access.ledger.pool.of(epoch)
        to_come = base_issuance_to_come(access.scope, epoch, components)
    if as_json:
        print_json(
            [
                {
                    "id": component.id,
                    "component_id": component.component_id,
                    "amount_credits": str(component.amount_credits),
                    "algorithm_version": component.algorithm_version,
                    "inputs": component.inputs,
                    "evidence_ref": component.evidence_ref,
                    "computed_at": component.computed_at,
                }
                for component in components
            ]
        )
        return
    rows = [
        [
            component.component_id,
            f"{component.amount_credits:,}",
            component.algorithm_version,
            component.evidence_ref,
            str(component.id),
        ]
        for component in components
    ]
    total = sum(component.amount_credits for component in components)
    print_table(
        f"{total:,} credits in epoch {epoch.window.key}", ["component", "credits", "algorithm", "evidence", "id"], rows
    )
    if to_come is not None:
        say(f"a base_issuance of {to_come:,} credits joins when the epoch closes, as the repo-spec stands")
