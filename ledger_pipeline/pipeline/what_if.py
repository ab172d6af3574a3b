"""What another policy, or other weights, would have paid: computed beside the ledger, which is only read.

What people decided about single events holds in both, so that what differs is the policy's and the weights' doing.
Units that a person decided for somebody as a whole were decided on what was proposed then: they hold in what was paid,
and in what would be only `as_signed`, as whoever approves would sign it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ledger_pipeline.core.allocations import event_kind, shared_milli
from ledger_pipeline.core.facts import Facts
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.selection.policy import Candidate, Decision, stored_facts
from ledger_pipeline.core.selection.routed import decide
from ledger_pipeline.core.sources import REVIEW_SUBMITTED
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import UserUnits, compute_payouts
from ledger_pipeline.core.stored_json import read_json
from ledger_pipeline.core.weights import weighed
from ledger_pipeline.pipeline.allocate import base_issuance_to_come, opted_out_of
from ledger_pipeline.pipeline.chain import stated_units, statement_chain
from ledger_pipeline.pipeline.selection import routing_of
from ledger_pipeline.policies import installed_policy, policy_of
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import JudgedEvent

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

WEIGHTS = "weights"
SHARES = "shares"
DECIDED_UNITS = "decided_units"
NO_POLICY = "no_policy"
OTHER_REASONS: Mapping[str, str] = {
    WEIGHTS: "It counts as before, and its kind has another weight.",
    SHARES: "It counts as before, and others have a part of it.",
    DECIDED_UNITS: "A person decided the contributor's units as a whole, and that is left out here.",
    NO_POLICY: "It counts, for no policy decides.",
}


@dataclass(frozen=True)
class Supposition:
    """A policy (None: every event counts), weights in place of an epoch's own (empty: its own), and whether units that
    people decided as a whole hold in it."""

    choice: SelectionChoice | None
    weights_milli: Mapping[str, int]
    as_signed: bool = False


@dataclass(frozen=True)
class Moved:
    """By how many milli-units a reason changes what a contributor has, and of how many events."""

    reason: str
    events: int
    units_milli: int


@dataclass(frozen=True)
class ContributorChange:
    """A contributor in an epoch, as it is and as it would be; `moved` has the reasons that change most first."""

    user_id: str
    units_milli: int
    would_be_units_milli: int
    credits: int
    would_be_credits: int
    moved: Sequence[Moved]


@dataclass(frozen=True)
class EpochChange:
    """An epoch as it is and as it would be: contributors by id, and events by reason of the policy supposed."""

    epoch: Epoch
    events: int
    pool_total_credits: int
    contributors: Sequence[ContributorChange]
    events_by_reason: Mapping[str, int]

    @property
    def units_milli(self) -> int:
        """What all have."""
        return sum(contributor.units_milli for contributor in self.contributors)

    @property
    def would_be_units_milli(self) -> int:
        """What all would have."""
        return sum(contributor.would_be_units_milli for contributor in self.contributors)

    @property
    def changed(self) -> list[ContributorChange]:
        """Those who would have other units or credits."""
        return [
            row
            for row in self.contributors
            if (row.units_milli, row.credits) != (row.would_be_units_milli, row.would_be_credits)
        ]


def what_if(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, supposed: Supposition) -> EpochChange:
    """The epoch as it is, and as it would be; nothing is written. Raises SelectionError as the policy does."""
    events = ledger.what_if.judged_events(epoch)
    decisions: Mapping[str, Decision] = {}
    choice, routing = supposed.choice, routing_of(ledger, scope, epoch)
    # Whatever policy decides, it decides on what the scope has of each event.
    if choice is None and routing.has_claims:
        choice = installed_policy(INCLUDE_ALL_V0).choice({}, ())
    if choice is not None:
        choice = replace(choice, routing=routing)
    weights_milli = {**epoch.weights_milli, **supposed.weights_milli}
    if choice is not None:
        excluded_ids = choice.excluded_ids or ledger.selection.excluded_ids(scope.scope_id, choice.excluded_logins)
        choice = choice.with_ids(tuple(excluded_ids))
        decisions = decide(policy_of(choice), _candidates(events), choice, weights_milli)
    shares = any(decision.co_authors for decision in decisions.values())
    sums = _Sums(ledger.what_if.users_of_accounts(epoch) if shares else {})
    for judged in events:
        sums.add(judged, decisions.get(judged.event_id), epoch.weights_milli, weights_milli)
    for name in opted_out_of(ledger, epoch):
        sums.units.pop(name, None)
        sums.would_be.pop(name, None)
    return sums.change(ledger, scope, epoch, len(events), supposed.as_signed)


def _candidates(events: Iterable[JudgedEvent]) -> Iterator[Candidate]:
    # Reviews of one pull request have the same facts more often than not: the same text is read once.
    read: dict[tuple[str, str], Facts] = {}
    for event in events:
        facts = None
        if event.facts_text is not None:
            key = event.event_type, event.facts_text
            facts = read.get(key)
            if facts is None:
                facts = read[key] = stored_facts(event.event_id, event.event_type, read_json(event.facts_text))
        yield Candidate(
            event.event_id,
            event.source,
            event.event_type,
            event.repository or "",
            event.number,
            event.user_id,
            event.login,
            event.state if event.event_type == REVIEW_SUBMITTED else None,
            event.event_time,
            facts,
        )


class _Sums:
    """Milli-units by contributor as the events go by: as they are, as they would be, and what moves by which reason."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self.units: defaultdict[str, int] = defaultdict(int)
        self.would_be: defaultdict[str, int] = defaultdict(int)
        self.moved: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.events_by_reason: defaultdict[str, int] = defaultdict(int)

    def add(
        self,
        judged: JudgedEvent,
        decision: Decision | None,
        weights_milli: Mapping[str, int],
        other_weights_milli: Mapping[str, int],
    ) -> None:
        """Count an event; `decision` is that of the policy supposed, None without one."""
        if decision is not None:
            self.events_by_reason[decision.reason] += 1
        if judged.counts_for is None:
            return
        kind = event_kind(judged.source, judged.event_type)
        override = judged.weight_override_milli
        is_units = 0
        if judged.counts:
            is_units = override if override is not None else weighed(weights_milli.get(kind, 0), judged.factor_milli)
        would_count, factor_milli = judged.included, None
        if decision is not None and not judged.by_person:
            would_count, factor_milli = decision.included, decision.weight_factor_milli
        would_be = 0
        if would_count:
            would_be = override if override is not None else weighed(other_weights_milli.get(kind, 0), factor_milli)
        user_id = judged.counts_for
        would_share = () if decision is None else [self._users.get(key, key) for key in decision.co_authors]
        decided = tuple((judged.shares or {}).items())
        shares = shared_milli(is_units, user_id, judged.co_authors or (), decided) if judged.counts else {}
        would_be_shares = shared_milli(would_be, user_id, would_share, decided) if would_count else {}
        for claimant, share_milli in shares.items():
            self.units[claimant] += share_milli
        for claimant, share_milli in would_be_shares.items():
            self.would_be[claimant] += share_milli
        if shares == would_be_shares:
            return
        same_decision = (would_count, factor_milli) == (judged.counts, judged.factor_milli)
        reason = SHARES if would_be == is_units else WEIGHTS if same_decision else NO_POLICY
        if reason is NO_POLICY and decision is not None:
            reason = str(decision.reason)
        for claimant in {**shares, **would_be_shares}:
            difference = would_be_shares.get(claimant, 0) - shares.get(claimant, 0)
            if difference:
                moved = self.moved[claimant, reason]
                moved[0] += 1
                moved[1] += difference

    def change(self, ledger: "PostgresLedger", scope: Scope, epoch: Epoch, events: int, as_signed: bool) -> EpochChange:
        """What the events come to, with what people decided about contributors as a whole."""
        would_be, decided = dict(self.would_be), ledger.allocations.of(epoch)
        units, pool_total_credits = _as_it_is(ledger, scope, epoch, dict(self.units))
        for row in decided:
            if as_signed and row.final_units is not None:
                would_be[row.user_id] = row.final_units
        credits_ = _credits(units, pool_total_credits)
        would_be_credits = _credits(would_be, pool_total_credits)
        moved: defaultdict[str, list[Moved]] = defaultdict(list)
        for (user_id, reason), (count, units_milli) in self.moved.items():
            moved[user_id].append(Moved(reason, count, units_milli))
        contributors = []
        for user_id in sorted({*units, *would_be}):
            difference = would_be.get(user_id, 0) - units.get(user_id, 0)
            unexplained = difference - sum(row.units_milli for row in moved[user_id])
            if unexplained:
                moved[user_id].append(Moved(DECIDED_UNITS, 0, unexplained))
            contributors.append(
                ContributorChange(
                    user_id=user_id,
                    units_milli=units.get(user_id, 0),
                    would_be_units_milli=would_be.get(user_id, 0),
                    credits=credits_.get(user_id, 0),
                    would_be_credits=would_be_credits.get(user_id, 0),
                    moved=sorted(moved[user_id], key=lambda row: (-abs(row.units_milli), row.reason)),
                )
            )
        return EpochChange(epoch, events, pool_total_credits, contributors, dict(self.events_by_reason))


def _as_it_is(
    ledger: "PostgresLedger", scope: Scope, epoch: Epoch, by_events: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """Units by contributor, and the pool: as stated where a statement is in force, else as they stand."""
    if epoch.status is EpochStatus.FINALIZED:
        in_force = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch)).in_force
        if in_force is not None:
            return {line.user_id: line.units for line in stated_units(in_force)}, in_force.pool_total_credits
    units = dict(by_events)
    for row in ledger.allocations.of(epoch):
        if row.final_units is not None:
            units[row.user_id] = row.final_units
    pool = ledger.pool.of(epoch)
    to_come = base_issuance_to_come(scope, epoch, pool) or 0
    return units, to_come + sum(component.amount_credits for component in pool)


def _credits(units: Mapping[str, int], pool_total_credits: int) -> dict[str, int]:
    rows = [UserUnits(user_id, units_milli) for user_id, units_milli in units.items()]
    return {payout.user_id: payout.amount_credits for payout in compute_payouts(rows, pool_total_credits)}
