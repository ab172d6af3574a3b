"""Every instant that is stored can be read: no `infinity`, none before Christ, none beyond all calendars.

Rows that are there stay as they are; `doctor` names a rule that some of them break.
"""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

INSTANTS = {
    "epochs": ("period_start", "period_end", "opened_at", "closed_at", "created_at"),
    "scope_calendars": ("pinned_at",),
    "activity_events": ("event_time", "retrieved_at", "ingested_at"),
    "rejected_events": ("event_time", "retrieved_at", "rejected_at"),
    "source_cursors": ("cursor_value", "retrieved_at", "covered_from"),
    "skipped_activity": ("event_time", "retrieved_at", "recorded_at"),
    "scan_receipts": (
        *("period_start", "period_end", "covered_from", "covered_to"),
        *("first_updated_at", "last_updated_at", "recorded_at"),
    ),
    "scan_checkpoints": ("watermark", "saved_at"),
    "unread_items": ("earliest", "latest", "since", "last_tried_at", "read_from"),
    "left_out_items": ("unread_since", "left_out_at"),
    "activity_curation": ("created_at", "updated_at"),
    "epoch_allocations": ("created_at", "updated_at"),
    "epoch_pool_components": ("computed_at",),
    "payout_statements": ("created_at",),
    "statement_inputs_signatures": ("signed_at",),
    "statement_corrections": ("created_at",),
    "signing_requests": ("requested_at",),
    "statement_signatures": ("signed_at",),
    "set_asides": ("set_aside_at",),
    "user_bindings": ("created_at",),
}


def upgrade() -> None:
    for table, columns in INSTANTS.items():
        for column in columns:
            readable = f"{column} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'"
            op.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_instant_check CHECK ({readable}) NOT VALID"
            )
            op.execute(f"""
                DO $$ BEGIN
                    ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_instant_check;
                EXCEPTION WHEN check_violation THEN
                    NULL;  -- rows of before
                END $$
            """)


def downgrade() -> None:
    for table, columns in INSTANTS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_instant_check")
