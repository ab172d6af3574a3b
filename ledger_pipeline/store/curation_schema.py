"""The tables of curation as the migrations leave them: which events count, by whose decision, and for whom."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Text, UniqueConstraint, Uuid, text

from ledger_pipeline.store.columns import json, required, row_id, since, table
from ledger_pipeline.store.schema import epochs

# With the tables of `schema`, where `epochs` is from.
metadata = epochs.metadata


def of_epoch() -> tuple[Column[Any], Column[Any]]:
    """The columns by which a row is of an epoch of a node."""
    return required("node_id", Uuid), required("epoch_id", BigInteger, ForeignKey("epochs.id"))


activity_curation = table(
    "activity_curation",
    row_id(),
    *of_epoch(),
    required("event_id"),
    Column("user_id", Text),
    required("included", Boolean, server_default=text("true")),
    Column("weight_override_milli", BigInteger),
    Column("note", Text),
    since("created_at"),
    since("updated_at"),
    required("follows_policy", Boolean, server_default=text("false")),
    UniqueConstraint("epoch_id", "event_id"),
    CheckConstraint("weight_override_milli BETWEEN 0 AND 9007199254740991", name="weight_override_milli"),
    CheckConstraint("NOT follows_policy OR (included AND weight_override_milli IS NULL)", name="follows_policy"),
)

activity_selection = table(
    "activity_selection",
    Column("node_id", Uuid, primary_key=True),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True),
    Column("event_id", Text, primary_key=True),
    required("included", Boolean),
    required("reason"),
    Column("weight_factor_milli", BigInteger),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    CheckConstraint("weight_factor_milli BETWEEN 0 AND 9007199254740991", name="weight_factor_milli"),
)

event_overrides = table(
    "event_overrides",
    Column("node_id", Uuid, primary_key=True),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("units", BigInteger),
    json("shares", nullable=True),
    json("replaced"),
    required("reason"),
    required("actor", server_default=text("session_user")),
    since("decided_at"),
    CheckConstraint("place >= 1", name="place"),
    CheckConstraint("units BETWEEN 0 AND 9007199254740991", name="units"),
    CheckConstraint("ledger_is_shares(shares)", name="shares"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)

activity_co_authors = table(
    "activity_co_authors",
    Column("node_id", Uuid, primary_key=True),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("user_id", Text),
    CheckConstraint("ledger_is_id(provider) AND ledger_is_account(provider, external_id)", name="account"),
    CheckConstraint("ledger_is_id(user_id)", name="user_id"),
)
