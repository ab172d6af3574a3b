"""TRUNCATE is refused where UPDATE and DELETE are, and statements and signatures are immutable too."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

IMMUTABLE = ("payout_statements", "statement_signatures")
NEVER_TRUNCATED = ("activity_events", "activity_curation", "epoch_pool_components", *IMMUTABLE)


def upgrade() -> None:
    for table in IMMUTABLE:
        op.execute(f"""
            CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
        """)
    for table in NEVER_TRUNCATED:
        op.execute(f"""
            CREATE TRIGGER {table}_never_truncated BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
        """)


def downgrade() -> None:
    for table in NEVER_TRUNCATED:
        op.execute(f"DROP TRIGGER {table}_never_truncated ON {table}")
    for table in IMMUTABLE:
        op.execute(f"DROP TRIGGER {table}_immutable ON {table}")
