"""The ledger's tables as the migrations leave them, for queries. A test compares the two, constraint by constraint.

Triggers are not here: they live in the migrations, and in the database, which refuses whoever asks.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, ExcludeConstraint

# The names Postgres itself gives.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Longer than other text: what a person or a source says.
LONG_TEXTS = ("artifact_url", "platform_login", "note", "override_reason", "evidence_ref", "reason", "unread_reason")
WALLET = "signer_wallet ~ '^0x[0-9a-fA-F]{40}$'"
# As `core.signatures.canonical_signature` spells it: s is no more than half of the order of the curve.
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SIGNATURE = f"""signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'"""
INSTANT = TIMESTAMP(timezone=True)
NOW = text("now()")


def _id() -> Column[Any]:
    return Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()"))


def _since(name: str) -> Column[Any]:
    return Column(name, INSTANT, nullable=False, server_default=NOW)


def _required(name: str, type_: Any = Text, *more: Any, **options: Any) -> Column[Any]:
    return Column(name, type_, *more, nullable=False, **options)


def _json(name: str, kind: str = "object", *, longest_kilobytes: int = 64, nullable: bool = False) -> Column[Any]:
    return Column(name, JSONB, nullable=nullable, info={"kind": kind, "longest_bytes": 1000 * longest_kilobytes})


epochs = Table(
    "epochs",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("status", server_default="open"),
    _required("period_start", INSTANT),
    _required("period_end", INSTANT),
    _json("weight_config"),
    Column("pool_total_credits", BigInteger),
    _since("opened_at"),
    Column("closed_at", INSTANT),
    _since("created_at"),
    _required("scope_id", Uuid),
    Column("allocation_algo_ref", Text),
    Column("weight_config_hash", Text),
    Column("approver_set_hash", Text),
    _json("pinned_spec", longest_kilobytes=1000, nullable=True),
    UniqueConstraint("node_id", "scope_id", "period_start", "period_end"),
    CheckConstraint("status IN ('open', 'review', 'finalized')", name="status"),
    CheckConstraint("period_start < period_end", name="period"),
    ExcludeConstraint(
        (text("tstzrange(period_start, period_end, '[)')"), "&&"),
        (text("uuid_range(node_id, node_id, '[]')"), "&&"),
        (text("uuid_range(scope_id, scope_id, '[]')"), "&&"),
        name="epochs_never_overlap",
    ),
)

scope_calendars = Table(
    "scope_calendars",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    _required("epoch_length_days", Integer),
    _since("pinned_at"),
    CheckConstraint(
        "epoch_length_days = 1 OR (epoch_length_days BETWEEN 7 AND 84 AND epoch_length_days % 7 = 0)",
        name="epoch_length_days",
    ),
)

activity_events = Table(
    "activity_events",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("id", Text, primary_key=True),
    _required("source"),
    _required("event_type"),
    _required("platform_user_id"),
    _required("platform_login"),
    _required("artifact_url"),
    _json("metadata"),
    _required("payload_hash"),
    _required("producer"),
    _required("producer_version"),
    _required("event_time", INSTANT),
    _required("retrieved_at", INSTANT),
    _since("ingested_at"),
    Column("source_object_id", Text),
    Index(
        "activity_events_source_object",
        *("node_id", "scope_id", "source", "event_type", "source_object_id"),
        unique=True,
        postgresql_where=text("source_object_id IS NOT NULL"),
    ),
    Index(
        "activity_events_time",
        *("node_id", "scope_id", "event_time"),
        postgresql_where=text("event_time IS NOT NULL"),
    ),
)

rejected_events = Table(
    "rejected_events",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("scope_id", Uuid),
    _required("event_id"),
    _required("source"),
    _required("event_type"),
    _required("platform_user_id"),
    _required("platform_login"),
    _required("artifact_url"),
    _json("metadata"),
    _required("payload_hash"),
    Column("source_object_id", Text),
    _required("event_time", INSTANT),
    _required("reason"),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("producer"),
    _required("producer_version"),
    _required("retrieved_at", INSTANT),
    _since("rejected_at"),
    CheckConstraint("reason IN ('conflict', 'late', 'replaced')", name="reason"),
    Index(
        "rejected_events_once",
        *("node_id", "scope_id", "event_id", "payload_hash", "reason", "event_time", "source", "event_type"),
        text("COALESCE((metadata ->> 'repository'::text), ''::text)"),
        unique=True,
    ),
    Index("rejected_events_time", "node_id", "scope_id", "event_time"),
)

source_cursors = Table(
    "source_cursors",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("source_scope", Text, primary_key=True),
    _required("cursor_value", INSTANT),
    _required("retrieved_at", INSTANT),
    Column("covered_from", INSTANT),
    Column("source_scope_id", Text),
    Column("source_total", BigInteger),
    CheckConstraint("covered_from <= cursor_value", name="coverage"),
)

