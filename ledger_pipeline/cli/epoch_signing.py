"""`ledger-pipeline epoch sign-data`, `finalize` and `amend`: from an epoch in review to its signed statement."""

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ledger_pipeline.cli.ledger_access import LedgerAccess, open_access
from ledger_pipeline.cli.options import Json, OneEpoch, ScopeKey
from ledger_pipeline.cli.output import note, note_table, print_json, say, say_exactly
from ledger_pipeline.core.allocations import MAX_UNITS
from ledger_pipeline.core.reasons import is_reason


class SigningFormat(StrEnum):
    """What `sign-data` prints."""

    EIP712 = "eip712"
    TEXT = "text"


if TYPE_CHECKING:
    from ledger_pipeline.store.records import Epoch
    from ledger_pipeline.temporal_bridge.contract import FinalizeEpochResult

Signature = Annotated[str, typer.Option("--signature", metavar="0x..", help="An approver's signature of the message.")]
Signer = Annotated[str | None, typer.Option("--signer", metavar="0x..", help="Whose signature it should be.")]
Inputs = Annotated[
    bool, typer.Option("--inputs", help="Print the message that binds the events and decisions it follows from.")
]
Form = Annotated[
    SigningFormat | None,
    typer.Option("--format", help="Typed data for a wallet, or a text; without, what the epoch is signed by first."),
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
User = Annotated[str, typer.Option("--user", help="Whose units: a user, or an account as identity:PROVIDER:ACCOUNT.")]
UnitsMilli = Annotated[
    int, typer.Option("--units-milli", min=0, max=MAX_UNITS, help="What the units should have been, in milli-units.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever recomputes the statement reads it.")]


def sign_data(
    epoch_name: OneEpoch,
    inputs: Inputs = False,
    form: Form = None,
    accept_pinned_spec: AcceptPinned = False,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Print exactly what to sign, typed data or a text, and on standard error who gets what by it."""
    # Here, as in the commands below, for no other command of the group needs it, and it takes time to load.
    from ledger_pipeline.cli.epoch_review import LINE_COLUMNS, collected_json, line_rows, review_of
    from ledger_pipeline.core.signing import Scheme, TypedData
    from ledger_pipeline.core.statements import inputs_message
    from ledger_pipeline.pipeline.settle import draft_statement
    from ledger_pipeline.verification.inputs_root import inputs_root
    from ledger_pipeline.verification.ledger_rows import facts_of

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
    typed = draft.forms.get(Scheme.TYPED_DATA)
    typed_data = typed.to_wallet_json() if isinstance(typed, TypedData) else None
    if typed_data is None and form is SigningFormat.EIP712:
        raise typer.BadParameter(
            f"--format eip712: epoch {epoch.window.key} closed without a chain, so it is signed as text: typed data is "
            "for epochs that close once the repo-spec has governance.chain_id"
        )
    if inputs and form is SigningFormat.EIP712:
        raise typer.BadParameter("--inputs prints a text to sign, and there is no typed data of it")
    if as_json:
        print_json(
            {
                "message": draft.message,
                "schemes": list(draft.forms),
                "typed_data": typed_data,
                "inputs_root": root,
                "inputs_message": about_inputs,
                "allocation_set_hash": draft.allocation_set_hash,
                "pool_total_credits": str(draft.pool_total_credits),
                "supersedes_statement_id": draft.supersedes,
                "payouts": [payout.to_json() for payout in draft.payouts],
                **collected_json(epoch_review.collected),
            }
        )
        return
    if epoch_review.collected.are_several:
        note(str(epoch_review.collected.approvals))
    # Beside the message, which goes to a file or a wallet as it stands.
    note_table(f"what is signed: {draft.pool_total_credits:,} credits", LINE_COLUMNS, line_rows(epoch_review.lines))
    if inputs:
        say_exactly(about_inputs)
    elif typed_data is None or form is SigningFormat.TEXT:
        say_exactly(draft.message)
    else:
        say_exactly(json.dumps(typed_data, separators=(",", ":")))


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
    from ledger_pipeline.cli.dagster_report import tell_dagster
    from ledger_pipeline.cli.epoch_review import print_statement
    from ledger_pipeline.core.approvals import Approvals
    from ledger_pipeline.core.signing import Scheme
    from ledger_pipeline.store.statement_records import Outcome

    # What it did, as the workflow says it.
    outcomes = {
        Outcome.STATED: "written, with its signature",
        Outcome.AMENDED: "written, with its signature; it supersedes the one before",
        Outcome.SIGNED: "it was there already: the signature was added to it",
        Outcome.COLLECTED: "the signature is kept: the statement is written once enough approvers have signed it",
        Outcome.UNCHANGED: "it was there already, with a signature by the same approver: nothing was written",
    }
    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        given = (epoch, signature, signer, inputs_signature, accept_pinned_spec)
        result = _finalize_here(access, *given) if direct else asyncio.run(_finalize(access, *given, timeout_seconds))
        statements = {statement.id: statement for statement in access.ledger.statements.of(epoch)}
        tell_dagster(access, epoch_name, "epoch finalize", status_moved=True)
    if as_json:
        print_json(result.model_dump(mode="json", by_alias=False))
        return
    if result.statement_id is not None:
        print_statement(statements[result.statement_id])
    if result.signed is not None and result.threshold is not None:
        say(str(Approvals(result.signed, result.threshold)))
    if result.outcome is not None:  # a worker of an earlier release does not say
        say(outcomes[Outcome(result.outcome)])
    if result.scheme not in (None, Scheme.PAYOUT_TEXT):
        say(f"the signature is of the scheme {result.scheme}")


def amend(
    epoch_name: OneEpoch, user: User, units_milli: UnitsMilli, reason: Reason, scope_key: ScopeKey = None
) -> None:
    """Put a user's units right in a finalized epoch, for the statement that `sign-data` and `finalize` make next."""
    from ledger_pipeline.cli.dagster_report import tell_dagster
    from ledger_pipeline.pipeline.settle import correct

    if not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    with open_access(scope_key) as access:
        correct(access.ledger, access.scope, access.epoch(epoch_name), user, units_milli, reason.strip())
        tell_dagster(access, epoch_name, "epoch amend")
    say("noted: sign the message of `ledger-pipeline epoch sign-data`, then finalize with that signature")


async def _finalize(
    access: LedgerAccess,
    epoch: "Epoch",
    signature: str,
    signer: str | None,
    inputs_signature: str | None,
    accept_pinned_spec: bool,
    timeout_seconds: float,
) -> "FinalizeEpochResult":
    from ledger_pipeline.temporal_bridge.connection import connect
    from ledger_pipeline.temporal_bridge.finalization import finalize_epoch
    from ledger_pipeline.temporal_bridge.pollers import refuse_strangers

    client = await connect(access.settings)
    await refuse_strangers(client, access.spec, access.scope, access.ledger.ledger_id)
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
    epoch: "Epoch",
    signature: str,
    signer: str | None,
    inputs_signature: str | None,
    accept_pinned_spec: bool,
) -> "FinalizeEpochResult":
    from ledger_pipeline.temporal_bridge.ledger_activities.finalization import finalize_signed

    return finalize_signed(
        access.ledger, access.spec, epoch, signature, signer, inputs_signature, accept_pinned_spec=accept_pinned_spec
    )
