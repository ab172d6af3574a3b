"""No text is longer than anybody reads: 1,000 characters, and 10,000 where a person says why.

Rows that are there stay as they are; `doctor` names a rule that some of them break.
"""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

TEXTS = {
    "epochs": (
        "status",
        "allocation_algo_ref",
        "weight_config_hash",
        "approver_set_hash",
    ),
    "activity_events": (
        "id",
        "source",
        "event_type",
        "platform_user_id",
        "platform_login",
        "artifact_url",
        "payload_hash",
        "producer",
        "producer_version",
        "source_object_id",
    ),
    "rejected_events": (
        "event_id",
        "source",
        "event_type",
        "platform_user_id",
        "platform_login",
        "artifact_url",
        "payload_hash",
        "source_object_id",
        "reason",
        "producer",
        "producer_version",
    ),
    "source_cursors": (
        "source",
        "stream",
        "source_scope",
        "source_scope_id",
    ),
    "skipped_activity": (
        "event_id",
        "source",
        "stream",
        "source_scope",
        "event_type",
        "reason",
    ),
    "scan_receipts": (
        "source",
        "stream",
        "source_scope",
        "source_scope_name",
        "source_scope_id",
    ),
    "scan_checkpoints": (
        "source",
        "source_scope",
        "source_scope_id",
    ),
    "unread_items": (
        "source",
        "source_scope",
        "kind",
        "reason",
    ),
    "left_out_items": (
        "source",
        "source_scope",
        "kind",
        "unread_reason",
        "actor",
        "reason",
    ),
    "activity_curation": (
        "event_id",
        "user_id",
        "note",
    ),
    "epoch_allocations": (
        "user_id",
        "override_reason",
    ),
    "epoch_pool_components": (
        "component_id",
        "algorithm_version",
        "evidence_ref",
    ),
    "payout_statements": ("allocation_set_hash",),
    "statement_inputs_signatures": (
        "signer_wallet",
        "inputs_root",
        "signature",
    ),
    "statement_corrections": (
        "user_id",
        "reason",
    ),
    "signing_requests": ("allocation_set_hash",),
    "statement_signatures": (
        "signer_wallet",
        "signature",
    ),
    "set_asides": (
        "reason",
        "actor",
    ),
    "user_bindings": (
        "user_id",
        "provider",
        "external_id",
    ),
}
LONG = ("artifact_url", "platform_login", "note", "override_reason", "evidence_ref", "reason", "unread_reason")


def upgrade() -> None:
    for table, columns in TEXTS.items():
        for column in columns:
            longest = 10_000 if column in LONG else 1_000
            name = f"{table}_{column}_length_check"
            op.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (char_length({column}) <= {longest}) NOT VALID"
            )
            op.execute(f"""
                DO $$ BEGIN
                    ALTER TABLE {table} VALIDATE CONSTRAINT {name};
                EXCEPTION WHEN check_violation THEN
                    NULL;  -- rows of before
                END $$
            """)


def downgrade() -> None:
    for table, columns in TEXTS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_length_check")
