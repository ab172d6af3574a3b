"""What is fixed when an epoch closes for review, so that nothing it is paid by can change afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.hashing import sha256_hex

# The algorithm that each way of estimating credits allocates by; the system we join knows the same names.
_ALLOCATION_ALGO_OF = {"cogni-v0.0": "weight-sum-v0"}


@dataclass(frozen=True)
class EpochPins:
    """The allocation algorithm, and hashes of the pinned weights and of the approvers of that moment."""

    allocation_algo_ref: str
    weight_config_hash: str
    approver_set_hash: str


def allocation_algo_ref(credit_estimate_algo: str) -> str:
    """The allocation algorithm of a credit estimate. Raises ConfigurationError naming those there are."""
    try:
        return _ALLOCATION_ALGO_OF[credit_estimate_algo]
    except KeyError:
        known = ", ".join(_ALLOCATION_ALGO_OF)
        raise ConfigurationError(f"credit_estimate_algo {credit_estimate_algo!r} is not known: {known}") from None


def weight_config_hash(weights_milli: Mapping[str, int]) -> str:
    """SHA-256 hex over the canonical JSON of the weights."""
    return sha256_hex(dict(weights_milli))


def approver_set_hash(approvers: Sequence[str]) -> str:
    """SHA-256 hex over the approvers' addresses: lower case, sorted, joined by commas."""
    return sha256(",".join(sorted(address.lower() for address in approvers)).encode()).hexdigest()
