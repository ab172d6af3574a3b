"""What an epoch is paid by is fixed: weights when it is created, everything else, the spec with it, when it closes."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The scope's part of the repo-spec as it was when the epoch closed: approvers, weights, sources, pool.
    op.execute("ALTER TABLE epochs ADD COLUMN pinned_spec jsonb")
    op.execute("""
        CREATE FUNCTION ledger_guard_pins() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.weight_config IS DISTINCT FROM OLD.weight_config THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: its weights were pinned when it was created', OLD.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF OLD.status <> 'open' AND
                    (NEW.allocation_algo_ref, NEW.weight_config_hash, NEW.approver_set_hash, NEW.pinned_spec,
                        NEW.closed_at)
                    IS DISTINCT FROM
                    (OLD.allocation_algo_ref, OLD.weight_config_hash, OLD.approver_set_hash, OLD.pinned_spec,
                        OLD.closed_at) THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: what it is paid by was pinned when it closed', OLD.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF OLD.status = 'finalized' AND NEW.pool_total_credits IS DISTINCT FROM OLD.pool_total_credits THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: it is finalized, with its pool', OLD.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_pins_never_change BEFORE UPDATE ON epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_pins()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epochs_pins_never_change ON epochs")
    op.execute("DROP FUNCTION ledger_guard_pins()")
    op.execute("ALTER TABLE epochs DROP COLUMN pinned_spec")
