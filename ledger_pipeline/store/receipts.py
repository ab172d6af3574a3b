"""Receipts: proof of what was looked at, kept as scans finish and read back beside what is stored of it.

What a window has is counted from the ledger, never from receipts: scans overlap, and each meets most of what the
one before had met. An item belongs to the source_scope that ever answered to the repository's name, case apart; it
counts once, as kept, or else rejected, or else skipped, even where a later scan found it changed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, text

from ledger_pipeline.core.events import STREAM_OF_EVENT_TYPE
from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds
from ledger_pipeline.store.port import Receipt, WindowReceipt, WindowStream
from ledger_pipeline.store.schema import scan_receipts

FATES = ("kept", "rejected", "skipped")

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
# OFFSET 0 keeps the planner at one index range per window and table, as it does for digests.
ITEMS = text("""
    SELECT given.number, item.*
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
        WITH ORDINALITY AS given (period_start, period_end, number)
    CROSS JOIN LATERAL (
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
        OFFSET 0
    ) AS item
""")


# Number of the window, stream, source_scope, fate: by id the payload hash, or the reason.
_Items = defaultdict[tuple[int, str, str, str], dict[str, str]]


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
    items = _items(connection, parameters)
    # Sorted here: the database's collation is not ours to know.
    return [
        _window_receipt(wanted[row.number - 1], source, row, items)
        for row in sorted(looked_at, key=lambda row: (row.number, row.stream, row.source_scope))
    ]


def whole_scans(
    connection: Connection, scope: Mapping[str, object], windows: Iterable[EpochWindow]
) -> dict[WindowStream, datetime]:
    """When the latest scan began that read a window in one go from its start on; see the port."""
    rows = connection.execute(WHOLE_SCANS, {**scope, **bounds(sorted(set(windows)))})
    return {(EpochWindow(start, end), *stream): began_at for start, end, *stream, began_at in rows}


def _columns(receipt: Receipt) -> dict[str, object]:
    columns = {**vars(receipt), "skipped_by_reason": dict(receipt.skipped_by_reason)}
    window = columns.pop("window")
    return {**columns, "period_start": window.start, "period_end": window.end}


def _items(connection: Connection, parameters: Mapping[str, object]) -> _Items:
    called: defaultdict[str, set[str]] = defaultdict(set)
    for source_scope, name in connection.execute(NAMES, parameters):
        called[source_scope.lower()].add(source_scope)
        called[name.lower()].add(source_scope)
    items: _Items = defaultdict(dict)
    for number, fate, event_type, name, event_id, detail in connection.execute(ITEMS, parameters):
        stream = STREAM_OF_EVENT_TYPE.get(event_type)
        if stream is not None and name is not None:
            for source_scope in called.get(name.lower(), ()):
                items[number, stream, source_scope, fate][event_id] = detail
    return items


def _window_receipt(window: EpochWindow, source: str, row: Row[*tuple[Any, ...]], items: _Items) -> WindowReceipt:
    kept, rejected, skipped = (items[row.number, row.stream, row.source_scope, fate] for fate in FATES)
    rejected_only = rejected.keys() - kept.keys()
    skipped_only = skipped.keys() - kept.keys() - rejected_only
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
        kept=len(kept),
        skipped_by_reason=dict(Counter(skipped[event_id] for event_id in skipped_only)),
        rejected=len(rejected_only),
        set_hash=event_set_hash(kept.items()),
    )
