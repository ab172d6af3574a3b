"""One node holds several scopes: what was stored before belongs to the scope with the zero UUID."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCOPED = ("epochs", "activity_events", "source_cursors")
ZERO = "00000000-0000-0000-0000-000000000000"


def upgrade() -> None:
    for table in SCOPED:
        # As a default, not an UPDATE: the immutability trigger refuses an UPDATE, rightly.
        op.execute(f"ALTER TABLE {table} ADD COLUMN scope_id uuid NOT NULL DEFAULT '{ZERO}'")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN scope_id DROP DEFAULT")
    op.execute("""
        ALTER TABLE epochs
            DROP CONSTRAINT epochs_node_id_period_start_period_end_key,
            ADD UNIQUE (node_id, scope_id, period_start, period_end)
    """)
    op.execute("DROP INDEX epochs_one_open")
    op.execute("CREATE UNIQUE INDEX epochs_one_open ON epochs (node_id, scope_id) WHERE status = 'open'")
    op.execute("""
        ALTER TABLE activity_events
            DROP CONSTRAINT activity_events_pkey,
            ADD PRIMARY KEY (node_id, scope_id, id)
    """)
    op.execute("ALTER TABLE source_cursors RENAME COLUMN scope TO source_scope")
    op.execute("""
        ALTER TABLE source_cursors
            DROP CONSTRAINT source_cursors_pkey,
            ADD PRIMARY KEY (node_id, scope_id, source, stream, source_scope)
    """)


def downgrade() -> None:
    for table in SCOPED:
        scoped = op.get_bind().scalar(text(f"SELECT count(*) FROM {table} WHERE scope_id <> '{ZERO}'"))  # noqa: S608
        if scoped:
            raise CommandError(
                f"downgrade below 0012 refused: {scoped} rows of {table} belong to scopes, which older tables "
                "cannot tell apart"
            )
    op.execute("""
        ALTER TABLE source_cursors
            DROP CONSTRAINT source_cursors_pkey,
            ADD PRIMARY KEY (node_id, source, stream, source_scope)
    """)
    op.execute("ALTER TABLE source_cursors RENAME COLUMN source_scope TO scope")
    op.execute("""
        ALTER TABLE activity_events
            DROP CONSTRAINT activity_events_pkey,
            ADD PRIMARY KEY (node_id, id)
    """)
    op.execute("DROP INDEX epochs_one_open")
    op.execute("CREATE UNIQUE INDEX epochs_one_open ON epochs (node_id) WHERE status = 'open'")
    op.execute("""
        ALTER TABLE epochs
            DROP CONSTRAINT epochs_node_id_scope_id_period_start_period_end_key,
            ADD UNIQUE (node_id, period_start, period_end)
    """)
    for table in SCOPED:
        op.execute(f"ALTER TABLE {table} DROP COLUMN scope_id")
