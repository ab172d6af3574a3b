"""Does every number follow from the rows it should? Events, curation, allocations, payouts, hashes, signature.

Needs nothing but an epoch's facts: no database, no network, no clock.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from ledger_pipeline.core.allocations import CuratedEvents, compute_proposed_allocations, event_kind
from ledger_pipeline.core.errors import AllocationError, EventError, WindowError, WrongSignature
from ledger_pipeline.core.events import event_problems
from ledger_pipeline.core.identifiers import RULE, broken_ids, is_ambiguous, unknown_ids, why_not_an_account
from ledger_pipeline.core.pins import approver_set_hash, shown, states_other_weights, weight_config_hash
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.pool import BASE_ISSUANCE, why_amount_does_not_follow, why_unfounded
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.statements import (
    UserUnits,
    allocation_set_hash,
    amended_units,
    compute_payouts,
    inputs_message,
    statement_message,
)
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.record import (
    CurationRecord,
    EpochFacts,
    EventRecord,
    InputsSignatureRecord,
    SignatureRecord,
)
from ledger_pipeline.wallets import recover_signer

FINALIZED = "finalized"
RULE_KEY = "id_rule"

# Rows come from anybody: a list of differences that nobody would read to its end stops here.
MAX_DIFFERENCES = 1000
_MAX_QUOTED = 1000


@dataclass(frozen=True)
class Difference:
    """A number that does not follow: `where` names table and row, `problem` what is stored and what follows."""

    where: str
    problem: str

    def __post_init__(self) -> None:
        for name in ("where", "problem"):
            object.__setattr__(self, name, getattr(self, name)[:_MAX_QUOTED])

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True)
class WeighedEvents:
    """Events of one kind that count by one weight, in milli-units each; their ids, in order."""

    kind: str
    weight_milli: int
    event_ids: tuple[str, ...]

    @property
    def units(self) -> int:
        """What they add up to."""
        return self.weight_milli * len(self.event_ids)


@dataclass(frozen=True)
class ContributorAccount:
    """How one user's credits come about. `decided_units` where a person decided otherwise than the weights."""

    user_id: str
    events: tuple[WeighedEvents, ...]
    decided_units: int | None
    total_units: int
    share: str
    amount_credits: int


