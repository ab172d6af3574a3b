"""`include-all-v0`: every event counts. It is what a spec without a policy means."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.selection.policy import Candidate, Decision, SelectionSpec
from ledger_pipeline.core.selection.reasons import Reason, sentences_of

INCLUDE_ALL_V0 = "include-all-v0"


class IncludeAll:
    """Every event counts, whoever did it."""

    name = INCLUDE_ALL_V0
    version = "0"
    default_settings: ClassVar[Mapping[str, Json]] = {}
    reasons: ClassVar[Mapping[str, str]] = sentences_of(Reason.INCLUDED)

    def decide(self, candidates: Sequence[Candidate], spec: SelectionSpec) -> Mapping[str, Decision]:  # noqa: ARG002
        """A decision for each event."""
        included = Decision(included=True, reason=Reason.INCLUDED)
        return {event.event_id: included for event in candidates}
