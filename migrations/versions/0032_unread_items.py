"""Items that a source shows and nobody can read yet. A row goes once its item is read, so the writer may delete it."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The number is 0 where the source tells none; such an item is looked for again from `read_from` on.
    op.execute("""
        CREATE TABLE unread_items (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            source text NOT NULL,
            source_scope text NOT NULL,
            kind text NOT NULL,
            number bigint NOT NULL,
            reason text NOT NULL,
            earliest timestamptz,
            latest timestamptz NOT NULL,
            since timestamptz NOT NULL,
            last_tried_at timestamptz NOT NULL,
            read_from timestamptz,
            PRIMARY KEY (node_id, scope_id, source, source_scope, kind, number),
            CONSTRAINT unread_items_number_check CHECK (number > 0 OR (number = 0 AND read_from IS NOT NULL))
        )
    """)
    op.execute("GRANT SELECT ON unread_items TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT, UPDATE, DELETE ON unread_items TO ledger_writer")


def downgrade() -> None:
    unread = op.get_bind().scalar(text("SELECT count(*) FROM unread_items"))
    if unread:
        raise CommandError(f"downgrade below 0032 refused: {unread} unread items are asked for again by nobody else")
    op.execute("DROP TABLE unread_items")
