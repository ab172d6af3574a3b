"""An epoch's facts with what many of the laws need to know of them, computed once."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from ledger_pipeline.core.allocations import CuratedEvents, event_kind
from ledger_pipeline.core.claimants import IdentityClaimant, is_account_key
from ledger_pipeline.core.errors import EventError, WindowError, WrongSignature
from ledger_pipeline.core.events import event_problems
from ledger_pipeline.core.opting import pinned_opt_outs
from ledger_pipeline.core.pins import CLAIMANTS
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.selection.policy import Decision
from ledger_pipeline.core.signing import Signable
from ledger_pipeline.verification.claim_records import CoAuthorRecord
from ledger_pipeline.verification.differences import MAX_DIFFERENCES, Difference, compare, short
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.overridden import Overridden
from ledger_pipeline.verification.record import (
    CurationRecord,
    EpochFacts,
    EventRecord,
    InputsSignatureRecord,
)
from ledger_pipeline.wallets import recover_signer


class ExaminedEpoch:
    """Rows may be read anew whenever they are gone through: what many need is kept."""

    def __init__(self, facts: EpochFacts) -> None:
        self.facts = facts
        self._signers: dict[tuple[Signable, str], str | WrongSignature] = {}

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
            "user": {
                *self.curation.users,
                *self.co_authors.users,
                *(name for name in _users(self.facts) if not (self.reserves_accounts and is_account_key(name))),
            },
            "component": {row.component_id for row in self.facts.pool},
            "scope key": {str(self.facts.pinned_spec.get("scope_key", "default"))},
        }

    @cached_property
    def events(self) -> "_Events":
        """What others need to know of the events."""
        return _Events(self.facts.events, self.curation.without_user if self.reserves_accounts else frozenset())

    @cached_property
    def event_differences(self) -> "_EventDifferences":
        """What of each event does not follow from the rest of it."""
        return _event_differences(self)

    @cached_property
    def curation(self) -> "_Curation":
        """What others need to know of the curation."""
        return _Curation(self.facts.curation)

    @cached_property
    def decisions(self) -> dict[str, Decision]:
        """What a policy is stated to have decided, by event id, with whom it shares each event."""
        keys = self.co_authors.keys
        return {
            row.event_id: replace(row.decision, co_authors=keys[row.event_id]) if row.event_id in keys else row.decision
            for row in self.facts.selection
        }

    @cached_property
    def overridden(self) -> Overridden:
        """What people decided about single events."""
        return Overridden(self.facts.overrides)

    @cached_property
    def co_authors(self) -> "_CoAuthors":
        """Who has a part of an event beside whoever did it."""
        return _CoAuthors(self.facts.co_authors, reserves_accounts=self.reserves_accounts)

    @property
    def reserves_accounts(self) -> bool:
        """Whether the epoch closed with the share of accounts without a user reserved for them."""
        return CLAIMANTS in self.facts.pinned_spec

    @cached_property
    def opted_out(self) -> frozenset[str]:
        """Who took no pay when the epoch closed."""
        return pinned_opt_outs(self.facts.pinned_spec)

    def claimant_of(self, row: CurationRecord) -> str | None:
        """For whom an event counts: its user, else the key of its account where the epoch reserves its share."""
        if row.user_id is None and self.reserves_accounts:
            return self.events.account_keys.get(row.event_id)
        return row.user_id

    def counted(self) -> Iterator[tuple[str, CuratedEvents]]:
        """Each event that counts for claimants, by its id: as its policy decided, or a person instead."""
        kinds, decisions, shared_with = self.events.kinds, self.decisions, self.co_authors.claimants
        for row in self.facts.curation:
            claimant = self.claimant_of(row)
            if not row.included or claimant is None or row.event_id not in kinds:
                continue
            decision, factor_milli = decisions.get(row.event_id), None
            if decision is not None and not row.is_by_person:
                if not decision.included:
                    continue
                factor_milli = decision.weight_factor_milli
            tally = CuratedEvents(
                claimant,
                kinds[row.event_id],
                row.weight_override_milli,
                weight_factor_milli=factor_milli,
                co_authors=shared_with.get(row.event_id, ()),
            )
            yield row.event_id, self.overridden.applied(row.event_id, tally)

    @cached_property
    def stated(self) -> list["Stated"]:
        """The statements without their payouts, in their order."""
        return [
            Stated(
                number, row.statement_id, row.allocation_set_hash, row.pool_total_credits, row.supersedes_statement_id
            )
            for number, row in enumerate(self.facts.statements)
        ]

    @cached_property
    def approvers(self) -> frozenset[str]:
        """The addresses that were pinned, in lower case."""
        return frozenset(approver.lower() for approver in approvers_of(self.facts))

    def signer(self, message: Signable, signature: str) -> str:
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
    """The kind of each event, the accounts of all of them, and the ids that are there twice.

    Of events `without_user` the key of the account.
    """

    def __init__(self, events: Sequence[EventRecord], without_user: Set[str]) -> None:
        self.kinds: dict[str, str] = {}
        self.account_keys: dict[str, str] = {}
        self.accounts: set[tuple[str, str]] = set()
        self.times: Counter[str] = Counter()
        for event in events:
            self.times[event.id] += 1
            self.kinds[event.id] = sys.intern(event_kind(event.source, event.event_type))
            if event.id in without_user:
                self.account_keys[event.id] = sys.intern(IdentityClaimant(event.source, event.platform_user_id).key)
            self.accounts.add((event.source, event.platform_user_id))


class _Curation:
    """How often each event is curated, for whom any is, and decisions of people that say nothing of why.

    `left_out` are the events that a person left out, saying why; `without_user` those of accounts without a user.
    """

    def __init__(self, curation: Sequence[CurationRecord]) -> None:
        self.times: Counter[str] = Counter()
        self.users: set[str] = set()
        self.unexplained: list[str] = []
        self.left_out: set[str] = set()
        self.without_user: set[str] = set()
        for row in curation:
            self.times[row.event_id] += 1
            if row.user_id is None:
                self.without_user.add(row.event_id)
            else:
                self.users.add(row.user_id)
            decided = not row.included or row.weight_override_milli is not None
            if not row.included and is_reason(row.note):
                self.left_out.add(row.event_id)
            if decided and len(self.unexplained) < MAX_DIFFERENCES and not is_reason(row.note):
                what = "weighed it otherwise" if row.included else "left it out"
                self.unexplained.append(f"curation {short(row.event_id)}: a person {what}, and nobody said why")


class _CoAuthors:
    """Of events that have any: the keys of the accounts, in code-point order, and which claimants they are.

    An account without a user is none where the epoch reserves no share for such. `users` are all that there are.
    """

    def __init__(self, rows: Sequence[CoAuthorRecord], *, reserves_accounts: bool) -> None:
        keys: defaultdict[str, list[str]] = defaultdict(list)
        claimants: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            key = sys.intern(IdentityClaimant(row.provider, row.external_id).key)
            keys[row.event_id].append(key)
            if row.user_id is not None or reserves_accounts:
                claimants[row.event_id].append(key if row.user_id is None else sys.intern(row.user_id))
        self.users = {row.user_id for row in rows if row.user_id is not None}
        self.keys = {event_id: tuple(sorted(of_event)) for event_id, of_event in keys.items()}
        self.claimants = {event_id: tuple(of_event) for event_id, of_event in claimants.items()}


class _EventDifferences(NamedTuple):
    """Of events that do not follow: the first of those that may count, and of those that a person left out."""

    counted: list[Difference]
    left_out: list[Difference]


class Stated(NamedTuple):
    """A statement without its payouts, which are in that `row` of the epoch's."""

    row: int
    statement_id: UUID
    allocation_set_hash: str
    pool_total_credits: int
    supersedes_statement_id: UUID | None


