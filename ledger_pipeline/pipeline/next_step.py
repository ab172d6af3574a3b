"""What keeps an epoch from its next step, in words for a person."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import (
    EventError,
)
from ledger_pipeline.core.events import event_problems
from ledger_pipeline.core.opting import paid_in_spite, pinned_opt_outs
from ledger_pipeline.core.pins import PinDifference, pin_differences
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.pool import BASE_ISSUANCE, why_amount_does_not_follow, why_unfounded
from ledger_pipeline.core.public_keys import why_no_approvers
from ledger_pipeline.core.repository_names import KnownNames
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import UserUnits, amended_units
from ledger_pipeline.core.stored_json import UnreadableJson
from ledger_pipeline.pipeline.chain import (
    StatementChain,
    stated_units,
    statement_chain,
)
from ledger_pipeline.pipeline.completeness import Completeness, utc_text
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.selection import blocks_selection
from ledger_pipeline.pipeline.unread import HOW_TO_CLOSE, WHAT_TO_DO, unread_summary
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import DoubtfulEvent, PoolComponent, valued
from ledger_pipeline.store.statement_records import Settlement, Statement

EVENTS_NAMED = 3


def next_steps(
    node_id: UUID, scope: Scope, epoch: Epoch, settlement: Callable[[], Settlement], read: Completeness, now: datetime
) -> list[str]:
    """What keeps the epoch from its next step, for a person; empty where the next step can be taken at once.

    `settlement` is asked only of an epoch in review: of the many others nothing is read.
    """
    if epoch.status is EpochStatus.FINALIZED:
        return []
    if epoch.status is EpochStatus.OPEN:
        return _blocks_review(scope, epoch, read, now)
    settled = settlement()
    chain = statement_chain(node_id, scope, epoch, settled.history)
    return blocks_statement(scope, epoch, settled, chain)


def spec_differences(scope: Scope, epoch: Epoch, known_names: Callable[[], KnownNames]) -> list[PinDifference]:
    """How what the epoch closed with differs from `scope` now; an open epoch has nothing to differ.

    A repository that was renamed meanwhile is the same one, by the names that the ledger knows of its id.
    """
    pins = epoch.pins
    if pins is None or not pin_differences(scope, pins.allocation_algo_ref, epoch.weights_milli, pins.pinned_spec):
        return []
    return pin_differences(scope, pins.allocation_algo_ref, epoch.weights_milli, pins.pinned_spec, known_names())


def corrections_of(settlement: Settlement, statement: Statement) -> dict[str, int]:
    """What was put right in `statement` since it was made, milli-units by user."""
    return {row.user_id: row.units for row in settlement.corrections if row.supersedes_statement_id == statement.id}


def units_to_sign(settlement: Settlement, chain: StatementChain) -> tuple[list[UserUnits], int]:
    """The units and the pool's total of what is to be signed next: the allocations, or the statement in force as it was
    put right since."""
    if chain.in_force is None:
        return valued(settlement.allocations), sum(component.amount_credits for component in settlement.components)
    units = amended_units(stated_units(chain.in_force), corrections_of(settlement, chain.in_force))
    return units, chain.in_force.pool_total_credits


def _blocks_review(scope: Scope, epoch: Epoch, read: Completeness, now: datetime) -> list[str]:
    until = epoch.window.end + timedelta(hours=scope.auto_close_grace_hours)
    blocks = []
    problem = why_no_approvers(scope)
    if problem is not None:
        blocks.append(problem)
    if now < epoch.window.end:
        blocks.append(f"it runs until {utc_text(epoch.window.end)}")
    if not read.is_read_to_its_end:
        blocks += [
            str(reach) for reach in read.parts if reach.until is None or reach.until < shown_whole_at(epoch.window)
        ]
    if read.unread:
        blocks.append(f"{unread_summary(read.unread)} ({WHAT_TO_DO}; {HOW_TO_CLOSE})")
    elif read.is_complete and now < until and problem is None:
        blocks.append(f"it closes by itself at {utc_text(until)}; `ledger-pipeline epoch close` closes it now")
    elif not blocks:
        blocks.append(
            "the next collection reads it once more and closes it; `ledger-pipeline epoch close` closes it now"
        )
    return blocks


def blocks_chain(chain: StatementChain) -> list[str]:
    """What of the statements behind the one in force has to be set aside first."""
    return [
        f"{fault}; nothing is built on it: the owner of the ledger takes it out with `ledger-pipeline db set-aside "
        f"{fault.row_id} --reason ...`"
        for fault in chain.broken
    ]


def blocks_statement(
    scope: Scope, epoch: Epoch, settlement: Settlement, chain: StatementChain, *, accept_pinned_spec: bool = False
) -> list[str]:
    """What keeps the epoch from its statement, or its amendment; empty where it can be signed."""
    if chain.broken:
        return blocks_chain(chain)
    if chain.in_force is not None:
        if corrected := corrections_of(settlement, chain.in_force):
            return _blocks_opted_out(epoch, corrected)
        return ["it has its statement; `ledger-pipeline epoch amend` puts units right"]
    if settlement.status is EpochStatus.OPEN:
        return ["it is open: it goes to review first (`ledger-pipeline epoch show` says when)"]
    if settlement.status is EpochStatus.FINALIZED:
        return ["another system finalized it, and its statement is not in this ledger"]
    blocks = []
    propose = f"`ledger-pipeline allocations propose --epoch {epoch.window.key}`"
    if settlement.uncurated_events:
        blocks.append(f"not curated: {counted(settlement.uncurated_events, 'event')}; {propose} curates")
    elif not _follows(epoch, settlement):
        blocks.append(f"its allocations do not follow from its curation any more: {propose} proposes them anew")
    blocks += blocks_selection(epoch, settlement.selected)
    blocks += _blocks_opted_out(epoch, {row.user_id: row.units for row in valued(settlement.allocations)})
    blocks += _blocks_events(epoch, settlement)
    blocks += _blocks_base_issuance(epoch, settlement, accept_pinned_spec=accept_pinned_spec)
    blocks += _blocks_pool(epoch, settlement)
    # Who may sign is asked for by itself: other approvers are refused whoever accepts them.
    blocks += [
        f"{difference}: whoever may write to the ledger may have closed it so. Put the repo-spec back as it was, or, "
        "where what was pinned shall be paid, give --accept-pinned-spec; or have the owner of the ledger open it again "
        "(`ledger-pipeline db reopen`)"
        for difference in spec_differences(scope, epoch, settlement.known_names)
        if difference.pays and difference.name != "approvers" and not accept_pinned_spec
    ]
    if not any(of_user.units > 0 for of_user in valued(settlement.allocations)):
        blocks.append(f"nobody has units: {propose} proposes what its events weigh")
    if not scope.approvers:
        blocks.append(f"nobody may sign: {scope.file} names no approvers")
    return blocks


def _blocks_opted_out(epoch: Epoch, units_milli: Mapping[str, int]) -> list[str]:
    """Units that a person gave to somebody who takes no pay."""
    opted_out = frozenset() if epoch.pins is None else pinned_opt_outs(epoch.pins.pinned_spec)
    return [
        f"{quoted(name)} takes no pay of this epoch, and has {units_milli[name]} milli-units by a person's decision: "
        "take it back (`ledger-pipeline allocations set --clear`), or correct it to 0"
        for name in paid_in_spite(opted_out, units_milli)
    ]


def _blocks_events(epoch: Epoch, settlement: Settlement) -> list[str]:
    """Events that `verify` would refuse: they are left out, on record, before anybody signs."""
    problems = {event.event_id: problem for event in settlement.doubtful if (problem := _problem_of_event(event))}
    return [
        f"nobody can recompute its event {quoted(event_id)}: {problem}; leave it out with `ledger-pipeline curate "
        f"--epoch {epoch.window.key} --event ... --exclude --note ...`"
        for event_id, problem in islice(problems.items(), EVENTS_NAMED)
    ] + ([f"and so {counted(len(problems) - EVENTS_NAMED, 'more event')}"] if len(problems) > EVENTS_NAMED else [])


def _problem_of_event(event: DoubtfulEvent) -> str | None:
    if isinstance(event.metadata, UnreadableJson):
        return "its metadata is JSON that nobody can read"
    try:
        for column, _, _ in event_problems(**vars(event)):
            return f"its {column} does not follow from the rest of it"
    except (EventError, TypeError) as error:
        return str(error)
    return None


def _blocks_base_issuance(epoch: Epoch, settlement: Settlement, *, accept_pinned_spec: bool) -> list[str]:
    """A base issuance that is missing, or that nobody pinned: an epoch closes with one, or its owner adds it later."""
    base = next((row for row in settlement.components if row.component_id == BASE_ISSUANCE), None)
    closed_with = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    if base is None:
        if closed_with is not None:
            return [
                "its pool has no base_issuance: `ledger-pipeline allocations propose --epoch "
                f"{epoch.window.key}` adds the one that it closed with"
            ]
        return [
            "its pool has no base_issuance, and it closed with none, so the owner of the ledger adds it: "
            f"`ledger-pipeline pool add --epoch {epoch.window.key} --component {BASE_ISSUANCE} --amount-credits ... "
            "--evidence ...` (for epochs to come, activity_ledger.pool_config.base_issuance_credits does)"
        ]
    if closed_with is not None or accept_pinned_spec:
        return []
    return [
        f"its base_issuance of {base.amount_credits} credits joined after it had closed with none: where it shall be "
        "paid, give --accept-pinned-spec; where not, the owner of the ledger takes it out with `ledger-pipeline db "
        f"set-aside {base.id} --reason ...`"
    ]


def _blocks_pool(epoch: Epoch, settlement: Settlement) -> list[str]:
    base = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    problems = {
        component.id: f"{component.component_id}: {problem}"
        for component in settlement.components
        if (problem := _problem_of_component(component, None if base is None else str(base))) is not None
    }
    return [
        f"its pool does not follow: {problem}; the owner of the ledger takes it out with `ledger-pipeline db set-aside "
        f"{row_id} --reason ...`"
        for row_id, problem in problems.items()
    ]


def _problem_of_component(component: PoolComponent, base_issuance_credits: str | None) -> str | None:
    if isinstance(component.inputs, UnreadableJson):
        return "its inputs are JSON that nobody can read"
    return why_unfounded(
        component.component_id, component.inputs, component.evidence_ref
    ) or why_amount_does_not_follow(
        component.component_id,
        component.algorithm_version,
        component.inputs,
        component.amount_credits,
        base_issuance_credits,
    )


def _follows(epoch: Epoch, settlement: Settlement) -> bool:
    """Whether the stored proposals are what the curation of this moment proposes."""
    if epoch.pins is None:
        return False
    proposals = compute_proposed_allocations(
        epoch.pins.allocation_algo_ref,
        settlement.curated,
        epoch.weights_milli,
        pinned_opt_outs(epoch.pins.pinned_spec),
    )
    follow = {proposal.user_id: (proposal.proposed_units, proposal.activity_count) for proposal in proposals}
    stored = {
        allocation.user_id: (allocation.proposed_units, allocation.activity_count)
        for allocation in settlement.allocations
    }
    # A person's decision may stand without any event.
    decided = {allocation.user_id for allocation in settlement.allocations if allocation.final_units is not None}
    return stored == {**dict.fromkeys(decided, (0, 0)), **follow}
