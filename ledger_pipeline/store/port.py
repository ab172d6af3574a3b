"""The ledger in a dozen verbs: what the pipeline asks of storage, whatever the database.

Each verb is one transaction: all of it is stored or none. A store is bound to one node; scopes are arguments.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, TypeAlias
from uuid import UUID

from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.core.pool import NewPoolComponent
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

    `pins` and `closed_at` are there once it is closed, `pool_total_credits` once it is finalized.
    """

    id: int
    scope_id: UUID
    window: EpochWindow
    status: EpochStatus
    weights_milli: Mapping[str, int]
    pins: EpochPins | None = None
    closed_at: datetime | None = None
    pool_total_credits: int | None = None


class AppendOutcome(StrEnum):
    """What became of one event handed to `append_events`."""

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
    inherited from the system we join, whose coverage is unknown. `source_scope_id` is the source's own id of what was
    read, whatever its name; `source_total` its count of all items at the watermark. Both are None where unknown.
    """

    source: str
    stream: str
    source_scope: str
    watermark: datetime
    covered_from: datetime | None
    source_scope_id: str | None = None
    source_total: int | None = None


@dataclass(frozen=True)
class StreamCoverage:
    """What a scan of one stream reads, updates from `floor` on, and may then call covered, from `covered_from` on."""

    stream: str
    floor: datetime
    covered_from: datetime


@dataclass(frozen=True)
class Checkpoint:
    """Where a scan of a source_scope stands after a page that is stored, so that it can be resumed there.

    `watermark` is the scan's, `position` the source's own (`ScanPage.position`), `saved_at` the source's time when it
    answered the page.
    """

    source: str
    source_scope: str
    watermark: datetime
    coverage: tuple[StreamCoverage, ...]
    position: Mapping[str, Json]
    pages: int
    saved_at: datetime
    source_scope_id: str | None = None


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
class Receipt:
    """What one finished scan did for one window, stream and source_scope: proof that somebody looked.

    `seen` items led to events or were skipped; `first_updated_at`/`last_updated_at` span all items the scan read of
    the stream, whatever their window, None when it read none; `source_total` is the source's own count of them.
    """

    window: EpochWindow
    source: str
    stream: str
    source_scope: str
    source_scope_name: str
    covered_from: datetime
    covered_to: datetime
    pages: int
    seen: int
    skipped_by_reason: Mapping[str, int]
    first_updated_at: datetime | None
    last_updated_at: datetime | None
    source_total: int | None
    source_scope_id: str | None = None


@dataclass(frozen=True)
class WindowReceipt:
    """All receipts of one window, stream and source_scope together, with what the ledger holds for them.

    `covered_from`, `covered_to`: the union of the scans' intervals; `scans`, `pages`: their sums; `first_updated_at`,
    `last_updated_at`: over all of them; `source_total`: the latest. `kept`, `skipped_by_reason`, `rejected` and
    `set_hash` are counted from what is stored of the window, so that reading something twice counts it once.
    """

    window: EpochWindow
    source: str
    stream: str
    source_scope: str
    covered_from: datetime
    covered_to: datetime
    scans: int
    pages: int
    first_updated_at: datetime | None
    last_updated_at: datetime | None
    source_total: int | None
    kept: int
    skipped_by_reason: Mapping[str, int]
    rejected: int
    set_hash: str

    @property
    def seen(self) -> int:
        """Items of activity the window has: kept, skipped and rejected."""
        return self.kept + sum(self.skipped_by_reason.values()) + self.rejected


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


WindowStream: TypeAlias = tuple[EpochWindow, str, str, str]  # with source, stream, source_scope


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

    def open_epochs(self, scope_id: UUID) -> list[Epoch]:
        """Every epoch of the scope that is open, oldest first."""
        ...

    def close_epoch(
        self,
        epoch_id: int,
        pins: EpochPins,
        pool: NewPoolComponent | None = None,
        exclusion: Exclusion | None = None,
        collected: Collection[tuple[str, str, str]] | None = None,
    ) -> bool:
        """Move an open epoch to review with what is pinned at that moment; False where it was not open any more.

        `pool` joins its pool in the same transaction where no component of that name is there, and the items of
        `exclusion` are written down as left out. Raises StoreError, closing nothing, where one of them is not unread,
        and EpochNotReady where another item is by then whose events may be the epoch's. Of `collected` alone: each a
        source, a source_scope and a kind of item; None is all.
        """
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

    def record_skipped(self, scope_id: UUID, skipped: Sequence[SkippedActivity], retrieved_at: datetime) -> int:
        """Keep activity that counts for nobody, once however often it comes; how many were new."""
        ...

    def checkpoint(self, scope_id: UUID, source: str, source_scope: str) -> Checkpoint | None:
        """Where an unfinished scan of the source_scope stands; None when there is none."""
        ...

    def save_checkpoint(self, scope_id: UUID, checkpoint: Checkpoint) -> None:
        """Remember where a scan stands, in place of what was remembered of the source_scope before."""
        ...

    def discard_checkpoint(self, scope_id: UUID, source: str, source_scope: str) -> None:
        """Forget where a scan stood; no error when there is nothing to forget."""
        ...

    def note_unread(
        self,
        scope_id: UUID,
        source: str,
        source_scope: str,
        *,
        unread: Sequence[UnreadItem],
        settled: Sequence[ItemKey],
        tried_at: datetime,
        read_from: datetime,
    ) -> None:
        """Remember items that could not be read at `tried_at`, by a scan from `read_from` on; forget those `settled`.

        One that is in both stays, and so does a settled one that could not be read later than `tried_at`.
        """
        ...

    def forget_unread_passed(
        self, scope_id: UUID, source: str, source_scope: str, floors: Mapping[str, datetime], began_at: datetime
    ) -> None:
        """Forget items without a number that a finished scan, begun at `began_at`, did not meet again.

        `floors` says by kind from where on it has read everything.
        """
        ...

    def unread_items(self, scope_id: UUID) -> list[StoredUnread]:
        """Every item that nobody could read yet, longest untried first."""
        ...

    def left_out(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, tuple[LeftOut, ...]]:
        """What the epochs of `windows` were closed without; a window whose epoch lacks nothing is not there."""
        ...

    def receipts(self, scope_id: UUID, source: str, windows: Sequence[EpochWindow]) -> list[WindowReceipt]:
        """One per window, stream and source_scope that was ever looked at, by (window, stream, source_scope).

        All from one snapshot of the ledger.
        """
        ...

    def whole_scans(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[WindowStream, datetime]:
        """When the latest scan began that read a window in one go from its start on, by (window, source, stream,
        source_scope); what was never read so is left out, and so are scans of a repository that had the name before.
        """
        ...

    def advance_cursors(
        self,
        scope_id: UUID,
        cursors: Sequence[Cursor],
        retrieved_at: datetime,
        receipts: Sequence[Receipt] = (),
    ) -> list[Cursor]:
        """Record finished scans and return what the ledger then holds, in the order given.

        In the same transaction their `receipts` are kept and the checkpoints of their source_scopes forgotten.

        A watermark only moves forward and coverage only grows; a scan that does not touch what is covered already
        (it starts after the stored watermark) leaves the stored cursor as it is. A scan of another source_scope_id
        than the stored one, begun no earlier, takes the cursor's place: what was covered was another repository.
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

    def unsettled_rejections(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[UnsettledRejections]:
        """One per window, in the order given."""
        ...

    def events_per_type(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, dict[str, int]]:
        """How many events each window holds, by event type; a type without an event is not there."""
        ...

    def events_per_day(self, scope_id: UUID, window: EpochWindow) -> list[DayCount]:
        """By day (UTC) and event type; what is zero is not there."""
        ...

    def events_per_person(self, scope_id: UUID, window: EpochWindow) -> list[PersonCount]:
        """By person and event type."""
        ...
