"""What follows collection, as the pipeline asks it of storage: identities, curation, allocations, pool, statements.

Each verb is one transaction. What a finalized epoch was paid by the database refuses to change: StoreError.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from ledger_pipeline.core.allocations import CuratedEvents, ProposedAllocation
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.pool import NewPoolComponent
from ledger_pipeline.core.statements import Payout, UserUnits
from ledger_pipeline.store.port import Epoch, EpochStatus, LedgerStore

Row = Mapping[str, Any]


@dataclass(frozen=True)
class NewBinding:
    """An account at a provider (`github`, its numeric id as text) and the user it belongs to."""

    provider: str
    external_id: str
    user_id: str


@dataclass(frozen=True)
class Binding(NewBinding):
    """A binding as the ledger holds it; `created_at` aware, UTC."""

    created_at: datetime


@dataclass(frozen=True)
class UnresolvedAccount:
    """An account that counts for nobody yet: its latest login, its events, and the milli-units at stake."""

    provider: str
    external_id: str
    login: str
    events: int
    units: int


@dataclass(frozen=True)
class Resolution:
    """What one materialization did to the curation of an epoch: rows added, and users filled in where missing."""

    added: int
    resolved: int


@dataclass(frozen=True)
class CurationSummary:
    """The curation of an epoch in numbers of events; `users` have at least one."""

    events: int
    unresolved: int
    excluded: int
    overridden: int
    users: int


@dataclass(frozen=True)
class Judgement:
    """What a person says of one event: None leaves as it is. `clear_weight` takes an override away."""

    note: str
    included: bool | None = None
    weight_override_milli: int | None = None
    clear_weight: bool = False


@dataclass(frozen=True)
class Decision:
    """What a person decided about one event: whether it counts, its weight where that is another, and why."""

    event_id: str
    artifact_url: str
    login: str
    user_id: str | None
    included: bool
    weight_override_milli: int | None
    note: str | None


@dataclass(frozen=True)
class Allocation:
    """One user's units in an epoch, in milli: as proposed, and as a person decided where one did."""

    user_id: str
    proposed_units: int
    final_units: int | None
    override_reason: str | None
    activity_count: int

    @property
    def units(self) -> int:
        """What counts: the person's decision, else the proposal."""
        return self.proposed_units if self.final_units is None else self.final_units


@dataclass(frozen=True)
class DoubtfulEvent:
    """An event as it is stored, that may count and that the database cannot recompute; maybe others can."""

    event_id: str
    event_type: str
    platform_user_id: str
    metadata: Mapping[str, Json]
    stored_hash: str
    event_time: datetime


def valued(allocations: Sequence[Allocation]) -> list[UserUnits]:
    """What a statement shares the pool out by."""
    return [UserUnits(each.user_id, each.units) for each in allocations]


@dataclass(frozen=True)
class PoolComponent:
    """A component as the ledger holds it; `computed_at` aware, UTC; `id` is of its row."""

    component_id: str
    algorithm_version: str
    inputs: Mapping[str, Json]
    amount_credits: int
    evidence_ref: str | None
    computed_at: datetime
    id: UUID


@dataclass(frozen=True)
class Statement:
    """A statement as the ledger holds it: payouts as `Payout.to_json` gives them; `created_at` aware, UTC."""

    id: UUID
    epoch_id: int
    allocation_set_hash: str
    pool_total_credits: int
    payouts: Sequence[Mapping[str, str]]
    supersedes_statement_id: UUID | None
    created_at: datetime


@dataclass(frozen=True)
class StatementSignature:
    """A signature under a statement: checksummed address, `0x` and 65 bytes in hex, as they are stored."""

    id: UUID
    statement_id: UUID
    signer_wallet: str
    signature: str
    signed_at: datetime


class Numbered(StrEnum):
    """Rows that have numbers instead of ids: units put right, and numbers that were handed out to be signed."""

    CORRECTION = "correction"
    REQUEST = "request"


@dataclass(frozen=True)
class NumberedRows:
    """Rows of a kind from `first` to `last`, both of them included."""

    kind: Numbered
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.first}" if self.first == self.last else f"{self.kind}:{self.first}-{self.last}"


@dataclass(frozen=True)
class SetAside:
    """What the owner took out of an epoch: one row of these four, a signature together with its statement; or
    `numbered` rows, all that one command did."""

    statement_id: UUID | None
    signature_id: UUID | None
    pool_component_id: UUID | None
    inputs_signature_id: UUID | None
    reason: str
    actor: str
    set_aside_at: datetime
    numbered: NumberedRows | None = None

    @property
    def named(self) -> str:
        """What it was, as it is named when it is set aside."""
        ids = (self.signature_id, self.statement_id, self.pool_component_id, self.inputs_signature_id, self.numbered)
        return next(str(name) for name in ids if name is not None)


