"""How many of its approvers have to sign an epoch's statement, by what was pinned when the epoch closed."""

from collections.abc import Mapping
from dataclasses import dataclass

from ledger_pipeline.core.hashing import Json

# Where a pinned spec has it; an epoch that closed without it is signed by one.
APPROVAL_THRESHOLD = "approval_threshold"
# What an epoch closed with that has no such key.
WITHOUT: Mapping[str, Json] = {APPROVAL_THRESHOLD: 1}
# As many never sign: what was pinned is no such number, and nothing is in force by it.
NOBODY_REACHES = 2**31


def why_no_threshold(threshold: object, approvers: int) -> str | None:
    """What is wrong with a threshold of so many approvers, as the end of a sentence; None where nothing is."""
    if (
        isinstance(threshold, int)
        and not isinstance(threshold, bool)
        and (threshold == 1 or 1 <= threshold <= approvers)
    ):
        return None
    return f"must be a whole number from 1 to the number of approvers, {approvers}"


def pinned_threshold(pinned_spec: Mapping[str, Json]) -> int:
    """How many distinct approvers put a statement in force; NOBODY_REACHES where what was pinned is no such number."""
    threshold = pinned_spec.get(APPROVAL_THRESHOLD, 1)
    approvers = pinned_spec.get("approvers")
    distinct = {str(address).lower() for address in approvers} if isinstance(approvers, list) else set()
    if why_no_threshold(threshold, len(distinct)) is not None or not isinstance(threshold, int):
        return NOBODY_REACHES
    return threshold


@dataclass(frozen=True)
class Approvals:
    """How many distinct approvers signed a statement, and how many put it in force."""

    signed: int
    threshold: int

    @property
    def is_enough(self) -> bool:
        """Whether it is in force by them."""
        return self.signed >= self.threshold

    def __str__(self) -> str:
        return f"signed {self.signed} of {self.threshold}"
