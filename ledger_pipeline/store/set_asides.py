"""What the owner took back, on record: rows set aside, and epochs that were opened again."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.store.statement_records import Numbered, NumberedRows, Reopening, SetAside

SET_ASIDES = text("""
    SELECT statement_id, signature_id, pool_component_id, inputs_signature_id, reason, actor, set_aside_at
    FROM set_asides
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND num_nonnulls(correction_id, signing_request_id) = 0
    ORDER BY id
""")
# A command is one transaction, and so one instant.
NUMBERED_ASIDE = text("""
    SELECT CASE WHEN correction_id IS NULL THEN 'request' ELSE 'correction' END AS kind, reason, actor, set_aside_at,
        min(COALESCE(correction_id, signing_request_id)) AS first,
        max(COALESCE(correction_id, signing_request_id)) AS last
    FROM set_asides
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND num_nonnulls(correction_id, signing_request_id) = 1
    GROUP BY 1, reason, actor, set_aside_at ORDER BY set_aside_at, first
""")
SET_ASIDE = text("""
    INSERT INTO set_asides
        (node_id, epoch_id, statement_id, signature_id, pool_component_id, inputs_signature_id, reason)
    SELECT node_id, epoch_id, id, CAST(NULL AS uuid), CAST(NULL AS uuid), CAST(NULL AS uuid), :reason
        FROM payout_statements WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
    UNION ALL
    SELECT statement.node_id, statement.epoch_id, statement.id, signature.id, NULL, NULL, :reason
        FROM statement_signatures AS signature JOIN payout_statements AS statement ON statement.id = statement_id
        WHERE signature.id = :row_id AND statement.node_id = :node_id AND statement.epoch_id = :epoch_id
    UNION ALL
    SELECT node_id, epoch_id, NULL, NULL, id, NULL, :reason FROM epoch_pool_components
        WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
    UNION ALL
    SELECT node_id, epoch_id, NULL, NULL, NULL, id, :reason FROM statement_inputs_signatures
        WHERE id = :row_id AND node_id = :node_id AND epoch_id = :epoch_id
""")
# Of each kind its table, and what names a row of it that was set aside.
NUMBERED = {
    Numbered.CORRECTION: ("statement_corrections", "correction_id"),
    Numbered.REQUEST: ("signing_requests", "signing_request_id"),
}
LOCK_EPOCH_OF_NUMBER = """
    SELECT id FROM epochs WHERE id = (
        SELECT epoch_id FROM {table} AS numbered
        WHERE node_id = :node_id AND id BETWEEN :first AND :last AND NOT EXISTS (
            SELECT FROM set_asides WHERE {column} = numbered.id
        )
        ORDER BY id LIMIT 1
    ) FOR UPDATE
"""
SET_NUMBERED_ASIDE = """
    INSERT INTO set_asides (node_id, epoch_id, {column}, reason)
    SELECT node_id, epoch_id, id, :reason FROM {table} AS numbered
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND id BETWEEN :first AND :last AND NOT EXISTS (
        SELECT FROM set_asides WHERE {column} = numbered.id
    )
    ORDER BY id
"""
EPOCH_OF = text("""
    SELECT epoch_id FROM payout_statements WHERE id = :row_id AND node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM statement_signatures AS signature
        JOIN payout_statements AS statement ON statement.id = signature.statement_id
        WHERE signature.id = :row_id AND statement.node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM epoch_pool_components WHERE id = :row_id AND node_id = :node_id
    UNION ALL
    SELECT epoch_id FROM statement_inputs_signatures WHERE id = :row_id AND node_id = :node_id
""")
REOPEN = text("INSERT INTO reopenings (node_id, epoch_id, reason) VALUES (:node_id, :epoch_id, :reason)")
REOPENINGS = text("""
    SELECT closed_at, reason, actor, reopened_at FROM reopenings
    WHERE node_id = :node_id AND epoch_id = :epoch_id ORDER BY id
""")


def stored_set_asides(connection: Connection, of_epoch: dict[str, object]) -> list[SetAside]:
    """What was set aside of an epoch: rows that have ids, then rows that have numbers, in the order it was done."""
    return [
        *(SetAside(**row._mapping) for row in connection.execute(SET_ASIDES, of_epoch)),
        *(_numbered_aside(**row._mapping) for row in connection.execute(NUMBERED_ASIDE, of_epoch)),
    ]


def epoch_of_row(connection: Connection, node_id: UUID, row_id: UUID) -> int | None:
    """The epoch that a row of that id, of any of the four kinds, belongs to; None where the node has none."""
    epoch_id: int | None = connection.scalar(EPOCH_OF, {"row_id": row_id, "node_id": node_id})
    return epoch_id


def set_row_aside(connection: Connection, of_epoch: dict[str, object], row_id: UUID, reason: str) -> None:
    """Take a row of that id out of the epoch, whichever of the four kinds it is of."""
    connection.execute(SET_ASIDE, {**of_epoch, "row_id": row_id, "reason": reason})


def set_numbers_aside(connection: Connection, node_id: UUID, rows: NumberedRows, reason: str) -> int:
    """Take out those rows that are of the epoch of the first there is, which is locked meanwhile; how many."""
    table, column = NUMBERED[rows.kind]
    parameters = {"node_id": node_id, "first": rows.first, "last": rows.last, "reason": reason}
    epoch_id = connection.scalar(text(LOCK_EPOCH_OF_NUMBER.format(table=table, column=column)), parameters)
    set_aside = text(SET_NUMBERED_ASIDE.format(table=table, column=column))
    return connection.execute(set_aside, {**parameters, "epoch_id": epoch_id}).rowcount


def reopen(connection: Connection, of_epoch: dict[str, object], reason: str) -> None:
    """Open an epoch again: triggers keep what it had closed with, and set its base issuance aside."""
    connection.execute(REOPEN, {**of_epoch, "reason": reason})


def stored_reopenings(connection: Connection, of_epoch: dict[str, object]) -> list[Reopening]:
    """When an epoch was opened again, oldest first."""
    return [Reopening(**row._mapping) for row in connection.execute(REOPENINGS, of_epoch)]


def _numbered_aside(kind: str, first: int, last: int, **decided: Any) -> SetAside:
    return SetAside(None, None, None, None, numbered=NumberedRows(Numbered(kind), first, last), **decided)
