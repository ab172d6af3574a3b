"""What an epoch's pool is made of. A component's amount is fixed by its inputs and never changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.reasons import is_reason

BASE_ISSUANCE = "base_issuance"
TOP_UP = "top_up"
KPI_BONUS_V0 = "kpi_bonus_v0"

MAX_CREDITS = 10**18
"""The most credits of one component: the sum of a pool's components is then always a BIGINT."""

# By component, the algorithm its amount is computed with.
ALGORITHM_VERSIONS: Mapping[str, str] = {
    BASE_ISSUANCE: "config-constant-v0",
    TOP_UP: "manual-v0",
    KPI_BONUS_V0: "kpi-bonus-v0",
}


@dataclass(frozen=True)
class NewPoolComponent:
    """A component to add: its name, credits, what they were computed from, and where the evidence is.

    Raises AllocationError for a name that is not known, an amount that is negative or more than MAX_CREDITS, and a
    component that a person adds without inputs or evidence.
    """

    component_id: str
    amount_credits: int
    inputs: Mapping[str, Json] = field(default_factory=dict)
    evidence_ref: str | None = None

    def __post_init__(self) -> None:
        if self.component_id not in ALGORITHM_VERSIONS:
            component_ids = ", ".join(ALGORITHM_VERSIONS)
            raise AllocationError(f"pool component {quoted(self.component_id)} is not known: {component_ids}")
        if not 0 <= self.amount_credits <= MAX_CREDITS:
            raise AllocationError(f"{self.component_id}: {self.amount_credits} credits are not 0 to {MAX_CREDITS}")
        problem = why_unfounded(self.component_id, self.inputs, self.evidence_ref)
        if problem is not None:
            raise AllocationError(f"{self.component_id}: {problem}")

    @property
    def algorithm_version(self) -> str:
        """The algorithm the amount is computed with."""
        return ALGORITHM_VERSIONS[self.component_id]


def base_issuance(base_issuance_credits: int) -> NewPoolComponent:
    """The component that the repo-spec's `pool_config.base_issuance_credits` gives every epoch."""
    return NewPoolComponent(BASE_ISSUANCE, base_issuance_credits, {"base_issuance_credits": str(base_issuance_credits)})


def why_unfounded(component_id: str, inputs: Mapping[str, Json], evidence_ref: str | None) -> str | None:
    """What a component lacks that a person could check it by, as an order; None where it lacks nothing."""
    if component_id == BASE_ISSUANCE:
        return None
    if not is_reason(evidence_ref):
        return "say where the evidence is (a URL, a vote, a report)"
    if component_id == KPI_BONUS_V0 and not inputs:
        return "say what it was computed from (inputs)"
    return None


def why_amount_does_not_follow(
    component_id: str,
    algorithm_version: str,
    inputs: Mapping[str, Json],
    amount_credits: int,
    base_issuance_credits: str | None,
) -> str | None:
    """What is wrong with a stored component, as a sentence; None where its amount follows.

    `base_issuance_credits` is what the repo-spec said that the epoch closed with, None where it said nothing. Of a
    top-up and a bonus the amount is a person's decision, which their evidence speaks for; nothing else follows.
    """
    algorithm = ALGORITHM_VERSIONS.get(component_id)
    if algorithm is None:
        return f"no component of that name is known: {', '.join(ALGORITHM_VERSIONS)}"
    if algorithm_version != algorithm:
        return f"it is computed by {short_message(algorithm_version)}, but {component_id} is by {algorithm}"
    if component_id != BASE_ISSUANCE:
        return None
    if base_issuance_credits is not None and base_issuance_credits != str(amount_credits):
        return f"stored {amount_credits}, but {short_message(base_issuance_credits)} follows from the pinned repo-spec"
    stated = inputs.get("base_issuance_credits")
    if stated is not None and stated != str(amount_credits):
        return f"stored {amount_credits}, but {short_message(str(stated))} follows from its inputs"
    return None