class Examination:
    """An epoch's facts, looked at. Rows may be read anew whenever they are gone through: what many need is kept."""

    def __init__(self, facts: EpochFacts) -> None:
        self.facts = facts
        self._signers: dict[tuple[str, str], str | WrongSignature] = {}

    def differences(self) -> list[Difference]:
        """What is stored and does not follow from the rows before it; empty where all is right.

        At most MAX_DIFFERENCES of each kind of row.
        """
        kinds = (_epoch, _ids, _events, _curation, _allocations, _pool, _statements, _signatures, _inputs)
        return [difference for kind in kinds for difference in bounded(kind(self))]

    def warnings(self) -> list[str]:
        """What an epoch that closed before there was a rule may have, and a newer one may not: a sentence each.

        And ids that nobody sees alike: by the version of Unicode here, so they are no differences.
        """
        unexplained = [
            *_other_weights(self.facts),
            *islice(_unexplained(self), MAX_DIFFERENCES),
            *islice(_unfounded(self.facts), MAX_DIFFERENCES),
            *islice(_copies(self.facts), MAX_DIFFERENCES),
            *_left_out(self),
        ]
        unexplained += [f"ids: {problem}" for problem in islice(unknown_ids(self.ids), MAX_DIFFERENCES)]
        if RULE_KEY in self.facts.pinned_spec:
            return unexplained
        found = [str(difference) for difference in bounded(_against_the_rule(self))]
        if found:
            found[0] = f"it closed before there was a rule for ids and for numbers that are stated again: {found[0]}"
        return [*found, *unexplained]

    def statement_signatures(self) -> list[SignatureRecord]:
        """The signatures of statements that are what they say, an approver's. Others are nobody's."""
        statements = {stated.statement_id: stated for stated in self.stated}
        return [
            row
            for row in self.facts.signatures
            if row.statement_id in statements and _problem_of_signature(self, statements[row.statement_id], row) is None
        ]

    def inputs_signatures(self) -> list[InputsSignatureRecord]:
        """The signatures of inputs that are what they say: an approver's, of the root beside them."""
        statements = {stated.statement_id: stated for stated in self.stated}
        return [
            row
            for row in dict.fromkeys(self.facts.inputs_signatures)
            if row.signer_wallet.lower() in self.approvers
            and row.statement_id in statements
            and _is_of_inputs(self, statements[row.statement_id], row)
        ]

    def inputs_signers(self) -> list[str]:
        """Which approvers signed what the statement in force follows from, by its root, as it is here."""
        in_force = _in_force(self)
        if in_force is None or not self.facts.inputs_signatures:
            return []
        signed = [row for row in self.inputs_signatures() if row.inputs_root == self.inputs_root]
        return sorted({self.address_of(row) for row in signed if row.statement_id == in_force.statement_id})

    def accounts(self) -> list[ContributorAccount]:
        """How each user of the statement in force gets what they get, most credits first.

        A line of it that cannot be read has no account; a difference reports it.
        """
        in_force = _in_force(self)
        if in_force is None:
            return []
        weighed = _weighed_by_user(self)
        proposed = {row.user_id: row.proposed_units for row in self.facts.allocations}
        found = []
        for line in self.facts.statements[in_force.row].payouts:
            try:
                user_id, units, share = line["userId"], int(line["totalUnits"]), line["share"]
                amount_credits = int(line["amountCredits"])
            except (KeyError, ValueError):
                continue
            found.append(
                ContributorAccount(
                    user_id=user_id,
                    events=weighed.get(user_id, ()),
                    decided_units=None if proposed.get(user_id) == units else units,
                    total_units=units,
                    share=share,
                    amount_credits=amount_credits,
                )
            )
        return sorted(found, key=lambda account: (-account.amount_credits, account.user_id))

    def address_of(self, row: InputsSignatureRecord) -> str:
        """The row's wallet, as the first of its rows spells it: one address for all its spellings."""
        return self._spellings[row.signer_wallet.lower()]

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {row.signer_wallet.lower(): row.signer_wallet for row in reversed(self.facts.inputs_signatures)}

    @cached_property
    def inputs_root(self) -> str:
        """The root of what the statements follow from."""
        return inputs_root(self.facts)

    @cached_property
    def ids(self) -> dict[str, set[str]]:
        """Those that are for the rule, by what they are of."""
        return {
            "user": self.curation.users | _users(self.facts),
            "component": {row.component_id for row in self.facts.pool},
            "scope key": {str(self.facts.pinned_spec.get("scope_key", "default"))},
        }

    @cached_property
    def events(self) -> "_Events":
        """What others need to know of the events."""
        return _Events(self.facts.events)

    @cached_property
    def event_differences(self) -> "_EventDifferences":
        """What of each event does not follow from the rest of it."""
        return _event_differences(self)

    @cached_property
    def curation(self) -> "_Curation":
        """What others need to know of the curation."""
        return _Curation(self.facts.curation)

    @cached_property
    def stated(self) -> list["_Stated"]:
        """The statements without their payouts, in their order."""
        return [
            _Stated(
                number, row.statement_id, row.allocation_set_hash, row.pool_total_credits, row.supersedes_statement_id
            )
            for number, row in enumerate(self.facts.statements)
        ]

    @cached_property
    def approvers(self) -> frozenset[str]:
        """The addresses that were pinned, in lower case."""
        return frozenset(approver.lower() for approver in _approvers(self.facts))

    def signer(self, message: str, signature: str) -> str:
        """Who signed. Recovering takes milliseconds: it is done once. Raises WrongSignature."""
        key = message, signature
        if key not in self._signers:
            try:
                self._signers[key] = recover_signer(message, signature)
            except WrongSignature as error:
                self._signers[key] = error
        signer = self._signers[key]
        if isinstance(signer, WrongSignature):
            raise signer
        return signer


