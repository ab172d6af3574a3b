"""Where the unfinished scan of a source_scope stands. Forgetting it loses nothing: the scan is repeated."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE scan_checkpoints (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            source text NOT NULL,
            source_scope text NOT NULL,
            watermark timestamptz NOT NULL,
            coverage jsonb NOT NULL,
            position jsonb NOT NULL,
            pages integer NOT NULL,
            saved_at timestamptz NOT NULL,
            PRIMARY KEY (node_id, scope_id, source, source_scope)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE scan_checkpoints")
