"""Of a statement so many corrections stand, no more; the owner takes corrections and requests to sign out, on record.

Whoever may write corrects, too, and may say of any numbers that they were handed out to be signed: a user of their
making had a line in every amendment to come, and no amendment was made to numbers that they had guessed.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

OF_SIGNATURES = """
                OR EXISTS (SELECT FROM public.statement_inputs_signatures AS signature
                    WHERE signature.id = NEW.inputs_signature_id AND signature.epoch_id = epoch.id)
            ) THEN"""
OF_NUMBERED = """
                OR EXISTS (SELECT FROM public.statement_inputs_signatures AS signature
                    WHERE signature.id = NEW.inputs_signature_id AND signature.epoch_id = epoch.id)
                OR EXISTS (SELECT FROM public.statement_corrections AS correction
                    WHERE correction.id = NEW.correction_id AND correction.epoch_id = epoch.id)
                OR EXISTS (SELECT FROM public.signing_requests AS request
                    WHERE request.id = NEW.signing_request_id AND request.epoch_id = epoch.id)
            ) THEN"""
FINALIZED = "            IF NEW.pool_component_id IS NOT NULL AND epoch.status = 'finalized' THEN\n"
RESTED_ON = f"""            IF EXISTS (
                SELECT FROM public.statement_corrections AS correction JOIN public.payout_statements AS statement
                    ON statement.supersedes_statement_id = correction.supersedes_statement_id
                WHERE correction.id = NEW.correction_id AND NOT EXISTS (
                    SELECT FROM public.set_asides AS aside
                    WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
                )
            ) THEN
                RAISE EXCEPTION 'INSERT into set_asides refused: a statement rests on correction % of epoch %',
                    NEW.correction_id, epoch.id USING ERRCODE = 'restrict_violation';
            END IF;
{FINALIZED}"""  # noqa: S608 (our own statement)
REQUEST_SET_ASIDE = "SELECT FROM public.set_asides AS aside WHERE aside.signing_request_id = {request}.id"
OF_PLACE = "                    AND request.supersedes_statement_id IS DISTINCT FROM NEW.supersedes_statement_id\n"
OF_PLACE_STANDING = f"""{OF_PLACE}                    AND NOT EXISTS (
                        {REQUEST_SET_ASIDE.format(request="request")}
                    )