class _Events:
    """Of each event its kind, of all of them the accounts, and which ids are there twice."""

    def __init__(self, events: Sequence[EventRecord]) -> None:
        self.kinds: dict[str, str] = {}
        self.accounts: set[tuple[str, str]] = set()
        self.times: Counter[str] = Counter()
        for event in events:
            self.times[event.id] += 1
            self.kinds[event.id] = sys.intern(event_kind(event.source, event.event_type))
            self.accounts.add((event.source, event.platform_user_id))


class _Curation:
    """How often each event is curated, for whom any is, and decisions of people that say nothing of why.

    `left_out` are the events that a person left out, saying why.
    """

    def __init__(self, curation: Sequence[CurationRecord]) -> None:
        self.times: Counter[str] = Counter()
        self.users: set[str] = set()
        self.unexplained: list[str] = []
        self.left_out: set[str] = set()
        for row in curation:
            self.times[row.event_id] += 1
            if row.user_id is not None:
                self.users.add(row.user_id)
            decided = not row.included or row.weight_override_milli is not None
            if not row.included and is_reason(row.note):
                self.left_out.add(row.event_id)
            if decided and len(self.unexplained) < MAX_DIFFERENCES and not is_reason(row.note):
                what = "weighed it otherwise" if row.included else "left it out"
                self.unexplained.append(f"curation {_short(row.event_id)}: a person {what}, and nobody said why")


class _EventDifferences(NamedTuple):
    """Of events that do not follow: the first of those that may count, and of those that a person left out."""

    counted: list[Difference]
    left_out: list[Difference]


class _Stated(NamedTuple):
    """A statement without its payouts, which are in that `row` of the epoch's."""

    row: int
    statement_id: UUID
    allocation_set_hash: str
    pool_total_credits: int
    supersedes_statement_id: UUID | None


def verify(facts: EpochFacts) -> list[Difference]:
    """See `Examination.differences`."""
    return Examination(facts).differences()


def bounded(differences: Iterable[Difference]) -> list[Difference]:
    """The first MAX_DIFFERENCES of them."""
    return list(islice(differences, MAX_DIFFERENCES))


def _epoch(looked: Examination) -> Iterator[Difference]:
    facts = looked.facts
    epoch = facts.epoch
    if epoch.status != FINALIZED:
        yield Difference("epoch", f"it is in {epoch.status}, not {FINALIZED}")
    yield from _compare("epoch weight_config_hash", epoch.weight_config_hash, weight_config_hash(epoch.weights_milli))
    if not facts.pinned_spec:
        yield Difference("repo-spec", "none was pinned when the epoch closed, so who might sign is not known")
        return
    approvers = approver_set_hash(_approvers(facts))
    yield from _compare("epoch approver_set_hash", epoch.approver_set_hash, approvers)
    yield from _compare("repo-spec scope_id", facts.pinned_spec.get("scope_id"), str(epoch.scope_id))


def _other_weights(facts: EpochFacts) -> Iterator[str]:
    if states_other_weights(facts.epoch.weights_milli, facts.pinned_spec):
        stated = shown(facts.pinned_spec["weights_milli"])
        yield f"repo-spec weights_milli: it closed with {stated}, and counts by those of its creation"


