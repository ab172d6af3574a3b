"""A claimant takes no pay, or takes it again: their wallet signed so, or somebody who may write says why."""

from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import UnprovenLink
from ledger_pipeline.core.linking import check_link, check_wallet
from ledger_pipeline.core.opting import OptOutMessage, read_opt_out_message
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.linking import refuse_public
from ledger_pipeline.store.link_records import SignedMessage
from ledger_pipeline.wallets import is_among, recover_signer

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def wallet_of(ledger: "PostgresLedger", user_id: str) -> str:
    """The wallet by which a user's choice is signed. Raises UnprovenLink where none of their accounts has shown one."""
    wallet = ledger.opt_outs.wallet_of(user_id)
    if wallet is None:
        raise UnprovenLink(
            f"no account of {quoted(user_id)} has shown a wallet: link one by a message that it signs, or have an "
            "operator write the choice down with a reason"
        )
    return wallet


def choose_by_wallet(ledger: "PostgresLedger", scope: Scope, text: str, signature: str, now: datetime) -> OptOutMessage:
    """Keep the choice of the message `text`, which the user's wallet signed.

    Raises LinkError, WrongSignature, SignerNotApproved for a wallet whose key everybody has, or as `OptOuts.choose`
    does; nothing is stored then.
    """
    message = read_opt_out_message(text)
    check_link(message, node_id=ledger.node_id, now=now)
    signer = recover_signer(text, signature)
    check_wallet(message, signer)
    refuse_public(signer, scope)
    wallet = wallet_of(ledger, message.user_id)
    if not is_among(signer, (wallet,)):
        raise UnprovenLink(f"the wallet of {quoted(message.user_id)} is {wallet}, and {signer} signed: sign with that")
    signed = SignedMessage(text, message.nonce, signer, canonical_signature(signature))
    ledger.opt_outs.choose(message.user_id, is_opted_out=message.is_opted_out, signed=signed)
    return message