skipped_activity = Table(
    "skipped_activity",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("event_id", Text, primary_key=True),
    _required("source"),
    _required("stream"),
    _required("source_scope"),
    _required("event_type"),
    _required("reason"),
    _required("event_time", INSTANT),
    _required("retrieved_at", INSTANT),
    _since("recorded_at"),
    Index("skipped_activity_time", "node_id", "scope_id", "event_time"),
)

scan_receipts = Table(
    "scan_receipts",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("scope_id", Uuid),
    _required("period_start", INSTANT),
    _required("period_end", INSTANT),
    _required("source"),
    _required("stream"),
    _required("source_scope"),
    _required("source_scope_name"),
    _required("covered_from", INSTANT),
    _required("covered_to", INSTANT),
    _required("pages", Integer),
    _required("seen", Integer),
    _json("skipped_by_reason"),
    Column("first_updated_at", INSTANT),
    Column("last_updated_at", INSTANT),
    Column("source_total", BigInteger),
    _since("recorded_at"),
    Column("source_scope_id", Text),
    CheckConstraint("covered_from <= covered_to", name="coverage"),
    Index("scan_receipts_window", "node_id", "scope_id", "source", "period_start", "period_end"),
)

scan_checkpoints = Table(
    "scan_checkpoints",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("source_scope", Text, primary_key=True),
    _required("watermark", INSTANT),
    _required("saved_at", INSTANT),
    _json("state", longest_kilobytes=1900),
)

