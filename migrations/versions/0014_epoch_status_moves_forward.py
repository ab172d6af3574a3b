"""An epoch's status only moves forward, and what it is an epoch of never changes."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION ledger_guard_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            stages CONSTANT text[] := ARRAY['open', 'review', 'finalized'];
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.status = 'open' THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'DELETE of epoch % refused: it is in %', OLD.id, OLD.status
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF (NEW.id, NEW.node_id, NEW.scope_id, NEW.period_start, NEW.period_end)
                    IS DISTINCT FROM (OLD.id, OLD.node_id, OLD.scope_id, OLD.period_start, OLD.period_end) THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: its node, scope and period never change', OLD.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF array_position(stages, NEW.status) < array_position(stages, OLD.status) THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: status only moves forward, not from % to %',
                    OLD.id, OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_guard BEFORE UPDATE OR DELETE ON epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_epoch()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epochs_guard ON epochs")
    op.execute("DROP FUNCTION ledger_guard_epoch()")
