"""A scan read piece by piece: for callers that store what was read and move the cursors in calls of their own.

Nothing is written here. What the next call has to know travels with the caller as a PiecewiseScan: where the scan
stands, and all that its end will say. What has to be read is decided from the store's cursors, as for a collection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.errors import ConfigurationError, SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.unread import ItemKey, UnreadItem, one_by_key
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.coverage import (
    CHECKPOINT_LIFETIME,
    SCAN_OVERLAP,
    counted_with,
    is_unchanged,
    reading_from,
)
from ledger_pipeline.pipeline.finish import FinishedScan, Sighting, joined
from ledger_pipeline.pipeline.planning import Planning
from ledger_pipeline.pipeline.unread import usable
from ledger_pipeline.sources.port import ActivitySource, Heads, ScanPage, ScanRequest, UpdateSpan
from ledger_pipeline.store.records import Cursor, StreamCoverage

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# What a scan takes along from call to call.
MOST_UNREAD = 500

# No source has anything older, and an instant at the beginning of time leaves no room for the overlap.
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class PiecewiseScan:
    """One scan of a source_scope for one window, between two calls.

    `streams` are those asked for, `coverage` has those of them that have to be read: none where all is covered.
    `watermark` is None until the first page; `position` is where to go on; `saved_at` is the source's time at the last
    page. `is_complete` once every page was handed out. `elsewhere` is what it met of other epochs that it covers.
    `source_scope_id` is the id of what is read; `totals` what the source counted when the scan began, and `accounted`
    how many items the cursors and the pages so far know of. Nobody knows that once it `began_again` from the front: its
    end then says no totals, so that the next scan compares with those of before. `back_to` is from where it reads where
    the source has more than that, or is another one; None once it does.
    `to_ask` are items that could not be read before and are still to be asked for, for all that the scope collects,
    `collected`; `unread` and `settled` are what the pages so far said of items that cannot be read.
    """

    scope_id: UUID
    source: str
    source_scope: str
    window: EpochWindow
    streams: tuple[str, ...]
    coverage: tuple[StreamCoverage, ...]
    is_complete: bool = False
    watermark: datetime | None = None
    position: Mapping[str, Json] | None = None
    saved_at: datetime | None = None
    source_scope_name: str | None = None
    pages: int = 0
    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    updates: Mapping[str, UpdateSpan] = field(default_factory=dict)
    elsewhere: Mapping[EpochWindow, Mapping[str, Sighting]] = field(default_factory=dict)
    source_scope_id: str | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    accounted: Mapping[str, int] = field(default_factory=dict)
    back_to: datetime | None = None
    collected: tuple[str, ...] = ()
    to_ask: tuple[ItemKey, ...] = ()
    unread: tuple[UnreadItem, ...] = ()
    settled: tuple[ItemKey, ...] = ()
    began_again: bool = False

    @property
    def calendar(self) -> EpochCalendar:
        """The epochs that its window is one of."""
        return EpochCalendar((self.window.end - self.window.start).days)

    def is_stale(self, page: ScanPage) -> bool:
        """Whether so long ago that the position `page` was read from is not to be trusted any more."""
        return self.saved_at is not None and page.began_at - self.saved_at > CHECKPOINT_LIFETIME

    def from_the_front(self) -> "PiecewiseScan":
        """The same scan, nothing of it read."""
        return replace(
            self.once_more(self.coverage),
            pages=0,
            sightings={},
            updates={},
            elsewhere={},
            accounted={},
            began_again=True,
        )

    def is_of_another(self, page: ScanPage) -> bool:
        """Whether `page` is of another repository than was read or covered so far, under the same name."""
        return None not in (self.source_scope_id, page.source_scope_id) and self.source_scope_id != page.source_scope_id

    def anew(self, page: ScanPage) -> "PiecewiseScan":
        """The scan of the repository that `page` is of. Raises SourceUnavailable when it has begun anew before."""
        if self.back_to is None:
            problem = "its name passes from one repository to another while it is read: try again later"
            raise SourceUnavailable(self.source, self.source_scope, problem)
        again = self.once_more(reading_from(self.streams, self.back_to))
        return replace(again, source_scope_id=page.source_scope_id, accounted={}, back_to=None, began_again=False)

    def explained(self) -> "PiecewiseScan":
        """The scan itself, or once complete the one that reads back, where more has come back than it accounts for."""
        grown = any(total > self.accounted.get(stream, total) for stream, total in self.totals.items())
        if not self.is_complete or not grown or self.back_to is None:
            return self
        start = min([self.back_to, *(part.covered_from for part in self.coverage)])
        again = self.once_more(reading_from(self.streams, start))
        # It comes by all that was met so far once more, and no receipt counts that twice.
        return replace(again, sightings={}, updates={}, elsewhere={}, accounted={}, back_to=None)

    def once_more(self, coverage: tuple[StreamCoverage, ...]) -> "PiecewiseScan":
        """A further round that reads `coverage`; what was met so far is kept."""
        return replace(
            self, coverage=coverage, is_complete=False, watermark=None, position=None, saved_at=None, totals={}
        )

    def after(self, page: ScanPage) -> "PiecewiseScan":
        """Where the scan stands behind `page`."""
        unread = one_by_key([*(item for item in self.unread if item.key not in page.settled), *page.unread])
        answered = {*page.settled, *(item.key for item in page.unread)}
        return replace(
            self,
            is_complete=page.position is None,
            watermark=self.watermark or page.began_at,
            position=page.position,
            saved_at=page.retrieved_at,
            source_scope_name=page.source_scope_name,
            pages=self.pages + 1,
            sightings=_sightings_with(self.sightings, self.window, page),
            updates=joined(self.updates, page.updates),
            elsewhere=self._elsewhere_with(page),
            source_scope_id=page.source_scope_id or self.source_scope_id,
            totals={**page.totals, **self.totals},
            accounted={stream: known + page.newer.get(stream, 0) for stream, known in self.accounted.items()},
            to_ask=tuple(key for key in self.to_ask if key not in answered),
            unread=tuple(unread),
            settled=tuple(sorted({*self.settled, *page.settled} - {item.key for item in unread})),
        )

    def _elsewhere_with(self, page: ScanPage) -> Mapping[EpochWindow, Mapping[str, Sighting]]:
        start = min((part.covered_from for part in self.coverage), default=page.began_at)
        windows = {self.calendar.window_at(item.event_time) for item in _items(page)} - {self.window}
        met = {window: self.elsewhere.get(window, {}) for window in sorted(windows) if window.end > start}
        return {**self.elsewhere, **{window: _sightings_with(of, window, page) for window, of in met.items()}}

    def finished(self, stream: str) -> FinishedScan | None:
        """What a complete scan says of `stream`; None where it was covered before, and nothing is to be said."""
        coverage = [part for part in self.coverage if part.stream == stream]
        if not self.is_complete or self.watermark is None or not coverage:
            return None
        return FinishedScan(
            source=self.source,
            source_scope=self.source_scope,
            source_scope_name=self.source_scope_name,
            watermark=self.watermark,
            coverage=coverage,
            calendar=self.calendar,
            pages=self.pages,
            sightings={
                (window, seen): sighting
                for window, met in {**self.elsewhere, self.window: self.sightings}.items()
                for seen, sighting in met.items()
            },
            updates=self.updates,
            source_scope_id=self.source_scope_id,
            totals={} if self.began_again else self.totals,
        )


@dataclass(frozen=True)
class PieceLimits:
    """When a piece is full: at `items` or `size` (bytes) it ends with its page. None is ever larger than `largest`."""

    items: int
    size: int
    largest: int


@dataclass(frozen=True)
class Piece:
    """What one call read, and the scan behind it. `retrieved_at`: the source's time at the last page, None without."""

    scan: PiecewiseScan
    events: tuple[ActivityEvent, ...] = ()
    skipped: tuple[SkippedActivity, ...] = ()
    retrieved_at: datetime | None = None


