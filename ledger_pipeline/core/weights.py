"""What each kind of event weighs, in integer milli-units; pinned into an epoch when it is created."""

from collections.abc import Iterable, Mapping

from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.sources import source_kind

# The largest integer that JSON keeps exact in every language: the system we join reads weights as JSON numbers.
MAX_WEIGHT_MILLI = 2**53 - 1
WHOLE_FACTOR_MILLI = 1000


def default_weights_milli(sources: Iterable[str]) -> dict[str, int]:
    """What each type of event of these sources weighs where the repo-spec does not say.

    Of no other source, so that one more that can be collected changes nobody's weights. Raises ConfigurationError
    where one of them is none.
    """
    return {name: weight for source in sources for name, weight in source_kind(source).default_weights_milli.items()}


def weighed(weight_milli: int, factor_milli: int | None) -> int:
    """A weight times a factor (1000: once), rounded down to whole milli-units; without a factor the weight."""
    return weight_milli if factor_milli is None else weight_milli * factor_milli // WHOLE_FACTOR_MILLI


def check_weights(weights_milli: Mapping[str, object]) -> None:
    """Return if every weight is an integer from 0 to MAX_WEIGHT_MILLI. Raises AllocationError naming the first other.

    The type is `object` because weights come from JSON, where a fraction passes for a number.
    """
    for name, weight in weights_milli.items():
        if not isinstance(weight, int) or isinstance(weight, bool):
            raise AllocationError(f"weight of {name}: {weight!r} is no integer (milli-units: 1000 for one unit)")
        if weight < 0:
            raise AllocationError(f"weight of {name}: {weight} is negative")
        if weight > MAX_WEIGHT_MILLI:
            raise AllocationError(f"weight of {name}: {weight} is more than JSON keeps exact, {MAX_WEIGHT_MILLI}")


def weight_drift(pinned: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, tuple[int | None, int | None]]:
    """By event type what differs between an epoch's pinned weights and those wanted now: both, None for none."""
    names = sorted({*pinned, *wanted})
    return {name: (pinned.get(name), wanted.get(name)) for name in names if pinned.get(name) != wanted.get(name)}
