"""Whom units are for: a user, or an account that nobody linked to a user yet. Integers only.

An event's units belong to its claimants together. Which units each of them has, the statement's lines and the hash that
is signed are a contract with the system we join, and never change.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from ledger_pipeline.core.errors import AllocationError, IdentityError
from ledger_pipeline.core.facts import CoAuthor
from ledger_pipeline.core.identifiers import EMAIL, check_id, why_not_an_account
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.shares import equal_parts, largest_remainder, share_text

V = TypeVar("V")

ALL_PPM = 1_000_000

_USER = "user"
_IDENTITY = "identity"

# How the columns `user_id`, lines of payouts and the signed hash name an account: by a key, where a user has a bare id.
_ACCOUNT_KEY = re.compile(rf"{_IDENTITY}:[^:]+:[^:]+")


@dataclass(frozen=True)
class UserClaimant:
    """A user, by the id that accounts are linked to."""

    user_id: str

    @property
    def key(self) -> str:
        """How the claimant is named among all claimants."""
        return f"{_USER}:{self.user_id}"

    @property
    def set_hash_key(self) -> str:
        """How the signed hash names a user: by the bare id, as it did before there were claimants."""
        return self.user_id

    def to_json(self) -> dict[str, str | None]:
        """As a statement's line has it."""
        return {"kind": _USER, "userId": self.user_id}


@dataclass(frozen=True)
class IdentityClaimant:
    """An account that nobody linked to a user yet. Its login is for people to read: it can change hands."""

    provider: str
    external_id: str
    login: str | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """How the claimant is named among all claimants."""
        return f"{_IDENTITY}:{self.provider}:{self.external_id}"

    @property
    def set_hash_key(self) -> str:
        """How the signed hash names an account: by its whole key, which no user's id can be."""
        return self.key

    def to_json(self) -> dict[str, str | None]:
        """As a statement's line has it."""
        return {
            "kind": _IDENTITY,
            "provider": self.provider,
            "externalId": self.external_id,
            "providerLogin": self.login,
        }


Claimant = UserClaimant | IdentityClaimant


@dataclass(frozen=True)
class EventClaim:
    """One event that counts: what it weighs, in milli-units, and whom that is for."""

    event_id: str
    units: int
    claimants: Collection[Claimant]


@dataclass(frozen=True)
class ClaimOverride:
    """What a person decided of one event: its units, milli, and claimants' shares in millionths; None: as it was."""

    event_id: str
    units: int | None = None
    shares_ppm: Mapping[Claimant, int] | None = None


@dataclass(frozen=True)
class ClaimantAllocation:
    """One claimant's milli-units, and the ids of the events that they come from, in code-point order."""

    claimant: Claimant
    units: int
    event_ids: Sequence[str] = ()


@dataclass(frozen=True)
class StatementLine:
    """One claimant's line of a statement. `share` is of all units, cut off after six decimals."""

    allocation: ClaimantAllocation
    share: str
    amount_credits: int

    def to_json(self) -> dict[str, object]:
        """As the system we join writes it: every number as a decimal string."""
        claimant = self.allocation.claimant
        return {
            "claimantKey": claimant.key,
            "claimant": claimant.to_json(),
            "finalUnits": str(self.allocation.units),
            "poolShare": self.share,
            "creditAmount": str(self.amount_credits),
            "receiptIds": list(self.allocation.event_ids),
        }


def account_of(source: str, co_author: CoAuthor) -> IdentityClaimant:
    """The account of whoever wrote a part of a change at `source`: theirs there, else that of the e-mail's hash."""
    if co_author.id is not None:
        return IdentityClaimant(source, co_author.id)
    return IdentityClaimant(EMAIL, co_author.email_hash or "")


def claimant_of_key(key: str) -> Claimant:
    """The claimant that `key` names.

    Raises IdentityError for what is no key, or holds what is no id or no account: such a key could be read in two ways.
    """
    kind, _, name = key.partition(":")
    if kind == _USER:
        check_id("user", name, is_new=False)
        return UserClaimant(name)
    provider, separator, external_id = name.partition(":")
    if kind != _IDENTITY or not separator:
        raise IdentityError(f"{quoted(key)} names no claimant: neither user:USER nor identity:PROVIDER:ACCOUNT")
    check_id("provider", provider, is_new=False)
    problem = why_not_an_account(provider, external_id)
    if problem is not None:
        raise IdentityError(f"{provider} account {quoted(external_id)} {problem}")
    return IdentityClaimant(provider, external_id)


def account_of_key(key: str) -> IdentityClaimant:
    """The account that `key` names. Raises IdentityError for what is no account's key."""
    claimant = claimant_of_key(key)
    if not isinstance(claimant, IdentityClaimant):
        raise IdentityError(f"{quoted(key)} names a user, no account")
    return claimant


def is_account_key(set_hash_key: str) -> bool:
    """Whether a claimant's `set_hash_key` is that of an account, not a user's id: no such id has a colon."""
    if _ACCOUNT_KEY.fullmatch(set_hash_key) is None:
        return False
    try:
        claimant_of_key(set_hash_key)
    except IdentityError:
        return False
    return True


