"""Where a claimant's tokens are sent: to the wallet that they linked with proof, or that an approver signed for.

The latest of these counts. The ledger only keeps what was signed, and whoever may write may have made it up: every
signature is recovered here before anything is sent by it. An operator's word alone gives nobody a wallet.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from ledger_pipeline.core.claimants import IdentityClaimant, UserClaimant, claimant_of_key
from ledger_pipeline.core.errors import DistributionError, IdentityError, SignatureError, SignerNotApproved
from ledger_pipeline.core.linking import read_link_message
from ledger_pipeline.core.payout_wallets import wallets_message
from ledger_pipeline.core.public_keys import is_public
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.store.distribution_records import NewWallets, StoredWallets
from ledger_pipeline.store.link_records import Binding, RestsOn
from ledger_pipeline.wallets import checksummed, is_among, recover_signer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class PayoutWallet:
    """A wallet with its checksum, since when it is the claimant's (aware, UTC), and what that rests on."""

    address: str
    since: datetime
    rests_on: str


class WalletBook:
    """The wallets of a node's claimants, for a scope's approvers as they are now; signatures are recovered as asked."""

    def __init__(self, ledger: "PostgresLedger", scope: Scope) -> None:
        self._node_id = ledger.node_id
        self._scope = scope
        self._lists = ledger.payout_wallets.lists()[::-1]
        self._user_of: dict[tuple[str, str], str] = {}
        self._bindings: defaultdict[str, list[Binding]] = defaultdict(list)
        for binding in ledger.identities.bindings():
            self._user_of[binding.provider, binding.external_id] = binding.user_id
            self._bindings[binding.user_id].append(binding)
        self._is_signed = cache(self._recovers)

    def of(self, claimant_key: str) -> PayoutWallet | None:
        """The claimant's wallet; of an account that is linked to a user by now, the user's. None where nobody knows."""
        try:
            claimant = claimant_of_key(claimant_key)
        except IdentityError:  # a statement of before there was a rule of ids
            return None
        keys = [claimant_key]
        if isinstance(claimant, IdentityClaimant):
            user_id = self._user_of.get((claimant.provider, claimant.external_id))
            if user_id is not None:
                keys.append(UserClaimant(user_id).key)
        else:
            user_id = claimant.user_id
        candidates = [*self._linked(user_id), *(wallet for key in keys for wallet in self._listed(key))]
        return max(candidates, key=lambda wallet: wallet.since, default=None)

    def _linked(self, user_id: str | None) -> Iterator[PayoutWallet]:
        if user_id is None:
            return
        for binding in self._bindings.get(user_id, ()):
            if binding.linked_at is not None and (rests_on := self._proof(binding)) is not None:
                yield PayoutWallet(checksummed(rests_on[0].lower()), binding.linked_at, rests_on[1])

    def _listed(self, claimant_key: str) -> Iterator[PayoutWallet]:
        """From the last list that names the claimant and that an approver signed."""
        for position, stored in enumerate(self._lists):
            wallet = stored.wallets.get(claimant_key)
            if isinstance(wallet, str) and self._is_signed(position):
                rests_on = f"approver {stored.approver} in list {stored.number}: {stored.reason}"
                yield PayoutWallet(checksummed(wallet.lower()), stored.recorded_at, rests_on)
                return

    def _recovers(self, position: int) -> bool:
        stored = self._lists[position]
        try:
            check_list(self._node_id, self._scope, stored)
        except (DistributionError, IdentityError, SignatureError):
            return False  # somebody who may write made it up
        return True

    def _proof(self, binding: Binding) -> tuple[str, str] | None:
        """The wallet that a binding shows, and by what; None where it shows none, or was made up."""
        evidence = binding.evidence
        signed = evidence.signed
        if signed is None or evidence.rests_on not in (RestsOn.PROOF, RestsOn.APPROVER):
            return None
        try:
            message = read_link_message(signed.message)
            if not is_among(recover_signer(signed.message, signed.signature), (message.wallet,)):
                return None
            approver = recover_signer(signed.message, evidence.approver_signature or "") if evidence.approver else None
        except (IdentityError, SignatureError):
            return None
        named = (message.node_id, message.provider, message.account_id, message.user_id)
        if named != (self._node_id, binding.provider, binding.external_id, binding.user_id):
            return None
        if is_public(message.wallet) and not self._scope.is_simulated:
            return None
        if evidence.rests_on is RestsOn.PROOF:
            return message.wallet, f"a link with proof: {evidence.proof_url}"
        if approver is None or not is_among(approver, self._scope.approvers):
            return None
        return message.wallet, f"a link that approver {approver} vouched for"


def check_list(node_id: "UUID", scope: Scope, given: NewWallets | StoredWallets) -> None:
    """Raises SignatureError unless an approver signed the list; as `list_message` does for one that is none."""
    message = list_message(node_id, scope, given.number, given.reason, given.wallets)
    signer = recover_signer(message, given.approver_signature)
    if not is_among(signer, scope.approvers) or not is_among(signer, (given.approver,)):
        raise SignerNotApproved(
            f"the signature recovers to {signer}, no approver of {scope.scope_key} ({', '.join(scope.approvers)}); one "
            f"of any other message recovers to a stranger too: this one is of list {given.number}, to the byte"
        )
    if is_public(signer) and not scope.is_simulated:
        raise SignerNotApproved(f"everybody has the key of {signer}, an account of every development node")


def list_message(node_id: "UUID", scope: Scope, number: int, reason: str, wallets: "Mapping[str, str]") -> str:
    """What an approver signs. Raises as `wallets_message` does, and IdentityError for a wallet whose key all have."""
    message = wallets_message(node_id=node_id, number=number, reason=reason, wallets=wallets)
    for key, wallet in wallets.items():
        checksummed(wallet)
        if is_public(wallet) and not scope.is_simulated:
            raise IdentityError(f"{key}: everybody has the key of {wallet}, an account of every development node")
    return message


def set_wallets(
    ledger: "PostgresLedger", scope: Scope, wallets: "Mapping[str, str]", reason: str, approver_signature: str
) -> NewWallets:
    """Keep `wallets` as the node's next list, which an approver of `scope` signed. Raises as `check_list` does."""
    number = ledger.payout_wallets.next_number()
    message = list_message(ledger.node_id, scope, number, reason, wallets)
    approver = recover_signer(message, approver_signature)
    given = NewWallets(number, dict(wallets), reason, approver, canonical_signature(approver_signature))
    check_list(ledger.node_id, scope, given)
    ledger.payout_wallets.append(given)
    return given
