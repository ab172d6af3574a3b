"""Items that a source shows and nobody can read yet: one row each, gone once the item is read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.unread import ItemKey, UnreadItem, one_by_key
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store import left_out
from ledger_pipeline.store.records import LeftOut, StoredUnread
from ledger_pipeline.store.section import LedgerSection

# What is known of when an item was made stays known. Without a number several items share a row, so that it holds
# whatever any of them may.
KEEP = text("""
    INSERT INTO unread_items AS stored
        (node_id, scope_id, source, source_scope, kind, number, reason, earliest, latest, since, last_tried_at,
            read_from)
    SELECT :node_id, :scope_id, :source, :source_scope, kind, number, reason, earliest, latest, :tried_at, :tried_at,
        CASE WHEN number = 0 THEN CAST(:read_from AS timestamptz) END
    FROM unnest(
        CAST(:kinds AS text[]), CAST(:numbers AS bigint[]), CAST(:reasons AS text[]),
        CAST(:earliest AS timestamptz[]), CAST(:latest AS timestamptz[])
    ) AS item (kind, number, reason, earliest, latest)
    ON CONFLICT (node_id, scope_id, source, source_scope, kind, number) DO UPDATE SET
        reason = CASE WHEN excluded.last_tried_at < stored.last_tried_at THEN stored.reason ELSE excluded.reason END,
        earliest = CASE WHEN stored.number = 0 AND (stored.earliest IS NULL OR excluded.earliest IS NULL) THEN NULL
            ELSE LEAST(stored.earliest, excluded.earliest) END,
        latest = GREATEST(stored.latest, excluded.latest),
        last_tried_at = GREATEST(stored.last_tried_at, excluded.last_tried_at),
        read_from = LEAST(stored.read_from, excluded.read_from)
""")
# Unless somebody else could not read it later than that.
FORGET = text("""
    DELETE FROM unread_items
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source AND source_scope = :source_scope
        AND (kind, number) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:numbers AS bigint[])))
        AND last_tried_at <= :tried_at
""")
FORGET_PASSED = text("""
    DELETE FROM unread_items USING unnest(CAST(:kinds AS text[]), CAST(:floors AS timestamptz[])) AS scan (kind, floor)
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source AND source_scope = :source_scope
        AND number = 0 AND unread_items.kind = scan.kind AND scan.floor <= read_from AND last_tried_at < :began_at
""")
# Whoever notes and whoever closes wait for each other: each sees what the other has done, or does it after.
LOCK = text("""
    SELECT pg_advisory_xact_lock(
        hashtextextended('unread_items ' || CAST(:node_id AS text) || ' ' || CAST(:scope_id AS text), 0)
    )
""")
FIND = text("""
    SELECT source, source_scope, since, last_tried_at, read_from, kind, number, reason, earliest, latest
    FROM unread_items
    WHERE node_id = :node_id AND scope_id = :scope_id
    ORDER BY last_tried_at, source, source_scope, kind, number
""")


class Unread(LedgerSection):
    """What could not be read of a node's scopes, and what epochs were closed without."""

    def note(
        self,
        scope_id: UUID,
        source: str,
        source_scope: str,
        *,
        unread: Sequence[UnreadItem],
        settled: Sequence[ItemKey],
        tried_at: datetime,
        read_from: datetime,
    ) -> None:
        """Remember items that could not be read at `tried_at`, by a scan from `read_from` on; forget those `settled`.

        One that is in both stays, and so does a settled one that could not be read later than `tried_at`.
        """
        if not unread and not settled:
            return
        where = {**self._scope(scope_id), "source": source, "source_scope": source_scope}
        with self._transaction() as connection:
            lock(connection, self._scope(scope_id))
            note(connection, where, unread, settled, tried_at, read_from)

    def forget_passed(
        self, scope_id: UUID, source: str, source_scope: str, floors: Mapping[str, datetime], began_at: datetime
    ) -> None:
        """Forget items without a number that a finished scan, begun at `began_at`, did not meet again.

        `floors` says by kind from where on it has read everything.
        """
        where = {**self._scope(scope_id), "source": source, "source_scope": source_scope}
        parameters = {"kinds": list(floors), "floors": list(floors.values()), "began_at": began_at}
        with self._transaction() as connection:
            lock(connection, where)  # else it and a page that notes the same items might each wait for the other
            connection.execute(FORGET_PASSED, {**where, **parameters})

    def items(self, scope_id: UUID) -> list[StoredUnread]:
        """Every item that nobody could read yet, longest untried first."""
        with self._transaction() as connection:
            return _find(connection, self._scope(scope_id))

    def left_out(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, tuple[LeftOut, ...]]:
        """What the epochs of `windows` were closed without; a window whose epoch lacks nothing is not there."""
        with self._transaction() as connection:
            return left_out.find(connection, self._scope(scope_id), windows)


def lock(connection: Connection, scope: Mapping[str, object]) -> None:
    """Until the transaction ends, nobody else notes unread items of the scope, nor closes an epoch of it."""
    connection.execute(LOCK, {"node_id": str(scope["node_id"]), "scope_id": str(scope["scope_id"])})


def note(
    connection: Connection,
    where: Mapping[str, object],
    unread: Iterable[UnreadItem],
    settled: Sequence[ItemKey],
    tried_at: datetime,
    read_from: datetime,
) -> None:
    """Keep `unread`, and forget those `settled` that are not among them."""
    items = one_by_key(unread)
    forgotten = sorted(set(settled) - {item.key for item in items})
    if forgotten:
        parameters = {"kinds": [key.kind for key in forgotten], "numbers": [key.number for key in forgotten]}
        connection.execute(FORGET, {**where, **parameters, "tried_at": tried_at})
    if items:
        columns = {
            "kinds": [item.key.kind for item in items],
            "numbers": [item.key.number for item in items],
            "reasons": [item.reason for item in items],
            "earliest": [item.earliest for item in items],
            "latest": [item.latest for item in items],
        }
        connection.execute(KEEP, {**where, **columns, "tried_at": tried_at, "read_from": read_from})


def touching(connection: Connection, scope: Mapping[str, object], window: EpochWindow) -> list[StoredUnread]:
    """Those whose events may belong to `window`, longest untried first."""
    return [row for row in _find(connection, scope) if row.item.may_touch(window)]


def _find(connection: Connection, scope: Mapping[str, object]) -> list[StoredUnread]:
    return [
        StoredUnread(
            row.source,
            row.source_scope,
            UnreadItem(ItemKey(row.kind, row.number), row.reason, row.earliest, row.latest),
            row.since,
            row.last_tried_at,
            row.read_from,
        )
        for row in connection.execute(FIND, scope)
    ]
