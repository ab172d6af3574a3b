"""Checkpoints: where the unfinished scan of a source_scope stands, one at a time and gone when it is finished."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.store.records import Checkpoint, StreamCoverage

FIND = text("""
    SELECT source, source_scope, watermark, coverage, position, pages, saved_at, source_scope_id
    FROM scan_checkpoints
    WHERE node_id = :node_id AND scope_id = :scope_id AND source = :source AND source_scope = :source_scope
""")
SAVE = text("""
    INSERT INTO scan_checkpoints
        (node_id, scope_id, source, source_scope, watermark, coverage, position, pages, saved_at,
            source_scope_id)
    VALUES (:node_id, :scope_id, :source, :source_scope, :watermark, :coverage, :position, :pages, :saved_at,
        :source_scope_id)
    ON CONFLICT (node_id, scope_id, source, source_scope) DO UPDATE SET
        watermark = excluded.watermark,
        coverage = excluded.coverage,
        position = excluded.position,
        pages = excluded.pages,
        saved_at = excluded.saved_at,
        source_scope_id = excluded.source_scope_id
""").bindparams(bindparam("coverage", type_=JSONB), bindparam("position", type_=JSONB))
DISCARD = text("""
    DELETE FROM scan_checkpoints
    WHERE node_id = :node_id AND scope_id = :scope_id
        AND (source, source_scope) IN (SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:source_scopes AS text[])))
""")


def find(connection: Connection, scope: Mapping[str, object], source: str, source_scope: str) -> Checkpoint | None:
    """The checkpoint of a source_scope; None when it has none, or one that nothing of ours wrote."""
    row = connection.execute(FIND, {**scope, "source": source, "source_scope": source_scope}).one_or_none()
    if row is None:
        return None
    try:
        coverage = tuple(
            StreamCoverage(
                stream=stream["stream"],
                floor=datetime.fromisoformat(stream["floor"]).astimezone(UTC),
                covered_from=datetime.fromisoformat(stream["covered_from"]).astimezone(UTC),
            )
            for stream in row.coverage
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Checkpoint(**{**row._asdict(), "coverage": coverage})


def save(connection: Connection, scope: Mapping[str, object], checkpoint: Checkpoint) -> None:
    """Keep `checkpoint` in place of the source_scope's last one."""
    coverage = [
        {
            "stream": stream.stream,
            "floor": stream.floor.isoformat(),
            "covered_from": stream.covered_from.isoformat(),
        }
        for stream in checkpoint.coverage
    ]
    values = {**vars(checkpoint), "coverage": coverage, "position": dict(checkpoint.position)}
    connection.execute(SAVE, {**scope, **values})


def discard(connection: Connection, scope: Mapping[str, object], of: Collection[tuple[str, str]]) -> None:
    """Delete the checkpoints of each (source, source_scope) that has one."""
    parameters = {"sources": [source for source, _ in of], "source_scopes": [name for _, name in of]}
    connection.execute(DISCARD, {**scope, **parameters})
