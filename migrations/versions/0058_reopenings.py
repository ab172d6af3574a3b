"""The owner opens an epoch again that closed with what nobody can sign, on record, as long as nothing is stated.

What it had closed with is kept, its base issuance is set aside, and it closes anew as any other.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

BACKWARDS = """IF array_position(stages, NEW.status) < array_position(stages, OLD.status) AND NOT ("""
UNLESS_REOPENED = f"""IF OLD.status = 'review' AND NEW.status = 'open' AND EXISTS (
                SELECT FROM public.reopenings AS reopening
                WHERE reopening.epoch_id = OLD.id AND reopening.closed_at IS NOT DISTINCT FROM OLD.closed_at
            ) THEN
                RETURN NEW;
            END IF;
            {BACKWARDS}"""  # noqa: S608 (our own statement)
PINNED = "            IF OLD.status <> 'open' AND\n"
PINNED_UNLESS = "            IF OLD.status <> 'open' AND NEW.status <> 'open' AND\n"
REOPEN = """
    CREATE FUNCTION ledger_reopen() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        epoch public.epochs;
    BEGIN
        SELECT * INTO epoch FROM public.epochs WHERE id = NEW.epoch_id AND node_id = NEW.node_id FOR UPDATE;
        IF epoch.status IS DISTINCT FROM 'review' OR EXISTS (
            SELECT FROM public.payout_statements AS statement WHERE statement.epoch_id = epoch.id AND NOT EXISTS (
                SELECT FROM public.set_asides AS aside
                WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
            )
        ) THEN
            RAISE EXCEPTION 'INSERT into reopenings refused: epoch % is not in review, or a statement of it stands',
                NEW.epoch_id USING ERRCODE = 'restrict_violation';
        END IF;
        NEW.closed_at := epoch.closed_at;
        NEW.pinned := jsonb_build_object(
            'allocation_algo_ref', epoch.allocation_algo_ref, 'weight_config_hash', epoch.weight_config_hash,
            'approver_set_hash', epoch.approver_set_hash, 'pinned_spec', epoch.pinned_spec
        );
        RETURN NEW;
    END $$
"""
REOPENED = """
    CREATE FUNCTION ledger_reopened() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        INSERT INTO public.set_asides (node_id, epoch_id, pool_component_id, reason)
            SELECT component.node_id, component.epoch_id, component.id, NEW.reason
            FROM public.epoch_pool_components AS component
            WHERE component.epoch_id = NEW.epoch_id AND component.component_id = 'base_issuance' AND NOT EXISTS (
                SELECT FROM public.set_asides AS aside WHERE aside.pool_component_id = component.id
            );
        UPDATE public.epochs SET status = 'open', closed_at = NULL, allocation_algo_ref = NULL,
            weight_config_hash = NULL, approver_set_hash = NULL, pinned_spec = NULL WHERE id = NEW.epoch_id;
        RETURN NULL;
    END $$
"""
ONCE = "UNIQUE (node_id, epoch_id, source, source_scope, kind, number"


def upgrade() -> None:
    readable = "{} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'"
    op.execute(f"""
        CREATE TABLE reopenings (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            closed_at timestamptz,
            pinned jsonb NOT NULL,
            reason text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            reopened_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT reopenings_reason_check CHECK (ledger_is_reason(reason)),
            CONSTRAINT reopenings_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT reopenings_actor_length_check CHECK (char_length(actor) <= 1000),
            CONSTRAINT reopenings_pinned_json_check CHECK (ledger_is_plain_json(pinned, 'object', 128000)),
            CONSTRAINT reopenings_closed_at_instant_check CHECK ({readable.format("closed_at")}),
            CONSTRAINT reopenings_reopened_at_instant_check CHECK ({readable.format("reopened_at")})
        )
    """)
    op.execute("ALTER TABLE reopenings ALTER COLUMN pinned SET DEFAULT '{}'")
    op.execute(REOPEN)
    op.execute(REOPENED)
    op.execute("""
        CREATE TRIGGER reopenings_immutable BEFORE UPDATE OR DELETE ON reopenings
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
        CREATE TRIGGER reopenings_never_truncated BEFORE TRUNCATE ON reopenings
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
        CREATE TRIGGER reopenings_numbered BEFORE INSERT ON reopenings
            FOR EACH ROW EXECUTE FUNCTION ledger_number_row('public.reopenings_id_seq');
        CREATE TRIGGER reopenings_guarded BEFORE INSERT ON reopenings
            FOR EACH ROW EXECUTE FUNCTION ledger_reopen();
        CREATE TRIGGER reopenings_done AFTER INSERT ON reopenings
            FOR EACH ROW EXECUTE FUNCTION ledger_reopened()
    """)
    # Nobody but the owner opens anything again.
    op.execute("GRANT SELECT ON reopenings TO ledger_reader, ledger_writer")
    _rewrite("ledger_guard_epoch()", BACKWARDS, UNLESS_REOPENED)
    _rewrite("ledger_guard_pins()", PINNED, PINNED_UNLESS)
    # An item may be left out at each closing.
    op.execute(f"""
        ALTER TABLE left_out_items
            DROP CONSTRAINT left_out_items_once,
            ADD CONSTRAINT left_out_items_once {ONCE}, left_out_at)
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM reopenings"))
    if kept:
        raise CommandError(f"downgrade below 0058 refused: {kept} epochs were opened again, and why would be forgotten")
    op.execute(f"""
        ALTER TABLE left_out_items
            DROP CONSTRAINT left_out_items_once,
            ADD CONSTRAINT left_out_items_once {ONCE})
    """)
    _rewrite("ledger_guard_pins()", PINNED_UNLESS, PINNED)
    _rewrite("ledger_guard_epoch()", UNLESS_REOPENED, BACKWARDS)
    op.execute("DROP TABLE reopenings")
    op.execute("DROP FUNCTION ledger_reopened()")
    op.execute("DROP FUNCTION ledger_reopen()")


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
