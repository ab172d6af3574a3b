"""What follows from what among an epoch's rows, up to its pool: a law for each kind, and what is warned of."""

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.approvals import APPROVAL_THRESHOLD, NOBODY_REACHES, pinned_threshold, why_no_threshold
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.identifiers import RULE, broken_ids, is_ambiguous, why_not_an_account
from ledger_pipeline.core.opting import OPTED_OUT
from ledger_pipeline.core.pins import (
    CLAIMANTS,
    CLAIMANTS_VERSION,
    approver_set_hash,
    shown,
    states_other_weights,
    weight_config_hash,
)
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.pool import BASE_ISSUANCE, why_amount_does_not_follow, why_unfounded
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.verification.differences import MAX_DIFFERENCES, Difference, compare, duplicates, repeated, short
from ledger_pipeline.verification.examined import ExaminedEpoch, approvers_of, chain_of
from ledger_pipeline.verification.record import EpochFacts

FINALIZED = "finalized"
RULE_KEY = "id_rule"


def epoch_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Its state, and the hashes of what it closed with."""
    facts = examined.facts
    epoch = facts.epoch
    if epoch.status != FINALIZED:
        yield Difference("epoch", f"it is in {epoch.status}, not {FINALIZED}")
    yield from compare("epoch weight_config_hash", epoch.weight_config_hash, weight_config_hash(epoch.weights_milli))
    if not facts.pinned_spec:
        yield Difference("repo-spec", "none was pinned when the epoch closed, so who might sign is not known")
        return
    approvers = approver_set_hash(approvers_of(facts))
    yield from compare("epoch approver_set_hash", epoch.approver_set_hash, approvers)
    if pinned_threshold(facts.pinned_spec) == NOBODY_REACHES:
        unfit = why_no_threshold(facts.pinned_spec.get(APPROVAL_THRESHOLD), len(examined.approvers))
        yield Difference(f"repo-spec {APPROVAL_THRESHOLD}", str(unfit))
    yield from compare("repo-spec scope_id", facts.pinned_spec.get("scope_id"), str(epoch.scope_id))
    if examined.reserves_accounts:
        yield from compare(f"repo-spec {CLAIMANTS}", facts.pinned_spec[CLAIMANTS], CLAIMANTS_VERSION)
    if OPTED_OUT in facts.pinned_spec:
        yield from compare(f"repo-spec {OPTED_OUT}", facts.pinned_spec[OPTED_OUT], sorted(examined.opted_out))


def id_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Ids that are none, where the epoch closed by the rule; of one that is older, only what makes its hash two."""
    facts = examined.facts
    if RULE_KEY in facts.pinned_spec:
        yield from compare(f"repo-spec {RULE_KEY}", facts.pinned_spec[RULE_KEY], RULE)
        yield from against_the_rule(examined)
        return
    for user_id in sorted(examined.ids["user"]):
        if is_ambiguous(user_id):
            problem = "the signed hash is that of other users and units too: nobody can say what was signed"
            yield Difference(f"user {quoted(user_id)}", problem)


