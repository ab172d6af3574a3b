"""Scans: how far each stream is covered, where an unfinished scan stands, and proof of what was looked at."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from ledger_pipeline.core.events import SkippedActivity
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store import checkpoints, observations, unread
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.cursors import cursors_of, finished_scans, scan_of, store_scans, stored_cursors
from ledger_pipeline.store.receipts import keep_receipts, whole_scans, window_receipts
from ledger_pipeline.store.records import AppendOutcome
from ledger_pipeline.store.scan_records import (
    Checkpoint,
    Cursor,
    PageContent,
    Receipt,
    WindowReceipt,
    WindowStream,
)
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.skipped import keep_skipped


class Scans(LedgerSection):
    """The scans of a node's scopes: their cursors, checkpoints and receipts, and the activity that they skipped."""

    def cursors(self, scope_id: UUID, source: str) -> dict[tuple[str, str], Cursor]:
        """The cursors of a source, by (stream, source_scope)."""
        with self._transaction() as connection:
            stored = stored_cursors(connection, self._scope(scope_id), [source])
        return {(stream, source_scope): cursor for (_, stream, source_scope), cursor in stored.items()}

    def record_skipped(self, scope_id: UUID, skipped: Sequence[SkippedActivity], retrieved_at: datetime) -> int:
        """Keep activity that counts for nobody, once however often it comes; how many were new."""
        if not skipped:
            return 0
        with self._transaction() as connection:
            return keep_skipped(connection, self._scope(scope_id), skipped, retrieved_at)

    def checkpoint(self, scope_id: UUID, source: str, source_scope: str) -> Checkpoint | None:
        """The checkpoint of an unfinished scan of the source_scope; None when there is none."""
        with self._transaction() as connection:
            return checkpoints.find(connection, self._scope(scope_id), source, source_scope)

    def store_page(self, scope_id: UUID, page: PageContent) -> dict[str, AppendOutcome]:
        """Store all of a page, or nothing, and say by event id what became of each event. Safe to repeat."""
        scope = self._scope(scope_id)
        where = {**scope, "source": page.source, "source_scope": page.source_scope}

        def store(connection: Connection) -> dict[str, AppendOutcome]:
            if page.unread or page.settled:
                # Before the events, as whoever closes an epoch does: else each would wait for the other.
                unread.lock(connection, scope)
            append = Append(connection, self.node_id, scope_id, page.producer, page.retrieved_at)
            outcomes = append.run(page.events) if page.events else {}
            if page.skipped:
                keep_skipped(connection, scope, page.skipped, page.retrieved_at)
            if page.unread or page.settled:
                read_from = page.read_from or page.retrieved_at
                unread.note(connection, where, page.unread, page.settled, page.retrieved_at, read_from)
            if page.checkpoint is not None:
                checkpoints.save(connection, scope, page.checkpoint)
            kept = observations.of_stored(connection, scope, page.facts, page.events, outcomes)
            observations.record(connection, scope, kept, page.retrieved_at, page.producer)
            return outcomes

        return self._storing_events(store)

    def finish(
        self,
        scope_id: UUID,
        cursors: Sequence[Cursor],
        retrieved_at: datetime,
        receipts: Sequence[Receipt] = (),
    ) -> list[Cursor]:
        """Record finished scans, each by its cursor, and return what the ledger then holds, in the order given.

        In the same transaction their `receipts` are kept and the checkpoints of their source_scopes forgotten.

        A watermark only moves forward and coverage only grows; a scan that does not touch what is covered already
        (it starts after the stored watermark) leaves the stored cursor as it is. A scan of another source_scope_id
        than the stored one, begun no earlier, takes the cursor's place: what was covered was another repository.

        Raises ValueError when a scan does not say what it covered, two are of one stream of a source_scope, or a
        receipt is of none of them.
        """
        scans = finished_scans(cursors)
        for receipt in receipts:
            if scan_of(receipt) not in scans:
                raise ValueError(f"a receipt of none of the finished scans: {receipt}")
        if not scans:
            return []
        scope = self._scope(scope_id)
        with self._transaction() as connection:
            store_scans(connection, scope, scans, retrieved_at)
            keep_receipts(connection, scope, receipts)
            checkpoints.discard(connection, scope, {(scan.source, scan.source_scope) for scan in cursors})
            stored = cursors_of(connection, scope, scans)
        return [stored[scan_of(cursor)] for cursor in cursors]

    def receipts(self, scope_id: UUID, source: str, windows: Sequence[EpochWindow]) -> list[WindowReceipt]:
        """One per window, stream and source_scope that was ever looked at, by (window, stream, source_scope).

        All from one snapshot of the ledger.
        """
        with self._snapshot() as connection:
            return window_receipts(connection, self._scope(scope_id), source, windows)

    def whole_scans(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[WindowStream, datetime]:
        """When the latest scan began that read a window in one go from its start on, by (window, source, stream,
        source_scope); what was never read so is left out, and so are scans of a repository that had the name before.
        """
        if not windows:
            return {}
        with self._transaction() as connection:
            return whole_scans(connection, self._scope(scope_id), windows)
