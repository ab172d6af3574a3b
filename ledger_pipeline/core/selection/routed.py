"""Which events of an epoch count, once the events of other scopes are set apart: those change nothing of any limit."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.policy import (
    WHOLE_MILLI,
    Candidate,
    Decision,
    SelectionPolicy,
    select,
    shared_factor_milli,
)


def decide(
    policy: SelectionPolicy, candidates: Iterable[Candidate], choice: SelectionChoice, weights_milli: Mapping[str, int]
) -> dict[str, Decision]:
    """What `choice` decides, by event id in code-point order: the policy, on what the scope has of each event.

    What was done in a repository under several names is of one, as far as the choice knows them.

    Raises SelectionError as `select` does.
    """
    routing = choice.routing
    if routing is None:
        return select(policy, candidates, choice.spec(weights_milli))
    parts = [(event, routing.share(event)) for event in map(routing.renamed, candidates)]
    events = [
        replace(event, share_milli=share.milli, part=routing.part(share)) for event, share in parts if share.milli
    ]
    decisions = select(policy, events, choice.spec(weights_milli))
    reasons = {event.event_id: share.reason for event, share in parts}
    for event in events:
        decided = decisions[event.event_id]
        if event.share_milli < WHOLE_MILLI and decided.included:
            factor = shared_factor_milli(event, decided.weight_factor_milli, weights_milli.get(event.kind, 0))
            decisions[event.event_id] = replace(decided, reason=reasons[event.event_id], weight_factor_milli=factor)
    for event, share in parts:
        if not share.milli:
            decisions[event.event_id] = Decision(included=False, reason=share.reason)
    return dict(sorted(decisions.items()))
