"""Items that an epoch was closed without, because nobody could read them: who decided it, why, and what was known."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE left_out_items (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            source text NOT NULL,
            source_scope text NOT NULL,
            kind text NOT NULL,
            number bigint NOT NULL,
            unread_reason text NOT NULL,
            unread_since timestamptz NOT NULL,
            actor text NOT NULL,
            reason text NOT NULL,
            left_out_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT left_out_items_once UNIQUE (node_id, epoch_id, source, source_scope, kind, number),
            CONSTRAINT left_out_items_number_check CHECK (number >= 0),
            CONSTRAINT left_out_items_actor_check CHECK (btrim(actor) <> ''),
            CONSTRAINT left_out_items_reason_check CHECK (btrim(reason) <> '')
        )
    """)
    # Only with the closing itself: closed_at is the time of the transaction that closed the epoch, and never changes.
    op.execute("""
        CREATE FUNCTION ledger_refuse_left_out_later() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM public.epochs WHERE id = NEW.epoch_id AND node_id = NEW.node_id AND status = 'review'
                    AND closed_at = now()
            ) THEN
                RAISE EXCEPTION 'INSERT into left_out_items refused: epoch % is not being closed', NEW.epoch_id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            NEW.left_out_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER left_out_items_at_closing_only BEFORE INSERT ON left_out_items
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_left_out_later()
    """)
    op.execute("""
        CREATE TRIGGER left_out_items_immutable BEFORE UPDATE OR DELETE ON left_out_items
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER left_out_items_never_truncated BEFORE TRUNCATE ON left_out_items
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON left_out_items TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON left_out_items TO ledger_writer")
    op.execute("GRANT USAGE ON SEQUENCE left_out_items_id_seq TO ledger_writer")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM left_out_items"))
    if kept:
        raise CommandError(
            f"downgrade below 0036 refused: {kept} items that epochs were closed without are named there"
        )
    op.execute("DROP TABLE left_out_items")
    op.execute("DROP FUNCTION ledger_refuse_left_out_later()")
