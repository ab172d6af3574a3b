"""The text by which an approver says where claimants' tokens are sent (EIP-191, `personal_sign`), to the byte.

It names all that it is good for: a node, its number among the node's lists, why, and each claimant with their wallet.
"""

from collections.abc import Mapping
from uuid import UUID

from ledger_pipeline.core.claimants import claimant_of_key
from ledger_pipeline.core.distribution import check_address
from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.reasons import is_reason

TITLE = "Ledger Pipeline Payout Wallets v1"
MOST_WALLETS = 1000
_LONGEST_REASON = 1000


def wallets_message(*, node_id: UUID, number: int, reason: str, wallets: Mapping[str, str]) -> str:
    """The text to sign for `wallets` by claimants' keys; lines end in a line feed, the last in none.

    Raises IdentityError for a key or an address that is none, for none of them or more than MOST_WALLETS, and for a
    reason that is none, or more than one line of plain text.
    """
    if not 0 < len(wallets) <= MOST_WALLETS:
        raise IdentityError(f"a list has from 1 to {MOST_WALLETS:,} wallets, not {len(wallets):,}")
    if not is_reason(reason) or plain_text(reason, _LONGEST_REASON) != reason:
        raise IdentityError(f"the reason is not one line of plain text with at most {_LONGEST_REASON:,} characters")
    for key, wallet in wallets.items():
        claimant_of_key(key)
        check_address(key, wallet)
    return "\n".join(
        [
            TITLE,
            f"Node: {node_id}",
            f"Number: {number}",
            f"Reason: {reason}",
            *(f"{key}: {wallets[key]}" for key in sorted(wallets)),
        ]
    )
