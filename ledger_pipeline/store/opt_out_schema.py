"""The table of opt-outs as the migrations leave it."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Text, UniqueConstraint, Uuid, text

from ledger_pipeline.store.columns import required, since, table
from ledger_pipeline.store.curation_schema import metadata as metadata_of_curation

# With the tables of `curation_schema`, and of `schema`.
metadata = metadata_of_curation

# Every choice of a claimant to take no pay, or to take it again, by its place.
opt_outs = table(
    "opt_outs",
    Column("node_id", Uuid, primary_key=True),
    Column("claimant", Text, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    required("is_opted_out", Boolean),
    Column("reason", Text),
    Column("wallet", Text),
    Column("message", Text),
    Column("signature", Text),
    Column("nonce", Text),
    required("actor", server_default=text("session_user")),
    since("chosen_at"),
    UniqueConstraint("node_id", "nonce"),
    CheckConstraint("place >= 1", name="place"),
    CheckConstraint("ledger_is_id(claimant) OR ledger_is_account_key(claimant)", name="claimant"),
    CheckConstraint(
        """CASE
            WHEN reason IS NULL THEN num_nonnulls(wallet, message, signature, nonce) = 4
            ELSE ledger_is_reason(reason) AND num_nonnulls(wallet, message, signature, nonce) = 0
        END""",
        name="evidence",
    ),
    CheckConstraint("wallet ~ '^0x[0-9a-fA-F]{40}$'", name="wallet"),
    CheckConstraint(
        """signature ~ '^0x[0-9a-f]{128}1[bc]$' AND substr(signature, 67, 64) COLLATE "C"
            <= '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0'""",
        name="signature",
    ),
    CheckConstraint("nonce ~ '^[0-9a-f]{32}$'", name="nonce"),
)
