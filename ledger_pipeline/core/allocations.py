"""From curated events to proposed units per claimant, by an algorithm with a name. Integers only.

An event's units are its weight in milli-units: what a person set on it, else what the epoch's pinned weights say of
its kind (`github:pr_merged`), times the factor that a selection policy gives it, else nothing. Whoever has no event
that counts has no allocation.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.weights import check_weights, weighed

WEIGHT_SUM_V0 = "weight-sum-v0"

# Units and credits are BIGINT columns.
MAX_UNITS = 2**63 - 1


@dataclass(frozen=True)
class CuratedEvents:
    """`events` events of one claimant that count and weigh the same: of one kind, with the same override and factor.

    `weight_factor_milli` is a selection policy's (1000: once), None where it gives none; an override holds without it.
    `user_id` is a user's id, or the key of an account that nobody linked to a user (`core.claimants`).
    """

    user_id: str
    kind: str
    weight_override_milli: int | None
    events: int = 1
    weight_factor_milli: int | None = None

    def weight_milli(self, weights_milli: Mapping[str, int]) -> int:
        """What each of them weighs by `weights_milli`, rounded down to whole milli-units."""
        if self.weight_override_milli is not None:
            return self.weight_override_milli
        return weighed(weights_milli.get(self.kind, 0), self.weight_factor_milli)


@dataclass(frozen=True)
class ProposedAllocation:
    """What an algorithm proposes for one user: units in milli, and how many events they come from."""

    user_id: str
    proposed_units: int
    activity_count: int


def event_kind(source: str, event_type: str) -> str:
    """How weights name a kind of event: `github:pr_merged`."""
    return f"{source}:{event_type}"


def compute_proposed_allocations(
    algo_ref: str, events: Iterable[CuratedEvents], weights_milli: Mapping[str, int]
) -> list[ProposedAllocation]:
    """One proposal for each user of `events`, by user id in code-point order; their order never matters.

    Raises AllocationError for an algorithm that is not known, for a weight that is negative, fractional or unsafe, and
    for units that no BIGINT holds.
    """
    try:
        compute = _ALGORITHMS[algo_ref]
    except KeyError:
        algorithm_names = ", ".join(_ALGORITHMS)
        raise AllocationError(f"allocation algorithm {quoted(algo_ref)} is not known: {algorithm_names}") from None
    check_weights(weights_milli)
    return compute(events, weights_milli)


def _weight_sum(events: Iterable[CuratedEvents], weights_milli: Mapping[str, int]) -> list[ProposedAllocation]:
    units: dict[str, int] = {}
    counts: dict[str, int] = {}
    for tally in events:
        override = tally.weight_override_milli
        if override is not None:
            _check_override(tally, override)
        weight_milli = tally.weight_milli(weights_milli)
        units[tally.user_id] = units.get(tally.user_id, 0) + weight_milli * tally.events
        counts[tally.user_id] = counts.get(tally.user_id, 0) + tally.events
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
