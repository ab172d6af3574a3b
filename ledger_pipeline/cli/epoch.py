"""`ledger-pipeline epoch`: the life of an epoch, from open to its signed statement."""

import asyncio
import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.epoch_review import LINE_COLUMNS, line_rows, print_review, review_json, review_of
from ledger_pipeline.cli.ledger_access import LedgerAccess, open_access
from ledger_pipeline.cli.options import FromEpoch, Json, OneEpoch, ScopeKey, ToEpoch
from ledger_pipeline.cli.output import note, note_table, print_json, print_table, say, say_exactly
from ledger_pipeline.core.allocations import MAX_UNITS
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.statements import inputs_message
from ledger_pipeline.core.unread import item_name
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.completeness import utc_text, window_completeness
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.settle import correct, draft_statement, spec_differences
from ledger_pipeline.pipeline.unread import exclusion_of, left_out_text
from ledger_pipeline.store.port import Epoch, EpochStatus
from ledger_pipeline.store.settlement_port import Outcome, Statement

if TYPE_CHECKING:
    from ledger_pipeline.temporal_bridge.contract import FinalizeEpochResult

# What a finalization did, as the workflow says it.
_OUTCOMES = {
    Outcome.STATED: "written, with its signature",
    Outcome.AMENDED: "written, with its signature; it supersedes the one before",
    Outcome.SIGNED: "it was there already: the signature was added to it",
    Outcome.UNCHANGED: "it was there already, with a signature by the same approver: nothing was written",
}

app = typer.Typer(help="The life of an epoch, from open to its signed statement.", no_args_is_help=True)

Signature = Annotated[str, typer.Option("--signature", metavar="0x..", help="An approver's signature of the message.")]
Signer = Annotated[str | None, typer.Option("--signer", metavar="0x..", help="Whose signature it should be.")]
Inputs = Annotated[
    bool, typer.Option("--inputs", help="Print the message that binds the events and decisions it follows from.")
]
SignatureOfInputs = Annotated[
    str | None,
    typer.Option("--inputs-signature", metavar="0x..", help="The same approver's, of `sign-data --inputs`."),
]
AcceptPinned = Annotated[
    bool,
    typer.Option(
        "--accept-pinned-spec",
        help="Pay by what the epoch closed with, though the repo-spec has another weight, algorithm or issuance now.",
    ),
]
Direct = Annotated[
    bool, typer.Option("--direct", help="Write it from here: the same code, with DATABASE_URL alone, no Temporal.")
]
Timeout = Annotated[
    float, typer.Option("--timeout-seconds", min=1, help="How long to wait for a worker; the workflow goes on after.")
]
User = Annotated[str, typer.Option("--user", help="Whose units.")]
UnitsMilli = Annotated[
    int, typer.Option("--units-milli", min=0, max=MAX_UNITS, help="What the units should have been, in milli-units.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever recomputes the statement reads it.")]
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
    if as_json:
        print_json([_epoch_json(epoch) for epoch in epochs])
        return
    rows = [
        [
            epoch.window.key,
            epoch.window.end.date(),
            epoch.id,
            epoch.status.value,
            None if epoch.pool_total_credits is None else f"{epoch.pool_total_credits:,}",
        ]
        for epoch in epochs
    ]
    print_table(f"{len(rows)} epochs", ["epoch", "until", "id", "status", "credits paid"], rows)


