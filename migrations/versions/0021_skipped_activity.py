"""Activity that counts for nobody is kept with its reason, so that a window's books add up to what the source has."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE skipped_activity (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            event_id text NOT NULL,
            source text NOT NULL,
            stream text NOT NULL,
            source_scope text NOT NULL,
            event_type text NOT NULL,
            reason text NOT NULL,
            event_time timestamptz NOT NULL,
            retrieved_at timestamptz NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, scope_id, event_id)
        )
    """)
    op.execute("CREATE INDEX skipped_activity_time ON skipped_activity (node_id, scope_id, event_time)")
    op.execute("""
        CREATE TRIGGER skipped_activity_immutable BEFORE UPDATE OR DELETE ON skipped_activity
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER skipped_activity_never_truncated BEFORE TRUNCATE ON skipped_activity
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM skipped_activity"))
    if kept:
        raise CommandError(f"downgrade below 0021 refused: {kept} skipped activities are recorded nowhere else")
    op.execute("DROP TABLE skipped_activity")