def against_the_rule(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Ids, accounts and numbers that the rule of the pinned version refuses."""
    for problem in broken_ids(examined.ids):
        yield Difference("ids", problem)
    for source, account in sorted(examined.events.accounts):
        account_problem = why_not_an_account(source, account)
        if account_problem is not None:
            yield Difference("ids", f"{short(source)} account {quoted(account)} {account_problem}")
    stated: dict[tuple[str, int], UUID] = {}
    for statement in chain_of(examined.stated):
        numbers = statement.allocation_set_hash, statement.pool_total_credits
        first = stated.setdefault(numbers, statement.statement_id)
        if first != statement.statement_id:
            problem = f"its numbers are those of {first}, so what was signed of that is good for it too"
            yield Difference(f"statements {statement.statement_id}", problem)


def event_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Events that are there twice, or whose columns do not follow from each other."""
    yield from repeated("events", examined.events.times)
    yield from examined.event_differences.counted


def curation_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Events that nobody decided on, and decisions on none."""
    times = examined.curation.times
    yield from repeated("curation", times)
    events, curated = examined.events.kinds.keys(), times.keys()
    for event_id in sorted(events - curated):
        yield Difference(f"curation {short(event_id)}", "the event has no row, so nobody decided whether it counts")
    for event_id in sorted(curated - events):
        yield Difference(f"curation {short(event_id)}", "there is no such event in the epoch")


def override_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Decisions of people about single events that cannot be, or are of none."""
    yield from examined.overridden.differences(examined.events.kinds)


def allocation_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Units that do not follow from the included events and the pinned weights."""
    facts = examined.facts
    yield from duplicates("allocations", (row.user_id for row in facts.allocations))
    try:
        follows = {
            allocation.user_id: (allocation.proposed_units, allocation.activity_count)
            for allocation in compute_proposed_allocations(
                facts.epoch.allocation_algo_ref or "",
                (counted for _, counted in examined.counted()),
                facts.epoch.weights_milli,
                examined.opted_out,
            )
        }
    except AllocationError as error:
        yield Difference("allocations", str(error))
        return
    for user_id in sorted(follows.keys() - {row.user_id for row in facts.allocations}):
        yield Difference(f"allocations {short(user_id)}", f"missing: {follows[user_id][0]} units follow")
    for row in facts.allocations:
        user_id = row.user_id
        units, events = follows.get(user_id, (0, 0))
        if user_id not in follows and row.final_units is None:
            yield Difference(
                f"allocations {short(user_id)}", "no included event is theirs, and nobody decided their units"
            )
        yield from compare(f"allocations {short(user_id)} proposed_units", row.proposed_units, units)
        yield from compare(f"allocations {short(user_id)} activity_count", row.activity_count, events)


def pool_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Components whose amount does not follow from their inputs, and the total."""
    facts = examined.facts
    yield from duplicates("pool", (row.component_id for row in facts.pool))
    if not any(row.component_id == BASE_ISSUANCE for row in facts.pool):
        yield Difference("pool", f"there is no {BASE_ISSUANCE}")
    base = facts.pinned_spec.get("base_issuance_credits")
    for row in facts.pool:
        problem = why_amount_does_not_follow(
            row.component_id, row.algorithm_version, row.inputs, row.amount_credits, None if base is None else str(base)
        )
        if problem is not None:
            yield Difference(f"pool {short(row.component_id)}", problem)
    total = sum(row.amount_credits for row in facts.pool)
    yield from compare("epoch pool_total_credits", facts.epoch.pool_total_credits, total)


def other_weights(facts: EpochFacts) -> Iterator[str]:
    """Weights that the spec it closed with says, and that it does not count by."""
    if states_other_weights(facts.epoch.weights_milli, facts.pinned_spec):
        stated = shown(facts.pinned_spec["weights_milli"])
        yield f"repo-spec weights_milli: it closed with {stated}, and counts by those of its creation"


def unexplained(examined: ExaminedEpoch) -> Iterator[str]:
    """Decisions of people that say nothing of why."""
    facts = examined.facts
    yield from examined.curation.unexplained
    for allocation in facts.allocations:
        if allocation.final_units is not None and not is_reason(allocation.override_reason):
            decided = f"a person decided {allocation.final_units} milli-units, and nobody said why"
            yield f"allocations {short(allocation.user_id)}: {decided}"
    for correction in facts.corrections:
        if not is_reason(correction.reason):
            yield f"corrections {short(correction.user_id)}: {correction.units} milli-units, and nobody said why"
    for override in facts.overrides:
        if not (is_reason(override.reason) and is_reason(override.actor)):
            yield f"overrides {short(override.event_id)}: nobody said who decided so, or why"
    for item in facts.left_out:
        if not (is_reason(item.reason) and is_reason(item.actor)):
            yield f"left_out {short(item.source_scope)}#{item.number}: nobody said who left it out, or why"
    for aside in facts.pool_set_aside:
        if not is_reason(aside.reason):
            yield f"pool_set_aside {short(aside.component_id)}: nobody said why"


def unfounded(facts: EpochFacts) -> Iterator[str]:
    """Components of the pool that nobody can check, or that the epoch did not close with."""
    for row in facts.pool:
        problem = why_unfounded(row.component_id, row.inputs, row.evidence_ref)
        if problem is not None:
            yield f"pool {short(row.component_id)}: {problem}; its {row.amount_credits} credits rest on nothing"
        if row.component_id == BASE_ISSUANCE and facts.pinned_spec.get("base_issuance_credits", row) is None:
            joined = f"{row.amount_credits} credits joined after the epoch had closed with none"
            yield f"pool {short(row.component_id)}: {joined}"


def left_out(examined: ExaminedEpoch) -> Iterator[str]:
    """Events that do not follow, and that a person left out, saying why: nothing is paid by them."""
    for difference in islice(examined.event_differences.left_out, MAX_DIFFERENCES):
        yield f"{difference}; a person left it out, and it counts for nobody"
