"""What each finished scan did for a window, a stream and a source_scope: proof that somebody looked."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE scan_receipts (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            period_start timestamptz NOT NULL,
            period_end timestamptz NOT NULL,
            source text NOT NULL,
            stream text NOT NULL,
            source_scope text NOT NULL,
            source_scope_name text NOT NULL,
            covered_from timestamptz NOT NULL,
            covered_to timestamptz NOT NULL,
            pages integer NOT NULL,
            seen integer NOT NULL,
            skipped_by_reason jsonb NOT NULL,
            first_updated_at timestamptz,
            last_updated_at timestamptz,
            source_total integer,
            recorded_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT scan_receipts_coverage_check CHECK (covered_from <= covered_to)
        )
    """)
    op.execute("""
        CREATE INDEX scan_receipts_window ON scan_receipts (node_id, scope_id, source, period_start, period_end)
    """)
    op.execute("""
        CREATE TRIGGER scan_receipts_immutable BEFORE UPDATE OR DELETE ON scan_receipts
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER scan_receipts_never_truncated BEFORE TRUNCATE ON scan_receipts
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM scan_receipts"))
    if kept:
        raise CommandError(f"downgrade below 0022 refused: {kept} scan receipts are recorded nowhere else")
    op.execute("DROP TABLE scan_receipts")
