"""A statement is written: with its signatures, and where it is an epoch's first, with the epoch's last step."""

from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.store.collected_signatures import put_under
from ledger_pipeline.store.statement_records import SameStatement, SignedStatement

# Held to the commit by whoever makes a statement of the node: so statements are stamped in the order in which they can
# be seen, and whoever asks for those made after one that was seen misses none.
LOCK_STAMPS = text("SELECT pg_advisory_xact_lock(hashtextextended('payout_statements ' || :node_id, 0))")
# Later than any other, whatever the clock says meanwhile.
INSERT_STATEMENT = text("""
    INSERT INTO payout_statements
        (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, supersedes_statement_id, created_at)
    SELECT :node_id, :epoch_id, :allocation_set_hash, :pool_total_credits, :payouts, :supersedes,
        GREATEST(clock_timestamp(), max(created_at) + interval '1 microsecond')
    FROM payout_statements WHERE node_id = :node_id
    RETURNING id
""").bindparams(bindparam("payouts", type_=JSONB))
INSERT_SIGNATURE = text("""
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature, scheme)
    VALUES (:node_id, :statement_id, :signer_wallet, :signature, :scheme)
    ON CONFLICT DO NOTHING
""")
INSERT_INPUTS_SIGNATURE = text("""
    INSERT INTO statement_inputs_signatures (node_id, epoch_id, statement_id, signer_wallet, inputs_root, signature)
    VALUES (:node_id, :epoch_id, :statement_id, :signer_wallet, :inputs_root, :signature)
    ON CONFLICT DO NOTHING
""")
FINALIZE_EPOCH = text("""
    UPDATE epochs SET status = 'finalized', pool_total_credits = :pool_total_credits
    WHERE id = :epoch_id AND node_id = :node_id AND status = 'review'
""")


def state(connection: Connection, of_epoch: dict[str, object], signed: SignedStatement) -> UUID:
    """Write the statement with every signature that it stands by; its id. The epoch is locked meanwhile."""
    numbers = {**of_epoch, "pool_total_credits": signed.pool_total_credits}
    connection.execute(LOCK_STAMPS, {"node_id": str(of_epoch["node_id"])})
    statement_id: UUID = connection.execute(
        INSERT_STATEMENT,
        {
            **numbers,
            "allocation_set_hash": signed.allocation_set_hash,
            "payouts": [payout.to_json() for payout in signed.payouts],
            "supersedes": signed.supersedes,
        },
    ).scalar_one()
    if signed.collected:
        put_under(connection, of_epoch, statement_id, list(signed.collected))
    sign(connection, of_epoch, statement_id, signed)
    if signed.supersedes is None:
        connection.execute(FINALIZE_EPOCH, numbers)
    return statement_id


def sign(
    connection: Connection, of_epoch: dict[str, object], statement_id: UUID, signed: SignedStatement | SameStatement
) -> None:
    """Write a signature under a statement, and that of its inputs where there is one."""
    parameters = {
        **of_epoch,
        "statement_id": statement_id,
        "signer_wallet": signed.signer_wallet,
        "signature": signed.signature,
        "scheme": signed.scheme,
    }
    connection.execute(INSERT_SIGNATURE, parameters)
    if signed.inputs is not None:
        connection.execute(INSERT_INPUTS_SIGNATURE, {**parameters, **vars(signed.inputs)})
