"""What the ledger holds of who is paid: statements, signatures and what they follow from, as records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger_pipeline.core.allocations import CuratedEvents
from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.repository_names import KnownNames
from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.core.statements import Payout
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import Allocation, DoubtfulEvent, PoolComponent, SelectedEvents

Row = Mapping[str, Any]


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
    """A signature under a statement: checksummed address, `0x` and 65 bytes in hex, as they are stored.

    `scheme` says of which form of the statement it is.
    """

    id: UUID
    statement_id: UUID
    signer_wallet: str
    signature: str
    signed_at: datetime
    scheme: str


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
    """A statement's numbers as they were once handed out to be signed; `chain_id` in digits, if its epoch has one."""

    epoch_id: int
    scope_id: UUID
    allocation_set_hash: str
    pool_total_credits: int
    chain_id: str | None


@dataclass(frozen=True)
class StatedNumbers:
    """What a signature of a statement covers; and which one it `supersedes`, which none does: None for the first."""

    allocation_set_hash: str
    pool_total_credits: int
    supersedes: UUID | None


@dataclass(frozen=True)
class CollectedSignature:
    """A signature of numbers that several approvers sign, for so long as no statement has them; as it is stored."""

    id: UUID
    numbers: StatedNumbers
    signer_wallet: str
    signature: str
    signed_at: datetime
    scheme: str


@dataclass(frozen=True)
class Settlement:
    """Everything a statement of an epoch follows from, as of one moment; `corrections` are of any of its statements.

    `curated` is what the allocations should follow from; `uncurated_events` are in the window, and in no row of it;
    `doubtful` are some of its events that nobody may be able to recompute, where there are any. `selected` is what a
    selection policy decides by, and decided; None where the epoch closed with none and none decided.
    `collected` are signatures of numbers of any moment, oldest first. `rows` reads all rows of that moment, while it
    lasts; `handed_out_elsewhere` then names the requests by which numbers were handed out to be signed for another
    place of the chain. `known_names` are repositories' of any moment.
    """

    status: EpochStatus
    allocations: Sequence[Allocation]
    components: Sequence[PoolComponent]
    curated: Sequence[CuratedEvents]
    uncurated_events: int
    doubtful: Sequence[DoubtfulEvent]
    selected: SelectedEvents | None
    history: StatementHistory
    corrections: Sequence[Correction]
    collected: Sequence[CollectedSignature]
    rows: Callable[[], "EpochRows"]
    known_names: Callable[[], KnownNames]
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
    """What to write: a statement with its signature and the `collected` ones; an amendment `supersedes` another."""

    allocation_set_hash: str
    pool_total_credits: int
    payouts: Sequence[Payout]
    signer_wallet: str
    signature: str
    scheme: Scheme
    approvals: Approvals
    supersedes: UUID | None = None
    inputs: InputsSignature | None = None
    collected: Sequence[UUID] = ()


@dataclass(frozen=True)
class OneOfSeveral:
    """A signature that does not put its numbers in force yet; `is_there` where its signer has signed them before."""

    numbers: StatedNumbers
    users: int
    signer_wallet: str
    signature: str
    scheme: Scheme
    approvals: Approvals
    is_there: bool


@dataclass(frozen=True)
class SameStatement:
    """A further good signature of the statement in force; `is_there` where its signer has signed that before."""

    statement: Statement
    signer_wallet: str
    signature: str
    scheme: Scheme
    approvals: Approvals
    inputs: InputsSignature | None = None
    is_there: bool = False


class Outcome(StrEnum):
    """What a finalization did: the first statement, one that supersedes it, a further signature, one of several that
    put a statement in force only together, or nothing new."""

    COLLECTED = "collected"
    STATED = "stated"
    AMENDED = "amended"
    SIGNED = "signed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Finalization:
    """The statement that a signature is under, what its finalization did, and its scheme.

    `numbers` are those signed, for so many `users`. No statement has them (None) before enough approvers have signed.
    """

    statement: Statement | None
    numbers: StatedNumbers
    users: int
    outcome: Outcome
    scheme: Scheme
    approvals: Approvals


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
    facts: Sequence[Row]
    routing: Sequence[Row]
    selection: Sequence[Row]
    co_authors: Sequence[Row]
    overrides: Sequence[Row]


# A statement to write, a signature to add to one there is or to collect, or one that is there: nothing is written.
Decide = Callable[[Settlement], SignedStatement | SameStatement | OneOfSeveral]
