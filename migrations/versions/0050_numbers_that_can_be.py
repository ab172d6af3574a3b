"""No amount, count or number is negative, and a statement's lines are no more text than a ledger of people needs.

Rows that are there stay as they are; `doctor` names a rule that some of them break.
"""

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

NUMBERS = {
    "epochs": ("pool_total_credits",),
    "scope_calendars": ("epoch_length_days",),
    "source_cursors": ("source_total",),
    "scan_receipts": (
        "pages",
        "seen",
        "source_total",
    ),
    "scan_checkpoints": ("pages",),
    "unread_items": ("number",),
    "left_out_items": ("number",),
    "activity_curation": ("weight_override_milli",),
    "epoch_allocations": (
        "proposed_units",
        "final_units",
        "activity_count",
    ),
    "epoch_pool_components": (
        "amount_credits",
        "attempt",
    ),
    "payout_statements": (
        "pool_total_credits",
        "attempt",
    ),
    "statement_corrections": ("units",),
    "signing_requests": ("pool_total_credits",),
}
LINES = "WHEN jsonb_array_length(value) > 50000 THEN false"
BOUNDED_LINES = "WHEN jsonb_array_length(value) > 50000 OR octet_length(value::text) > 8000000 THEN false"


def upgrade() -> None:
    _rewrite(LINES, BOUNDED_LINES)
    for table, columns in NUMBERS.items():
        for column in columns:
            name = f"{table}_{column}_sign_check"
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} >= 0) NOT VALID")
            op.execute(f"""
                DO $$ BEGIN
                    ALTER TABLE {table} VALIDATE CONSTRAINT {name};
                EXCEPTION WHEN check_violation THEN
                    NULL;  -- rows of before
                END $$
            """)


def downgrade() -> None:
    for table, columns in NUMBERS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_sign_check")
    _rewrite(BOUNDED_LINES, LINES)


def _rewrite(before: str, after: str) -> None:
    function = "'public.ledger_is_payouts(jsonb)'::regprocedure"
    op.execute(f"""
        DO $do$ BEGIN
            EXECUTE replace(pg_get_functiondef({function}), $b${before}$b$, $a${after}$a$);
        END $do$
    """)
