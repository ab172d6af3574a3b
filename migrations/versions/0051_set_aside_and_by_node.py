"""An epoch whose every statement was set aside is in review again; what is unique is so within a node; decisions have
reasons.

Any login that may write can write rows of another node, so none of these takes the place of one of ours.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

NONE_STANDS = """
    EXISTS (
        SELECT FROM public.set_asides AS aside
        WHERE aside.epoch_id = {epoch_id} AND aside.statement_id IS NOT NULL AND aside.signature_id IS NULL
    ) AND NOT EXISTS (
        SELECT FROM public.payout_statements AS statement WHERE statement.epoch_id = {epoch_id} AND NOT EXISTS (
            SELECT FROM public.set_asides AS aside
            WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
        )
    )"""
BACKWARDS = "IF array_position(stages, NEW.status) < array_position(stages, OLD.status) THEN"
BACKWARDS_UNLESS = f"""IF array_position(stages, NEW.status) < array_position(stages, OLD.status) AND NOT (
                OLD.status = 'finalized' AND NEW.status = 'review' AND {NONE_STANDS.format(epoch_id="OLD.id")}
            ) THEN"""
POOL_FIXED = "IF OLD.status = 'finalized' AND NEW.pool_total_credits IS DISTINCT FROM OLD.pool_total_credits THEN"
POOL_FIXED_UNLESS = """IF NEW.pool_total_credits IS NOT NULL AND NEW.status <> 'finalized'
                    AND NEW.pool_total_credits IS DISTINCT FROM OLD.pool_total_credits THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: its pool has a total once it is finalized', OLD.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF OLD.status = 'finalized' AND NEW.status = 'finalized'
                    AND NEW.pool_total_credits IS DISTINCT FROM OLD.pool_total_credits THEN"""
BACK_TO_REVIEW = f"""
    CREATE FUNCTION ledger_back_to_review() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        UPDATE public.epochs SET status = 'review', pool_total_credits = NULL
            WHERE id = NEW.epoch_id AND status = 'finalized' AND {NONE_STANDS.format(epoch_id="NEW.epoch_id")};
        RETURN NULL;
    END $$
"""  # noqa: S608 (our own statement)
OF_ANOTHER = "                    AND stored.statement_id <> NEW.statement_id\n"
OF_ANOTHER_OF_THE_NODE = OF_ANOTHER + "                    AND stored.node_id = NEW.node_id\n"
SIGNED_OF_NODE = """
    CREATE FUNCTION ledger_refuse_other_nodes_statement() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of_node uuid;
    BEGIN
        SELECT node_id INTO of_node FROM public.payout_statements WHERE id = NEW.statement_id;
        IF of_node <> NEW.node_id THEN
            RAISE EXCEPTION 'INSERT into % refused: statement % is of node %, not of %',
                TG_TABLE_NAME, NEW.statement_id, of_node, NEW.node_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""
# What of a row says what it is: nobody gives a row of theirs to another epoch, node or user afterwards.
IDENTITY = """
    CREATE FUNCTION ledger_refuse_other_identity() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RAISE EXCEPTION 'UPDATE of % refused: the row is of epoch % and user %, and stays so',
            TG_TABLE_NAME, OLD.epoch_id, OLD.user_id USING ERRCODE = 'restrict_violation';
    END $$
"""
CHECKS = {
    "override_reason": "final_units IS NULL OR COALESCE(btrim(override_reason), '') <> ''",
}


def upgrade() -> None:
    _rewrite("ledger_guard_epoch()", BACKWARDS, BACKWARDS_UNLESS)
    _rewrite("ledger_guard_pins()", POOL_FIXED, POOL_FIXED_UNLESS)
    op.execute(BACK_TO_REVIEW)
    op.execute("""
        CREATE TRIGGER set_asides_back_to_review AFTER INSERT ON set_asides
            FOR EACH ROW WHEN (NEW.statement_id IS NOT NULL AND NEW.signature_id IS NULL)
            EXECUTE FUNCTION ledger_back_to_review()
    """)
    op.execute(f"""
        UPDATE epochs SET status = 'review', pool_total_credits = NULL
        WHERE status = 'finalized' AND {NONE_STANDS.format(epoch_id="epochs.id")}
    """)  # noqa: S608 (our own statement)
    op.execute("""
        ALTER TABLE user_bindings
            DROP CONSTRAINT user_bindings_provider_external_id_key,
            ADD CONSTRAINT user_bindings_node_id_provider_external_id_key UNIQUE (node_id, provider, external_id)
    """)
    _rewrite("ledger_guard_signature()", OF_ANOTHER, OF_ANOTHER_OF_THE_NODE)
    op.execute(SIGNED_OF_NODE)
    op.execute("""
        CREATE TRIGGER statement_signatures_of_the_statements_node BEFORE INSERT ON statement_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_other_nodes_statement()
    """)
    op.execute(IDENTITY)
    op.execute("""
        CREATE TRIGGER epoch_allocations_stay_whose_they_are BEFORE UPDATE ON epoch_allocations FOR EACH ROW
            WHEN ((NEW.id, NEW.node_id, NEW.epoch_id, NEW.user_id)
                IS DISTINCT FROM (OLD.id, OLD.node_id, OLD.epoch_id, OLD.user_id))
            EXECUTE FUNCTION ledger_refuse_other_identity()
    """)
    for name, check in CHECKS.items():
        constraint = f"epoch_allocations_{name}_check"
        op.execute(f"ALTER TABLE epoch_allocations ADD CONSTRAINT {constraint} CHECK ({check}) NOT VALID")
        op.execute(f"""
            DO $$ BEGIN
                ALTER TABLE epoch_allocations VALIDATE CONSTRAINT {constraint};
            EXCEPTION WHEN check_violation THEN
                NULL;  -- rows of before
            END $$
        """)


def downgrade() -> None:
    shared = op.get_bind().scalar(
        text("SELECT count(*) FROM (SELECT FROM user_bindings GROUP BY provider, external_id HAVING count(*) > 1) AS x")
    )
    if shared:
        raise CommandError(f"downgrade below 0051 refused: {shared} accounts are bound at several nodes")
    for name in CHECKS:
        op.execute(f"ALTER TABLE epoch_allocations DROP CONSTRAINT epoch_allocations_{name}_check")
    op.execute("DROP TRIGGER epoch_allocations_stay_whose_they_are ON epoch_allocations")
    op.execute("DROP FUNCTION ledger_refuse_other_identity()")
    op.execute("DROP TRIGGER statement_signatures_of_the_statements_node ON statement_signatures")
    op.execute("DROP FUNCTION ledger_refuse_other_nodes_statement()")
    _rewrite("ledger_guard_signature()", OF_ANOTHER_OF_THE_NODE, OF_ANOTHER)
    op.execute("""
        ALTER TABLE user_bindings
            DROP CONSTRAINT user_bindings_node_id_provider_external_id_key,
            ADD CONSTRAINT user_bindings_provider_external_id_key UNIQUE (provider, external_id)
    """)
    op.execute("DROP TRIGGER set_asides_back_to_review ON set_asides")
    op.execute("DROP FUNCTION ledger_back_to_review()")
    _rewrite("ledger_guard_pins()", POOL_FIXED_UNLESS, POOL_FIXED)
    _rewrite("ledger_guard_epoch()", BACKWARDS_UNLESS, BACKWARDS)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if before not in source:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