def begin_scan(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    source_scope: str,
    window: EpochWindow,
    streams: Sequence[str],
    read_from: datetime,
) -> PiecewiseScan:
    """A scan that brings `window` into the ledger, complete at once where there is nothing to read.

    `read_from` can only make it read further back than the store's cursors say it has to.
    Raises StoreError and StoreUnavailable; a source that cannot be asked says so when it is read.
    """
    stored = store.cursors(scope.scope_id, source.name)
    cursors = {stream: stored[stream, source_scope] for stream in streams if (stream, source_scope) in stored}
    known_time = max((cursor.watermark for cursor in stored.values()), default=None)
    planning = Planning(open_epochs(store, scope), source.name, tuple(streams), [window], known_time)
    # As a collection does, which asks all source_scopes at once; a single one that has news to read tells by its page.
    is_alone = sum(len(spec.source_scopes) for spec in scope.sources if spec.source == source.name) == 1
    heads = None
    if planning.plan(source_scope, cursors).coverage and planning.needs_head(source_scope, cursors, is_alone=is_alone):
        heads = _heads(source, source_scope)
    plan = planning.plan(source_scope, cursors, heads)
    head = heads.heads.get(source_scope) if heads else None
    at_least_from = max(read_from, _EARLIEST) - SCAN_OVERLAP
    known_ids = {cursor.source_scope_id for cursor in cursors.values()} - {None}
    scan = PiecewiseScan(
        scope.scope_id,
        source.name,
        source_scope,
        window,
        tuple(streams),
        tuple(replace(part, floor=min(part.floor, at_least_from)) for part in plan.coverage),
        source_scope_id=head.source_scope_id if head else max(known_ids, default=None),  # type: ignore[type-var]
        accounted={} if plan.replaced or plan.reads_back else _totals(cursors),
        back_to=None if plan.replaced or plan.reads_back else planning.back_to,
        collected=next(spec.streams for spec in scope.sources if spec.source == source.name),
        to_ask=planning.opened.unread.to_ask(source.name, source_scope),
    )
    if not plan.coverage and not scan.to_ask:
        return replace(scan, is_complete=True)
    if scan.to_ask or heads is None or head is None or not is_unchanged(head, scan.coverage):
        return scan
    return replace(scan, is_complete=True, watermark=heads.began_at, saved_at=heads.began_at, totals=dict(head.totals))


