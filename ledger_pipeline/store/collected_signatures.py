"""Signatures that are collected until as many approvers as an epoch closed with have signed the same numbers.

They stand beside the request by which these numbers were handed out, for ever. What is set aside with it counts no
more.
"""

from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.store.signing_requests import number_of
from ledger_pipeline.store.statement_records import CollectedSignature, OneOfSeveral, StatedNumbers

COLLECTED = text("""
    SELECT collected.id, request.allocation_set_hash, request.pool_total_credits,
        request.supersedes_statement_id AS supersedes, collected.signer_wallet, collected.signature,
        collected.signed_at, collected.scheme
    FROM collected_signatures AS collected JOIN signing_requests AS request ON request.id = collected.request_id
    WHERE collected.epoch_id = :epoch_id AND collected.node_id = :node_id AND NOT EXISTS (
        SELECT FROM set_asides AS aside WHERE aside.signing_request_id = request.id
    )
    ORDER BY collected.signed_at, collected.id
""")
COLLECT = text("""
    INSERT INTO collected_signatures (node_id, epoch_id, request_id, signer_wallet, signature, scheme)
    VALUES (:node_id, :epoch_id, :request_id, :signer_wallet, :signature, :scheme)
""")
WAITING_EPOCHS = text("""
    SELECT DISTINCT collected.epoch_id
    FROM collected_signatures AS collected JOIN signing_requests AS request ON request.id = collected.request_id
    WHERE collected.node_id = :node_id AND NOT EXISTS (
        SELECT FROM set_asides AS aside WHERE aside.signing_request_id = request.id
    ) AND NOT EXISTS (
        SELECT FROM payout_statements AS statement
        WHERE statement.node_id = :node_id AND statement.epoch_id = request.epoch_id
            AND statement.allocation_set_hash = request.allocation_set_hash
            AND statement.pool_total_credits = request.pool_total_credits
    )
""")
# When each approver signed stays what it was.
PUT_UNDER_STATEMENT = text("""
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature, signed_at, scheme)
    SELECT node_id, :statement_id, signer_wallet, signature, signed_at, scheme FROM collected_signatures
    WHERE id = ANY(:ids) AND epoch_id = :epoch_id AND node_id = :node_id
    ORDER BY signed_at, id
""")


def stored(connection: Connection, of_epoch: dict[str, object]) -> list[CollectedSignature]:
    """All of an epoch but those whose request was set aside, oldest first."""
    return [
        CollectedSignature(
            row.id,
            StatedNumbers(row.allocation_set_hash, row.pool_total_credits, row.supersedes),
            row.signer_wallet,
            row.signature,
            row.signed_at,
            row.scheme,
        )
        for row in connection.execute(COLLECTED, of_epoch)
    ]


def waiting_epochs(connection: Connection, node_id: UUID) -> set[int]:
    """The node's epochs that have signatures of numbers which no statement has."""
    return set(connection.scalars(WAITING_EPOCHS, {"node_id": node_id}))


def collect(connection: Connection, of_epoch: dict[str, object], signed: OneOfSeveral) -> None:
    """Keep a signature beside its numbers. Raises StoreError where another row is in their place."""
    request_id = number_of(connection, of_epoch, signed.numbers)
    if request_id is None:
        raise StoreError(
            f"the ledger did not keep which numbers of epoch {of_epoch['epoch_id']} were signed, so the signature is "
            "not kept: another row of signing_requests is in their place; ask the owner of the ledger"
        )
    row = {"signer_wallet": signed.signer_wallet, "signature": signed.signature, "scheme": signed.scheme}
    connection.execute(COLLECT, {**of_epoch, **row, "request_id": request_id})


def put_under(connection: Connection, of_epoch: dict[str, object], statement_id: UUID, ids: list[UUID]) -> None:
    """Write those that were collected under the statement that is made of their numbers."""
    connection.execute(PUT_UNDER_STATEMENT, {**of_epoch, "statement_id": statement_id, "ids": ids})
