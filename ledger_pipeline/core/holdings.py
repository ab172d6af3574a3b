"""Who holds what statements in force give, by the links of one moment: a claim never changes, whose it is may.

A statement names claimants. One that is a user is that user for ever; an account is whoever it is linked to when
somebody asks, and until it is linked its credits are reserved.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from ledger_pipeline.core.claimants import Claimant, IdentityClaimant, UserClaimant


@dataclass(frozen=True)
class Claim:
    """The credits that one statement in force gives one claimant; `epoch_key` is the first day of its epoch."""

    scope_key: str
    epoch_key: str
    epoch_id: int
    statement_id: UUID
    claimant: Claimant
    amount_credits: int


@dataclass(frozen=True)
class Holding:
    """The claims of one user, or of an account that nobody linked, oldest epoch first."""

    holder: Claimant
    claims: tuple[Claim, ...]

    @property
    def amount_credits(self) -> int:
        """All of them together."""
        return sum(claim.amount_credits for claim in self.claims)

    @property
    def is_reserved(self) -> bool:
        """Whether they wait for somebody to link the account."""
        return isinstance(self.holder, IdentityClaimant)

    @property
    def credits_of_accounts(self) -> int:
        """Those of them that were stated for accounts, and came to the user by a later link; or wait for one."""
        return sum(claim.amount_credits for claim in self.claims if isinstance(claim.claimant, IdentityClaimant))


def holdings(claims: Iterable[Claim], user_of: Mapping[tuple[str, str], str]) -> list[Holding]:
    """`claims` by whose they are, most credits first; no order among them matters.

    `user_of` has the user of each account that is linked, by provider and account. A claim of no credits is none.
    """
    by_holder: defaultdict[Claimant, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.amount_credits > 0:
            by_holder[_holder(claim.claimant, user_of)].append(claim)
    held = [
        Holding(holder, tuple(sorted(theirs, key=lambda claim: (claim.epoch_key, claim.scope_key, claim.claimant.key))))
        for holder, theirs in by_holder.items()
    ]
    return sorted(held, key=lambda holding: (-holding.amount_credits, holding.holder.key))


def _holder(claimant: Claimant, user_of: Mapping[tuple[str, str], str]) -> Claimant:
    if isinstance(claimant, UserClaimant):
        return claimant
    user_id = user_of.get((claimant.provider, claimant.external_id))
    return claimant if user_id is None else UserClaimant(user_id)
