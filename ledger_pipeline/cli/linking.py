"""`ledger-pipeline identities challenge` and `vouch`: an account is linked by a message that a wallet signs."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import ScopeKey
from ledger_pipeline.cli.output import note, say, say_exactly
from ledger_pipeline.core.errors import MalformedLink
from ledger_pipeline.core.linking import LONGEST_LIFE, NONCE_BYTES, make_link_message
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.settings import read_settings

Account = Annotated[str, typer.Option("--account", help="The account's numeric id at the provider.")]
Login = Annotated[str, typer.Option("--login", help="The account's name there, for people to read.")]
User = Annotated[str, typer.Option("--user", help="The user it belongs to.")]
Wallet = Annotated[str, typer.Option("--wallet", metavar="0x..", help="The wallet that will sign.")]
Provider = Annotated[str, typer.Option("--provider", help="Where the account is.")]
Days = Annotated[int, typer.Option("--days", min=1, max=LONGEST_LIFE.days, help="How long the message is good.")]
Message = Annotated[
    Path, typer.Option("--message", metavar="FILE", help="The message, as `identities challenge` printed it.")
]
Signature = Annotated[str, typer.Option("--signature", metavar="0x..", help="The wallet's, of the message.")]
ApproverSignature = Annotated[
    str | None, typer.Option("--approver-signature", metavar="0x..", help="An approver's, of the same message.")
]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Without an approver: how an operator knows whose account it is.")
]

# A message of ours is far shorter.
_MOST_CHARACTERS = 2000


def challenge(
    account: Account, login: Login, user: User, wallet: Wallet, provider: Provider = GITHUB, days: Days = 7
) -> None:
    """Print the message that links an account to a user, for the wallet to sign (EIP-191, personal_sign)."""
    message = make_link_message(
        node_id=read_settings().repo_spec().node_id,
        user_id=user,
        provider=provider,
        account_id=account,
        login=login,
        wallet=wallet,
        nonce=secrets.token_hex(NONCE_BYTES),
        until=datetime.now(UTC) + timedelta(days=days),
    )
    note("sign it to the byte, then have an approver sign it too: `ledger-pipeline identities vouch` takes both")
    say_exactly(message.text())


def vouch(
    message: Message,
    signature: Signature,
    approver_signature: ApproverSignature = None,
    reason: Reason = None,
    scope_key: ScopeKey = None,
) -> None:
    """Bind the account of a message that its wallet signed, where an approver signed it too, or with a reason."""
    from ledger_pipeline.pipeline.linking import link_by_approver, link_by_operator

    if (approver_signature is None) == (reason is None):
        raise typer.BadParameter("give --approver-signature, or --reason where an operator vouches")
    if reason is not None and not is_reason(reason):
        raise typer.BadParameter("--reason must say how the operator knows")
    text, now = message_in(message), datetime.now(UTC)
    with open_access(scope_key) as access:
        if approver_signature is not None:
            binding = link_by_approver(access.ledger, access.scope, text, signature, approver_signature, now)
        else:
            binding = link_by_operator(access.ledger, access.scope, text, signature, (reason or "").strip(), now)
    say(f"{binding.provider} {binding.external_id} is {binding.user_id}")


def message_in(file: Path) -> str:
    """The message in a file, which an editor may have given a last line end."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            text = stream.read(_MOST_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedLink(f"cannot read {file}: {error}") from error
    return text.removesuffix("\n").removesuffix("\r")