def key_of_set_hash_key(set_hash_key: str) -> str:
    """The key of the claimant that the signed hash names so; of an account they are the same."""
    return set_hash_key if is_account_key(set_hash_key) else f"{_USER}:{set_hash_key}"


def check_set_hash_key(set_hash_key: str, *, reserves_accounts: bool, is_new: bool = True) -> None:
    """Raises IdentityError unless it is a user's id or, where `reserves_accounts`, the key of an account.

    A user's id that `is_new` must have nothing but characters that are known.
    """
    if reserves_accounts and set_hash_key.startswith(f"{_IDENTITY}:"):
        claimant_of_key(set_hash_key)
    else:
        check_id("user", set_hash_key, is_new=is_new)


def claimant_allocations(
    claims: Iterable[EventClaim], overrides: Iterable[ClaimOverride] = ()
) -> list[ClaimantAllocation]:
    """The units of each claimant of an event, by key in code-point order; no order among what is given matters.

    An event's claimants share its units equally: everybody has the whole part, and what is left goes one each in the
    order of keys. Where a person decided shares, these count, by largest remainder, ties by key; where units, those are
    shared. Raises AllocationError for units that are negative or of nobody, for shares that are not of a whole, for an
    event that is there twice, and for an override of one that is not there.
    """
    by_event = _once("claim", ((claim.event_id, claim) for claim in claims))
    decided = _once("override", ((override.event_id, override) for override in overrides))
    for event_id in sorted(decided.keys() - by_event.keys()):
        raise AllocationError(f"override of {short_message(event_id)}: the event does not count, or is not there")
    units: defaultdict[Claimant, int] = defaultdict(int)
    event_ids: defaultdict[Claimant, list[str]] = defaultdict(list)
    for event_id in sorted(by_event):
        for claimant, share in _shares(by_event[event_id], decided.get(event_id)).items():
            units[claimant] += share
            event_ids[claimant].append(event_id)
    return [
        ClaimantAllocation(claimant, units[claimant], tuple(event_ids[claimant]))
        for claimant in sorted(units, key=lambda claimant: claimant.key)
    ]


def statement_lines(allocations: Iterable[ClaimantAllocation], pool_total_credits: int) -> list[StatementLine]:
    """The pool shared out in proportion to units, by claimants' keys in code-point order.

    Largest remainder, ties by key; amounts sum to the pool exactly. Empty where nobody has units or the pool is. Raises
    AllocationError for negative units, a negative pool, and a claimant who is there twice.
    """
    by_key = _once("allocation", ((allocation.claimant.key, allocation) for allocation in allocations))
    units = {key: allocation.units for key, allocation in by_key.items()}
    for key in units:
        _check_units(key, units[key])
    if pool_total_credits < 0:
        raise AllocationError(f"a pool of {pool_total_credits} credits is negative")
    all_units = sum(units.values())
    if all_units == 0 or pool_total_credits == 0:
        return []
    return [
        StatementLine(by_key[key], share_text(units[key], all_units), amount_credits)
        for key, amount_credits in largest_remainder(pool_total_credits, units).items()
    ]


def final_allocation_set_hash(allocations: Iterable[ClaimantAllocation]) -> str:
    """SHA-256 hex over lines `{set_hash_key}:{units}` in code-point order of these keys, joined by line feeds."""
    units = {allocation.claimant.set_hash_key: allocation.units for allocation in allocations}
    return sha256("\n".join(f"{key}:{units[key]}" for key in sorted(units)).encode()).hexdigest()


def _shares(claim: EventClaim, override: ClaimOverride | None) -> dict[Claimant, int]:
    units = claim.units if override is None or override.units is None else override.units
    _check_units(claim.event_id, units)
    shares_ppm = None if override is None else override.shares_ppm
    if shares_ppm is not None:
        if sum(shares_ppm.values()) != ALL_PPM or min(shares_ppm.values()) < 0:
            raise AllocationError(
                f"{short_message(claim.event_id)}: its shares are not of {ALL_PPM} millionths together"
            )
        by_key = {claimant.key: claimant for claimant in shares_ppm}
        units_by_key = largest_remainder(units, {claimant.key: ppm for claimant, ppm in shares_ppm.items()})
        return {by_key[key]: share for key, share in units_by_key.items()}
    claimants = {claimant.key: claimant for claimant in claim.claimants}
    if not claimants:
        raise AllocationError(f"{short_message(claim.event_id)}: {units} milli-units are for nobody")
    return {claimants[key]: share for key, share in equal_parts(units, claimants.keys()).items()}


def _check_units(name: str, units: int) -> None:
    if units < 0:
        raise AllocationError(f"{short_message(name)}: {units} units are negative")


def _once(what: str, named: Iterable[tuple[str, V]]) -> dict[str, V]:
    by_name: dict[str, V] = {}
    for name, value in named:
        if name in by_name:
            raise AllocationError(f"{short_message(name)} has more than one {what}")
        by_name[name] = value
    return by_name
