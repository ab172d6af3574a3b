"""What the ledger holds of distributions and payout wallets, as records. Amounts are in a token's smallest unit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger_pipeline.store.statement_records import StatementHistory


@dataclass(frozen=True)
class NewWallets:
    """Wallets by claimants' keys, that an approver signed for, as the `number`-th of the node; `reason` says why."""

    number: int
    wallets: Mapping[str, str]
    reason: str
    approver: str
    approver_signature: str


@dataclass(frozen=True)
class StoredWallets(NewWallets):
    """Such a list as the ledger holds it: whoever may write may have made it up. `recorded_at` is aware, UTC."""

    actor: str
    recorded_at: datetime


@dataclass(frozen=True)
class DistributedLine:
    """One claimant's line of an epoch's statement, as a distribution pays it; `event_ids` in code-point order."""

    epoch_id: int
    claimant_key: str
    credits: int
    amount: int
    account: str
    event_ids: Sequence[str]


@dataclass(frozen=True)
class DistributedEpoch:
    """An epoch that a distribution pays lines of: by which statement, and what all of its lines get together."""

    epoch_id: int
    statement_id: UUID
    amount: int


@dataclass(frozen=True)
class NewDistribution:
    """What to write: its own `number` of the node's, what it pays, and what its manifest gives."""

    number: int
    scope_id: UUID
    chain_id: int
    token_address: str
    amount: int
    statement_hash: str
    merkle_root: str
    manifest_hash: str
    epochs: Sequence[DistributedEpoch]
    lines: Sequence[DistributedLine]


@dataclass(frozen=True)
class DistributionSetAside:
    """The owner took a distribution out that nobody will pay; the instant is aware, UTC."""

    reason: str
    actor: str
    set_aside_at: datetime


@dataclass(frozen=True)
class StoredDistribution(NewDistribution):
    """A distribution as the ledger holds it, by whom and when; `made_at` is aware, UTC."""

    actor: str
    made_at: datetime
    set_aside: DistributionSetAside | None


@dataclass(frozen=True)
class DistributionSignature:
    """A signature of a distribution as the ledger holds it: whoever may write may have made it up."""

    signer_wallet: str
    signature: str


@dataclass(frozen=True)
class DistributedSoFar:
    """What a further distribution follows from, while nobody else makes one.

    `number` is the next; `histories` are by epoch's id; `distributions` are those of its epochs, but those set aside,
    first to last; `event_ids` are of each epoch and claimant's key.
    """

    number: int
    histories: Mapping[int, StatementHistory]
    distributions: Sequence[StoredDistribution]
    event_ids: Mapping[tuple[int, str], Sequence[str]]


# What to write; None where there is nothing that is not distributed.
DecideDistribution = Callable[[DistributedSoFar], NewDistribution | None]
