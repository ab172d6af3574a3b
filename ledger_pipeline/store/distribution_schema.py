"""The tables of distributions as the migrations leave them: where tokens are sent, and what was distributed to whom."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, ForeignKeyConstraint, Index, Text, Uuid, text

from ledger_pipeline.store.columns import json, required, since, table
from ledger_pipeline.store.settlement_schema import payout_statements
from ledger_pipeline.store.signing_schema import SIGNATURE, WALLET

metadata = payout_statements.metadata
ACTOR = text("session_user")


def _address(column: str) -> CheckConstraint:
    return CheckConstraint(WALLET.replace("signer_wallet", column), name=column)


def _hash(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} ~ '^0x[0-9a-f]{{64}}$'", name=column)


def _amount(column: str) -> CheckConstraint:
    """A whole number of 256 bits, which no integer of Postgres holds; the first half is read only of digits."""
    is_amount = (
        f"CASE WHEN {column} ~ '^[1-9][0-9]{{0,77}}$' THEN {column}::numeric < 2::numeric ^ 256 ELSE {column} = '0' END"
    )
    return CheckConstraint(is_amount, name=column)


payout_wallets = table(
    "payout_wallets",
    Column("node_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    json("wallets", longest_kilobytes=1900),
    required("reason"),
    required("approver"),
    required("approver_signature"),
    required("actor", server_default=ACTOR),
    since("recorded_at"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    _address("approver"),
    CheckConstraint(SIGNATURE.replace("signature", "approver_signature"), name="approver_signature"),
)

distributions = table(
    "distributions",
    Column("node_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    required("scope_id", Uuid),
    required("chain_id", BigInteger),
    required("token_address"),
    required("amount"),
    required("statement_hash"),
    required("merkle_root"),
    required("manifest_hash"),
    required("actor", server_default=ACTOR),
    since("made_at"),
    CheckConstraint("chain_id BETWEEN 1 AND 9007199254740991", name="chain_id"),
    _address("token_address"),
    _amount("amount"),
    *(_hash(column) for column in ("statement_hash", "merkle_root", "manifest_hash")),
)

distribution_epochs = table(
    "distribution_epochs",
    Column("node_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True, autoincrement=False),
    required("statement_id", Uuid),
    required("amount"),
    ForeignKeyConstraint(["node_id", "number"], ["distributions.node_id", "distributions.number"]),
    ForeignKeyConstraint(["statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]),
    _amount("amount"),
)

# One claimant's line of an epoch has one place behind those that the owner set aside.
distribution_lines = table(
    "distribution_lines",
    Column("node_id", Uuid, primary_key=True),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True, autoincrement=False),
    Column("claimant_key", Text, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    required("number", BigInteger),
    required("credits", BigInteger),
    required("amount"),
    required("account"),
    json("receipts", longest_kilobytes=1900),
    ForeignKeyConstraint(
        ["node_id", "number", "epoch_id"],
        ["distribution_epochs.node_id", "distribution_epochs.number", "distribution_epochs.epoch_id"],
    ),
    _amount("amount"),
    _address("account"),
    Index("distribution_lines_number", "node_id", "number"),
)

distribution_set_asides = table(
    "distribution_set_asides",
    Column("node_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    required("reason"),
    required("actor", server_default=ACTOR),
    since("set_aside_at"),
    ForeignKeyConstraint(["node_id", "number"], ["distributions.node_id", "distributions.number"]),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)

distribution_signatures = table(
    "distribution_signatures",
    Column("node_id", Uuid, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("signer_wallet", Text, primary_key=True),
    Column("signature", Text, primary_key=True),
    since("signed_at"),
    ForeignKeyConstraint(["node_id", "number"], ["distributions.node_id", "distributions.number"]),
    _address("signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
)
