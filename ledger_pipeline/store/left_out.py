"""Items that an epoch was closed without: written with the closing, never changed."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import bounds
from ledger_pipeline.store.records import Exclusion, LeftOut

# What is known of an item is taken over from its row, as it stands in the very transaction.
_KEEP = text("""
    INSERT INTO left_out_items
        (node_id, epoch_id, source, source_scope, kind, number, unread_reason, unread_since, actor, reason)
    SELECT unread.node_id, epoch.id, source, source_scope, kind, number, reason, since, :actor, :why
    FROM unread_items AS unread JOIN epochs AS epoch
        ON epoch.id = :epoch_id AND (epoch.node_id, epoch.scope_id) = (unread.node_id, unread.scope_id)
    WHERE unread.node_id = :node_id AND (source, source_scope, kind, number) IN (
        SELECT * FROM unnest(
            CAST(:sources AS text[]), CAST(:source_scopes AS text[]), CAST(:kinds AS text[]), CAST(:numbers AS bigint[])
        )
    )
""")
_FIND = text("""
    SELECT epoch.period_start, epoch.period_end, item.source, item.source_scope, item.kind, item.number,
        item.unread_reason, item.unread_since, item.actor, item.reason, item.left_out_at
    FROM left_out_items AS item JOIN epochs AS epoch ON epoch.id = item.epoch_id
    JOIN unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS asked (period_start, period_end)
        ON (epoch.period_start, epoch.period_end) = (asked.period_start, asked.period_end)
    WHERE epoch.node_id = :node_id AND epoch.scope_id = :scope_id AND NOT EXISTS (
        SELECT FROM reopenings WHERE epoch_id = epoch.id AND item.left_out_at <= closed_at
    )
    ORDER BY epoch.period_start, item.source, item.source_scope, item.kind, item.number
""")


def keep(connection: Connection, node_id: UUID, epoch_id: int, exclusion: Exclusion) -> None:
    """Write that the epoch, which this transaction closes, lacks these items. Raises StoreError if one was read."""
    parameters = {
        "node_id": node_id,
        "epoch_id": epoch_id,
        "actor": exclusion.actor,
        "why": exclusion.reason,
        "sources": [row.source for row in exclusion.rows],
        "source_scopes": [row.source_scope for row in exclusion.rows],
        "kinds": [row.item.key.kind for row in exclusion.rows],
        "numbers": [row.item.key.number for row in exclusion.rows],
    }
    if connection.execute(_KEEP, parameters).rowcount != len(exclusion.rows):
        raise StoreError("an item that was to be left out has been read meanwhile: the epoch is still open, see again")


def find(
    connection: Connection, scope: dict[str, object], windows: Sequence[EpochWindow]
) -> dict[EpochWindow, tuple[LeftOut, ...]]:
    """What each epoch was closed without, by window; windows that lack nothing are not there."""
    left_out: defaultdict[EpochWindow, list[LeftOut]] = defaultdict(list)
    for row in connection.execute(_FIND, {**scope, **bounds(windows)}):
        window = EpochWindow(row.period_start, row.period_end)
        item = LeftOut(
            row.source,
            row.source_scope,
            ItemKey(row.kind, row.number),
            row.unread_reason,
            row.unread_since,
            row.actor,
            row.reason,
            row.left_out_at,
        )
        left_out[window].append(item)
    return {window: tuple(items) for window, items in left_out.items()}
