"""What an approver looks at before signing: who would get what, of which pool, by whose decisions, and what is open.

Read only. The numbers are those of `settle`: what is shown here is what `draft_statement` would have signed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.claimants import IdentityClaimant
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.pins import reserves_accounts
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import Payout, UserUnits, compute_payouts
from ledger_pipeline.pipeline.allocate import algo_of, base_issuance_to_come, opted_out_of
from ledger_pipeline.pipeline.approvals import CollectedApprovals, collected_approvals
from ledger_pipeline.pipeline.chain import Fault, StatementChain, inputs_faults, statement_chain
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.next_step import next_steps, units_to_sign
from ledger_pipeline.pipeline.selection import SelectionReport, selection_report
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import (
    Allocation,
    Decision,
    EventOverride,
    PoolComponent,
    UnresolvedAccount,
)
from ledger_pipeline.store.statement_records import Correction, Reopening, SetAside, Settlement

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class ReviewLine:
    """One user: what the weights propose and what counts, in milli-units, and what that is of the pool.

    `decided_because` is the reason of whoever decided the units by hand, None where the proposal counts.
    """

    user_id: str
    events: int
    proposed_milli: int
    units_milli: int
    decided_because: str | None
    share: str
    amount_credits: int


@dataclass(frozen=True)
class AccountAtStake:
    """An account without a user, and its credits: reserved for it, or in an epoch that closed before there were
    claimants, what it would have got were all such accounts bound."""

    account: UnresolvedAccount
    credits: int
    is_reserved: bool


@dataclass(frozen=True)
class Review:
    """An epoch before its approver's eyes. `blocks` is what keeps it from its next step, empty where nothing does.

    `collected` is what was signed of it where several approvers have to. `lines` are those of what is to be signed
    next, or of the statement in force where nothing is. The pool is what it holds, and `base_issuance_to_come` what
    joins when an open epoch closes, None where nothing does. `changes` say in a sentence each what is different
    from what was proposed, or stated, last. `selection` is what the epoch's policy decides, None without one.
    `opted_out` has who takes no pay of it, and what that rests on. `faults` are rows that are not what they say, of
    the chain and of the signatures of inputs.
    """

    epoch: Epoch
    blocks: Sequence[str]
    lines: Sequence[ReviewLine]
    pool: Sequence[PoolComponent]
    base_issuance_to_come: int | None
    approvers: Sequence[str]
    chain: StatementChain
    collected: CollectedApprovals
    faults: Sequence[Fault]
    set_asides: Sequence[SetAside]
    reopenings: Sequence[Reopening]
    decisions: Sequence[Decision]
    overrides: Sequence[EventOverride]
    corrections: Sequence[Correction]
    accounts: Sequence[AccountAtStake]
    changes: Sequence[str]
    selection: SelectionReport | None
    opted_out: Mapping[str, str]

    @property
    def pool_total_credits(self) -> int:
        """What is shared out: the pool, with what is still to come of an open epoch."""
        return sum(component.amount_credits for component in self.pool) + (self.base_issuance_to_come or 0)

    @property
    def is_ready_to_sign(self) -> bool:
        """Whether a statement, or the one that supersedes the last, can be signed now."""
        if self.epoch.status is EpochStatus.OPEN or self.blocks:
            return False
        return self.chain.in_force is None or bool(self.corrections)

    @property
    def state(self) -> str:
        """The state of the epoch, in a few words."""
        several = self.collected.are_several
        if self.is_ready_to_sign:
            ready = "ready to sign: an amendment" if self.chain.in_force is not None else "ready to sign"
            return f"{self.collected.approvals}, {ready}" if several else ready
        if self.chain.in_force is not None:
            signed = self.chain.approvals_of(self.chain.in_force) if several else "signed"
            return f"{signed} by {self.chain.signed_by(self.chain.in_force)}"
        stage = "in review" if self.epoch.status is EpochStatus.REVIEW else self.epoch.status.value
        return f"{self.collected.approvals}, {stage}" if several else stage


def review(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, read: Completeness, now: datetime) -> Review:
    """The epoch as it is at `now`, `read` as far as that says. Raises as the store does."""
    settlement = ledger.statements.settlement(epoch)
    chain = statement_chain(ledger.node_id, scope, epoch, settlement.history, audited=True)
    collected = collected_approvals(ledger.node_id, scope, epoch, settlement, chain)
    to_come = base_issuance_to_come(scope, epoch, settlement.components)
    units, pool_total_credits = units_to_sign(settlement, chain)
    corrections = [
        row
        for row in settlement.corrections
        if chain.in_force is not None and row.supersedes_statement_id == chain.in_force.id
    ]
    if chain.in_force is None:
        pool_total_credits += to_come or 0
    inputs_signatures = ledger.statements.inputs_signatures(epoch)
    opted_out = opted_out_of(ledger, epoch)
    return Review(
        epoch=epoch,
        blocks=next_steps(ledger.node_id, scope, epoch, lambda: settlement, read, now),
        lines=_lines(units, pool_total_credits, settlement.allocations, corrections),
        pool=settlement.components,
        base_issuance_to_come=to_come,
        approvers=scope.approvers,
        chain=chain,
        collected=collected,
        faults=[
            *chain.faults,
            *collected.garbage,
            *inputs_faults(ledger.node_id, scope, epoch, settlement.history, inputs_signatures),
        ],
        set_asides=settlement.history.set_asides,
        reopenings=ledger.statements.reopenings(epoch),
        decisions=ledger.curation.decisions(epoch),
        overrides=ledger.overrides.of(epoch),
        corrections=corrections,
        accounts=_at_stake(epoch, ledger.identities.unresolved([epoch]), units, pool_total_credits),
        changes=_changes(scope, epoch, settlement, chain, corrections, opted_out),
        selection=_selection(ledger, scope, epoch),
        opted_out=_why_opted_out(ledger, opted_out),
    )


def _why_opted_out(ledger: "PostgresLedger", opted_out: Collection[str]) -> dict[str, str]:
    if not opted_out:
        return {}
    present = {choice.claimant: choice for choice in ledger.opt_outs.present()}
    return {
        name: present[name].why if name in present else "they take pay again, in epochs that close later"
        for name in sorted(opted_out)
    }


def _selection(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> SelectionReport | None:
    try:
        return selection_report(ledger, scope, epoch)
    except SelectionError:
        return None  # `blocks` says of a policy that is not installed, or was none


def _lines(
    units: Sequence[UserUnits],
    pool_total_credits: int,
    allocations: Sequence[Allocation],
    corrections: Sequence[Correction],
) -> list[ReviewLine]:
    payouts: Mapping[str, Payout] = {line.user_id: line for line in compute_payouts(units, pool_total_credits)}
    proposed = {allocation.user_id: allocation for allocation in allocations}
    corrected = {row.user_id: row.reason for row in corrections}
    lines = []
    for of_user in units:
        allocation, payout = proposed.get(of_user.user_id), payouts.get(of_user.user_id)
        decided = None
        if allocation is not None and allocation.final_units is not None:
            decided = allocation.override_reason or "no reason given"
        lines.append(
            ReviewLine(
                user_id=of_user.user_id,
                events=allocation.activity_count if allocation else 0,
                proposed_milli=allocation.proposed_units if allocation else 0,
                units_milli=of_user.units,
                decided_because=corrected.get(of_user.user_id, decided),
                share=payout.share if payout else "0.000000",
                amount_credits=payout.amount_credits if payout else 0,
            )
        )
    return sorted(lines, key=lambda line: (-line.amount_credits, line.user_id))


def _at_stake(
    epoch: Epoch, accounts: Sequence[UnresolvedAccount], units: Sequence[UserUnits], pool_total_credits: int
) -> list[AccountAtStake]:
    keys = {account: IdentityClaimant(account.provider, account.external_id).key for account in accounts}
    is_reserved = reserves_accounts(epoch.pins)
    theirs = [] if is_reserved else [UserUnits(key, account.units) for account, key in keys.items()]
    payouts = {line.user_id: line.amount_credits for line in compute_payouts([*units, *theirs], pool_total_credits)}
    return [AccountAtStake(account, payouts.get(key, 0), is_reserved) for account, key in keys.items()]


def _changes(
    scope: Scope,
    epoch: Epoch,
    settlement: Settlement,
    chain: StatementChain,
    corrections: Sequence[Correction],
    opted_out: Collection[str],
) -> list[str]:
    if chain.in_force is not None:
        return [
            f"{row.user_id}: put right to {units_text(row.units)} units (correction:{row.id}): {row.reason}"
            for row in corrections
        ]
    changes = []
    if settlement.uncurated_events:
        changes.append(f"not curated yet: {counted(settlement.uncurated_events, 'event')}")
    algo = algo_of(scope, epoch)
    proposals = compute_proposed_allocations(algo, settlement.curated, epoch.weights_milli, opted_out)
    now = {proposal.user_id: proposal.proposed_units for proposal in proposals}
    then = {allocation.user_id: allocation.proposed_units for allocation in settlement.allocations}
    changes += [
        f"{user_id}: the weights propose {units_text(now.get(user_id, 0))} units by now, "
        f"{units_text(then.get(user_id, 0))} are stored"
        for user_id in sorted(now.keys() | then.keys())
        if now.get(user_id, 0) != then.get(user_id, 0)
    ]
    return changes
