"""Checkpoints: where the unfinished scan of a source_scope stands, one at a time and gone when it is finished."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.store.scan_records import Checkpoint

FIND = text("""
    SELECT source, source_scope, watermark, saved_at, state
    FROM scan_checkpoints
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source AND source_scope = :source_scope
""")
SAVE = text("""
    INSERT INTO scan_checkpoints (node_id, scope_id, source, source_scope, watermark, saved_at, state)
    VALUES (:node_id, :scope_id, :source, :source_scope, :watermark, :saved_at, :state)
    ON CONFLICT (node_id, scope_id, source, source_scope) DO UPDATE SET
        watermark = excluded.watermark,
        saved_at = excluded.saved_at,
        state = excluded.state
""").bindparams(bindparam("state", type_=JSONB))
DISCARD = text("""
    DELETE FROM scan_checkpoints
    WHERE node_id = :node_id AND scope_id = :scope_id
        AND (source, source_scope) IN (SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:source_scopes AS text[])))
""")


def find(connection: Connection, scope: Mapping[str, object], source: str, source_scope: str) -> Checkpoint | None:
    """The checkpoint of a source_scope; None when it has none."""
    row = connection.execute(FIND, {**scope, "source": source, "source_scope": source_scope}).one_or_none()
    if row is None:
        return None
    state = row.state if isinstance(row.state, dict) else {}  # what nothing of ours wrote says nothing
    return Checkpoint(row.source, row.source_scope, row.watermark, row.saved_at, state)


def save(connection: Connection, scope: Mapping[str, object], checkpoint: Checkpoint) -> None:
    """Keep `checkpoint` in place of the source_scope's last one."""
    connection.execute(SAVE, {**scope, **vars(checkpoint), "state": dict(checkpoint.state)})


def discard(connection: Connection, scope: Mapping[str, object], of: Collection[tuple[str, str]]) -> None:
    """Delete the checkpoints of each (source, source_scope) that has one."""
    parameters = {"sources": [source for source, _ in of], "source_scopes": [name for _, name in of]}
    connection.execute(DISCARD, {**scope, **parameters})
