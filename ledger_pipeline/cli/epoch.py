"""`ledger-pipeline epoch`: the life of an epoch, from open to its signed statement."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from ledger_pipeline.cli.epoch_signing import amend, finalize, sign_data
from ledger_pipeline.cli.ledger_access import LedgerAccess, open_access
from ledger_pipeline.cli.options import FromEpoch, Json, OneEpoch, ScopeKey, ToEpoch
from ledger_pipeline.cli.output import print_json, print_table, say
from ledger_pipeline.core.approvals import Approvals, pinned_threshold
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.unread import item_name
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.records import Epoch, EpochStatus

# What the list does not need is imported by the commands that do: the pipeline takes a twentieth of its time.
app = typer.Typer(help="The life of an epoch, from open to its signed statement.", no_args_is_help=True)

Without = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ITEM",
        help="Close without this unread item, as owner/repo#12; owner/repo#pull-request or owner/repo#issue for those "
        "without a number. May be given several times.",
    ),
]
WhyWithout = Annotated[str | None, typer.Option("--reason", help="With --without: why; it is kept with the epoch.")]
Actor = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="With --without: who decides; your login where left out.")
]


@app.command("list")
def list_command(
    from_epoch: FromEpoch = None, to_epoch: ToEpoch = None, scope_key: ScopeKey = None, as_json: Json = False
) -> None:
    """Print the scope's epochs and where each stands."""
    with open_access(scope_key) as access:
        epochs = access.epochs(from_epoch, to_epoch)
        approvals = _approvals(access, epochs)
    if as_json:
        print_json([{**_epoch_json(epoch), **_approvals_json(approvals.get(epoch.id))} for epoch in epochs])
        return
    rows = [
        [
            epoch.window.key,
            epoch.window.end.date(),
            epoch.id,
            f"{epoch.status.value}, {approvals[epoch.id]}" if epoch.id in approvals else epoch.status.value,
            None if epoch.pool_total_credits is None else f"{epoch.pool_total_credits:,}",
        ]
        for epoch in epochs
    ]
    print_table(counted(len(rows), "epoch"), ["epoch", "until", "id", "status", "credits paid"], rows)


def _approvals(access: LedgerAccess, epochs: Sequence[Epoch]) -> dict[int, Approvals]:
    """How far each epoch is signed that several approvers sign, and that waits for one of them."""
    several = [epoch for epoch in epochs if epoch.pins is not None and pinned_threshold(epoch.pins.pinned_spec) > 1]
    if not several:
        return {}
    from ledger_pipeline.pipeline.approvals import approvals_of

    ledger = access.ledger
    waiting = ledger.statements.waiting_epochs()
    looked_at = {
        epoch.id: approvals_of(ledger.node_id, access.scope, epoch, ledger.statements.settlement(epoch))
        for epoch in several
        if epoch.status is EpochStatus.REVIEW or epoch.id in waiting
    }
    return {epoch_id: approvals for epoch_id, approvals in looked_at.items() if not approvals.is_enough}


def _approvals_json(approvals: Approvals | None) -> dict[str, object]:
    return {} if approvals is None else {"approvals": {"signed": approvals.signed, "threshold": approvals.threshold}}


