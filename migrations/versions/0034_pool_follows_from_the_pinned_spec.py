"""A pool's base issuance joins when its epoch closes, and is what the repo-spec says that was pinned then.

Components are of known names and algorithms and of their epoch's node, and a pool's total is a BIGINT.
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

# One epoch's components are added one after the other, so that their sum holds.
POOL = """
    CREATE OR REPLACE FUNCTION ledger_lock_pool() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        epoch record;
        pinned text;
        total numeric;
    BEGIN
        IF NEW.amount_credits < 0 THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: % credits are negative', NEW.amount_credits
                USING ERRCODE = 'check_violation';
        END IF;
        SELECT id, node_id, status, pinned_spec INTO epoch
            FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
        IF epoch.status = 'finalized' OR (epoch.status = 'review' AND NEW.component_id <> 'base_issuance') THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the pool of epoch % is locked, it is in %',
                epoch.id, epoch.status USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.node_id <> epoch.node_id THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: epoch % is of node %, not of %',
                epoch.id, epoch.node_id, NEW.node_id USING ERRCODE = 'restrict_violation';
        END IF;
        IF (NEW.component_id, NEW.algorithm_version) NOT IN
            (('base_issuance', 'config-constant-v0'), ('top_up', 'manual-v0'), ('kpi_bonus_v0', 'kpi-bonus-v0'))
        THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: no component % is computed by %',
                NEW.component_id, NEW.algorithm_version USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.component_id = 'base_issuance' THEN
            IF epoch.status = 'open' THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: base_issuance joins when epoch % closes',
                    epoch.id USING ERRCODE = 'restrict_violation';
            END IF;
            pinned := epoch.pinned_spec ->> 'base_issuance_credits';
            IF pinned <> NEW.amount_credits::text THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the repo-spec that epoch % closed with has '
                    'a base issuance of %, not of %', epoch.id, pinned, NEW.amount_credits
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF NEW.inputs_json ->> 'base_issuance_credits' <> NEW.amount_credits::text THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: % credits do not follow from inputs of %',
                    NEW.amount_credits, NEW.inputs_json ->> 'base_issuance_credits' USING ERRCODE = 'check_violation';
            END IF;
        END IF;
        SELECT coalesce(sum(amount_credits), 0) + NEW.amount_credits INTO total
            FROM public.epoch_pool_components WHERE epoch_id = NEW.epoch_id;
        IF total > 9223372036854775807 THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the pool of epoch % would be of % credits, '
                'more than a BIGINT', epoch.id, total USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
"""
LOCKED_ONLY = """
    CREATE OR REPLACE FUNCTION ledger_lock_pool() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            epoch record;
        BEGIN
            IF NEW.amount_credits < 0 THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: % credits are negative', NEW.amount_credits
                    USING ERRCODE = 'check_violation';
            END IF;
            SELECT id, status INTO epoch FROM public.epochs WHERE id = NEW.epoch_id FOR SHARE;
            IF epoch.status = 'finalized' OR (epoch.status = 'review' AND NEW.component_id <> 'base_issuance') THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the pool of epoch % is locked, it is in %',
                    epoch.id, epoch.status USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
"""


def upgrade() -> None:
    op.execute(POOL)
    # Before this migration a base issuance could be there while its epoch was open.
    op.execute("""
        CREATE FUNCTION ledger_guard_pinned_pool() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            pinned text := NEW.pinned_spec ->> 'base_issuance_credits';
            stored bigint;
        BEGIN
            SELECT amount_credits INTO stored FROM public.epoch_pool_components
                WHERE epoch_id = NEW.id AND component_id = 'base_issuance' AND amount_credits::text <> pinned;
            IF FOUND THEN
                RAISE EXCEPTION 'UPDATE of epochs refused: epoch % has a base_issuance of % already, and the repo-spec '
                    'says %: put base_issuance_credits back until it is closed', NEW.id, stored, pinned
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_pool_as_pinned BEFORE UPDATE ON epochs FOR EACH ROW
            WHEN (OLD.status = 'open' AND NEW.status = 'review') EXECUTE FUNCTION ledger_guard_pinned_pool()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epochs_pool_as_pinned ON epochs")
    op.execute("DROP FUNCTION ledger_guard_pinned_pool()")
    op.execute(LOCKED_ONLY)
