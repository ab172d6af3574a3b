"""Events the ledger refuses are kept aside with their reason: nothing is dropped in silence."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE rejected_events (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            event_id text NOT NULL,
            source text NOT NULL,
            event_type text NOT NULL,
            platform_user_id text NOT NULL,
            platform_login text NOT NULL,
            artifact_url text NOT NULL,
            metadata jsonb NOT NULL,
            payload_hash text NOT NULL,
            source_object_id text,
            event_time timestamptz NOT NULL,
            reason text NOT NULL CHECK (reason IN ('conflict', 'late')),
            epoch_id bigint REFERENCES epochs (id),
            producer text NOT NULL,
            producer_version text NOT NULL,
            retrieved_at timestamptz NOT NULL,
            rejected_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT rejected_events_once UNIQUE (node_id, scope_id, event_id, payload_hash, reason)
        )
    """)
    op.execute("CREATE INDEX rejected_events_time ON rejected_events (node_id, scope_id, event_time)")
    op.execute("""
        CREATE TRIGGER rejected_events_immutable BEFORE UPDATE OR DELETE ON rejected_events
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER rejected_events_never_truncated BEFORE TRUNCATE ON rejected_events
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM rejected_events"))
    if kept:
        raise CommandError(f"downgrade below 0019 refused: {kept} rejected events are recorded nowhere else")
    op.execute("DROP TABLE rejected_events")
