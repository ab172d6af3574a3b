"""Epochs of a scope never overlap, and a week in review no longer blocks the next one from opening."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP INDEX epochs_one_open")
    op.execute("ALTER TABLE epochs ADD CONSTRAINT epochs_period_check CHECK (period_start < period_end)")
    # GiST compares no uuid by itself without the btree_gist extension, which not every server has. Ranges of
    # uuid need none: [x, x] overlaps [y, y] exactly when x = y.
    op.execute("CREATE TYPE uuid_range AS RANGE (subtype = uuid)")
    op.execute("""
        ALTER TABLE epochs ADD CONSTRAINT epochs_never_overlap EXCLUDE USING gist (
            tstzrange(period_start, period_end, '[)') WITH &&,
            uuid_range(node_id, node_id, '[]') WITH &&,
            uuid_range(scope_id, scope_id, '[]') WITH &&
        )
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE epochs DROP CONSTRAINT epochs_never_overlap")
    op.execute("DROP TYPE uuid_range")
    op.execute("ALTER TABLE epochs DROP CONSTRAINT epochs_period_check")
    op.execute("CREATE UNIQUE INDEX epochs_one_open ON epochs (node_id, scope_id) WHERE status = 'open'")