def _unexplained(looked: Examination) -> Iterator[str]:
    """Decisions of people that say nothing of why."""
    facts = looked.facts
    yield from looked.curation.unexplained
    for allocation in facts.allocations:
        if allocation.final_units is not None and not is_reason(allocation.override_reason):
            decided = f"a person decided {allocation.final_units} milli-units, and nobody said why"
            yield f"allocations {_short(allocation.user_id)}: {decided}"
    for correction in facts.corrections:
        if not is_reason(correction.reason):
            yield f"corrections {_short(correction.user_id)}: {correction.units} milli-units, and nobody said why"
    for item in facts.left_out:
        if not (is_reason(item.reason) and is_reason(item.actor)):
            yield f"left_out {_short(item.source_scope)}#{item.number}: nobody said who left it out, or why"
    for aside in facts.pool_set_aside:
        if not is_reason(aside.reason):
            yield f"pool_set_aside {_short(aside.component_id)}: nobody said why"


def _unfounded(facts: EpochFacts) -> Iterator[str]:
    """Components of the pool that nobody can check, or that the epoch did not close with."""
    for row in facts.pool:
        problem = why_unfounded(row.component_id, row.inputs, row.evidence_ref)
        if problem is not None:
            yield f"pool {_short(row.component_id)}: {problem}; its {row.amount_credits} credits rest on nothing"
        if row.component_id == BASE_ISSUANCE and facts.pinned_spec.get("base_issuance_credits", row) is None:
            joined = f"{row.amount_credits} credits joined after the epoch had closed with none"
            yield f"pool {_short(row.component_id)}: {joined}"


def _ids(looked: Examination) -> Iterator[Difference]:
    """Ids that are none, where the epoch closed by the rule; of one that is older, only what makes its hash two."""
    facts = looked.facts
    if RULE_KEY in facts.pinned_spec:
        yield from _compare(f"repo-spec {RULE_KEY}", facts.pinned_spec[RULE_KEY], RULE)
        yield from _against_the_rule(looked)
        return
    for user_id in sorted(looked.ids["user"]):
        if is_ambiguous(user_id):
            problem = "the signed hash is that of other users and units too: nobody can say what was signed"
            yield Difference(f"user {quoted(user_id)}", problem)


def _against_the_rule(looked: Examination) -> Iterator[Difference]:
    for problem in broken_ids(looked.ids):
        yield Difference("ids", problem)
    for source, account in sorted(looked.events.accounts):
        account_problem = why_not_an_account(source, account)
        if account_problem is not None:
            yield Difference("ids", f"{_short(source)} account {quoted(account)} {account_problem}")
    stated: dict[tuple[str, int], UUID] = {}
    for statement in _chain(looked.stated):
        numbers = statement.allocation_set_hash, statement.pool_total_credits
        first = stated.setdefault(numbers, statement.statement_id)
        if first != statement.statement_id:
            problem = f"its numbers are those of {first}, so what was signed of that is good for it too"
            yield Difference(f"statements {statement.statement_id}", problem)


def _users(facts: EpochFacts) -> set[str]:
    """Everybody whom a row of the epoch names beside its curation."""
    return {
        *(row.user_id for row in facts.allocations),
        *(row.user_id for row in facts.corrections),
        *(line["userId"] for statement in facts.statements for line in statement.payouts if "userId" in line),
    }


def _events(looked: Examination) -> Iterator[Difference]:
    yield from _repeated("events", looked.events.times)
    yield from looked.event_differences.counted


def _event_differences(looked: Examination) -> _EventDifferences:
    found = _EventDifferences([], [])
    try:
        window = looked.facts.epoch.window
    except WindowError as error:
        found.counted.append(Difference("epoch", str(error)))
        return found
    for event in looked.facts.events:
        where = f"events {_short(event.id)}"
        if event.event_time not in window:
            outside = f"{event.event_time.isoformat()} is outside of the epoch"
            found.counted.extend([Difference(where, outside)] if len(found.counted) < MAX_DIFFERENCES else [])
        kept = found.left_out if event.id in looked.curation.left_out else found.counted
        if len(kept) < MAX_DIFFERENCES:
            kept.extend(_problems_of(event, where))
    return found


