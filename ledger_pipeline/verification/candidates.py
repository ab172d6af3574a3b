"""The events of an epoch as a selection policy sees them: each with the facts that the epoch closed with."""

from collections.abc import Iterator

from ledger_pipeline.core.selection.policy import Candidate, stored_candidate
from ledger_pipeline.verification.record import EpochFacts


def candidates(facts: EpochFacts) -> Iterator[Candidate]:
    """The events, in their order. Raises SelectionError naming one whose facts cannot be read."""
    facts_by_event = {row.event_id: row.facts for row in facts.facts}
    for event in facts.events:
        yield stored_candidate(
            event_id=event.id,
            source=event.source,
            event_type=event.event_type,
            user_id=event.platform_user_id,
            login=event.platform_login,
            event_time=event.event_time,
            metadata=event.metadata,
            facts=facts_by_event.get(event.id),
        )
