"""A cursor is an instant, and records how far back what it covers reaches: unknown for cursors from before."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE source_cursors
            ALTER COLUMN cursor_value TYPE timestamptz USING cursor_value::timestamptz,
            ADD COLUMN covered_from timestamptz,
            ADD CONSTRAINT source_cursors_coverage_check CHECK (covered_from <= cursor_value)
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE source_cursors
            DROP COLUMN covered_from,
            ALTER COLUMN cursor_value TYPE text
                USING to_char(cursor_value AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    """)
