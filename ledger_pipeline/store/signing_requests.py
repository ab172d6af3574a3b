"""Signing requests: what was handed out to be signed, kept so that a signature is known for what it is of."""

from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.store.statement_records import SigningRequest, StatedNumbers

REQUEST = text("""
    INSERT INTO signing_requests
        (node_id, epoch_id, allocation_set_hash, pool_total_credits, supersedes_statement_id)
    VALUES (:node_id, :epoch_id, :allocation_set_hash, :pool_total_credits, CAST(:supersedes AS uuid))
    ON CONFLICT DO NOTHING
""")
NUMBER_OF = text("""
    SELECT request.id FROM signing_requests AS request
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND allocation_set_hash = :allocation_set_hash
        AND pool_total_credits = :pool_total_credits
        AND supersedes_statement_id IS NOT DISTINCT FROM CAST(:supersedes AS uuid)
        AND NOT EXISTS (SELECT FROM set_asides WHERE signing_request_id = request.id)
    ORDER BY id LIMIT 1
""")
HANDED_OUT_ELSEWHERE = text("""
    SELECT id FROM signing_requests AS request
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND allocation_set_hash = :allocation_set_hash
        AND pool_total_credits = :pool_total_credits
        AND supersedes_statement_id IS DISTINCT FROM CAST(:supersedes AS uuid) AND NOT EXISTS (
            SELECT FROM set_asides
            WHERE signing_request_id = request.id
                OR (statement_id = request.supersedes_statement_id AND signature_id IS NULL)
        )
    ORDER BY id LIMIT :at_most
""")
RECENT_REQUESTS = text("""
    SELECT request.epoch_id, epoch.scope_id, request.allocation_set_hash, request.pool_total_credits,
        epoch.pinned_spec ->> 'chain_id' AS chain_id
    FROM signing_requests AS request JOIN epochs AS epoch ON epoch.id = request.epoch_id
    WHERE request.node_id = :node_id ORDER BY request.id DESC LIMIT :at_most
""")

# A signature is tried against the latest messages that were handed out, to say what it was for if not for this.
REQUESTS_REMEMBERED = 200
REQUESTS_NAMED = 10


def number_of(connection: Connection, of_epoch: dict[str, object], numbers: StatedNumbers) -> int | None:
    """The number of the request, which is kept once; None where another row is in its place."""
    parameters = {**of_epoch, **vars(numbers)}
    connection.execute(REQUEST, parameters)
    number: int | None = connection.scalar(NUMBER_OF, parameters)
    return number


def handed_out_elsewhere(connection: Connection, of_epoch: dict[str, object], numbers: StatedNumbers) -> list[int]:
    """The first REQUESTS_NAMED requests of these numbers for another place of the chain that stands."""
    return list(connection.scalars(HANDED_OUT_ELSEWHERE, {**of_epoch, **vars(numbers), "at_most": REQUESTS_NAMED}))


def recent_requests(connection: Connection, node_id: UUID) -> list[SigningRequest]:
    """The node's latest REQUESTS_REMEMBERED requests, latest first."""
    rows = connection.execute(RECENT_REQUESTS, {"node_id": node_id, "at_most": REQUESTS_REMEMBERED})
    return [SigningRequest(**row._mapping) for row in rows]
