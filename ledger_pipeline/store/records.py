"""What the ledger holds of collection, as records: epochs, events, counts of them, and items that could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.windows import EpochWindow


class EpochStatus(StrEnum):
    """The life of an epoch; it only moves forward, in this order."""

    OPEN = "open"
    REVIEW = "review"
    FINALIZED = "finalized"


@dataclass(frozen=True)
class Epoch:
    """One epoch of a scope as the ledger holds it; the weights are those pinned when it was created.

    `pins` and `closed_at` are there once it is closed, and `facts_set_hash` once it is closed with a selection policy,
    which decides by those facts; `pool_total_credits` once it is finalized. `opened_at` and `created_at` are there of
    what the ledger holds.
    """

    id: int
    scope_id: UUID
    window: EpochWindow
    status: EpochStatus
    weights_milli: Mapping[str, int]
    pins: EpochPins | None = None
    closed_at: datetime | None = None
    pool_total_credits: int | None = None
    facts_set_hash: str | None = None
    opened_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class EnsuredEpochs:
    """The epochs of the windows that were asked for, oldest first; `created` are the ids of those that are new."""

    epochs: list[Epoch]
    created: frozenset[int]


class AppendOutcome(StrEnum):
    """What became of one event handed to `events.append`."""

    NEW = "new"
    DUPLICATE = "duplicate"  # the very same fact is stored already
    RENAMED = "renamed"  # the same object is stored under another id: its repository had another name
    REPLACED = "replaced"  # the id is stored of another object: another repository has taken over the name
    CONFLICT = "conflict"  # the id, or the same object under another id, is stored as another fact; the first stays
    LATE = "late"  # its epoch is in review or finalized


REJECTED = frozenset({AppendOutcome.REPLACED, AppendOutcome.CONFLICT, AppendOutcome.LATE})


@dataclass(frozen=True)
class Producer:
    """Which program stated a fact, and in which version: provenance of a stored event."""

    name: str
    version: str


@dataclass(frozen=True)
class StoredEvent:
    """A row of `activity_events`; times aware, UTC."""

    node_id: UUID
    scope_id: UUID
    id: str
    source: str
    event_type: str
    platform_user_id: str
    platform_login: str
    artifact_url: str
    metadata: Mapping[str, Json]
    payload_hash: str
    source_object_id: str | None
    producer: str
    producer_version: str
    event_time: datetime
    retrieved_at: datetime
    ingested_at: datetime


@dataclass(frozen=True)
class PinnedFacts:
    """What a source said of an event, as JSON (`core.facts`), with its hash: the observation that counts."""

    event_id: str
    event_type: str
    facts_hash: str
    facts: Mapping[str, Json]


@dataclass(frozen=True)
class EventWithoutFacts:
    """An event of `window` that nothing was observed of: of which item of which source_scope, where its row says so."""

    event_id: str
    event_type: str
    source_object_id: str | None
    source_scope: str | None
    number: int | None
    window: EpochWindow


@dataclass(frozen=True)
class FactsCount:
    """How many events of a window have facts, and of how many the source has no more what they are of."""

    known: int = 0
    gone: int = 0


@dataclass(frozen=True)
class StoredFacts:
    """A row of `event_facts`: observed by the source's time, recorded by the database's."""

    scope_id: UUID
    event_id: str
    facts_hash: str
    facts: Mapping[str, Json]
    observed_at: datetime
    recorded_at: datetime
    producer: str
    producer_version: str


@dataclass(frozen=True)
class RejectedEvent:
    """An event the ledger refused, kept with the reason so that a person can act on it."""

    event_id: str
    event_type: str
    reason: AppendOutcome
    platform_login: str
    artifact_url: str
    payload_hash: str
    event_time: datetime
    rejected_at: datetime


@dataclass(frozen=True)
class StoredUnread:
    """An item that nobody could read since it was first met, and when that was last tried; by the source's time.

    `read_from` is there where its number is 0: the source updated it at that instant or later.
    """

    source: str
    source_scope: str
    item: UnreadItem
    since: datetime
    last_tried_at: datetime
    read_from: datetime | None = None


@dataclass(frozen=True)
class Exclusion:
    """What a person decides: an epoch closes without these items, for `reason`."""

    rows: tuple[StoredUnread, ...]
    actor: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """An item that an epoch was closed without: why it could not be read, since when, who decided so, why and when."""

    source: str
    source_scope: str
    key: ItemKey
    unread_reason: str
    unread_since: datetime
    actor: str
    reason: str
    left_out_at: datetime


@dataclass(frozen=True)
class WindowDigest:
    """What the ledger holds for one window: events by type, their set hash, and rejected events by reason."""

    window: EpochWindow
    events_by_type: Mapping[str, int]
    set_hash: str
    rejected_by_reason: Mapping[str, int]

    @property
    def events(self) -> int:
        """How many events the window holds."""
        return sum(self.events_by_type.values())


@dataclass(frozen=True)
class DayCount:
    """How many events of one type one day (UTC) of a window has."""

    day: date
    event_type: str
    events: int


@dataclass(frozen=True)
class PersonCount:
    """How many events of one type one person has in a window; `login` as of the last of them."""

    source: str
    user_id: str
    login: str
    event_type: str
    events: int
    last_event_at: datetime


@dataclass(frozen=True)
class UnsettledRejections:
    """Rejected events of a window that came after its last payout statement: by reason, and the first few of each."""

    window: EpochWindow
    by_reason: Mapping[AppendOutcome, int]
    first: tuple[RejectedEvent, ...]

    @property
    def events(self) -> int:
        """How many they are."""
        return sum(self.by_reason.values())
