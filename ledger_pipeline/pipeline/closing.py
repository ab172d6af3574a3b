"""Closing scans: before an epoch closes, every source_scope is read once more from the epoch's start on.

A closing scan begins after the epoch's end and its grace, by the source's time, so that what is signed is what the
source showed last. Receipts prove it: one that covers the whole window, up to that time or later. It counts for nothing
as long as an item is unread whose events may belong to the epoch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.coverage import closes_at
from ledger_pipeline.pipeline.owners import KnownOwners, known_owners
from ledger_pipeline.pipeline.unread import KnownUnread, known_unread
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.scan_records import WindowStream

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class OpenEpochs:
    """The open epochs of a scope, oldest first, when each part of them was last read whole, and what could not be.

    `owners` are those that the scope collects all of.
    """

    owners: KnownOwners
    epochs: tuple[Epoch, ...]
    read_whole: Mapping[WindowStream, datetime]
    unread: KnownUnread

    @property
    def scope(self) -> Scope:
        """The scope, with what its owners have."""
        return self.owners.scope

    @property
    def start(self) -> datetime | None:
        """The start of the oldest epoch; None without any."""
        return min((epoch.window.start for epoch in self.epochs), default=None)

    def waiting(self, source: str, source_scope: str, streams: Iterable[str], over_by: datetime) -> list[EpochWindow]:
        """Windows that are over at `over_by` and of which one of `streams` has no closing scan yet."""
        return [
            epoch.window
            for epoch in self.epochs
            if epoch.window.end <= over_by
            and not all(self._is_read(epoch.window, source, stream, source_scope) for stream in streams)
        ]

    def due(
        self, source: str, source_scope: str, streams: Iterable[str], source_time: datetime | None
    ) -> list[EpochWindow]:
        """Those of `waiting` whose closing scan may begin at `source_time`."""
        if source_time is None:
            return []
        waiting = self.waiting(source, source_scope, streams, source_time)
        return [window for window in waiting if closes_at(self.scope, window) <= source_time]

    def closable(self) -> list[Epoch]:
        """Epochs of which every part has its closing scan, and nothing is unread."""
        return [
            epoch
            for epoch in self.epochs
            if self.is_read_whole(epoch.window) and not self.unread.touching(epoch.window)
        ]

    def is_read_whole(self, window: EpochWindow) -> bool:
        """Whether every part of the window has its closing scan, whatever items that could not read.

        Whoever was not listed since then may have a part that nobody knows.
        """
        parts = [
            (spec.source, stream, source_scope)
            for spec in self.scope.sources
            for source_scope in spec.source_scopes
            for stream in spec.streams
        ]
        is_known = self.owners.are_listed_since(closes_at(self.scope, window))
        return is_known and bool(parts) and all(self._is_read(window, *scan_key) for scan_key in parts)

    def _is_read(self, window: EpochWindow, source: str, stream: str, source_scope: str) -> bool:
        began_at = self.read_whole.get((window, source, stream, source_scope))
        return began_at is not None and began_at >= closes_at(self.scope, window)


def open_epochs(store: "PostgresLedger", scope: Scope, within: Sequence[EpochWindow] | None = None) -> OpenEpochs:
    """The open epochs of `scope`; where `within` is given, only those of these windows."""
    owners = known_owners(store, scope)
    epochs = [epoch for epoch in store.epochs.still_open(scope.scope_id) if within is None or epoch.window in within]
    read_whole = store.scans.whole_scans(scope.scope_id, [epoch.window for epoch in epochs])
    # Asked last: whatever a scan could not read is in the ledger before the receipt of that scan.
    return OpenEpochs(owners, tuple(epochs), read_whole, known_unread(store, owners.scope))
