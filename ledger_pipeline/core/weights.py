"""What each kind of event weighs, in integer milli-units; pinned into an epoch when it is created."""

from collections.abc import Mapping

# The system we join pays these; an epoch keeps the weights it was created with.
DEFAULT_WEIGHTS_MILLI: Mapping[str, int] = {
    "github:pr_merged": 1000,
    "github:review_submitted": 500,
    "github:issue_closed": 300,
}


def weight_drift(pinned: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, str]:
    """What differs between an epoch's pinned weights and those wanted now: event type -> `pinned -> wanted`."""
    names = sorted({*pinned, *wanted})
    return {
        name: f"{pinned.get(name, 'none')} -> {wanted.get(name, 'none')}"
        for name in names
        if pinned.get(name) != wanted.get(name)
    }