@app.command()
def show(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print one epoch for whoever is to sign it: state, payouts, pool, decisions, accounts without a user."""
    from ledger_pipeline.cli.epoch_review import print_review, print_statement, review_json, review_of
    from ledger_pipeline.pipeline.completeness import utc_text
    from ledger_pipeline.pipeline.epoch_state import facts_numbers
    from ledger_pipeline.pipeline.next_step import spec_differences
    from ledger_pipeline.pipeline.unread import left_out_text

    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        epoch_review = review_of(access, epoch)
        differences = spec_differences(access.scope, epoch, access.ledger.selection.known_names)
        left_out = access.ledger.unread.left_out(access.scope.scope_id, [epoch.window]).get(epoch.window, ())
        events = access.ledger.events.per_type(access.scope.scope_id, [epoch.window])[epoch.window]
        facts = access.ledger.facts.counts(access.scope.scope_id, [epoch.window])[epoch.window]
    numbers_of_facts = facts_numbers(sum(events.values()), facts)
    if as_json:
        print_json(
            {
                **_epoch_json(epoch),
                "facts": numbers_of_facts,
                "blocks_next_step": list(epoch_review.blocks),
                "pinned_spec_differs": [asdict(difference) for difference in differences],
                **review_json(epoch_review),
                "closed_without": [
                    {
                        "item": item_name(item.source_scope, item.key),
                        "source": item.source,
                        "unread_reason": item.unread_reason,
                        "unread_since": item.unread_since,
                        "actor": item.actor,
                        "reason": item.reason,
                        "left_out_at": item.left_out_at,
                    }
                    for item in left_out
                ],
                "statements": [
                    {
                        "statement_id": statement.id,
                        "supersedes_statement_id": statement.supersedes_statement_id,
                        "allocation_set_hash": statement.allocation_set_hash,
                        "pool_total_credits": str(statement.pool_total_credits),
                        "payouts": statement.payouts,
                        "signers": epoch_review.chain.signers[statement.id],
                        "signatures": [
                            {"signer": row.signer_wallet, "scheme": row.scheme}
                            for row in epoch_review.chain.signatures[statement.id]
                        ],
                    }
                    for statement in epoch_review.chain.verified
                ],
                "faults": [{"id": fault.row_id, "problem": fault.problem} for fault in epoch_review.faults],
                "set_aside": [asdict(row) for row in epoch_review.set_asides],
                "reopened": [asdict(row) for row in epoch_review.reopenings],
            }
        )
        return
    say(f"epoch {epoch.id} of {access.scope.scope_key}, {_days(epoch.window)}: {epoch.status.value}")
    if epoch.pins is not None:
        say(f"allocates by {epoch.pins.allocation_algo_ref}, approvers {epoch.pins.approver_set_hash}")
    with_facts, without_facts, gone = numbers_of_facts.values()
    pinned_facts = "" if epoch.facts_set_hash is None else f"; closed with those of hash {epoch.facts_set_hash}"
    say(f"facts: of {counted(with_facts, 'event')} known, of {without_facts} unknown, of {gone} gone{pinned_facts}")
    for difference in differences:
        say(plain_message(f"the pinned spec differs from the repo-spec now: {difference}"))
    print_review(epoch_review)
    for item in left_out:
        say(left_out_text(item))
    for statement in epoch_review.chain.verified:
        print_statement(statement)
        say(f"signed by {epoch_review.chain.signed_by(statement)}")
    for fault in epoch_review.faults:
        say(f"wrong: {plain_message(str(fault))}")
    for row in epoch_review.set_asides:
        say(plain_message(f"set aside by {row.actor}: {row.named}: {row.reason}"))
    for reopening in epoch_review.reopenings:
        say(plain_message(f"opened again by {reopening.actor}, {utc_text(reopening.reopened_at)}: {reopening.reason}"))


@app.command("close")
def close_command(
    epoch_name: OneEpoch,
    scope_key: ScopeKey = None,
    without: Without = None,
    reason: WhyWithout = None,
    actor: Actor = None,
) -> None:
    """Move an epoch that is over and read to its end from open to review now, whatever its grace period."""
    from ledger_pipeline.cli.dagster_report import tell_dagster
    from ledger_pipeline.pipeline.closing import open_epochs
    from ledger_pipeline.pipeline.completeness import window_completeness
    from ledger_pipeline.pipeline.coverage import shown_whole_at
    from ledger_pipeline.pipeline.epochs import close
    from ledger_pipeline.pipeline.unread import exclusion_of

    if without and not is_reason(reason):
        raise typer.BadParameter("--without needs a --reason that says why")
    if (reason or actor) and not without:
        raise typer.BadParameter("--reason and --by are of --without")
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        if epoch.status is not EpochStatus.OPEN:
            raise EpochNotReady(f"epoch {epoch.window.key} is in {epoch.status.value}: there is no step backwards")
        read = window_completeness(access.ledger, access.scope, [epoch.window])[epoch.window]
        if not read.is_read_to_its_end:
            raise EpochNotReady(
                f"epoch {epoch.window.key} is not read to its end: "
                f"{'; '.join(map(str, read.missing(shown_whole_at(epoch.window))))}: "
                "collect it first, or events would be lost to it"
            )
        exclusion = None
        if read.unread or without:
            exclusion = exclusion_of(read.unread, without or (), actor or _login(), (reason or "").strip())
        opened = open_epochs(access.ledger, access.scope, [epoch.window])
        is_last_read = opened.is_read_whole(epoch.window)
        close(access.ledger, opened.scope, epoch, exclusion)
        tell_dagster(access, epoch_name, "epoch close", status_moved=True)
    say(f"epoch {epoch.window.key} is in review: its weights, algorithm, approvers and pool are fixed")
    if not is_last_read:
        say("not every repository was read once more after end and grace: what came back since is late")


app.command("sign-data")(sign_data)
app.command()(finalize)
app.command()(amend)


def _epoch_json(epoch: Epoch) -> dict[str, object]:
    pins = epoch.pins
    return {
        "epoch_id": str(epoch.id),
        "scope_id": epoch.scope_id,
        "epoch": epoch.window.key,
        "period_start": epoch.window.start,
        "period_end": epoch.window.end,
        "status": epoch.status.value,
        "weights_milli": dict(epoch.weights_milli),
        "allocation_algo_ref": pins and pins.allocation_algo_ref,
        "weight_config_hash": pins and pins.weight_config_hash,
        "approver_set_hash": pins and pins.approver_set_hash,
        "facts_set_hash": epoch.facts_set_hash,
        "closed_at": epoch.closed_at,
        "pool_total_credits": None if epoch.pool_total_credits is None else str(epoch.pool_total_credits),
    }


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise typer.BadParameter("this system does not say who you are: give --by") from None


def _days(window: EpochWindow) -> str:
    return f"{window.key} to {window.end.date()}"