def chain_of(statements: Sequence[Stated]) -> list[Stated]:
    """The statements that supersede one another, the first one first."""
    following: Mapping[UUID | None, Stated] = {stated.supersedes_statement_id: stated for stated in statements}
    chain: list[Stated] = []
    after: UUID | None = None
    while after in following and len(chain) < len(statements):
        chain.append(following[after])
        after = chain[-1].statement_id
    return chain


def approvers_of(facts: EpochFacts) -> tuple[str, ...]:
    """The approvers that were pinned, as they were spelled; none where the spec has no list of them."""
    approvers = facts.pinned_spec.get("approvers", [])
    return tuple(map(str, approvers)) if isinstance(approvers, list) else ()


def _users(facts: EpochFacts) -> set[str]:
    """Everybody whom a row of the epoch names beside its curation."""
    return {
        *(row.user_id for row in facts.allocations),
        *(row.user_id for row in facts.corrections),
        *(line["userId"] for statement in facts.statements for line in statement.payouts if "userId" in line),
    }


def _event_differences(examined: ExaminedEpoch) -> _EventDifferences:
    differences = _EventDifferences([], [])
    try:
        window = examined.facts.epoch.window
    except WindowError as error:
        differences.counted.append(Difference("epoch", str(error)))
        return differences
    for event in examined.facts.events:
        where = f"events {short(event.id)}"
        if event.event_time not in window:
            outside = f"{event.event_time.isoformat()} is outside of the epoch"
            differences.counted.extend(
                [Difference(where, outside)] if len(differences.counted) < MAX_DIFFERENCES else []
            )
        kept = differences.left_out if event.id in examined.curation.left_out else differences.counted
        if len(kept) < MAX_DIFFERENCES:
            kept.extend(_problems_of(event, where))
    return differences


def _problems_of(event: EventRecord, where: str) -> Iterator[Difference]:
    stated = event.metadata, event.payload_hash, event.event_time
    try:
        for column, stored, follows in event_problems(event.id, event.event_type, event.platform_user_id, *stated):
            yield from compare(f"{where} {column}", stored, follows)
    except (EventError, TypeError) as error:
        yield Difference(where, str(error))
