"""Which events of an epoch count, once the events of other scopes are set apart: those change nothing of any limit."""

from collections.abc import Iterable, Mapping

from ledger_pipeline.core.routing import SHARED, WHOLE_MILLI
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.policy import Candidate, Decision, SelectionPolicy, select


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
    shares = {event: routing.share(event) for event in map(routing.renamed, candidates)}
    decisions = select(policy, (event for event, share in shares.items() if share.milli), choice.spec(weights_milli))
    for event, share in shares.items():
        if not share.milli:
            decisions[event.event_id] = Decision(included=False, reason=share.reason)
        elif share.milli < WHOLE_MILLI and (decided := decisions[event.event_id]).included:
            factor = WHOLE_MILLI if decided.weight_factor_milli is None else decided.weight_factor_milli
            shared = Decision(included=True, reason=SHARED, weight_factor_milli=factor * share.milli // WHOLE_MILLI)
            decisions[event.event_id] = shared
    return dict(sorted(decisions.items()))
