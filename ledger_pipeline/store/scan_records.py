"""What the ledger holds of scans, as records: cursors, checkpoints, receipts, and all that one page adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.records import Producer

WindowStream: TypeAlias = tuple[EpochWindow, str, str, str]  # with source, stream, source_scope


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
    """Where a scan of a source_scope stands behind a page that is stored, so that it can go on there.

    `state` is the scan's own (`pipeline.scan_codec`); `watermark` is the scan's, and `saved_at` the source's time when
    it answered the page.
    """

    source: str
    source_scope: str
    watermark: datetime
    saved_at: datetime
    state: Mapping[str, Json]


@dataclass(frozen=True)
class PageContent:
    """All that one page of a scan adds to the ledger, in one transaction.

    `unread` are items that could not be read at `retrieved_at` by a scan from `read_from` on, `settled` those that are
    no longer unread. `facts` are of `events`, whether those are new or not. `checkpoint` takes the place of the
    source_scope's last one; None leaves that as it is.
    """

    source: str
    source_scope: str
    producer: Producer
    retrieved_at: datetime
    events: Sequence[ActivityEvent] = ()
    skipped: Sequence[SkippedActivity] = ()
    unread: Sequence[UnreadItem] = ()
    settled: Sequence[ItemKey] = ()
    read_from: datetime | None = None
    checkpoint: Checkpoint | None = None
    facts: Sequence[Observation] = ()


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
class Listed:
    """A source_scope as it was last listed; `found_archived` where it was archived when it was first listed.

    `names` are those of before, by which its owner had the same one.
    """

    source_scope: ListedSourceScope
    found_archived: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnerListing:
    """All that an owner had at `listed_at`, by the source's clock; `gone` are names that only earlier listings had."""

    listed_at: datetime
    listed: tuple[Listed, ...]
    gone: tuple[str, ...] = ()