@dataclass(frozen=True)
class Reopening:
    """The owner opened an epoch again that had closed at `closed_at`; instants aware, UTC."""

    closed_at: datetime | None
    reason: str
    actor: str
    reopened_at: datetime


@dataclass(frozen=True)
class StatementHistory:
    """All that was ever stated of an epoch, signed and set aside, of one moment; in the order it was made.

    Whoever may write to the ledger may have added to it: what of it is in force, `pipeline.chain` decides.
    """

    statements: Sequence[Statement]
    signatures: Sequence[StatementSignature]
    set_asides: Sequence[SetAside]


@dataclass(frozen=True)
class Correction:
    """What a user's units shall be in the statement that supersedes that one, in milli, and why; `id` is its number."""

    id: int
    supersedes_statement_id: UUID
    user_id: str
    units: int
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class SigningRequest:
    """A statement's numbers as they were once handed out to be signed."""

    epoch_id: int
    scope_id: UUID
    allocation_set_hash: str
    pool_total_credits: int


@dataclass(frozen=True)
class StatedNumbers:
    """What a signature of a statement covers; and which one it `supersedes`, which none does: None for the first."""

    allocation_set_hash: str
    pool_total_credits: int
    supersedes: UUID | None


@dataclass(frozen=True)
class Settlement:
    """Everything a statement of an epoch follows from, as of one moment; `corrections` are of any of its statements.

    `curated` is what the allocations should follow from; `uncurated_events` are in the window, and in no row of it;
    `doubtful` are some of its events that nobody may be able to recompute, where there are any.
    `rows` reads all rows of that moment, while it lasts; `handed_out_elsewhere` then names the requests by which
    numbers were handed out to be signed for another place of the chain.
    """

    status: EpochStatus
    allocations: Sequence[Allocation]
    components: Sequence[PoolComponent]
    curated: Sequence[CuratedEvents]
    uncurated_events: int
    doubtful: Sequence[DoubtfulEvent]
    history: StatementHistory
    corrections: Sequence[Correction]
    rows: Callable[[], "EpochRows"]
    handed_out_elsewhere: Callable[[StatedNumbers], Sequence[int]]


@dataclass(frozen=True)
class InputsSignature:
    """An approver's signature of the root (hex) of what a statement follows from, beside that of the statement."""

    inputs_root: str
    signature: str


@dataclass(frozen=True)
class StoredInputsSignature(InputsSignature):
    """Such a signature as the ledger holds it, `id` of its row: whoever may write may have made it up."""

    id: UUID
    statement_id: UUID
    signer_wallet: str


@dataclass(frozen=True)
class SignedStatement:
    """What to write: a statement with its signature; `supersedes` the one in force, for an amendment."""

    allocation_set_hash: str
    pool_total_credits: int
    payouts: Sequence[Payout]
    signer_wallet: str
    signature: str
    supersedes: UUID | None = None
    inputs: InputsSignature | None = None


@dataclass(frozen=True)
class SameStatement:
    """A further good signature of the statement in force."""

    statement: Statement
    signer_wallet: str
    signature: str
    inputs: InputsSignature | None = None


class Outcome(StrEnum):
    """What a finalization did: the first statement, one that supersedes it, a further signature, or nothing new."""

    STATED = "stated"
    AMENDED = "amended"
    SIGNED = "signed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Finalization:
    """The statement that is in force after a finalization, and what that did."""

    statement: Statement
    outcome: Outcome


@dataclass(frozen=True)
class Stated:
    """A statement that was just made, in the order they were."""

    statement_id: UUID
    created_at: datetime
    scope_id: UUID
    period_start: datetime


@dataclass(frozen=True)
class EpochRows:
    """Rows by what they are of, columns by name; every list in an order that follows from the rows alone."""

    epoch: Row
    events: Sequence[Row]
    curation: Sequence[Row]
    allocations: Sequence[Row]
    pool: Sequence[Row]
    statements: Sequence[Row]
    corrections: Sequence[Row]
    signatures: Sequence[Row]
    inputs_signatures: Sequence[Row]
    left_out: Sequence[Row]
    pool_set_aside: Sequence[Row]


# A statement to write, a signature to add to one there is, or that one where nothing is to be written.
Decide = Callable[[Settlement], SignedStatement | SameStatement | Statement]


class IdentitiesPort(Protocol):
    """Who is who."""

    def bind(self, bindings: Sequence[NewBinding]) -> int:
        """Store all of `bindings` or none; how many were new. Raises IdentityError where an account is another's."""
        ...

    def move(self, binding: NewBinding) -> int:
        """Give a bound account to another user; how many curated events of epochs not finalized follow it."""
        ...

    def bindings(self) -> list[Binding]:
        """All bindings, by user, provider and account."""
        ...

    def unresolved(self, epochs: Sequence[Epoch]) -> list[UnresolvedAccount]:
        """Accounts whose events in `epochs` count for nobody, most units at stake first."""
        ...


