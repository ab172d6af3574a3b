"""From units and a pool to payouts, their hash, and the message an approver signs. Integers only.

The arithmetic, the hash and the message are a contract with the system we join, and never change.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.core.shares import largest_remainder, share_text


@dataclass(frozen=True)
class UserUnits:
    """What one claimant's work is valued at in an epoch, in milli-units.

    `user_id` is a user's id, or the key of an account that nobody linked to a user (`core.claimants`).
    """

    user_id: str
    units: int


@dataclass(frozen=True)
class Payout:
    """One line of a statement. `share` is of all units, cut off (never rounded up) after six decimals.

    `user_id` as in `UserUnits`: what an account has is reserved for whoever it is linked to.
    """

    user_id: str
    total_units: int
    share: str
    amount_credits: int

    def to_json(self) -> dict[str, str]:
        """As `payouts_json` holds it: every number as a decimal string."""
        return {
            "userId": self.user_id,
            "totalUnits": str(self.total_units),
            "share": self.share,
            "amountCredits": str(self.amount_credits),
        }


def compute_payouts(allocations: Iterable[UserUnits], pool_total_credits: int) -> list[Payout]:
    """The pool shared out in proportion to units, by claimants' keys in code-point order: of users, by their ids.

    Largest remainder: everybody has the whole credits of their exact share, and what is left goes one credit each to
    the largest remainders, ties by key. The lines of one claimant count together; amounts sum to the pool exactly.
    Empty where nobody has units or the pool is: the system we join has no lines then either. Raises AllocationError for
    negative units or a negative pool.
    """
    units: defaultdict[str, int] = defaultdict(int)
    for allocation in allocations:
        if allocation.units < 0:
            raise AllocationError(f"user {short_message(allocation.user_id)}: {allocation.units} units are negative")
        units[allocation.user_id] += allocation.units
    if pool_total_credits < 0:
        raise AllocationError(f"a pool of {pool_total_credits} credits is negative")
    all_units = sum(units.values())
    if all_units == 0 or pool_total_credits == 0:
        return []
    user_ids = {key_of_set_hash_key(user_id): user_id for user_id in units}
    credits_ = largest_remainder(pool_total_credits, {key: units[user_id] for key, user_id in user_ids.items()})
    return [
        Payout(user_id, units[user_id], share_text(units[user_id], all_units), credits_[key])
        for key, user_id in sorted(user_ids.items())
    ]


def allocation_set_hash(allocations: Iterable[UserUnits]) -> str:
    """SHA-256 hex over `allocation_set_text`. Injective where the ids are ids by `core.identifiers`."""
    return sha256(allocation_set_text(allocations).encode()).hexdigest()


def allocation_set_text(allocations: Iterable[UserUnits]) -> str:
    """Lines `{user id}:{units}` in code-point order of the ids, joined by line feeds."""
    ordered = sorted(allocations, key=lambda allocation: allocation.user_id)
    return "\n".join(f"{allocation.user_id}:{allocation.units}" for allocation in ordered)


def statement_message(
    *, node_id: UUID, scope_id: UUID, epoch_id: int, allocation_set_hash: str, pool_total_credits: int
) -> str:
    """What an approver signs (EIP-191, `personal_sign`), to the byte; lines end in a line feed, the last in none."""
    return "\n".join(
        [
            "Cogni Payout Statement v1",
            f"Node: {node_id}",
            f"Scope: {scope_id}",
            f"Epoch: {epoch_id}",
            f"Allocation Hash: {allocation_set_hash}",
            f"Pool Total: {pool_total_credits}",
        ]
    )


def inputs_message(*, node_id: UUID, scope_id: UUID, epoch_id: int, inputs_root: str, statement_message: str) -> str:
    """What an approver may sign beside `statement_message` (EIP-191, `personal_sign`): what its numbers follow from.

    Not of the contract: ours, to the byte. `inputs_root` is hex; lines end in a line feed, the last in none.
    """
    return "\n".join(
        [
            "Ledger Pipeline Statement Inputs v1",
            f"Node: {node_id}",
            f"Scope: {scope_id}",
            f"Epoch: {epoch_id}",
            f"Inputs Root: {inputs_root}",
            f"Statement: {sha256(statement_message.encode()).hexdigest()}",
        ]
    )


def amended_units(stated: Sequence[UserUnits], corrections: Mapping[str, int]) -> list[UserUnits]:
    """The units of a statement with `corrections` (user id -> units) in place of theirs, by user id."""
    units = {allocation.user_id: allocation.units for allocation in stated} | dict(corrections)
    return [UserUnits(user_id, units[user_id]) for user_id in sorted(units)]