"""
PLACED = "            RETURN NEW;\n"
COUNTED = f"""            -- What was set aside is no memory of what is handed out after it.
            SELECT count(*) INTO NEW.attempt FROM public.signing_requests AS request
                WHERE (request.epoch_id, request.allocation_set_hash, request.pool_total_credits)
                        = (NEW.epoch_id, NEW.allocation_set_hash, NEW.pool_total_credits)
                    AND request.supersedes_statement_id IS NOT DISTINCT FROM NEW.supersedes_statement_id
                    AND EXISTS (
                        {REQUEST_SET_ASIDE.format(request="request")}
                    );
{PLACED}"""  # noqa: S608 (our own statement)
ROWS = "statement_id, pool_component_id, inputs_signature_id"
ONE_ROW = "ADD CONSTRAINT set_asides_one_row_check CHECK (num_nonnulls({rows}) = 1)"
NUMBERED = {"correction_id": "statement_corrections", "signing_request_id": "signing_requests"}
NUMBERS = "epoch_id, allocation_set_hash, pool_total_credits"
INDEXES = {
    "signing_requests_once": (", supersedes_statement_id", "supersedes_statement_id IS NOT NULL"),
    "signing_requests_first_once": ("", "supersedes_statement_id IS NULL"),
}


def upgrade() -> None:
    for column, table in NUMBERED.items():
        op.execute(f"""
            ALTER TABLE set_asides
                ADD COLUMN {column} bigint REFERENCES {table} (id),
                ADD CONSTRAINT set_asides_{column}_key UNIQUE ({column}),
                ADD CONSTRAINT set_asides_{column}_sign_check CHECK ({column} >= 0)
        """)
    op.execute(f"""
        ALTER TABLE set_asides
            DROP CONSTRAINT set_asides_one_row_check,
            {ONE_ROW.format(rows=f"{ROWS}, correction_id, signing_request_id")}
    """)
    _rewrite("ledger_guard_set_aside()", OF_SIGNATURES, OF_NUMBERED)
    _rewrite("ledger_guard_set_aside()", FINALIZED, RESTED_ON)
    op.execute("""
        ALTER TABLE signing_requests
            ADD COLUMN attempt integer NOT NULL DEFAULT 0,
            ADD CONSTRAINT signing_requests_attempt_sign_check CHECK (attempt >= 0)
    """)
    _index(", attempt")
    # Of numbers at whichever place, and of the latest: however many there are, both are found at once.
    op.execute(f"CREATE INDEX signing_requests_numbers ON signing_requests ({NUMBERS})")
    op.execute("CREATE INDEX signing_requests_latest ON signing_requests (node_id, id)")
    _rewrite("ledger_guard_request()", PLACED, COUNTED)
    _rewrite("ledger_guard_statement()", OF_PLACE, OF_PLACE_STANDING)
    op.execute("""
        CREATE FUNCTION ledger_bound_corrections() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            most CONSTANT integer := 1000;
            standing bigint;
        BEGIN
            -- One after the other, each seeing those before it.
            PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
            SELECT count(*) INTO standing FROM public.statement_corrections AS correction
                WHERE correction.supersedes_statement_id = NEW.supersedes_statement_id AND NOT EXISTS (
                    SELECT FROM public.set_asides AS aside WHERE aside.correction_id = correction.id
                );
            IF standing >= most THEN
                RAISE EXCEPTION 'INSERT into statement_corrections refused: % corrections of statement % stand there '
                    'already: state them first; where nobody of yours made them, the owner of the ledger takes them '
                    'out with `ledger-pipeline db set-aside`',
                    standing, NEW.supersedes_statement_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER statement_corrections_bounded BEFORE INSERT ON statement_corrections
            FOR EACH ROW EXECUTE FUNCTION ledger_bound_corrections()
    """)


def downgrade() -> None:
    kept = op.get_bind().scalar(
        text("SELECT count(*) FROM set_asides WHERE num_nonnulls(correction_id, signing_request_id) = 1")
    )
    if kept:
        raise CommandError(
            f"downgrade below 0062 refused: {kept} corrections and requests that were set aside would count again"
        )
    op.execute("DROP TRIGGER statement_corrections_bounded ON statement_corrections")
    op.execute("DROP FUNCTION ledger_bound_corrections()")
    _rewrite("ledger_guard_statement()", OF_PLACE_STANDING, OF_PLACE)
    _rewrite("ledger_guard_request()", COUNTED, PLACED)
    op.execute("DROP INDEX signing_requests_latest")
    op.execute("DROP INDEX signing_requests_numbers")
    _index("")
    op.execute("ALTER TABLE signing_requests DROP COLUMN attempt")
    _rewrite("ledger_guard_set_aside()", RESTED_ON, FINALIZED)
    _rewrite("ledger_guard_set_aside()", OF_NUMBERED, OF_SIGNATURES)
    op.execute(f"""
        ALTER TABLE set_asides
            DROP CONSTRAINT set_asides_one_row_check,
            DROP COLUMN signing_request_id,
            DROP COLUMN correction_id,
            {ONE_ROW.format(rows=ROWS)}
    """)


def _index(attempt: str) -> None:
    for name, (superseded, condition) in INDEXES.items():
        op.execute(f"DROP INDEX {name}")
        op.execute(f"CREATE UNIQUE INDEX {name} ON signing_requests ({NUMBERS}{superseded}{attempt}) WHERE {condition}")


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
