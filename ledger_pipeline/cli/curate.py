"""`ledger-pipeline curate`: what a person decides about one event."""

from typing import Annotated

import typer

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import OneEpoch, ScopeKey
from ledger_pipeline.cli.output import say
from ledger_pipeline.core.errors import AllocationError, EpochNotReady
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.weights import check_weights
from ledger_pipeline.pipeline.allocate import propose
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import Judgement

EventId = Annotated[str, typer.Option("--event", help="The event's id, as github:pr:owner/repo:7.")]
Note = Annotated[str, typer.Option("--note", help="Why; whoever recomputes the statement reads it.")]
Included = Annotated[bool | None, typer.Option("--include/--exclude", help="Whether the event counts.")]
Weight = Annotated[int | None, typer.Option("--weight-milli", help="Its weight instead of its kind's, in milli-units.")]
ClearWeight = Annotated[bool, typer.Option("--clear-weight", help="Weigh it as its kind again.")]
FollowPolicy = Annotated[
    bool, typer.Option("--follow-policy", help="Take back what a person decided: the selection policy decides again.")
]


def command(
    epoch_name: OneEpoch,
    event_id: EventId,
    note: Note,
    included: Included = None,
    weight_milli: Weight = None,
    clear_weight: ClearWeight = False,
    follow_policy: FollowPolicy = False,
    scope_key: ScopeKey = None,
) -> None:
    """Include, exclude or reweigh one event of an epoch that is not finalized, and propose its allocations anew.

    Materializing never overwrites what is set: it beats the scope's selection policy until it is taken back.
    """
    decides = included is not None or weight_milli is not None or clear_weight
    if not decides and not follow_policy:
        raise typer.BadParameter("say what: --include, --exclude, --weight-milli, --clear-weight or --follow-policy")
    if decides and follow_policy:
        raise typer.BadParameter("--follow-policy takes a decision back: give no other one with it")
    if weight_milli is not None and clear_weight:
        raise typer.BadParameter("give --weight-milli or --clear-weight, not both")
    if not is_reason(note):
        raise typer.BadParameter("--note must say why")
    if weight_milli is not None:
        try:
            check_weights({event_id: weight_milli})
        except AllocationError as error:
            raise typer.BadParameter(str(error)) from error
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        if epoch.status is EpochStatus.FINALIZED:
            raise EpochNotReady(
                f"epoch {epoch.window.key} is finalized: `ledger-pipeline epoch amend` puts units right"
            )
        judgement = Judgement(note.strip(), included, weight_milli, clear_weight, follow_policy)
        proposed = propose(access.ledger, access.scope, epoch)
        if not access.ledger.curation.judge(epoch, event_id, judgement):
            raise EpochNotReady(
                f"epoch {epoch.window.key} has no event {event_id}: see "
                f"`ledger-pipeline events --epoch {epoch.window.key}`"
            )
        now = propose(access.ledger, access.scope, epoch)
        tell_dagster(access, epoch_name, "curate")
    units = {allocation.user_id: allocation.units for allocation in proposed}
    changed = [allocation for allocation in now if allocation.units != units.get(allocation.user_id, 0)]
    gone = sorted(units.keys() - {allocation.user_id for allocation in now})
    for allocation in changed:
        before = units_text(units.get(allocation.user_id, 0))
        say(f"{plain_text(allocation.user_id)}: {before} -> {units_text(allocation.units)} units")
    for user_id in gone:
        say(f"{plain_text(user_id)}: {units_text(units[user_id])} -> 0 units")
    if not changed and not gone:
        say("set; nobody's units change by it")
