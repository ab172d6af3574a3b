"""The tables of what is signed as the migrations leave them: what was handed out to be signed, and by whom it was.

Their rows are of statements, which `settlement_schema` has with all else.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
    Uuid,
    text,
)

from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.store.columns import required, row_id, since, table
from ledger_pipeline.store.curation_schema import of_epoch

WALLET = "signer_wallet ~ '^0x[0-9a-fA-F]{40}$'"
# As `core.signatures.canonical_signature` spells it: s is no more than half of the order of the curve.
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SIGNATURE = f"""signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'"""
SCHEME = f"scheme IN ({', '.join(map(repr, map(str, Scheme)))})"


def names_statement(column: str) -> ForeignKeyConstraint:
    """What `column` names is a statement of the row's own epoch."""
    return ForeignKeyConstraint([column, "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"])


signing_requests = table(
    "signing_requests",
    Column("id", BigInteger, primary_key=True),
    *of_epoch(),
    required("allocation_set_hash"),
    required("pool_total_credits", BigInteger),
    since("requested_at"),
    Column("supersedes_statement_id", Uuid),
    required("attempt", Integer, server_default=text("0")),
    names_statement("supersedes_statement_id"),
    UniqueConstraint("id", "epoch_id"),
    Index("signing_requests_numbers", "epoch_id", "allocation_set_hash", "pool_total_credits"),
    Index("signing_requests_latest", "node_id", "id"),
    Index(
        "signing_requests_once",
        *("epoch_id", "allocation_set_hash", "pool_total_credits", "supersedes_statement_id", "attempt"),
        unique=True,
        postgresql_where=text("supersedes_statement_id IS NOT NULL"),
    ),
    Index(
        "signing_requests_first_once",
        *("epoch_id", "allocation_set_hash", "pool_total_credits", "attempt"),
        unique=True,
        postgresql_where=text("supersedes_statement_id IS NULL"),
    ),
)

collected_signatures = table(
    "collected_signatures",
    row_id(),
    *of_epoch(),
    required("request_id", BigInteger),
    required("signer_wallet"),
    required("signature"),
    required("scheme"),
    since("signed_at"),
    UniqueConstraint("node_id", "request_id", "signer_wallet", "signature", "scheme", name="collected_signatures_once"),
    CheckConstraint(SCHEME, name="scheme"),
    CheckConstraint(WALLET, name="signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
    ForeignKeyConstraint(["request_id", "epoch_id"], ["signing_requests.id", "signing_requests.epoch_id"]),
    Index("collected_signatures_epoch", "epoch_id"),
)

statement_signatures = table(
    "statement_signatures",
    row_id(),
    required("node_id", Uuid),
    required("statement_id", Uuid, ForeignKey("payout_statements.id")),
    required("signer_wallet"),
    required("signature"),
    since("signed_at"),
    required("scheme", server_default=text("'eip191-payout-v1'")),
    UniqueConstraint("statement_id", "signer_wallet", "signature", "scheme", name="statement_signatures_once"),
    CheckConstraint(SCHEME, name="scheme"),
    CheckConstraint(WALLET, name="signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
    Index("statement_signatures_key", text("\"left\"(replace(lower(signature), '0x', ''), 64)")),
)

statement_inputs_signatures = table(
    "statement_inputs_signatures",
    row_id(),
    *of_epoch(),
    required("statement_id", Uuid),
    required("signer_wallet"),
    required("inputs_root"),
    required("signature"),
    since("signed_at"),
    UniqueConstraint(
        *("statement_id", "signer_wallet", "inputs_root", "signature"), name="statement_inputs_signatures_once"
    ),
    CheckConstraint("inputs_root ~ '^[0-9a-f]{64}$'", name="inputs_root"),
    CheckConstraint(WALLET, name="signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
    names_statement("statement_id"),
)
