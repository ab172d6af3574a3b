"""A pool takes components while its epoch is open; in review only the base issuance it was closed without."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without any base issuance an epoch could never be finalized, so that one alone may come late.
    op.execute("""
        CREATE FUNCTION ledger_lock_pool() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            epoch record;
        BEGIN
            IF NEW.amount_credits < 0 THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: % credits are negative', NEW.amount_credits
                    USING ERRCODE = 'check_violation';
            END IF;
            SELECT id, status INTO epoch FROM epochs WHERE id = NEW.epoch_id FOR SHARE;
            IF epoch.status = 'finalized' OR (epoch.status = 'review' AND NEW.component_id <> 'base_issuance') THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the pool of epoch % is locked, it is in %',
                    epoch.id, epoch.status USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epoch_pool_components_locked BEFORE INSERT ON epoch_pool_components
            FOR EACH ROW EXECUTE FUNCTION ledger_lock_pool()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epoch_pool_components_locked ON epoch_pool_components")
    op.execute("DROP FUNCTION ledger_lock_pool()")
