"""Does every number follow from the rows it should? Events, curation, allocations, payouts, hashes, signature.

Needs nothing but an epoch's facts: no database, no network, no clock.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice

from ledger_pipeline.core.approvals import pinned_threshold
from ledger_pipeline.core.identifiers import unknown_ids
from ledger_pipeline.verification import routing_laws, row_laws, selection_laws, statement_laws
from ledger_pipeline.verification.differences import MAX_DIFFERENCES, Difference, bounded
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.record import EpochFacts, InputsSignatureRecord, SignatureRecord

_NO_PAY = "they took no pay when the epoch closed"


@dataclass(frozen=True)
class WeighedEvents:
    """Events of one kind that count by one weight, in milli-units each; their ids, in order.

    Of an event that claimants share it is what the claimant's part weighs.
    """

    kind: str
    weight_milli: int
    event_ids: tuple[str, ...]

    @property
    def units(self) -> int:
        """What they add up to."""
        return self.weight_milli * len(self.event_ids)


@dataclass(frozen=True)
class ContributorAccount:
    """How one claimant's credits come about. `decided_units` where a person decided otherwise than the weights.

    `user_id` is a user's id, or the key of an account that nobody linked to a user.
    """

    user_id: str
    events: tuple[WeighedEvents, ...]
    decided_units: int | None
    total_units: int
    share: str
    amount_credits: int


class Examination(ExaminedEpoch):
    """An epoch's facts, examined."""

    @property
    def threshold(self) -> int:
        """How many distinct approvers put a statement in force."""
        return pinned_threshold(self.facts.pinned_spec)

    def differences(self) -> list[Difference]:
        """What is stored and does not follow from the rows before it; empty where all is right.

        At most MAX_DIFFERENCES of each kind of row. Raises VerificationFailed where the epoch closed with a selection
        policy that is not installed here, so that nobody can recompute what it decided.
        """
        kinds = (
            row_laws.epoch_differences,
            row_laws.id_differences,
            row_laws.event_differences,
            row_laws.curation_differences,
            selection_laws.facts_differences,
            routing_laws.routing_differences,
            selection_laws.selection_differences,
            row_laws.override_differences,
            row_laws.allocation_differences,
            row_laws.pool_differences,
            statement_laws.statement_differences,
            statement_laws.signature_differences,
            statement_laws.inputs_differences,
        )
        return [difference for kind in kinds for difference in bounded(kind(self))]

    def warnings(self) -> list[str]:
        """What an epoch that closed before there was a rule may have, and a newer one may not: a sentence each.

        And ids that nobody sees alike: by the version of Unicode here, so they are no differences.
        """
        unexplained = [
            *row_laws.other_weights(self.facts),
            *islice(row_laws.unexplained(self), MAX_DIFFERENCES),
            *islice(row_laws.unfounded(self.facts), MAX_DIFFERENCES),
            *islice(routing_laws.other_facts(self), MAX_DIFFERENCES),
            *islice(statement_laws.copies(self.facts), MAX_DIFFERENCES),
            *row_laws.left_out(self),
        ]
        unexplained += [f"ids: {problem}" for problem in islice(unknown_ids(self.ids), MAX_DIFFERENCES)]
        if row_laws.RULE_KEY in self.facts.pinned_spec:
            return unexplained
        differences = [str(difference) for difference in bounded(row_laws.against_the_rule(self))]
        if differences:
            differences[0] = (
                f"it closed before there was a rule for ids and for numbers that are stated again: {differences[0]}"
            )
        return [*differences, *unexplained]

    def statement_signatures(self) -> list[SignatureRecord]:
        """The signatures of statements that are what they say, an approver's. Others are nobody's."""
        return statement_laws.statement_signatures(self)

    def inputs_signatures(self) -> list[InputsSignatureRecord]:
        """The signatures of inputs that are what they say: an approver's, of the root beside them."""
        return statement_laws.inputs_signatures(self)

    def inputs_signers(self) -> list[str]:
        """Which approvers signed what the statement in force follows from, by its root, as it is here."""
        in_force = statement_laws.in_force(self)
        if in_force is None or not self.facts.inputs_signatures:
            return []
        signed = [row for row in self.inputs_signatures() if row.inputs_root == self.inputs_root]
        return sorted({self.address_of(row) for row in signed if row.statement_id == in_force.statement_id})

    def left_out_of(self, user_id: str) -> list["LeftOut"]:
        """The claimant's events that do not count, by id."""
        takes_no_pay = user_id in self.opted_out
        weights_milli = self.facts.epoch.weights_milli
        counted = {event_id for event_id, of in self.counted() if user_id in of.shares_milli(weights_milli)}
        left_out = []
        for row in self.facts.curation:
            is_theirs = user_id in (self.claimant_of(row), *self.co_authors.claimants.get(row.event_id, ()))
            if is_theirs and row.event_id in counted and takes_no_pay:
                left_out.append(LeftOut(row.event_id, _NO_PAY))
            elif is_theirs and row.event_id not in counted:
                decision = None if row.is_by_person else self.decisions.get(row.event_id)
                left_out.append(LeftOut(row.event_id, (row.note or "") if decision is None else decision.reason))
        return sorted(left_out, key=lambda event: event.event_id)

    def accounts(self) -> list[ContributorAccount]:
        """How each user of the statement in force gets what they get, most credits first.

        A line of it that cannot be read has no account; a difference reports it.
        """
        in_force = statement_laws.in_force(self)
        if in_force is None:
            return []
        weighed = _weighed_by_user(self)
        proposed = {row.user_id: row.proposed_units for row in self.facts.allocations}
        accounts = []
        for line in self.facts.statements[in_force.row].payouts:
            try:
                user_id, units, share = line["userId"], int(line["totalUnits"]), line["share"]
                amount_credits = int(line["amountCredits"])
            except (KeyError, ValueError):
                continue
            accounts.append(
                ContributorAccount(
                    user_id=user_id,
                    events=weighed.get(user_id, ()),
                    decided_units=None if proposed.get(user_id) == units else units,
                    total_units=units,
                    share=share,
                    amount_credits=amount_credits,
                )
            )
        return sorted(accounts, key=lambda account: (-account.amount_credits, account.user_id))


@dataclass(frozen=True)
class LeftOut:
    """An event of a contributor's that does not count, and why: a policy's reason code, or what a person noted."""

    event_id: str
    because: str


def verify(facts: EpochFacts) -> list[Difference]:
    """See `Examination.differences`."""
    return Examination(facts).differences()


def _weighed_by_user(examined: ExaminedEpoch) -> dict[str, tuple[WeighedEvents, ...]]:
    weights_milli = examined.facts.epoch.weights_milli
    events_by_user: defaultdict[str, defaultdict[tuple[str, int], list[str]]] = defaultdict(lambda: defaultdict(list))
    for event_id, counted in examined.counted():
        for user_id, share_milli in counted.shares_milli(weights_milli).items():
            events_by_user[user_id][counted.kind, share_milli].append(event_id)
    return {
        user_id: tuple(WeighedEvents(kind, weight, tuple(ids)) for (kind, weight), ids in sorted(kinds.items()))
        for user_id, kinds in events_by_user.items()
    }