class CurationPort(Protocol):
    """Which events count, for whom, by which weight."""

    def resolve_identities(self, epoch: Epoch, source: str) -> Resolution:
        """A row for every event of `source` in the epoch's window, with its user where bound."""
        ...

    def summary(self, epoch: Epoch) -> CurationSummary:
        """The epoch's curation in numbers."""
        ...

    def judge(self, epoch: Epoch, event_id: str, judgement: Judgement) -> bool:
        """Set what a person says of an event; False where the epoch's curation has no such event."""
        ...

    def decisions(self, epoch: Epoch) -> list[Decision]:
        """What a person decided about events of the epoch, by their time."""
        ...

    def weighed_events(self, epoch: Epoch) -> list[CuratedEvents]:
        """Included events that have a user, counted by user, kind and override."""
        ...


class AllocationsPort(Protocol):
    """Units per user."""

    def propose(self, epoch: Epoch, proposals: Sequence[ProposedAllocation]) -> list[Allocation]:
        """Store `proposals` in place of the epoch's earlier ones; `final_units` that a person set stay."""
        ...

    def decide(self, epoch: Epoch, user_id: str, units: int | None, reason: str | None) -> None:
        """Set a person's decision on a user's units, milli; None takes it back."""
        ...

    def of(self, epoch: Epoch) -> list[Allocation]:
        """The epoch's allocations, by user id."""
        ...


class PoolPort(Protocol):
    """Credits to share out."""

    def add(self, epoch: Epoch, component: NewPoolComponent) -> bool:
        """Add a component once; False where the very same is there. Raises EpochNotReady where another is."""
        ...

    def of(self, epoch: Epoch) -> list[PoolComponent]:
        """The epoch's components but those set aside, by name."""
        ...


class StatementsPort(Protocol):
    """Who gets what, signed."""

    def settlement(self, epoch: Epoch) -> Settlement:
        """What a statement of `epoch` would follow from now."""
        ...

    def finalize(self, epoch: Epoch, decide: Decide) -> Finalization:
        """What `decide` makes of the epoch, all in one transaction; what it raises passes, and nothing is written."""
        ...

    def rows(self, epoch: Epoch) -> EpochRows:
        """Every row that the epoch's statements follow from, of one moment."""
        ...

    def of(self, epoch: Epoch) -> list[Statement]:
        """The epoch's statements but those set aside, oldest first: each supersedes the one before."""
        ...

    def history(self, epoch: Epoch) -> StatementHistory:
        """All that was ever stated of the epoch."""
        ...

    def set_aside(self, epoch: Epoch, row_id: UUID, reason: str, check: Callable[[StatementHistory], None]) -> None:
        """Take a row of the epoch's out, on record; as the owner, unless `check` of the chain raises."""
        ...

    def set_numbered_aside(self, rows: NumberedRows, reason: str) -> int:
        """Take those rows of the node out, on record, that are of the epoch of the first; as the owner. How many."""
        ...

    def inputs_signatures(self, epoch: Epoch) -> list[StoredInputsSignature]:
        """The signatures of what the epoch's statements follow from, but those set aside."""
        ...

    def epoch_of(self, row_id: UUID) -> int | None:
        """The epoch that a statement, signature or component of that id belongs to; None where the node has none."""
        ...

    def reopenings(self, epoch: Epoch) -> list[Reopening]:
        """When the epoch was opened again, by whom and why, oldest first."""
        ...

    def correct(self, epoch: Epoch, statement_id: UUID, user_id: str, units: int, reason: str) -> None:
        """Put a user's units right, in milli, for the statement that shall supersede that one."""
        ...

    def remember_request(self, epoch: Epoch, numbers: StatedNumbers) -> None:
        """Keep what was handed out to be signed, once."""
        ...

    def handed_out_elsewhere(self, epoch: Epoch, numbers: StatedNumbers) -> list[int]:
        """The first requests by which they were handed out to be signed for another place of the chain that stands."""
        ...

    def recent_requests(self) -> list[SigningRequest]:
        """The node's latest signing requests, latest first."""
        ...

    def stated_since(self, created_at: datetime, statement_id: UUID) -> list[Stated]:
        """Statements made after that one, oldest first."""
        ...


class SettlingLedger(LedgerStore, Protocol):
    """A ledger with all that follows collection."""

    def epoch(self, epoch_id: int) -> Epoch | None:
        """The epoch of that id; None where the node has none."""
        ...

    @property
    def identities(self) -> IdentitiesPort:
        """Who is who."""
        ...

    @property
    def curation(self) -> CurationPort:
        """Which events count, for whom, by which weight."""
        ...

    @property
    def allocations(self) -> AllocationsPort:
        """Units per user."""
        ...

    @property
    def pool(self) -> PoolPort:
        """Credits to share out."""
        ...

    @property
    def statements(self) -> StatementsPort:
        """Who gets what, signed."""
        ...