def read_piece(
    source: ActivitySource,
    scan: PiecewiseScan,
    limits: PieceLimits,
    measure: Callable[[ScanPage], int],
    on_page: Callable[[PiecewiseScan], None] = lambda _: None,
) -> Piece:
    """Go on with `scan` until the piece is full or the scan complete; `on_page` is told after each page.

    `measure` says how many bytes a page takes where the piece goes.
    What fails behind the first page ends the piece, and is raised by the next one if it fails still: so each piece that
    is handed out has gone on.
    Raises SourceError as `ActivitySource.scan` does, SourceRefused for a stream that is refused, ConfigurationError
    for a page that no piece can hold, and what `on_page` raises.
    """
    if scan.is_complete:
        return Piece(scan, retrieved_at=scan.saved_at)
    events: list[ActivityEvent] = []
    skipped: list[SkippedActivity] = []
    size, pages = 0, 0
    floors = {part.stream: part.floor for part in scan.coverage}
    known = frozenset(item.key for item in scan.unread)
    request = ScanRequest(scan.source_scope, floors, scan.position, scan.to_ask, scan.collected, known)
    try:
        for page in (usable(page, scan.calendar) for page in _pages(source, request)):
            if pages == 0 and scan.is_stale(page):
                return read_piece(source, scan.from_the_front(), limits, measure, on_page)
            if page.refused:
                raise SourceRefused(scan.source, scan.source_scope, "; ".join(dict.fromkeys(page.refused.values())))
            if scan.is_of_another(page):
                scan = scan.anew(page)
                if pages == 0:
                    return read_piece(source, scan, limits, measure, on_page)
                break
            page_size = measure(page)
            if size + page_size > limits.largest:
                if pages == 0:
                    raise _too_large(scan, page, page_size, limits)
                break  # the next piece begins with it
            scan, pages, size = scan.after(page).explained(), pages + 1, size + page_size
            if len(scan.unread) > MOST_UNREAD:
                raise _too_many_unread(scan)
            events += page.events
            skipped += page.skipped
            on_page(scan)
            if len(events) + len(skipped) >= limits.items or size >= limits.size:
                break
    except SourceError:
        # What was read before it is handed out: the next piece begins with what failed, and says so.
        if pages == 0:
            raise
    return Piece(scan, tuple(events), tuple(skipped), scan.saved_at)


def _sightings_with(met: Mapping[str, Sighting], window: EpochWindow, page: ScanPage) -> Mapping[str, Sighting]:
    seen = {stream: sighting.seen for stream, sighting in met.items()}
    skipped = {stream: dict(sighting.skipped_by_reason) for stream, sighting in met.items()}
    for item in _items(page):
        if item.event_time in window:
            seen[item.stream] = seen.get(item.stream, 0) + 1
            if isinstance(item, SkippedActivity):
                reasons = skipped.setdefault(item.stream, {})
                reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return {stream: Sighting(count, skipped.get(stream, {})) for stream, count in seen.items()}


def _items(page: ScanPage) -> Sequence[ActivityEvent | SkippedActivity]:
    return (*page.events, *page.skipped)


def _pages(source: ActivitySource, request: ScanRequest) -> Iterator[ScanPage]:
    with contained(source.name, request.source_scope):
        yield from source.scan(request)


def _heads(source: ActivitySource, source_scope: str) -> Heads | None:
    try:
        with contained(source.name, source_scope):
            return source.heads([source_scope])
    except SourceError:
        return None


def _totals(cursors: Mapping[str, Cursor]) -> dict[str, int]:
    """What the source counted when the cursors were last moved, the least where streams differ."""
    totals: dict[str, int] = {}
    for stream, cursor in cursors.items():
        if cursor.source_total is not None:
            counted = counted_with(stream)
            totals[counted] = min(totals.get(counted, cursor.source_total), cursor.source_total)
    return totals


def _too_many_unread(scan: PiecewiseScan) -> ConfigurationError:
    return ConfigurationError(
        f"{scan.source} {scan.source_scope}: more than {MOST_UNREAD} items cannot be read, too many for a scan in "
        "pieces: have Dagster collect this epoch"
    )


def _too_large(scan: PiecewiseScan, page: ScanPage, size: int, limits: PieceLimits) -> ConfigurationError:
    return ConfigurationError(
        f"{scan.source} {scan.source_scope}: one page of {len(page.events) + len(page.skipped)} items takes {size} "
        f"bytes, and a piece holds {limits.largest}: lower GITHUB_PAGE_SIZE, or have Dagster collect this epoch"
    )
