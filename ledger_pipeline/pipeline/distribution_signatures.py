"""Who signed a distribution: approvers of its scope, over its root and its manifest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger_pipeline.core.distribution import Distribution
from ledger_pipeline.core.distribution_signing import DistributionData
from ledger_pipeline.core.errors import DistributionError, SignerNotApproved, WrongSignature
from ledger_pipeline.core.public_keys import is_public
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.distribution import recomputed
from ledger_pipeline.store.distribution_records import DistributionSignature
from ledger_pipeline.wallets import is_among, recover_signer

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def sign(ledger: "PostgresLedger", scope: Scope, number: int, signature: str) -> DistributionSignature | None:
    """Keep an approver's signature of a distribution; None where it is there already.

    Raises SignatureError where no approver made it, DistributionError for a distribution that is set aside or does not
    follow from its rows; nothing is written then.
    """
    stored = ledger.distributions.numbered(scope.scope_id, number)
    if stored.set_aside is not None:
        raise DistributionError(f"distribution {number} was set aside, so nobody signs it: {stored.set_aside.reason}")
    signer = recover_signer(DistributionData(recomputed(ledger.node_id, stored)), signature)
    if not is_among(signer, scope.approvers):
        raise SignerNotApproved(
            f"the signature recovers to {signer}, no approver of {scope.scope_key} ({', '.join(scope.approvers)}); one "
            f"of any other message recovers to a stranger too: `distribution sign-data {number}` prints this one"
        )
    if is_public(signer) and not scope.is_simulated:
        raise SignerNotApproved(f"everybody has the key of {signer}, an account of every development node")
    made = DistributionSignature(signer, canonical_signature(signature))
    return made if ledger.distributions.sign(number, made) else None


def good_signatures(
    distribution: Distribution, signatures: Sequence[DistributionSignature], approvers: Sequence[str]
) -> list[DistributionSignature]:
    """The first of `signatures` that each of `approvers` made of the distribution."""
    data = DistributionData(distribution)
    good: dict[str, DistributionSignature] = {}
    for signature in signatures:
        if signature.signer_wallet.lower() in good or not is_among(signature.signer_wallet, tuple(approvers)):
            continue
        try:
            signer = recover_signer(data, signature.signature)
        except WrongSignature:
            continue  # whoever may write made it up
        if is_among(signer, (signature.signer_wallet,)):
            good[signer.lower()] = signature
    return list(good.values())