unread_items = Table(
    "unread_items",
    metadata,
    Column("node_id", Uuid, primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("source_scope", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _required("reason"),
    Column("earliest", INSTANT),
    _required("latest", INSTANT),
    _required("since", INSTANT),
    _required("last_tried_at", INSTANT),
    Column("read_from", INSTANT),
    CheckConstraint("number > 0 OR (number = 0 AND read_from IS NOT NULL)", name="number"),
)

left_out_items = Table(
    "left_out_items",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("source"),
    _required("source_scope"),
    _required("kind"),
    _required("number", BigInteger),
    _required("unread_reason"),
    _required("unread_since", INSTANT),
    _required("actor"),
    _required("reason"),
    _since("left_out_at"),
    UniqueConstraint(
        *("node_id", "epoch_id", "source", "source_scope", "kind", "number", "left_out_at"), name="left_out_items_once"
    ),
    CheckConstraint("number >= 0", name="number"),
    CheckConstraint("ledger_is_reason(actor)", name="actor"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)

activity_curation = Table(
    "activity_curation",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("event_id"),
    Column("user_id", Text),
    _required("included", Boolean, server_default=text("true")),
    Column("weight_override_milli", BigInteger),
    Column("note", Text),
    _since("created_at"),
    _since("updated_at"),
    UniqueConstraint("epoch_id", "event_id"),
    CheckConstraint("weight_override_milli BETWEEN 0 AND 9007199254740991", name="weight_override_milli"),
)

epoch_allocations = Table(
    "epoch_allocations",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("user_id"),
    _required("proposed_units", BigInteger),
    Column("final_units", BigInteger),
    Column("override_reason", Text),
    _required("activity_count", Integer),
    _since("created_at"),
    _since("updated_at"),
    UniqueConstraint("epoch_id", "user_id"),
)

epoch_pool_components = Table(
    "epoch_pool_components",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("component_id"),
    _required("algorithm_version"),
    _json("inputs_json"),
    _required("amount_credits", BigInteger),
    Column("evidence_ref", Text),
    _since("computed_at"),
    _required("attempt", Integer, server_default=text("0")),
    UniqueConstraint("epoch_id", "component_id", "attempt"),
    CheckConstraint("amount_credits BETWEEN 0 AND 1000000000000000000", name="amount_credits"),
)

payout_statements = Table(
    "payout_statements",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("allocation_set_hash"),
    _required("pool_total_credits", BigInteger),
    _json("payouts_json", kind="payouts"),
    Column("supersedes_statement_id", Uuid),
    _since("created_at"),
    _required("attempt", Integer, server_default=text("0")),
    CheckConstraint("pool_total_credits >= 0", name="pool_total_credits"),
    UniqueConstraint("id", "epoch_id"),
    UniqueConstraint("supersedes_statement_id", "attempt"),
    ForeignKeyConstraint(
        ["supersedes_statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]
    ),
    Index(
        "payout_statements_one_original",
        *("node_id", "epoch_id", "attempt"),
        unique=True,
        postgresql_where=text("supersedes_statement_id IS NULL"),
    ),
)

statement_inputs_signatures = Table(
    "statement_inputs_signatures",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("statement_id", Uuid),
    _required("signer_wallet"),
    _required("inputs_root"),
    _required("signature"),
    _since("signed_at"),
    UniqueConstraint(
        *("statement_id", "signer_wallet", "inputs_root", "signature"), name="statement_inputs_signatures_once"
    ),
    CheckConstraint("inputs_root ~ '^[0-9a-f]{64}$'", name="inputs_root"),
    CheckConstraint(WALLET, name="signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
    ForeignKeyConstraint(["statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]),
)

statement_corrections = Table(
    "statement_corrections",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("supersedes_statement_id", Uuid),
    _required("user_id"),
    _required("units", BigInteger),
    _required("reason"),
    _since("created_at"),
    CheckConstraint("units >= 0", name="units"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    ForeignKeyConstraint(
        ["supersedes_statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]
    ),
    Index("statement_corrections_statement", "supersedes_statement_id"),
)

signing_requests = Table(
    "signing_requests",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    _required("allocation_set_hash"),
    _required("pool_total_credits", BigInteger),
    _since("requested_at"),
    Column("supersedes_statement_id", Uuid),
    _required("attempt", Integer, server_default=text("0")),
    ForeignKeyConstraint(
        ["supersedes_statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]
    ),
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

statement_signatures = Table(
    "statement_signatures",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("statement_id", Uuid, ForeignKey("payout_statements.id")),
    _required("signer_wallet"),
    _required("signature"),
    _since("signed_at"),
    UniqueConstraint("statement_id", "signer_wallet", "signature"),
    CheckConstraint(WALLET, name="signer_wallet"),
    CheckConstraint(SIGNATURE, name="signature"),
    Index("statement_signatures_key", text("\"left\"(replace(lower(signature), '0x', ''), 64)")),
)

set_asides = Table(
    "set_asides",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    Column("statement_id", Uuid),
    Column("signature_id", Uuid, ForeignKey("statement_signatures.id"), unique=True),
    _required("reason"),
    _required("actor", server_default=text("session_user")),
    _since("set_aside_at"),
    Column("pool_component_id", Uuid, ForeignKey("epoch_pool_components.id"), unique=True),
    Column("inputs_signature_id", Uuid, ForeignKey("statement_inputs_signatures.id"), unique=True),
    Column("correction_id", BigInteger, ForeignKey("statement_corrections.id"), unique=True),
    Column("signing_request_id", BigInteger, ForeignKey("signing_requests.id"), unique=True),
    CheckConstraint(
        "num_nonnulls(statement_id, pool_component_id, inputs_signature_id, correction_id, signing_request_id) = 1",
        name="one_row",
    ),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
    ForeignKeyConstraint(["statement_id", "epoch_id"], ["payout_statements.id", "payout_statements.epoch_id"]),
    Index("set_asides_statement", "statement_id", unique=True, postgresql_where=text("signature_id IS NULL")),
)

reopenings = Table(
    "reopenings",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _required("node_id", Uuid),
    _required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    Column("closed_at", INSTANT),
    Column(
        "pinned",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        info={"kind": "object", "longest_bytes": 128_000},
    ),
    _required("reason"),
    _required("actor", server_default=text("session_user")),
    _since("reopened_at"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)

user_bindings = Table(
    "user_bindings",
    metadata,
    _id(),
    _required("node_id", Uuid),
    _required("user_id"),
    _required("provider"),
    _required("external_id"),
    _since("created_at"),
    UniqueConstraint("node_id", "provider", "external_id"),
)


def _check_every_column() -> None:
    """What holds of every column of a type, whichever table it is in: a new one has it too."""
    for table in metadata.tables.values():
        for column in table.columns:
            if column.type is INSTANT:
                readable = f"{column.name} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'"
                table.append_constraint(CheckConstraint(readable, name=f"{column.name}_instant"))
            if isinstance(column.type, Uuid) and column.name == "id":
                given = "id <> '00000000-0000-0000-0000-000000000000'::uuid"
                table.append_constraint(CheckConstraint(given, name="id"))
            if isinstance(column.type, Text):
                longest = 10_000 if column.name in LONG_TEXTS else 1_000
                table.append_constraint(
                    CheckConstraint(f"char_length({column.name}) <= {longest}", name=f"{column.name}_length")
                )
            if isinstance(column.type, Integer) and column.name not in ("id", "epoch_id"):
                table.append_constraint(CheckConstraint(f"{column.name} >= 0", name=f"{column.name}_sign"))
            if isinstance(column.type, JSONB):
                rule = f"ledger_is_plain_json({column.name}, '{column.info['kind']}', {column.info['longest_bytes']})"
                if column.info["kind"] == "payouts":
                    rule = f"ledger_is_payouts({column.name})"
                table.append_constraint(CheckConstraint(rule, name=f"{column.name}_json"))


_check_every_column()
