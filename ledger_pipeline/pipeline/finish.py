"""The end of a scan: what it read becomes cursors and receipts, the same whether one run read it or many calls did."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.coverage import counted_with
from ledger_pipeline.sources.port import UpdateSpan
from ledger_pipeline.store.scan_records import Cursor, Receipt, StreamCoverage

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class Sighting:
    """Items a scan met of one window and stream: all of them, and those that were skipped by their reason."""

    seen: int = 0
    skipped_by_reason: Mapping[str, int] = field(default_factory=dict)

    def with_one(self, skipped_for: str | None) -> "Sighting":
        """One item more, which was skipped where a reason is given."""
        if skipped_for is None:
            return Sighting(self.seen + 1, self.skipped_by_reason)
        count = self.skipped_by_reason.get(skipped_for, 0) + 1
        return Sighting(self.seen + 1, {**self.skipped_by_reason, skipped_for: count})


@dataclass(frozen=True)
class FinishedScan:
    """A scan of a source_scope whose every page is stored, from the floors of `coverage` up to `watermark`.

    `calendar` says which windows it looked at, `sightings` what it met of each and of each stream, `totals` what the
    source counted of each when the scan began, where that is known.
    """

    source: str
    source_scope: str
    source_scope_name: str | None
    watermark: datetime
    coverage: Sequence[StreamCoverage]
    calendar: EpochCalendar
    pages: int
    sightings: Mapping[EpochWindow, Mapping[str, Sighting]]
    updates: Mapping[str, UpdateSpan]
    source_scope_id: str | None = None
    totals: Mapping[str, int] = field(default_factory=dict)

    def cursors(self) -> list[Cursor]:
        """The cursors, one a stream, as the scan leaves them."""
        return [
            Cursor(
                self.source,
                coverage.stream,
                self.source_scope,
                self.watermark,
                # A window that has not begun covers nothing.
                min(coverage.covered_from, self.watermark),
                self.source_scope_id,
                self.totals.get(counted_with(coverage.stream)),
            )
            for coverage in self.coverage
        ]

    @property
    def windows(self) -> list[EpochWindow]:
        """Every window that it looked at any part of, oldest first, whichever it was made for."""
        return sorted({window for coverage in self.coverage for window in self._looked_at(coverage)})

    def receipts(self) -> list[Receipt]:
        """The receipts, one for each stream and window that it looked at any part of."""
        return [self._receipt(coverage, window) for coverage in self.coverage for window in self._looked_at(coverage)]

    def _looked_at(self, coverage: StreamCoverage) -> Iterable[EpochWindow]:
        if coverage.covered_from > self.watermark:
            return ()
        first, last = self.calendar.window_at(coverage.covered_from), self.calendar.window_at(self.watermark)
        return self.calendar.windows_between(first, last)

    def _receipt(self, coverage: StreamCoverage, window: EpochWindow) -> Receipt:
        sighting = self.sightings.get(window, {}).get(coverage.stream, Sighting())
        span = self.updates.get(coverage.stream)
        return Receipt(
            window=window,
            source=self.source,
            stream=coverage.stream,
            source_scope=self.source_scope,
            source_scope_name=self.source_scope_name or self.source_scope,
            covered_from=coverage.covered_from,
            covered_to=self.watermark,
            pages=self.pages,
            seen=sighting.seen,
            skipped_by_reason=dict(sighting.skipped_by_reason),
            first_updated_at=span.oldest if span else None,
            last_updated_at=span.newest if span else None,
            source_total=span.source_total if span else None,
            source_scope_id=self.source_scope_id,
        )


def record(store: "PostgresLedger", scope_id: UUID, scan: FinishedScan) -> list[Cursor]:
    """Move the cursors and keep the receipts, in one transaction; the cursors the ledger then holds.

    None where nothing of any window was looked at (the source's clock is just behind the first one's start): the ledger
    takes no cursor without a receipt, and the next scan reads that again.
    """
    if not scan.receipts():
        return []
    return store.scans.finish(scope_id, scan.cursors(), scan.watermark, scan.receipts())


def is_recorded(store: "PostgresLedger", scope_id: UUID, scan: FinishedScan) -> bool:
    """Whether the ledger says already all that `record` would add: a call that is repeated adds no second receipt."""
    stored = store.scans.cursors(scope_id, scan.source)
    for cursor in scan.cursors():
        stored_cursor = stored.get((cursor.stream, cursor.source_scope))
        if stored_cursor is None or cursor.source_scope_id not in (None, stored_cursor.source_scope_id):
            return False
        if not _covers(stored_cursor.covered_from, stored_cursor.watermark, cursor.covered_from, cursor.watermark):
            return False
    kept = {
        (receipt.window, receipt.stream, receipt.source_scope): receipt
        for receipt in store.scans.receipts(scope_id, scan.source, scan.windows)
    }
    for receipt in scan.receipts():
        same = kept.get((receipt.window, receipt.stream, receipt.source_scope))
        if same is None or not _covers(same.covered_from, same.covered_to, receipt.covered_from, receipt.covered_to):
            return False
    return True


def joined(earlier: Mapping[str, UpdateSpan], page: Mapping[str, UpdateSpan]) -> dict[str, UpdateSpan]:
    """The spans of all pages so far with those of the next; the source's total is the latest it said."""
    spans = dict(earlier)
    for stream, span in page.items():
        before = spans.get(stream, span)
        spans[stream] = UpdateSpan(min(before.oldest, span.oldest), max(before.newest, span.newest), span.source_total)
    return spans


def _covers(start: datetime | None, end: datetime, wanted_from: datetime | None, wanted_to: datetime) -> bool:
    return start is not None and wanted_from is not None and start <= wanted_from and wanted_to <= end
