"""An account is linked to a user by a message that a wallet signed, where somebody who may vouches for the account."""

from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import SignerNotApproved, UnprovenLink
from ledger_pipeline.core.linking import LinkMessage, check_link, check_wallet, read_link_message
from ledger_pipeline.core.public_keys import is_public
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.store.link_records import Evidence, RestsOn, SignedMessage
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline.wallets import is_among, recover_signer

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def link_by_approver(
    ledger: "PostgresLedger", scope: Scope, text: str, signature: str, approver_signature: str, now: datetime
) -> NewBinding:
    """Bind the account of the message `text`, which its wallet and an approver of `scope` signed; what was bound.

    Raises LinkError, WrongSignature, SignerNotApproved, or as `Identities.link` does; nothing is stored then.
    """
    message, signed = _signed(ledger, scope, text, signature, now)
    approver = recover_signer(text, approver_signature)
    if not is_among(approver, scope.approvers):
        raise SignerNotApproved(
            f"the approver's signature recovers to {approver}, no approver of {scope.scope_key} "
            f"({', '.join(scope.approvers)}); one of any other message recovers to a stranger too"
        )
    refuse_public(approver, scope)
    if is_among(approver, (message.wallet,)):
        raise UnprovenLink(f"approver {approver} vouches for their own wallet: have another approver do so")
    evidence = Evidence(
        RestsOn.APPROVER, signed=signed, approver=approver, approver_signature=canonical_signature(approver_signature)
    )
    return _link(ledger, message, evidence)


def link_by_operator(
    ledger: "PostgresLedger", scope: Scope, text: str, signature: str, reason: str, now: datetime
) -> NewBinding:
    """As `link_by_approver`, where an operator vouches with a `reason`."""
    message, signed = _signed(ledger, scope, text, signature, now)
    return _link(ledger, message, Evidence(RestsOn.OPERATOR, reason=reason, signed=signed))


def _signed(
    ledger: "PostgresLedger", scope: Scope, text: str, signature: str, now: datetime
) -> tuple[LinkMessage, SignedMessage]:
    message = read_link_message(text)
    check_link(message, node_id=ledger.node_id, now=now)
    wallet = recover_signer(text, signature)
    check_wallet(message, wallet)
    refuse_public(wallet, scope)
    return message, SignedMessage(text, message.nonce, wallet, canonical_signature(signature))


def refuse_public(address: str, scope: Scope) -> None:
    """Raises SignerNotApproved for an address whose key everybody has, but where all that is collected is made up."""
    if is_public(address) and not scope.is_simulated:
        raise SignerNotApproved(f"everybody has the key of {address}, an account of every development node")


def _link(ledger: "PostgresLedger", message: LinkMessage, evidence: Evidence) -> NewBinding:
    binding = NewBinding(message.provider, message.account_id, message.user_id)
    ledger.identities.link(binding, evidence)
    return binding