def _problems_of(event: EventRecord, where: str) -> Iterator[Difference]:
    stated = event.metadata, event.payload_hash, event.event_time
    try:
        for column, stored, follows in event_problems(event.id, event.event_type, event.platform_user_id, *stated):
            yield from _compare(f"{where} {column}", stored, follows)
    except (EventError, TypeError) as error:
        yield Difference(where, str(error))


def _left_out(looked: Examination) -> Iterator[str]:
    """Events that do not follow, and that a person left out, saying why: nothing is paid by them."""
    for difference in islice(looked.event_differences.left_out, MAX_DIFFERENCES):
        yield f"{difference}; a person left it out, and it counts for nobody"


def _curation(looked: Examination) -> Iterator[Difference]:
    times = looked.curation.times
    yield from _repeated("curation", times)
    events, curated = looked.events.kinds.keys(), times.keys()
    for event_id in sorted(events - curated):
        yield Difference(f"curation {_short(event_id)}", "the event has no row, so nobody decided whether it counts")
    for event_id in sorted(curated - events):
        yield Difference(f"curation {_short(event_id)}", "there is no such event in the epoch")


def _allocations(looked: Examination) -> Iterator[Difference]:
    facts = looked.facts
    yield from _duplicates("allocations", (row.user_id for row in facts.allocations))
    try:
        follows = {
            each.user_id: (each.proposed_units, each.activity_count)
            for each in compute_proposed_allocations(
                facts.epoch.allocation_algo_ref or "", _curated(looked), facts.epoch.weights_milli
            )
        }
    except AllocationError as error:
        yield Difference("allocations", str(error))
        return
    for user_id in sorted(follows.keys() - {row.user_id for row in facts.allocations}):
        yield Difference(f"allocations {_short(user_id)}", f"missing: {follows[user_id][0]} units follow")
    for row in facts.allocations:
        user_id = row.user_id
        units, events = follows.get(user_id, (0, 0))
        if user_id not in follows and row.final_units is None:
            yield Difference(
                f"allocations {_short(user_id)}", "no included event is theirs, and nobody decided their units"
            )
        yield from _compare(f"allocations {_short(user_id)} proposed_units", row.proposed_units, units)
        yield from _compare(f"allocations {_short(user_id)} activity_count", row.activity_count, events)


def _pool(looked: Examination) -> Iterator[Difference]:
    facts = looked.facts
    yield from _duplicates("pool", (row.component_id for row in facts.pool))
    if not any(row.component_id == BASE_ISSUANCE for row in facts.pool):
        yield Difference("pool", f"there is no {BASE_ISSUANCE}")
    base = facts.pinned_spec.get("base_issuance_credits")
    for row in facts.pool:
        problem = why_amount_does_not_follow(
            row.component_id, row.algorithm_version, row.inputs, row.amount_credits, None if base is None else str(base)
        )
        if problem is not None:
            yield Difference(f"pool {_short(row.component_id)}", problem)
    total = sum(row.amount_credits for row in facts.pool)
    yield from _compare("epoch pool_total_credits", facts.epoch.pool_total_credits, total)


