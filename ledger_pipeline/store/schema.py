"""The tables of collection as the migrations leave them, for queries; `curation_schema`, `settlement_schema` and
`distribution_schema` have the others.

A test compares all with a migrated database, constraint by constraint. Triggers are not here: they live in the
migrations, and in the database, which refuses whoever asks.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from ledger_pipeline.store.columns import INSTANT, json, required, scope_key, since, table

epochs = table(
    "epochs",
    Column("id", BigInteger, primary_key=True),
    required("node_id", Uuid),
    required("status", server_default="open"),
    required("period_start", INSTANT),
    required("period_end", INSTANT),
    json("weight_config"),
    Column("pool_total_credits", BigInteger),
    since("opened_at"),
    Column("closed_at", INSTANT),
    since("created_at"),
    required("scope_id", Uuid),
    Column("allocation_algo_ref", Text),
    Column("weight_config_hash", Text),
    Column("approver_set_hash", Text),
    json("pinned_spec", longest_kilobytes=1000, nullable=True),
    Column("facts_set_hash", Text),
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

scope_calendars = table(
    "scope_calendars",
    *scope_key(),
    required("epoch_length_days", Integer),
    since("pinned_at"),
    CheckConstraint(
        "epoch_length_days = 1 OR (epoch_length_days BETWEEN 7 AND 84 AND epoch_length_days % 7 = 0)",
        name="epoch_length_days",
    ),
)

activity_events = table(
    "activity_events",
    *scope_key("id"),
    required("source"),
    required("event_type"),
    required("platform_user_id"),
    required("platform_login"),
    required("artifact_url"),
    json("metadata"),
    required("payload_hash"),
    required("producer"),
    required("producer_version"),
    required("event_time", INSTANT),
    required("retrieved_at", INSTANT),
    since("ingested_at"),
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

event_facts = table(
    "event_facts",
    *scope_key("event_id"),
    Column("recorded_at", INSTANT, primary_key=True, server_default=text("clock_timestamp()")),
    required("facts_hash"),
    json("facts", longest_kilobytes=1900),
    required("observed_at", INSTANT),
    required("producer"),
    required("producer_version"),
    CheckConstraint("facts_hash ~ '^[0-9a-f]{64}$'", name="facts_hash"),
)

rejected_events = table(
    "rejected_events",
    Column("id", BigInteger, primary_key=True),
    required("node_id", Uuid),
    required("scope_id", Uuid),
    required("event_id"),
    required("source"),
    required("event_type"),
    required("platform_user_id"),
    required("platform_login"),
    required("artifact_url"),
    json("metadata"),
    required("payload_hash"),
    Column("source_object_id", Text),
    required("event_time", INSTANT),
    required("reason"),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id")),
    required("producer"),
    required("producer_version"),
    required("retrieved_at", INSTANT),
    since("rejected_at"),
    CheckConstraint("reason IN ('conflict', 'late', 'replaced')", name="reason"),
    Index(
        "rejected_events_once",
        *("node_id", "scope_id", "event_id", "payload_hash", "reason", "event_time", "source", "event_type"),
        text("COALESCE((metadata ->> 'repository'::text), ''::text)"),
        unique=True,
    ),
    Index("rejected_events_time", "node_id", "scope_id", "event_time"),
)

source_cursors = table(
    "source_cursors",
    *scope_key("source", "stream", "source_scope"),
    required("cursor_value", INSTANT),
    required("retrieved_at", INSTANT),
    Column("covered_from", INSTANT),
    Column("source_scope_id", Text),
    Column("source_total", BigInteger),
    CheckConstraint("covered_from <= cursor_value", name="coverage"),
)

skipped_activity = table(
    "skipped_activity",
    *scope_key("event_id"),
    required("source"),
    required("stream"),
    required("source_scope"),
    required("event_type"),
    required("reason"),
    required("event_time", INSTANT),
    required("retrieved_at", INSTANT),
    since("recorded_at"),
    Index("skipped_activity_time", "node_id", "scope_id", "event_time"),
)

scan_receipts = table(
    "scan_receipts",
    Column("id", BigInteger, primary_key=True),
    required("node_id", Uuid),
    required("scope_id", Uuid),
    required("period_start", INSTANT),
    required("period_end", INSTANT),
    required("source"),
    required("stream"),
    required("source_scope"),
    required("source_scope_name"),
    required("covered_from", INSTANT),
    required("covered_to", INSTANT),
    required("pages", Integer),
    required("seen", Integer),
    json("skipped_by_reason"),
    Column("first_updated_at", INSTANT),
    Column("last_updated_at", INSTANT),
    Column("source_total", BigInteger),
    since("recorded_at"),
    Column("source_scope_id", Text),
    CheckConstraint("covered_from <= covered_to", name="coverage"),
    Index("scan_receipts_window", "node_id", "scope_id", "source", "period_start", "period_end"),
)

scan_checkpoints = table(
    "scan_checkpoints",
    *scope_key("source", "source_scope"),
    required("watermark", INSTANT),
    required("saved_at", INSTANT),
    json("state", longest_kilobytes=1900),
)

unread_items = table(
    "unread_items",
    *scope_key("source", "source_scope", "kind"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    required("reason"),
    Column("earliest", INSTANT),
    required("latest", INSTANT),
    required("since", INSTANT),
    required("last_tried_at", INSTANT),
    Column("read_from", INSTANT),
    CheckConstraint("number > 0 OR (number = 0 AND read_from IS NOT NULL)", name="number"),
)

listed_source_scopes = table(
    "listed_source_scopes",
    *scope_key("source", "owner_ref", "source_scope"),
    Column("source_scope_id", Text),
    required("is_fork", Boolean),
    required("is_archived", Boolean),
    required("found_archived", Boolean),
    required("first_listed_at", INSTANT),
    required("listed_at", INSTANT),
    CheckConstraint("first_listed_at <= listed_at", name="order"),
)

# What the scope of an epoch has of events of claimed repositories, of each of its closings.
routed_events = table(
    "routed_events",
    Column("node_id", Uuid, primary_key=True),
    Column("epoch_id", BigInteger, ForeignKey("epochs.id"), primary_key=True),
    Column("closed_at", INSTANT, primary_key=True, server_default=text("now()")),
    Column("event_id", Text, primary_key=True),
    required("share_milli", BigInteger),
    required("reason"),
    json("routed_by", longest_kilobytes=1000),
    CheckConstraint("share_milli BETWEEN 0 AND 1000", name="share_milli"),
)

left_out_items = table(
    "left_out_items",
    Column("id", BigInteger, primary_key=True),
    required("node_id", Uuid),
    required("epoch_id", BigInteger, ForeignKey("epochs.id")),
    required("source"),
    required("source_scope"),
    required("kind"),
    required("number", BigInteger),
    required("unread_reason"),
    required("unread_since", INSTANT),
    required("actor"),
    required("reason"),
    since("left_out_at"),
    UniqueConstraint(
        *("node_id", "epoch_id", "source", "source_scope", "kind", "number", "left_out_at"), name="left_out_items_once"
    ),
    CheckConstraint("number >= 0", name="number"),
    CheckConstraint("ledger_is_reason(actor)", name="actor"),
    CheckConstraint("ledger_is_reason(reason)", name="reason"),
)
