"""What a name under `attribution_pipeline` stands for, in the system we join: a policy, and what events weigh.

The same name under `credit_estimate_algo` is older: there every event counts, by the default weights. What units are
allocated by is the same for both (`core.pins.allocation_algo_ref`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ledger_pipeline.core.selection.cogni import MAIN_MERGE_V0
from ledger_pipeline.core.sources import GITHUB, ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED


@dataclass(frozen=True)
class Profile:
    """The selection policy by name, and weights in milli-units by `source:event_type`; others keep their default."""

    selection_policy: str
    weights_milli: Mapping[str, int]


PROFILES: Mapping[str, Profile] = {
    "cogni-v0.0": Profile(
        MAIN_MERGE_V0,
        {f"{GITHUB}:{PR_MERGED}": 1000, f"{GITHUB}:{REVIEW_SUBMITTED}": 0, f"{GITHUB}:{ISSUE_CLOSED}": 0},
    )
}