def _statements(looked: Examination) -> Iterator[Difference]:
    facts = looked.facts
    yield from _duplicates("statements", (str(stated.statement_id) for stated in looked.stated))
    statement_ids = {stated.statement_id for stated in looked.stated}
    chain = _chain(looked.stated)
    if not chain:
        yield Difference("statements", "there is none")
    for stray in sorted(statement_ids - {stated.statement_id for stated in chain}):
        yield Difference(f"statements {stray}", "it supersedes no statement of the epoch, or one that is superseded")
    for row in facts.corrections:
        if row.supersedes_statement_id not in statement_ids:
            where = f"corrections {_short(row.user_id)} of {row.supersedes_statement_id}"
            yield Difference(where, "there is no such statement in the epoch")
    corrected: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in facts.corrections:
        corrected[row.supersedes_statement_id][row.user_id] = row.units
    units = [UserUnits(row.user_id, row.units) for row in facts.allocations]
    pool_total_credits = sum(row.amount_credits for row in facts.pool)
    for statement in chain:
        if statement.supersedes_statement_id is not None:
            units = amended_units(units, corrected[statement.supersedes_statement_id])
        where = f"statements {statement.statement_id}"
        yield from _compare(f"{where} pool_total_credits", statement.pool_total_credits, pool_total_credits)
        yield from _compare(f"{where} allocation_set_hash", statement.allocation_set_hash, allocation_set_hash(units))
        follow = [payout.to_json() for payout in compute_payouts(units, pool_total_credits)]
        payouts = facts.statements[statement.row].payouts
        stored = {line.get("userId", ""): dict(line) for line in payouts}
        yield from _duplicates(where, (line.get("userId", "") for line in payouts))
        for line in follow:
            yield from _compare(f"{where} payout of {_short(line['userId'])}", stored.pop(line["userId"], None), line)
        for user_id in stored:
            yield Difference(f"{where} payout of {_short(user_id)}", "nothing that follows is theirs")
        # What an amendment corrects are the lines of the statement before it.
        units = [UserUnits(line["userId"], int(line["totalUnits"])) for line in follow]


def _signatures(looked: Examination) -> Iterator[Difference]:
    facts = looked.facts
    statements = {stated.statement_id: stated for stated in looked.stated}
    signed: set[UUID] = set()
    # Recovering takes milliseconds: what is there twice, however it is spelled, is recovered and named once.
    for row in {_same_signature(row): row for row in facts.signatures}.values():
        where = f"signatures {_short(row.signer_wallet)} of {row.statement_id}"
        statement = statements.get(row.statement_id)
        if statement is None:
            yield Difference(where, "there is no such statement in the epoch")
            continue
        problem = _problem_of_signature(looked, statement, row)
        if problem is None:
            signed.add(row.statement_id)
        else:
            yield Difference(where, problem)
    for statement_id in sorted(statements.keys() - signed):
        yield Difference(f"statements {statement_id}", "nobody signed it who might, so it is not in force")


def _same_signature(row: SignatureRecord) -> tuple[UUID, str, str]:
    """What all spellings of a signature of a statement by a wallet have in common."""
    return row.statement_id, row.signer_wallet.lower(), canonical_signature(row.signature)


def _copies(facts: EpochFacts) -> Iterator[str]:
    """Signatures that one wallet has several of under a statement: one is as good as all."""
    times = Counter((row.statement_id, row.signer_wallet.lower()) for row in facts.signatures)
    for (statement_id, wallet), count in times.items():
        if count > 1:
            yield f"signatures {_short(wallet)} of {statement_id}: it is there {count} times, and counts once"


def _problem_of_signature(looked: Examination, statement: _Stated, row: SignatureRecord) -> str | None:
    if looked.facts.pinned_spec and row.signer_wallet.lower() not in looked.approvers:
        return "the signer is not among the approvers that were pinned"
    try:
        signer = looked.signer(_message(looked.facts, statement), row.signature)
    except WrongSignature as error:
        return str(error)
    return None if row.signer_wallet.lower() == signer.lower() else f"stored {row.signer_wallet}, but {signer} follows"


def _inputs(looked: Examination) -> Iterator[Difference]:
    """Approvers whose every signature of a statement's inputs is of others than these."""
    signed = looked.inputs_signatures() if looked.facts.inputs_signatures else []
    if not signed:
        return
    root = looked.inputs_root
    roots: defaultdict[tuple[UUID, str], set[str]] = defaultdict(set)
    for row in signed:
        roots[row.statement_id, looked.address_of(row)].add(row.inputs_root)
    for (statement_id, wallet), known in roots.items():
        if root not in known:
            yield Difference(
                f"inputs_signatures {wallet} of {statement_id}",
                f"signed were events and decisions of root {', '.join(sorted(known))}, but these are of {root}",
            )


