"""How far an epoch window is read, of every stream of every source_scope that its scope collects.

Cursors tell, and the items that could not be read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.pins import pinned_source_refs
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.unread import item_name
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.owners import keys_of, known_owners
from ledger_pipeline.pipeline.unread import known_unread
from ledger_pipeline.store.records import EpochStatus, LeftOut, StoredUnread
from ledger_pipeline.store.scan_records import Cursor

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# A daily collection, and two hours for it to be late.
RUNNING_EPOCH_MAX_AGE = timedelta(hours=26)


# In place of a stream: what an owner has is known up to when that was last listed.
LISTING = "listing"


@dataclass(frozen=True)
class StreamReach:
    """One stream of one source_scope: read without a gap from the window's start, or before, up to `until`.

    None where the window's start is not read.
    """

    source_scope: str
    stream: str
    until: datetime | None

    def __str__(self) -> str:
        read = "not read" if self.until is None else f"read to {utc_text(self.until)}"
        return f"{self.source_scope} {self.stream} {read}"


@dataclass(frozen=True)
class Completeness:
    """A window, how far each of its parts is read, and the items whose events it may lack. At least one part.

    `left_out` are the items that its epoch was closed without.
    """

    window: EpochWindow
    parts: tuple[StreamReach, ...]
    unread: tuple[StoredUnread, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def until(self) -> datetime | None:
        """Up to when all parts are read; None where one is not at all."""
        marks = [reach.until for reach in self.parts if reach.until is not None]
        return min(marks) if len(marks) == len(self.parts) else None

    @property
    def is_complete(self) -> bool:
        """Whether every part is read until the source shows all of the window, and no item is missing."""
        return self.is_read_to_its_end and not self.unread

    @property
    def is_read_to_its_end(self) -> bool:
        """Whether every part is read until the source shows all of the window, but for items that cannot be read."""
        return self.until is not None and self.until >= shown_whole_at(self.window)

    def missing(self, now: datetime) -> tuple[StreamReach, ...]:
        """Parts that should be read further by `now`: a window that is over whole, a running one to a day ago."""
        whole = shown_whole_at(self.window)
        wanted = whole if now >= whole else now - RUNNING_EPOCH_MAX_AGE
        return tuple(reach for reach in self.parts if reach.until is None or reach.until < wanted)

    def state(self, now: datetime) -> str:
        """What a person reads first: `complete`, `running: collected up to ..`, or `incomplete: ..` once it is over."""
        if self.is_complete:
            names = ", ".join(item_name(item.source_scope, item.key) for item in self.left_out)
            return f"complete: closed without {names}" if names else "complete"
        unread = f"{counted(len(self.unread), 'item')} cannot be read"
        if self.is_read_to_its_end:
            return f"incomplete: {unread}"
        until = "not collected from every source_scope yet"
        if self.until is not None:
            until = f"collected up to {utc_text(self.until)}"
        if self.unread:
            until = f"{until}, and {unread}"
        return f"running: {until}" if now < shown_whole_at(self.window) else f"incomplete: over, but {until}"


def window_completeness(
    store: "PostgresLedger", scope: Scope, windows: Iterable[EpochWindow]
) -> dict[EpochWindow, Completeness]:
    """How far each of `windows` is read. A closed epoch lacks no item: it was read whole, or somebody decided."""
    windows = list(windows)
    owners = known_owners(store, scope)
    scope = owners.scope
    listings = [
        StreamReach(ref, LISTING, owners.listed_at.get((source, ref)))
        for spec in scope.sources
        for source, ref in keys_of(spec)
    ]
    streams: list[tuple[str, str, Cursor | None]] = []
    for spec in scope.sources:
        cursors = store.scans.cursors(scope.scope_id, spec.source)
        for source_scope in spec.source_scopes:
            streams += [(source_scope, stream, cursors.get((stream, source_scope))) for stream in spec.streams]
    # Asked after the cursors: whatever a scan could not read is in the ledger before its cursors pass it.
    unread = known_unread(store, scope)
    not_yet = _not_yet(store, scope, windows) if windows and any(spec.listed for spec in scope.sources) else {}
    touched = [window for window in windows if unread.touching(window)]
    closed = _closed(store, scope, touched) if touched else set()
    left_out = store.unread.left_out(scope.scope_id, windows) if windows else {}
    return {
        window: Completeness(
            window,
            (
                *listings,
                *(
                    StreamReach(name, stream, _reach(cursor, window))
                    for name, stream, cursor in streams
                    if name not in not_yet.get(window, ())
                ),
            ),
            () if window in closed else unread.touching(window),
            left_out.get(window, ()),
        )
        for window in windows
    }


def utc_text(instant: datetime) -> str:
    """`2026-02-18T12:00Z`: the minute is what people compare."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _not_yet(
    store: "PostgresLedger", scope: Scope, windows: Sequence[EpochWindow]
) -> dict[EpochWindow, frozenset[str]]:
    """What owners have by now and did not when an epoch closed, by its window: it was closed without."""
    listed = {name for spec in scope.sources for name in spec.listed}
    return {
        epoch.window: frozenset(listed - pinned_source_refs(epoch.pins.pinned_spec))
        for epoch in store.epochs.within(scope.scope_id, span(windows))
        if epoch.status is not EpochStatus.OPEN and epoch.pins is not None
    }


def _closed(store: "PostgresLedger", scope: Scope, windows: Sequence[EpochWindow]) -> set[EpochWindow]:
    epochs = store.epochs.within(scope.scope_id, span(windows))
    return {epoch.window for epoch in epochs if epoch.status is not EpochStatus.OPEN}


def _reach(cursor: Cursor | None, window: EpochWindow) -> datetime | None:
    if cursor is None or cursor.covered_from is None or cursor.covered_from > window.start:
        return None
    return cursor.watermark