@app.command()
def show(epoch_name: OneEpoch, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print one epoch for whoever is to sign it: state, payouts, pool, decisions, accounts that get nothing."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        epoch_review = review_of(access, epoch)
        differences = spec_differences(access.scope, epoch)
        left_out = access.ledger.left_out(access.scope.scope_id, [epoch.window]).get(epoch.window, ())
    if as_json:
        print_json(
            {
                **_epoch_json(epoch),
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
    for difference in differences:
        say(plain_message(f"the pinned spec differs from the repo-spec now: {difference}"))
    print_review(epoch_review)
    for item in left_out:
        say(left_out_text(item))
    for statement in epoch_review.chain.verified:
        _print_statement(statement)
        say(f"signed by {', '.join(epoch_review.chain.signers[statement.id])}")
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
        is_last_read = open_epochs(access.ledger, access.scope, [epoch.window]).is_read_whole(epoch.window)
        close(access.ledger, access.scope, epoch, exclusion)
        tell_dagster(access, epoch_name, "epoch close")
    say(f"epoch {epoch.window.key} is in review: its weights, algorithm, approvers and pool are fixed")
    if not is_last_read:
        say("not every repository was read once more after end and grace: what came back since is late")


@app.command("sign-data")
def sign_data(
    epoch_name: OneEpoch,
    inputs: Inputs = False,
    accept_pinned_spec: AcceptPinned = False,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Print the exact message to sign (EIP-191, personal_sign), and on standard error who gets what by it."""
    # Here, for no other command needs an archive's models, which take time to make.
    from ledger_pipeline.verification.inputs_root import inputs_root
    from ledger_pipeline.verification.record import facts_of

    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        draft = draft_statement(access.ledger, access.scope, epoch, accept_pinned_spec=accept_pinned_spec)
        epoch_review = review_of(access, epoch)
        root = inputs_root(facts_of(access.ledger.statements.rows(epoch)))
        about_inputs = inputs_message(
            node_id=access.ledger.node_id,
            scope_id=epoch.scope_id,
            epoch_id=epoch.id,
            inputs_root=root,
            statement_message=draft.message,
        )
    if as_json:
        print_json(
            {
                "message": draft.message,
                "inputs_root": root,
                "inputs_message": about_inputs,
                "allocation_set_hash": draft.allocation_set_hash,
                "pool_total_credits": str(draft.pool_total_credits),
                "supersedes_statement_id": draft.supersedes,
                "payouts": [payout.to_json() for payout in draft.payouts],
            }
        )
        return
    # Beside the message, which goes to a file or a wallet as it stands.
    note_table(f"what is signed: {draft.pool_total_credits:,} credits", LINE_COLUMNS, line_rows(epoch_review.lines))
    say_exactly(about_inputs if inputs else draft.message)


@app.command()
def finalize(
    epoch_name: OneEpoch,
    signature: Signature,
    signer: Signer = None,
    inputs_signature: SignatureOfInputs = None,
    accept_pinned_spec: AcceptPinned = False,
    direct: Direct = False,
    timeout_seconds: Timeout = 60.0,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Have Temporal's FinalizeEpochWorkflow write the signed statement; again, it prints the one there is."""
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        given = (epoch, signature, signer, inputs_signature, accept_pinned_spec)
        result = _finalize_here(access, *given) if direct else asyncio.run(_finalize(access, *given, timeout_seconds))
        statements = {statement.id: statement for statement in access.ledger.statements.of(epoch)}
        tell_dagster(access, epoch_name, "epoch finalize")
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=False))
        return
    _print_statement(statements[result.statement_id])
    if result.outcome is not None:  # a worker of an earlier release does not say
        say(_OUTCOMES[Outcome(result.outcome)])


@app.command()
def amend(
    epoch_name: OneEpoch, user: User, units_milli: UnitsMilli, reason: Reason, scope_key: ScopeKey = None
) -> None:
    """Put a user's units right in a finalized epoch, for the statement that `sign-data` and `finalize` make next."""
    if not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    with open_access(scope_key) as access:
        correct(access.ledger, access.scope, access.epoch(epoch_name), user, units_milli, reason.strip())
        tell_dagster(access, epoch_name, "epoch amend")
    say("noted: sign the message of `ledger-pipeline epoch sign-data`, then finalize with that signature")


async def _finalize(
    access: LedgerAccess,
    epoch: Epoch,
    signature: str,
    signer: str | None,
    inputs_signature: str | None,
    accept_pinned_spec: bool,
    timeout_seconds: float,
) -> "FinalizeEpochResult":
    # Here, for no other command of this group waits for Temporal's client.
    from ledger_pipeline.temporal_bridge.connection import connect
    from ledger_pipeline.temporal_bridge.finalization import finalize_epoch
    from ledger_pipeline.temporal_bridge.pollers import refuse_strangers

    client = await connect(access.settings)
    await refuse_strangers(client, access.spec, access.scope)
    return await finalize_epoch(
        client,
        epoch,
        signature,
        signer,
        inputs_signature,
        accept_pinned_spec=accept_pinned_spec,
        timeout_seconds=timeout_seconds,
        on_wait=lambda waiting: note(f"waiting: {waiting}"),
    )


def _finalize_here(
    access: LedgerAccess,
    epoch: Epoch,
    signature: str,
    signer: str | None,
    inputs_signature: str | None,
    accept_pinned_spec: bool,
) -> "FinalizeEpochResult":
    from ledger_pipeline.temporal_bridge.ledger_activities.finalization import (
        finalize_signed,  # here, as for Temporal's client
    )

    return finalize_signed(
        access.ledger, access.spec, epoch, signature, signer, inputs_signature, accept_pinned_spec=accept_pinned_spec
    )


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
        "closed_at": epoch.closed_at,
        "pool_total_credits": None if epoch.pool_total_credits is None else str(epoch.pool_total_credits),
    }


def _print_statement(statement: Statement) -> None:
    rows = [
        [line["userId"], units_text(int(line["totalUnits"])), line["share"], f"{int(line['amountCredits']):,}"]
        for line in statement.payouts
    ]
    supersedes = f", supersedes {statement.supersedes_statement_id}" if statement.supersedes_statement_id else ""
    title = f"statement {statement.id}: {statement.pool_total_credits:,} credits{supersedes}"
    print_table(title, ["user", "units", "share", "credits"], rows)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise typer.BadParameter("this system does not say who you are: give --by") from None


def _days(window: EpochWindow) -> str:
    return f"{window.key} to {window.end.date()}"
