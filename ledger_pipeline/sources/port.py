"""What a source owes the pipeline: scans of one source_scope, page by page, that leave no hole.

A scan reads everything the source updated since a floor, whatever the time of the events it leads to, and states
the moment it began by the source's own clock (the watermark). When its last page is stored, everything updated
between the floor and the watermark is in the ledger; interrupted before, it is resumed where it stood or repeated:
event ids make that harmless.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.core.unread import ItemKey as ItemKey
from ledger_pipeline.core.unread import UnreadItem as UnreadItem
from ledger_pipeline.core.windows import EpochWindow

# A source may show an update a little after the time it gives it: each scan reads back over the last minutes of
# the one before. Ids make reading twice harmless.
SCAN_OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True)
class ScanRequest:
    """What to read of `source_scope`: for each stream, everything updated at or after its floor (aware, UTC).

    `position` is where an interrupted scan of the same floors stood (ScanPage.position), None to begin. `unread` are
    items with a number that an earlier scan could not read, to be asked for again, for all of `streams` whatever the
    floors, which may be empty then. Each comes back in the first pages, in `settled` or `unread`; also where `position`
    is given. `known` are all items that earlier scans could not read, also those that are not asked for this time: they
    show no outage, and no failure is waited for on their account. Without `tells_facts` nothing is asked for that only
    tells facts, which costs points; with `tells_paths` facts say which paths a pull request changes, which costs more.
    """

    source_scope: str
    floors: Mapping[str, datetime]
    position: Mapping[str, Json] | None = None
    unread: tuple[ItemKey, ...] = ()
    streams: tuple[str, ...] = ()
    known: frozenset[ItemKey] = frozenset()
    tells_facts: bool = True
    tells_paths: bool = False


@dataclass(frozen=True)
class RequestUsage:
    """What a page cost: HTTP requests, points of the source's budget, and what the source said is left of it.

    Where nothing is said, it is one request to a source that counts no points.
    """

    requests: int = 1
    points: int = 0
    points_left: int | None = None


@dataclass(frozen=True)
class UpdateSpan:
    """The oldest and newest update among items read, and the source's own total of such items where it says one."""

    oldest: datetime
    newest: datetime
    source_total: int | None


@dataclass(frozen=True)
class ScanPage:
    """One page of a scan; a source says those fields without a default, and of the others what it knows.

    `source_scope_name` is the source_scope as the source spells it now (a renamed repository answers under its old
    name). `began_at` is the source's time when it answered the first page of this call of `scan`: of a scan that is
    not resumed, the watermark. `retrieved_at` is its time when it answered this page. `updates` has the streams that
    this page held items of. `reached` is how far back everything has been read, for progress only.
    `position` resumes the scan behind this page; None on the last one.
    `source_scope_id` is the source's own id of what answered, which a name may change hands without; None where it
    tells none. `totals` are the source's counts of all items, by stream that it counts and this page was asked for;
    `newer` counts the items of this page that were made since the floor. `unread` are the items of this page that
    cannot be read, with whatever events of theirs can; `settled` are those of the request's `unread` that this page has
    read whole, or that the source has no more.
    `refused` are streams asked for that the source does not give to these credentials, each with what to do about it
    (plain text of at most 300 characters): from this page on the scan has nothing of them, and covers nothing of them.
    `facts` are what the source says beside the events of this page at `retrieved_at`, one observation of each.
    `read_again` are streams that this page reads from the front although pages before it, of another call maybe, had
    items of them: those come once more.
    """

    source_scope_name: str
    events: tuple[ActivityEvent, ...]
    began_at: datetime
    retrieved_at: datetime
    position: Mapping[str, Json] | None
    skipped: tuple[SkippedActivity, ...] = ()
    updates: Mapping[str, UpdateSpan] = field(default_factory=dict)
    reached: datetime | None = None
    usage: RequestUsage = RequestUsage()
    source_scope_id: str | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    newer: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[UnreadItem, ...] = ()
    settled: tuple[ItemKey, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[Observation, ...] = ()
    read_again: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Head:
    """The newest update of each stream of a source_scope (None: it has no items), and how many items it has.

    `source_scope_id` is as a page of a scan has it.
    """

    newest: Mapping[str, datetime | None]
    totals: Mapping[str, int] = field(default_factory=dict)
    source_scope_id: str | None = None


@dataclass(frozen=True)
class Heads:
    """Heads of many source_scopes, asked at once at `began_at` (the source's time); one it lacks is left out."""

    heads: Mapping[str, Head]
    began_at: datetime
    usage: RequestUsage = RequestUsage()


@dataclass(frozen=True)
class OwnedSourceScopes:
    """All that an owner has, as the source shows it to these credentials since `began_at` (the source's time)."""

    source_scopes: tuple[ListedSourceScope, ...]
    began_at: datetime
    usage: RequestUsage = RequestUsage()


@dataclass(frozen=True)
class ItemFacts:
    """What a source says now of one item's events, by ids of the source_scope as it was asked for.

    `object_ids` are the source's own of those events that are events still. `problem` is why not all of it could be
    read; without one, an event that nothing is observed of is gone, as all of an item that `is_gone` are.
    """

    key: ItemKey
    observations: tuple[Observation, ...] = ()
    object_ids: Mapping[str, str] = field(default_factory=dict)
    is_gone: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class FactsPage:
    """Some of the items that were asked for, as the source had them at `answered_at`.

    `source_scope_id` is as a page of a scan has it.
    """

    items: tuple[ItemFacts, ...]
    answered_at: datetime
    usage: RequestUsage = RequestUsage()
    source_scope_id: str | None = None


class ActivitySource(Protocol):
    """A system that activity comes from. Safe to use from several threads.

    What not every source can do is a protocol of its own: TellsFacts, CountsEvents, ListsOwners.
    """

    name: str
    producer: str
    producer_version: str
    streams: tuple[str, ...]
    page_size: int

    def heads(self, source_scopes: Sequence[str]) -> Heads:
        """What changed last in each of `source_scopes`, in as few requests as there can be.

        Raises SourceUnavailable or SourceRefused when the question as a whole fails, never for one source_scope.
        """
        ...

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        """Read `request` to its end, newest first, one page in memory at a time; yields at least one page.

        Raises SourceUnavailable when the source may answer later, SourceRefused when it will not, or refuses every
        stream.
        """
        ...


@runtime_checkable
class TellsFacts(Protocol):
    """What a source is besides that says more of its events than their rows do."""

    def facts_of(self, source_scope: str, keys: Sequence[ItemKey], *, tells_paths: bool = False) -> Iterator[FactsPage]:
        """What is to be said of these items' events, in few requests; each item once, whatever is wrong with another.

        `tells_paths` as a scan is asked for. Raises as `ActivitySource.scan` does.
        """
        ...


@runtime_checkable
class CountsEvents(Protocol):
    """What a source is besides that has an index of its own of when its events were."""

    def count_events(
        self, source_scope: str, windows: Sequence[EpochWindow]
    ) -> Mapping[EpochWindow, Mapping[str, int]]:
        """How many events the source's own index has in each of `windows`, by stream; only of streams it can count.

        In far fewer requests than there are windows. Raises as `ActivitySource.scan` does.
        """
        ...


class ListsOwners(Protocol):
    """What a source is besides whose entry in `core/sources.py` has an `owner_ref`."""

    def list_owner(self, owner_ref: str) -> OwnedSourceScopes:
        """What `owner_ref` (`acme/*`) stands for: at least one source_scope, and every one made before `began_at`.

        Raises SourceUnavailable or SourceRefused, also where the owner has nothing.
        """
        ...
