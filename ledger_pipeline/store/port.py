"""The ledger in a dozen verbs: what the pipeline asks of storage, whatever the database.

Each verb is one transaction: all of it is stored or none. A store is bound to one node; scopes are arguments.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.windows import EpochWindow


class EpochStatus(StrEnum):
    """The life of an epoch; it only moves forward, in this order."""

    OPEN = "open"
    REVIEW = "review"
    FINALIZED = "finalized"


@dataclass(frozen=True)
class Epoch:
    """One epoch of a scope as the ledger holds it; the weights are those pinned when it was created."""

    id: int
    scope_id: UUID
    window: EpochWindow
    status: EpochStatus
    weights_milli: Mapping[str, int]


class AppendOutcome(StrEnum):
    """What became of one event handed to `append_events`."""

    NEW = "new"
    DUPLICATE = "duplicate"  # the very same fact is stored already
    RENAMED = "renamed"  # the same object is stored under another id: its repository had another name
    CONFLICT = "conflict"  # the id is stored with another payload hash; the first fact stays
    LATE = "late"  # its epoch is in review or finalized


REJECTED = frozenset({AppendOutcome.CONFLICT, AppendOutcome.LATE})


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
class Cursor:
    """How much of one stream of one source_scope is in the ledger.

    Everything the source updated in `[covered_from, watermark]` is stored. `covered_from` is None for a cursor
    inherited from the system we join, whose coverage is unknown.
    """

    source: str
    stream: str
    source_scope: str
    watermark: datetime
    covered_from: datetime | None


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


class LedgerStore(Protocol):
    """What every ledger promises; `PostgresLedger` is the one in use. All raise StoreUnavailable when down."""

    node_id: UUID

    def check_migrated(self) -> None:
        """Return if the database is at this code's migration. Raises LedgerNotMigrated otherwise."""
        ...

    def ensure_epochs(
        self, scope_id: UUID, windows: Sequence[EpochWindow], weights_milli: Mapping[str, int]
    ) -> list[Epoch]:
        """The epochs of exactly `windows`, oldest first; missing ones are created open with these weights.

        Raises EpochOverlap, creating none, when a window overlaps an epoch with other bounds.
        """
        ...

    def epochs(self, scope_id: UUID, within: EpochWindow) -> list[Epoch]:
        """Epochs that overlap `within`, oldest first."""
        ...

    def append_events(
        self, scope_id: UUID, events: Sequence[ActivityEvent], producer: Producer, retrieved_at: datetime
    ) -> dict[str, AppendOutcome]:
        """Store what is new and say, by event id, what became of each. Safe to repeat.

        Rejected events (REJECTED) are kept aside with their reason, once however often they come.
        """
        ...

    def cursors(self, scope_id: UUID, source: str) -> dict[tuple[str, str], Cursor]:
        """The cursors of a source, by (stream, source_scope)."""
        ...

    def advance_cursors(self, scope_id: UUID, cursors: Sequence[Cursor], retrieved_at: datetime) -> list[Cursor]:
        """Record finished scans and return what the ledger then holds, in the order given.

        A watermark only moves forward and coverage only grows; a scan that does not touch what is covered already
        (it starts after the stored watermark) leaves the stored cursor as it is.
        """
        ...

    def events(self, scope_id: UUID, within: EpochWindow) -> Iterator[StoredEvent]:
        """Events whose time lies in `within`, by (event_time, id), streamed: memory does not grow with them."""
        ...

    def digests(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[WindowDigest]:
        """One digest per window, in the order given, all from one snapshot of the ledger."""
        ...

    def rejected(self, scope_id: UUID, within: EpochWindow) -> list[RejectedEvent]:
        """Events refused whose time lies in `within`, by (event_time, id)."""
        ...
