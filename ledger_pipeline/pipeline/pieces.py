"""A scan read piece by piece: for callers that store what was read and move the cursors in calls of their own.

Nothing is written here. What the next call has to know travels with the caller as a ScanState. What has to be read is
decided from the store's cursors, as for a collection.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import ConfigurationError, SourceError, SourceRefused
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.facts import Observation
from ledger_pipeline.core.owners import owner_of
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.listing import list_owners
from ledger_pipeline.pipeline.planning import Planning
from ledger_pipeline.pipeline.scan_state import ScanState, begin
from ledger_pipeline.pipeline.unread import usable
from ledger_pipeline.sources.port import SCAN_OVERLAP, ActivitySource, Heads, ScanPage, ScanRequest

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# What a scan takes along from call to call.
MOST_UNREAD = 500

# A caller collects one source_scope after the other, and all that an owner has was listed with the first.
LISTING_MAX_AGE = timedelta(hours=1)

# No source has anything older, and an instant at the beginning of time leaves no room for the overlap.
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class PieceLimits:
    """When a piece is full: at `items` or `size` (bytes) it ends with its page. None is ever larger than `largest`."""

    items: int
    size: int
    largest: int


@dataclass(frozen=True)
class Piece:
    """What one call read, and the scan behind it. `retrieved_at`: the source's time at the last page, None without."""

    scan: ScanState
    events: tuple[ActivityEvent, ...] = ()
    skipped: tuple[SkippedActivity, ...] = ()
    facts: tuple[Observation, ...] = ()
    retrieved_at: datetime | None = None


def begin_scan(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    source_scope: str,
    window: EpochWindow,
    streams: Sequence[str],
    read_from: datetime,
) -> ScanState:
    """A scan that brings `window` into the ledger, complete at once where there is nothing to read.

    `read_from` can only make it read further back than the store's cursors say it has to. Owners are listed first
    where that was not done lately.
    Raises StoreError and StoreUnavailable, and SourceError where the owner of the source_scope cannot be listed, or
    has no such source_scope; a source that cannot be asked says so when it is read.
    """
    stored = store.scans.cursors(scope.scope_id, source.name)
    known_time = max((cursor.watermark for cursor in stored.values()), default=None)
    scope, source_scope = _listed(source, store, scope, source_scope, window, known_time)
    cursors = {stream: stored[stream, source_scope] for stream in streams if (stream, source_scope) in stored}
    planning = Planning(open_epochs(store, scope), source.name, tuple(streams), [window], known_time)
    # As a collection does, which asks all source_scopes at once; a single one that has news to read tells by its page.
    is_alone = sum(len(spec.source_scopes) for spec in scope.sources if spec.source == source.name) == 1
    heads = None
    if planning.plan(source_scope, cursors).coverage and planning.needs_head(source_scope, cursors, is_alone=is_alone):
        heads = _heads(source, source_scope)
    plan = planning.plan(source_scope, cursors, heads)
    at_least_from = max(read_from, _EARLIEST) - SCAN_OVERLAP
    coverage = tuple(replace(stream, floor=min(stream.floor, at_least_from)) for stream in plan.coverage)
    return begin(scope, planning, source_scope, cursors, replace(plan, coverage=coverage), heads)


def read_piece(
    source: ActivitySource,
    scan: ScanState,
    limits: PieceLimits,
    measure: Callable[[ScanPage], int],
    on_page: Callable[[ScanState], None] = lambda _: None,
    *,
    tells_paths: bool = False,
) -> Piece:
    """Go on with `scan` until the piece is full or the scan complete; `on_page` is told after each page.

    `measure` says how many bytes a page takes where the piece goes. `tells_paths` as `Scope.asks_paths` has it.
    What fails behind the first page ends the piece, and is raised by the next one if it fails still: so each piece that
    is handed out has gone on.
    Raises SourceError as `ActivitySource.scan` does, SourceRefused for a stream that is refused, ConfigurationError
    for a page that no piece can hold, and what `on_page` raises.
    """
    if scan.is_complete:
        return Piece(scan, retrieved_at=scan.saved_at)
    events: list[ActivityEvent] = []
    skipped: list[SkippedActivity] = []
    facts: list[Observation] = []
    size, pages = 0, 0
    try:
        for page in (usable(page, scan.calendar) for page in _pages(source, scan.request(tells_paths=tells_paths))):
            if pages == 0 and scan.is_stale(page.began_at):
                return read_piece(source, scan.from_the_front(), limits, measure, on_page, tells_paths=tells_paths)
            if page.refused:
                raise SourceRefused(scan.source, scan.source_scope, "; ".join(dict.fromkeys(page.refused.values())))
            if scan.is_of_another(page):
                scan = scan.anew(page)
                if pages == 0:
                    return read_piece(source, scan, limits, measure, on_page, tells_paths=tells_paths)
                break
            page_size = measure(page)
            if size + page_size > limits.largest:
                if pages == 0:
                    raise _too_large(scan, page, page_size, limits)
                break  # the next piece begins with it
            scan, pages, size = scan.after(page), pages + 1, size + page_size
            if len(scan.unread) > MOST_UNREAD:
                raise _too_many_unread(scan)
            events += page.events
            skipped += page.skipped
            facts += page.facts
            on_page(scan)
            if len(events) + len(skipped) >= limits.items or size >= limits.size:
                break
    except SourceError:
        # What was read before it is handed out: the next piece begins with what failed, and says so.
        if pages == 0:
            raise
    return Piece(scan, tuple(events), tuple(skipped), tuple(facts), scan.saved_at)


def _listed(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    source_scope: str,
    window: EpochWindow,
    known_time: datetime | None,
) -> tuple[Scope, str]:
    """The scope with all that its owners have, and the source_scope as it is spelled there."""
    listing = list_owners(source, store, scope, [window], known_time, max_age=LISTING_MAX_AGE)
    spec = listing.owners.scope.source_spec(source.name)
    spelled = [name for name in spec.source_scopes if name.casefold() == source_scope.casefold()] if spec else []
    if spelled:
        return listing.owners.scope, spelled[0]
    for ref, failure in listing.failures.items():
        if owner_of(ref) == owner_of(source_scope):
            raise failure
    raise SourceRefused(source.name, source_scope, "its owner's list does not have it, or it is left out of that")


def _pages(source: ActivitySource, request: ScanRequest) -> Iterator[ScanPage]:
    with contained(source.name, request.source_scope):
        yield from source.scan(request)


def _heads(source: ActivitySource, source_scope: str) -> Heads | None:
    try:
        with contained(source.name, source_scope):
            return source.heads([source_scope])
    except SourceError:
        return None


def _too_many_unread(scan: ScanState) -> ConfigurationError:
    return ConfigurationError(
        f"{scan.source} {scan.source_scope}: more than {MOST_UNREAD} items cannot be read, too many for a scan in "
        "pieces: have Dagster collect this epoch"
    )


def _too_large(scan: ScanState, page: ScanPage, size: int, limits: PieceLimits) -> ConfigurationError:
    return ConfigurationError(
        f"{scan.source} {scan.source_scope}: one page of {len(page.events) + len(page.skipped)} items takes {size} "
        f"bytes, and a piece holds {limits.largest}: lower GITHUB_PAGE_SIZE, or have Dagster collect this epoch"
    )