def _is_of_inputs(looked: Examination, statement: _Stated, row: InputsSignatureRecord) -> bool:
    facts = looked.facts
    message = inputs_message(
        node_id=facts.epoch.node_id,
        scope_id=facts.epoch.scope_id,
        epoch_id=facts.epoch.epoch_id,
        inputs_root=row.inputs_root,
        statement_message=_message(facts, statement),
    )
    try:
        return looked.signer(message, row.signature).lower() == row.signer_wallet.lower()
    except WrongSignature:
        return False


def _message(facts: EpochFacts, statement: _Stated) -> str:
    return statement_message(
        node_id=facts.epoch.node_id,
        scope_id=facts.epoch.scope_id,
        epoch_id=facts.epoch.epoch_id,
        allocation_set_hash=statement.allocation_set_hash,
        pool_total_credits=statement.pool_total_credits,
    )


def _in_force(looked: Examination) -> _Stated | None:
    """The last statement of the chain that is signed by who might, as is every one before it."""
    signatures: defaultdict[UUID, set[SignatureRecord]] = defaultdict(set)
    for row in looked.facts.signatures:
        signatures[row.statement_id].add(row)
    in_force = None
    for statement in _chain(looked.stated):
        rows = signatures[statement.statement_id]
        if all(_problem_of_signature(looked, statement, row) is not None for row in rows):
            break
        in_force = statement
    return in_force


def _approvers(facts: EpochFacts) -> tuple[str, ...]:
    approvers = facts.pinned_spec.get("approvers", [])
    return tuple(map(str, approvers)) if isinstance(approvers, list) else ()


def _curated(looked: Examination) -> Iterator[CuratedEvents]:
    kinds = looked.events.kinds
    for row in looked.facts.curation:
        if row.included and row.user_id is not None and row.event_id in kinds:
            yield CuratedEvents(row.user_id, kinds[row.event_id], row.weight_override_milli)


def _weighed_by_user(looked: Examination) -> dict[str, tuple[WeighedEvents, ...]]:
    kinds_by_id, weights_milli = looked.events.kinds, looked.facts.epoch.weights_milli
    found: defaultdict[str, defaultdict[tuple[str, int], list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in looked.facts.curation:
        if row.included and row.user_id is not None and row.event_id in kinds_by_id:
            kind, override = kinds_by_id[row.event_id], row.weight_override_milli
            weight = weights_milli.get(kind, 0) if override is None else override
            found[row.user_id][kind, weight].append(row.event_id)
    return {
        user_id: tuple(WeighedEvents(kind, weight, tuple(ids)) for (kind, weight), ids in sorted(kinds.items()))
        for user_id, kinds in found.items()
    }


def _chain(statements: Sequence[_Stated]) -> list[_Stated]:
    following: Mapping[UUID | None, _Stated] = {stated.supersedes_statement_id: stated for stated in statements}
    chain: list[_Stated] = []
    after: UUID | None = None
    while after in following and len(chain) < len(statements):
        chain.append(following[after])
        after = chain[-1].statement_id
    return chain


def _duplicates(what: str, keys: Iterator[str]) -> Iterator[Difference]:
    yield from _repeated(what, Counter(keys))


def _repeated(what: str, times: Counter[str]) -> Iterator[Difference]:
    for key, count in times.items():
        if count > 1:
            yield Difference(f"{what} {_short(key)}", f"it is there {count} times")


def _compare(where: str, stored: object, follows: object) -> Iterator[Difference]:
    if stored != follows:
        yield Difference(where, f"stored {_short(stored)}, but {_short(follows)} follows")


def _short(value: object) -> str:
    """What a difference has room for of a value that may be megabytes: they are not copied first."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_short(key)!r}: {_short(inner)!r}" for key, inner in islice(value.items(), 8)) + "}"
    return (value if isinstance(value, str) else str(value))[:_MAX_QUOTED]
