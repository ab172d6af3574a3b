"""Receipts: proof of what was looked at, kept as scans finish and read back beside what is stored of it.

What a window has is counted from the ledger, never from receipts: scans overlap, and each meets most of what the
one before had met. An item belongs to the source_scope that ever answered to the repository's name, case apart; it
counts once, as kept, or else rejected, or else skipped, even where a later scan found it changed. Items are streamed:
memory grows with windows and source_scopes, not with what they hold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, text

from ledger_pipeline.core.hashing import EventSetHash
from ledger_pipeline.core.sources import streams_by_event_type
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds, streamed
from ledger_pipeline.store.scan_records import Receipt, WindowReceipt, WindowStream
from ledger_pipeline.store.schema import scan_receipts

LOOKED_AT = text("""
    SELECT given.number, stream, source_scope,
        min(covered_from) AS covered_from, max(covered_to) AS covered_to, count(*) AS scans, sum(pages) AS pages,
        min(first_updated_at) AS first_updated_at, max(last_updated_at) AS last_updated_at,
        (array_agg(source_total ORDER BY covered_to DESC, id DESC)
            FILTER (WHERE source_total IS NOT NULL))[1] AS source_total
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    JOIN scan_receipts USING (period_start, period_end)
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
    GROUP BY given.number, stream, source_scope
""")
# A receipt of before ids were kept says nothing of them, and is believed.
WHOLE_SCANS = text("""
    SELECT given.period_start, given.period_end, receipt.source, receipt.stream, receipt.source_scope,
        max(receipt.covered_to) AS began_at
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS given (period_start, period_end)
    JOIN scan_receipts AS receipt USING (period_start, period_end)
    LEFT JOIN source_cursors AS cursor USING (node_id, scope_id, source, stream, source_scope)
    WHERE receipt.node_id = :node_id AND receipt.scope_id = :scope_id
        AND receipt.covered_from <= given.period_start
        AND (receipt.source_scope_id = cursor.source_scope_id) IS NOT FALSE
    GROUP BY given.period_start, given.period_end, receipt.source, receipt.stream, receipt.source_scope
""")
NAMES = text("""
    SELECT DISTINCT source_scope, source_scope_name FROM scan_receipts
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
""")
# OFFSET 0 keeps the planner at one index range per window and table, as it does for digests. Of an id the fate that
# counts comes first: they happen to be in the order of the alphabet.
ITEMS = text("""
    SELECT given.number, item.*
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT 'kept' AS fate, event_type, metadata ->> 'repository' AS name, id, payload_hash AS detail
            FROM activity_events
            WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
                AND event_time >= given.period_start AND event_time < given.period_end
            UNION ALL
            SELECT 'rejected', event_type, metadata ->> 'repository', event_id, reason
            FROM rejected_events
            WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
                AND event_time >= given.period_start AND event_time < given.period_end
            UNION ALL
            SELECT 'skipped', event_type, source_scope, event_id, reason
            FROM skipped_activity
            WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source
                AND event_time >= given.period_start AND event_time < given.period_end
        ) AS every
        ORDER BY id COLLATE "C", fate COLLATE "C"
        OFFSET 0
    ) AS item
""")


class _Holdings:
    """What a window holds of one stream of one source_scope, counted item by item."""

    def __init__(self) -> None:
        self.kept = 0
        self.rejected = 0
        self.skipped: Counter[str] = Counter()
        self.set_hash = EventSetHash()
        self._last_id: str | None = None

    def count(self, fate: str, event_id: str, detail: str) -> None:
        """One more item, in the order of ITEMS; `detail` is its payload hash, or the reason."""
        if event_id == self._last_id:
            return
        self._last_id = event_id
        if fate == "kept":
            self.kept += 1
            self.set_hash.add(event_id, detail)
        elif fate == "rejected":
            self.rejected += 1
        else:
            self.skipped[detail] += 1


_Place = tuple[int, str, str]  # the number of a window, stream, source_scope


def keep_receipts(connection: Connection, scope: Mapping[str, object], receipts: Sequence[Receipt]) -> None:
    """Store `receipts`, for ever."""
    if receipts:
        connection.execute(insert(scan_receipts), [{**scope, **_columns(receipt)} for receipt in receipts])


def window_receipts(
    connection: Connection, scope: Mapping[str, object], source: str, windows: Iterable[EpochWindow]
) -> list[WindowReceipt]:
    """One per window, stream and source_scope with a receipt, in this order; `connection` must see one snapshot."""
    wanted = sorted(set(windows))
    parameters = {**scope, "source": source, **bounds(wanted)}
    looked_at = connection.execute(LOOKED_AT, parameters).all()
    holdings = {(row.number, row.stream, row.source_scope): _Holdings() for row in looked_at}
    _count_items(connection, parameters, holdings)
    # Sorted here: the database's collation is not ours to know.
    return [
        _window_receipt(wanted[row.number - 1], source, row, holdings[row.number, row.stream, row.source_scope])
        for row in sorted(looked_at, key=lambda row: (row.number, row.stream, row.source_scope))
    ]


def whole_scans(
    connection: Connection, scope: Mapping[str, object], windows: Iterable[EpochWindow]
) -> dict[WindowStream, datetime]:
    """When the latest scan began that read a window in one go from its start on, by what it is of."""
    rows = connection.execute(WHOLE_SCANS, {**scope, **bounds(sorted(set(windows)))})
    return {(EpochWindow(start, end), *stream): began_at for start, end, *stream, began_at in rows}


def _columns(receipt: Receipt) -> dict[str, object]:
    columns = {**vars(receipt), "skipped_by_reason": dict(receipt.skipped_by_reason)}
    window = columns.pop("window")
    return {**columns, "period_start": window.start, "period_end": window.end}


def _count_items(
    connection: Connection, parameters: Mapping[str, object], holdings: Mapping[_Place, _Holdings]
) -> None:
    called: defaultdict[str, set[str]] = defaultdict(set)
    for source_scope, name in connection.execute(NAMES, parameters):
        called[source_scope.lower()].add(source_scope)
        called[name.lower()].add(source_scope)
    with streamed(connection, ITEMS, parameters) as rows:
        for number, fate, event_type, name, event_id, detail in rows:
            stream = streams_by_event_type().get(event_type)
            if stream is None or name is None:
                continue
            for source_scope in called.get(name.lower(), ()):
                held = holdings.get((number, stream.name, source_scope))
                if held is not None:
                    held.count(fate, event_id, detail)


def _window_receipt(window: EpochWindow, source: str, row: Row[*tuple[Any, ...]], held: _Holdings) -> WindowReceipt:
    return WindowReceipt(
        window=window,
        source=source,
        stream=row.stream,
        source_scope=row.source_scope,
        covered_from=row.covered_from,
        covered_to=row.covered_to,
        scans=row.scans,
        pages=row.pages,
        first_updated_at=row.first_updated_at,
        last_updated_at=row.last_updated_at,
        source_total=row.source_total,
        kept=held.kept,
        skipped_by_reason=dict(held.skipped),
        rejected=held.rejected,
        set_hash=held.set_hash.hexdigest(),
    )
