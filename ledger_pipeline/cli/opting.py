"""`ledger-pipeline identities opt-out`: a claimant takes no pay, or takes it again."""

import secrets
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.linking import message_in
from ledger_pipeline.cli.options import Json, ScopeKey
from ledger_pipeline.cli.output import note, print_json, print_table, say, say_exactly
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.linking import NONCE_BYTES
from ledger_pipeline.core.opting import make_opt_out_message
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.pipeline.opting import choose_by_wallet, wallet_of

User = Annotated[str, typer.Option("--user", help="The user, whose accounts have shown a wallet.")]
Claimant = Annotated[
    str | None, typer.Option("--claimant", help="A user's id, or the key of an account that nobody linked.")
]
Back = Annotated[bool, typer.Option("--back", help="Take pay again, in epochs that close from then on.")]
Message = Annotated[
    Path | None, typer.Option("--message", metavar="FILE", help="The message, as `opt-out-message` printed it.")
]
Signature = Annotated[str | None, typer.Option("--signature", metavar="0x..", help="The wallet's, of the message.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Without a signature: how an approver knows; kept for ever.")
]

_GOOD_FOR = timedelta(days=7)


def opt_out_message(user: User, back: Back = False, scope_key: ScopeKey = None) -> None:
    """Print the message by which a user takes no pay, for their wallet to sign (EIP-191, personal_sign)."""
    with open_access(scope_key) as access:
        message = make_opt_out_message(
            node_id=access.ledger.node_id,
            user_id=user,
            is_opted_out=not back,
            wallet=wallet_of(access.ledger, user),
            nonce=secrets.token_hex(NONCE_BYTES),
            until=datetime.now(UTC) + _GOOD_FOR,
        )
    note("sign it to the byte: `ledger-pipeline identities opt-out --message FILE --signature 0x..` takes it")
    say_exactly(message.text())


def opt_out(
    claimant: Claimant = None,
    back: Back = False,
    message: Message = None,
    signature: Signature = None,
    reason: Reason = None,
    scope_key: ScopeKey = None,
) -> None:
    """Keep that a claimant takes no pay, by a message that their wallet signed, or with a reason.

    Their units leave the total of every epoch that closes from then on, so that the others share all of its pool.
    """
    if (message is None) != (signature is None) or (message is None) == (claimant is None):
        raise typer.BadParameter("give --message and --signature, or --claimant and --reason")
    if (claimant is None) != (reason is None):
        raise typer.BadParameter("--reason goes with --claimant, and a signature needs none")
    with open_access(scope_key) as access:
        if message is not None:
            text = message_in(message)
            chosen = choose_by_wallet(access.ledger, access.scope, text, signature or "", datetime.now(UTC))
            who, is_opted_out = chosen.user_id, chosen.is_opted_out
        else:
            who, is_opted_out = claimant or "", not back
            access.ledger.opt_outs.choose(who, is_opted_out=is_opted_out, reason=reason)
    say(f"{quoted(who)} takes {'no pay' if is_opted_out else 'pay again'}, in epochs that close from now on")


def opt_outs(as_json: Json = False) -> None:
    """Print everybody who takes no pay, since when, and what that rests on."""
    with open_access(None) as access:
        choices = access.ledger.opt_outs.present()
    if as_json:
        print_json([asdict(choice) for choice in choices])
        return
    rows = [[choice.claimant, choice.chosen_at.isoformat(), choice.why] for choice in choices]
    print_table(f"{counted(len(rows), 'claimant')} without pay", ["claimant", "since", "rests on"], rows)
