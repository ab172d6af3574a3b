"""A checkpoint holds the whole state of its scan: what it counted is not forgotten when it is interrupted.

Scans that are interrupted right now begin again from the front: forgetting where they stood loses nothing.
"""

from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None

KILOBYTE = 1000


def upgrade() -> None:
    op.execute("DELETE FROM scan_checkpoints")
    op.execute(f"""
        ALTER TABLE scan_checkpoints
            DROP COLUMN coverage,
            DROP COLUMN position,
            DROP COLUMN pages,
            DROP COLUMN source_scope_id,
            ADD COLUMN state jsonb NOT NULL,
            ADD CONSTRAINT scan_checkpoints_state_json_check
                CHECK (ledger_is_plain_json(state, 'object', {1900 * KILOBYTE}))
    """)


def downgrade() -> None:
    op.execute("DELETE FROM scan_checkpoints")
    op.execute(f"""
        ALTER TABLE scan_checkpoints
            DROP COLUMN state,
            ADD COLUMN coverage jsonb NOT NULL,
            ADD COLUMN position jsonb NOT NULL,
            ADD COLUMN pages integer NOT NULL,
            ADD COLUMN source_scope_id text,
            ADD CONSTRAINT scan_checkpoints_coverage_json_check
                CHECK (ledger_is_plain_json(coverage, 'array', {64 * KILOBYTE})),
            ADD CONSTRAINT scan_checkpoints_position_json_check
                CHECK (ledger_is_plain_json(position, 'object', {1000 * KILOBYTE})),
            ADD CONSTRAINT scan_checkpoints_pages_sign_check CHECK (pages >= 0),
            ADD CONSTRAINT scan_checkpoints_source_scope_id_length_check CHECK (char_length(source_scope_id) <= 1000)
    """)
