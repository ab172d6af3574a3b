"""From curated events to proposed units per claimant, by an algorithm with a name. Integers only.

An event's units are its weight in milli-units: what a person set on it, else what the epoch's pinned weights say of
its kind (`github:pr_merged`), times the factor that a selection policy gives it, else nothing. Claimants that an event
has together share its units equally, as `core.claimants` has it. Whoever has no event that counts has no allocation.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ledger_pipeline.core.claimants import claimant_of_key, key_of_set_hash_key
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.shares import equal_parts, largest_remainder
from ledger_pipeline.core.weights import check_weights, weighed

WEIGHT_SUM_V0 = "weight-sum-v0"

# Units and credits are BIGINT columns.
MAX_UNITS = 2**63 - 1


@dataclass(frozen=True)
class CuratedEvents:
    """`events` events of the same claimants that count and weigh the same: of one kind, with the same override and
    factor.

    `weight_factor_milli` is a selection policy's (1000: once), None where it gives none; an override holds without it.
    `user_id` is who did them: a user's id, or the key of an account that nobody linked to a user (`core.claimants`).
    `co_authors` are those who have a part of each of them beside that, named alike; whoever is there twice counts once.
    Where a person decided the parts, `shares_ppm` has each claimant's key with its millionths, and nobody else has any.
    """

    user_id: str
    kind: str
    weight_override_milli: int | None
    events: int = 1
    weight_factor_milli: int | None = None
    co_authors: tuple[str, ...] = ()
    shares_ppm: tuple[tuple[str, int], ...] = ()

    def weight_milli(self, weights_milli: Mapping[str, int]) -> int:
        """What each of them weighs by `weights_milli`, rounded down to whole milli-units."""
        if self.weight_override_milli is not None:
            return self.weight_override_milli
        return weighed(weights_milli.get(self.kind, 0), self.weight_factor_milli)

    def shares_milli(self, weights_milli: Mapping[str, int]) -> Mapping[str, int]:
        """What each claimant has of one of them by `weights_milli`, in milli-units that sum to its weight."""
        return shared_milli(self.weight_milli(weights_milli), self.user_id, self.co_authors, self.shares_ppm)


@dataclass(frozen=True)
class ProposedAllocation:
    """What an algorithm proposes for one claimant: units in milli, and how many events they have a part of."""

    user_id: str
    proposed_units: int
    activity_count: int


def shared_milli(
    units_milli: int, user_id: str, co_authors: Collection[str], shares_ppm: Collection[tuple[str, int]] = ()
) -> Mapping[str, int]:
    """The units of an event shared out equally among `user_id` and `co_authors`, ties by the claimants' keys.

    Where there are `shares_ppm`, by these alone, the largest remainders first.
    """
    if shares_ppm:
        parts = largest_remainder(units_milli, dict(shares_ppm))
        return {claimant_of_key(key).set_hash_key: share_milli for key, share_milli in parts.items()}
    if not co_authors:
        return {user_id: units_milli}
    names = {key_of_set_hash_key(name): name for name in (user_id, *co_authors)}
    return {names[key]: share_milli for key, share_milli in equal_parts(units_milli, names.keys()).items()}


def snapshot(tally: CuratedEvents, weights_milli: Mapping[str, int]) -> dict[str, Json]:
    """What one of these events is worth, and to whom, as JSON whose numbers are strings: what an override replaces."""
    parts = tally.shares_milli(weights_milli)
    return {
        "units": str(tally.weight_milli(weights_milli)),
        "parts": {key_of_set_hash_key(name): str(share_milli) for name, share_milli in parts.items()},
    }


def event_kind(source: str, event_type: str) -> str:
    """How weights name a kind of event: `github:pr_merged`."""
    return f"{source}:{event_type}"


def compute_proposed_allocations(
    algo_ref: str,
    events: Iterable[CuratedEvents],
    weights_milli: Mapping[str, int],
    opted_out: Collection[str] = (),
) -> list[ProposedAllocation]:
    """One proposal for each user of `events`, by user id in code-point order; their order never matters.

    Whoever is `opted_out` has none: their units leave the total, which the others share.

    Raises AllocationError for an algorithm that is not known, for a weight that is negative, fractional or unsafe, and
    for units that no BIGINT holds.
    """
    try:
        compute = _ALGORITHMS[algo_ref]
    except KeyError:
        algorithm_names = ", ".join(_ALGORITHMS)
        raise AllocationError(f"allocation algorithm {quoted(algo_ref)} is not known: {algorithm_names}") from None
    check_weights(weights_milli)
    return [proposal for proposal in compute(events, weights_milli) if proposal.user_id not in opted_out]


def _weight_sum(events: Iterable[CuratedEvents], weights_milli: Mapping[str, int]) -> list[ProposedAllocation]:
    units: dict[str, int] = {}
    counts: dict[str, int] = {}
    for tally in events:
        override = tally.weight_override_milli
        if override is not None:
            _check_override(tally, override)
        for user_id, share_milli in tally.shares_milli(weights_milli).items():
            units[user_id] = units.get(user_id, 0) + share_milli * tally.events
            counts[user_id] = counts.get(user_id, 0) + tally.events
    for user_id, total in units.items():
        if total > MAX_UNITS:
            raise AllocationError(
                f"user {short_message(user_id)}: {total} units are more than the ledger can hold, {MAX_UNITS}"
            )
    return [ProposedAllocation(user_id, units[user_id], counts[user_id]) for user_id in sorted(units)]


def _check_override(tally: CuratedEvents, override: int) -> None:
    try:
        check_weights({"override": override})
    except AllocationError:
        # Named only where it is wrong: a kind or a user may be megabytes long, and have any number of rows.
        check_weights({f"override of a {short_message(tally.kind)} of user {short_message(tally.user_id)}": override})


_ALGORITHMS: Mapping[str, Callable[[Iterable[CuratedEvents], Mapping[str, int]], list[ProposedAllocation]]] = {
    WEIGHT_SUM_V0: _weight_sum,
}
