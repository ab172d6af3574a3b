"""Cursors, checkpoints and receipts know the repository by its own id, for its name may pass to another."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE source_cursors ADD COLUMN source_scope_id text, ADD COLUMN source_total bigint")
    op.execute("ALTER TABLE scan_checkpoints ADD COLUMN source_scope_id text")
    op.execute("ALTER TABLE scan_receipts ADD COLUMN source_scope_id text")
    op.execute("""
        ALTER TABLE rejected_events
            DROP CONSTRAINT rejected_events_reason_check,
            ADD CONSTRAINT rejected_events_reason_check CHECK (reason IN ('conflict', 'late', 'replaced'))
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM rejected_events WHERE reason = 'replaced'"))
    if kept:
        raise CommandError(f"downgrade below 0030 refused: {kept} events of repositories that took over a name")
    op.execute("""
        ALTER TABLE rejected_events
            DROP CONSTRAINT rejected_events_reason_check,
            ADD CONSTRAINT rejected_events_reason_check CHECK (reason IN ('conflict', 'late'))
    """)
    op.execute("ALTER TABLE scan_receipts DROP COLUMN source_scope_id")
    op.execute("ALTER TABLE scan_checkpoints DROP COLUMN source_scope_id")
    op.execute("ALTER TABLE source_cursors DROP COLUMN source_scope_id, DROP COLUMN source_total")
