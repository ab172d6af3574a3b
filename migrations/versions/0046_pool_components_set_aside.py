"""A component of a pool is bounded, so that no pool is more than a BIGINT, and the owner takes one out, on record.

So does the owner with a signature of a statement's inputs. Where a component was set aside, another takes its place.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

STANDS = """NOT EXISTS (
                SELECT FROM public.set_asides AS aside WHERE aside.pool_component_id = component.id
            )"""
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
        END IF;{attempt}
        SELECT coalesce(sum(amount_credits), 0) + NEW.amount_credits INTO total
            FROM public.epoch_pool_components{as_component} WHERE epoch_id = NEW.epoch_id{standing};
        IF total > 9223372036854775807 THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: the pool of epoch % would be of % credits, '
                'more than a BIGINT', epoch.id, total USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
"""
ATTEMPT = """
        SELECT count(*) INTO NEW.attempt FROM public.epoch_pool_components AS component
            WHERE component.epoch_id = NEW.epoch_id AND component.component_id = NEW.component_id
                AND EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.pool_component_id = component.id);"""
PINNED_POOL = """
    CREATE OR REPLACE FUNCTION ledger_guard_pinned_pool() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            pinned text := NEW.pinned_spec ->> 'base_issuance_credits';
            stored bigint;
        BEGIN
            SELECT amount_credits INTO stored FROM public.epoch_pool_components{as_component}
                WHERE epoch_id = NEW.id AND component_id = 'base_issuance' AND amount_credits::text <> pinned{standing};
            IF FOUND THEN
                RAISE EXCEPTION 'UPDATE of epochs refused: epoch % has a base_issuance of % already, and the repo-spec '
                    'says %: put base_issuance_credits back until it is closed', NEW.id, stored, pinned
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
"""
NEW = {"attempt": ATTEMPT, "as_component": " AS component", "standing": f" AND {STANDS}"}
OLD = dict.fromkeys(NEW, "")


def upgrade() -> None:
    op.execute("""
        ALTER TABLE epoch_pool_components ADD CONSTRAINT epoch_pool_components_amount_credits_check
            CHECK (amount_credits BETWEEN 0 AND 1000000000000000000) NOT VALID
    """)
    op.execute("""
        DO $$ BEGIN
            ALTER TABLE epoch_pool_components VALIDATE CONSTRAINT epoch_pool_components_amount_credits_check;
        EXCEPTION WHEN check_violation THEN
            NULL;  -- rows of before
        END $$
    """)
    op.execute("""
        ALTER TABLE epoch_pool_components
            ADD COLUMN attempt integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT epoch_pool_components_epoch_id_component_id_key,
            ADD CONSTRAINT epoch_pool_components_epoch_id_component_id_attempt_key
                UNIQUE (epoch_id, component_id, attempt)
    """)
    op.execute("""
        ALTER TABLE set_asides
            ALTER COLUMN statement_id DROP NOT NULL,
            ADD COLUMN pool_component_id uuid REFERENCES epoch_pool_components (id),
            ADD COLUMN inputs_signature_id uuid REFERENCES statement_inputs_signatures (id),
            ADD CONSTRAINT set_asides_pool_component_id_key UNIQUE (pool_component_id),
            ADD CONSTRAINT set_asides_inputs_signature_id_key UNIQUE (inputs_signature_id),
            ADD CONSTRAINT set_asides_one_row_check
                CHECK (num_nonnulls(statement_id, pool_component_id, inputs_signature_id) = 1)
    """)
    op.execute("""
        CREATE FUNCTION ledger_guard_set_aside() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            epoch record;
        BEGIN
            SELECT id, node_id, status INTO epoch FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
            IF NEW.pool_component_id IS NOT NULL AND epoch.status = 'finalized' THEN
                RAISE EXCEPTION 'INSERT into set_asides refused: epoch % is finalized, and was paid by its pool',
                    epoch.id USING ERRCODE = 'restrict_violation';
            END IF;
            IF NEW.node_id <> epoch.node_id OR NOT (
                EXISTS (SELECT FROM public.epoch_pool_components AS component
                    WHERE component.id = NEW.pool_component_id AND component.epoch_id = epoch.id)
                OR EXISTS (SELECT FROM public.statement_inputs_signatures AS signature
                    WHERE signature.id = NEW.inputs_signature_id AND signature.epoch_id = epoch.id)
            ) THEN
                RAISE EXCEPTION 'INSERT into set_asides refused: it is of another epoch than %', epoch.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER set_asides_guarded BEFORE INSERT ON set_asides
            FOR EACH ROW WHEN (NEW.statement_id IS NULL) EXECUTE FUNCTION ledger_guard_set_aside()
    """)
    op.execute(POOL.format(**NEW))
    op.execute(PINNED_POOL.format(**NEW))


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM set_asides WHERE statement_id IS NULL"))
    if kept:
        raise CommandError(f"downgrade below 0046 refused: {kept} rows that were set aside would count again")
    op.execute(PINNED_POOL.format(**OLD))
    op.execute(POOL.format(**OLD))
    op.execute("DROP TRIGGER set_asides_guarded ON set_asides")
    op.execute("DROP FUNCTION ledger_guard_set_aside()")
    op.execute("""
        ALTER TABLE set_asides
            DROP CONSTRAINT set_asides_one_row_check,
            DROP COLUMN inputs_signature_id,
            DROP COLUMN pool_component_id,
            ALTER COLUMN statement_id SET NOT NULL
    """)
    op.execute("""
        ALTER TABLE epoch_pool_components
            DROP CONSTRAINT epoch_pool_components_epoch_id_component_id_attempt_key,
            ADD CONSTRAINT epoch_pool_components_epoch_id_component_id_key UNIQUE (epoch_id, component_id),
            DROP COLUMN attempt,
            DROP CONSTRAINT epoch_pool_components_amount_credits_check
    """)
