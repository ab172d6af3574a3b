"""The tables of settlement as the migrations leave them: who is who, what counts, who is paid."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.store.columns import INSTANT, json, required, row_id, since, table
from ledger_pipeline.store.curation_schema import of_epoch
from ledger_pipeline.store.opt_out_schema import metadata as metadata_of_opt_outs
from ledger_pipeline.store.signing_schema import SIGNATURE, WALLET, names_statement

# What a link of an account has beside its user, by what it rests on.
EVIDENCE = """CASE rests_on
    WHEN 'before_evidence' THEN
        num_nonnulls(reason, wallet, message, signature, nonce, proof_url, approver, approver_signature) = 0
    WHEN 'operator' THEN ledger_is_reason(reason) AND num_nonnulls(wallet, message, signature, nonce) IN (0, 4)
        AND num_nonnulls(proof_url, approver, approver_signature) = 0
    WHEN 'proof' THEN num_nonnulls(wallet, message, signature, nonce, proof_url) = 5
        AND num_nonnulls(reason, approver, approver_signature) = 0
    WHEN 'approver' THEN num_nonnulls(wallet, message, signature, nonce, approver, approver_signature) = 6
        AND num_nonnulls(reason, proof_url) = 0
    ELSE false
END"""

# With the tables of `schema`, `curation_schema` and `opt_out_schema`, every table but those of distributions.
metadata = metadata_of_opt_outs


epoch_allocations = table(
    "epoch_allocations",
    row_id(),
    *of_epoch(),
    required("user_id"),
    required("proposed_units", BigInteger),
    Column("final_units", BigInteger),
    Column("override_reason", Text),
    required("activity_count", Integer),
    since("created_at"),
    since("updated_at"),
    UniqueConstraint("epoch_id", "user_id"),
)

epoch_pool_components = table(
    "epoch_pool_components",
    row_id(),
    *of_epoch(),
    required("component_id"),
    required("algorithm_version"),
    json("inputs_json"),
    required("amount_credits", BigInteger),
    Column("evidence_ref", Text),
    since("computed_at"),
    required("attempt", Integer, server_default=text("0")),
    UniqueConstraint("epoch_id", "component_id", "attempt"),
    CheckConstraint("amount_credits BETWEEN 0 AND 1000000000000000000", name="amount_credits"),
)

payout_statements = table(
    "payout_statements",
    row_id(),
    *of_epoch(),
    required("allocation_set_hash"),
    required("pool_total_credits", BigInteger),
    json("payouts_json", kind="payouts"),
    Column("supersedes_statement_id", Uuid),
    since("created_at"),
    required("attempt", Integer, server_default=text("0")),
    CheckConstraint("pool_total_credits >= 0", name="pool_total_credits"),
    UniqueConstraint("id", "epoch_id"),
    UniqueConstraint("supersedes_statement_id", "attempt"),
    names_statement("supersedes_statement_id"),
    Index(
        "payout_statements_one_original",
        *("node_id", "epoch_id", "attempt"),
        unique=True,
        postgresql_where=text("supersedes_statement_id IS NULL"),
    ),
)

statement_corrections = table(
    "statement_corrections",
    Column("id", BigInteger, primary_key=True),
    *of_epoch(),
    required("supersedes_statement_id", Uuid),
    required("user_id"),
    required("units", BigInteger),
    required("reason"),
    since("created_at"),
    CheckConstraint("units >= 0", name="units"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    names_statement("supersedes_statement_id"),
    Index("statement_corrections_statement", "supersedes_statement_id"),
)

set_asides = table(
    "set_asides",
    Column("id", BigInteger, primary_key=True),
    *of_epoch(),
    Column("statement_id", Uuid),
    Column("signature_id", Uuid, ForeignKey("statement_signatures.id"), unique=True),
    required("reason"),
    required("actor", server_default=text("session_user")),
    since("set_aside_at"),
    Column("pool_component_id", Uuid, ForeignKey("epoch_pool_components.id"), unique=True),
    Column("inputs_signature_id", Uuid, ForeignKey("statement_inputs_signatures.id"), unique=True),
    Column("correction_id", BigInteger, ForeignKey("statement_corrections.id"), unique=True),
    Column("signing_request_id", BigInteger, ForeignKey("signing_requests.id"), unique=True),
    CheckConstraint(
        "num_nonnulls(statement_id, pool_component_id, inputs_signature_id, correction_id, signing_request_id) = 1",
        name="one_row",
    ),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    names_statement("statement_id"),
    Index("set_asides_statement", "statement_id", unique=True, postgresql_where=text("signature_id IS NULL")),
)

reopenings = table(
    "reopenings",
    Column("id", BigInteger, primary_key=True),
    *of_epoch(),
    Column("closed_at", INSTANT),
    Column(
        "pinned",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        info={"kind": "object", "longest_bytes": 1_028_000},
    ),
    required("reason"),
    required("actor", server_default=text("session_user")),
    since("reopened_at"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)

# The present bindings: the database writes them, as links are appended.
user_bindings = table(
    "user_bindings",
    row_id(),
    required("node_id", Uuid),
    required("user_id"),
    required("provider"),
    required("external_id"),
    since("created_at"),
    UniqueConstraint("node_id", "provider", "external_id"),
)

# Every binding there was of an account, by its place, with what it rests on.
account_links = table(
    "account_links",
    Column("node_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    required("user_id"),
    required("rests_on"),
    Column("reason", Text),
    Column("wallet", Text),
    Column("message", Text),
    Column("signature", Text),
    Column("nonce", Text),
    Column("proof_url", Text),
    Column("approver", Text),
    Column("approver_signature", Text),
    required("actor", server_default=text("session_user")),
    since("linked_at"),
    UniqueConstraint("node_id", "nonce"),
    CheckConstraint("place >= 1", name="place"),
    CheckConstraint(EVIDENCE, name="evidence"),
    CheckConstraint(WALLET.replace("signer_wallet", "wallet"), name="wallet"),
    CheckConstraint(WALLET.replace("signer_wallet", "approver"), name="approver"),
    CheckConstraint(SIGNATURE, name="signature"),
    CheckConstraint(SIGNATURE.replace("signature", "approver_signature"), name="approver_signature"),
    CheckConstraint("nonce ~ '^[0-9a-f]{32}$'", name="nonce"),
)
