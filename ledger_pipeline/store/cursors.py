"""Cursors: how finished scans join what is covered already."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from ledger_pipeline.store.scan_records import Cursor, Receipt

# A scan counts when it touches what is covered already; an inherited cursor covers nothing known, and gives way. So
# does the cursor of another repository under the name. An id that is not known is no reason to begin anew.
ADVANCE_CURSORS = text("""
    INSERT INTO source_cursors AS stored
        (node_id, scope_id, source, stream, source_scope, cursor_value, covered_from, retrieved_at,
            source_scope_id, source_total)
    SELECT :node_id, :scope_id, source, stream, source_scope, cursor_value, covered_from, :retrieved_at,
        source_scope_id, source_total
    FROM unnest(
        CAST(:sources AS text[]), CAST(:streams AS text[]), CAST(:source_scopes AS text[]),
        CAST(:watermarks AS timestamptz[]), CAST(:covered_froms AS timestamptz[]),
        CAST(:source_scope_ids AS text[]), CAST(:source_totals AS bigint[])
    ) AS scan (source, stream, source_scope, cursor_value, covered_from, source_scope_id, source_total)
    ON CONFLICT (node_id, scope_id, source, stream, source_scope) DO UPDATE SET
        cursor_value = CASE WHEN stored.covered_from IS NULL THEN excluded.cursor_value
            ELSE GREATEST(stored.cursor_value, excluded.cursor_value) END,
        covered_from = CASE WHEN stored.source_scope_id <> excluded.source_scope_id THEN excluded.covered_from
            ELSE LEAST(stored.covered_from, excluded.covered_from) END,
        retrieved_at = GREATEST(stored.retrieved_at, excluded.retrieved_at),
        source_scope_id = COALESCE(excluded.source_scope_id, stored.source_scope_id),
        source_total = CASE
            WHEN stored.source_scope_id <> excluded.source_scope_id THEN excluded.source_total
            WHEN stored.cursor_value > excluded.cursor_value THEN COALESCE(stored.source_total, excluded.source_total)
            ELSE COALESCE(excluded.source_total, stored.source_total) END
    WHERE CASE
        WHEN stored.source_scope_id <> excluded.source_scope_id THEN excluded.cursor_value >= stored.cursor_value
        WHEN stored.covered_from IS NULL THEN true
        ELSE excluded.covered_from <= stored.cursor_value AND excluded.cursor_value >= stored.covered_from
    END
""")
CURSORS = text("""
    SELECT source, stream, source_scope, cursor_value, covered_from, source_scope_id, source_total FROM source_cursors
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = ANY (:sources)
""")
OF_SCANS = text(f"{CURSORS.text} AND source_scope = ANY (:source_scopes)")

ScanKey = tuple[str, str, str]  # source, stream, source_scope


def scan_of(record: Cursor | Receipt) -> ScanKey:
    """Which scans a cursor or receipt is of."""
    return record.source, record.stream, record.source_scope


def finished_scans(cursors: Sequence[Cursor]) -> dict[ScanKey, Cursor]:
    """`cursors` by what they are of, in the order in which every transaction locks them.

    Raises ValueError when a scan does not say what it covered, or two are of one stream of a source_scope.
    """
    scans = {scan_of(cursor): cursor for cursor in cursors}
    if len(scans) < len(cursors):
        raise ValueError("several finished scans of one stream of a source_scope in one call")
    for cursor in cursors:
        if cursor.covered_from is None or cursor.covered_from > cursor.watermark:
            raise ValueError(f"a finished scan covers from an instant up to its watermark: {cursor}")
    return dict(sorted(scans.items()))


def store_scans(
    connection: Connection, scope: Mapping[str, object], scans: Mapping[ScanKey, Cursor], retrieved_at: datetime
) -> None:
    """Join finished scans to what is covered; one that does not touch it changes nothing."""
    connection.execute(
        ADVANCE_CURSORS,
        {
            **scope,
            "sources": [scan.source for scan in scans.values()],
            "streams": [scan.stream for scan in scans.values()],
            "source_scopes": [scan.source_scope for scan in scans.values()],
            "watermarks": [scan.watermark for scan in scans.values()],
            "covered_froms": [scan.covered_from for scan in scans.values()],
            "source_scope_ids": [scan.source_scope_id for scan in scans.values()],
            "source_totals": [scan.source_total for scan in scans.values()],
            "retrieved_at": retrieved_at,
        },
    )


def stored_cursors(
    connection: Connection, scope: Mapping[str, object], sources: Sequence[str]
) -> dict[ScanKey, Cursor]:
    """The cursors of `sources`, by (source, stream, source_scope)."""
    rows = connection.execute(CURSORS, {**scope, "sources": list(sources)})
    return {scan_of(cursor): cursor for cursor in (Cursor(*row) for row in rows)}


def cursors_of(
    connection: Connection, scope: Mapping[str, object], scans: Mapping[ScanKey, Cursor]
) -> dict[ScanKey, Cursor]:
    """The cursors that `scans` moved, or found where they are, among others of the same source_scopes."""
    sources, source_scopes = {scan.source for scan in scans.values()}, {scan.source_scope for scan in scans.values()}
    parameters = {"sources": sorted(sources), "source_scopes": sorted(source_scopes)}
    rows = connection.execute(OF_SCANS, {**scope, **parameters})
    return {scan_of(cursor): cursor for cursor in (Cursor(*row) for row in rows)}
