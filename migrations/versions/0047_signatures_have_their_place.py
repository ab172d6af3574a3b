"""Rows that are no signatures fill no archive and keep no approver waiting: they have a shape, and few have a place.

Of each approver whom the epoch pinned a few signatures of a statement stand at once, and of an epoch a few statements.
What the owner sets aside gives its place back.
"""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

SHAPES = {"signer_wallet": "^0x[0-9a-fA-F]{40}$", "signature": "^0x[0-9a-fA-F]{130}$"}
TABLES = ("statement_signatures", "statement_inputs_signatures")

SIGNATURES = """
    CREATE FUNCTION ledger_bound_signatures() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of_wallet CONSTANT integer := 8;
        of_statement CONSTANT integer := 60;
        approvers jsonb;
        standing bigint;
        most integer;
    BEGIN
        -- One after the other, each seeing those before it.
        SELECT epoch.pinned_spec -> 'approvers' INTO approvers
            FROM public.payout_statements AS statement JOIN public.epochs AS epoch ON epoch.id = statement.epoch_id
            WHERE statement.id = NEW.statement_id FOR NO KEY UPDATE OF epoch;
        IF jsonb_typeof(approvers) = 'array' THEN
            IF NOT EXISTS (
                SELECT FROM jsonb_array_elements_text(approvers) AS approver
                WHERE lower(approver) = lower(NEW.signer_wallet)
            ) THEN
                RAISE EXCEPTION 'INSERT into % refused: % is not among the approvers that the epoch pinned',
                    TG_TABLE_NAME, NEW.signer_wallet USING ERRCODE = 'restrict_violation';
            END IF;
            most := of_wallet;
        ELSE
            most := of_statement;
        END IF;
        IF TG_TABLE_NAME = 'statement_signatures' THEN
            SELECT count(*) INTO standing FROM public.statement_signatures AS signature
                WHERE signature.statement_id = NEW.statement_id
                    AND (most = of_statement OR lower(signature.signer_wallet) = lower(NEW.signer_wallet))
                    AND NOT EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.signature_id = signature.id);
        ELSE
            SELECT count(*) INTO standing FROM public.statement_inputs_signatures AS signature
                WHERE signature.statement_id = NEW.statement_id
                    AND (most = of_statement OR lower(signature.signer_wallet) = lower(NEW.signer_wallet))
                    AND NOT EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.inputs_signature_id = signature.id);
        END IF;
        IF standing >= most THEN
            RAISE EXCEPTION 'INSERT into % refused: % signatures stand there already under statement %; the owner of the '
                'ledger takes out those that are none with `ledger-pipeline db set-aside`',
                TG_TABLE_NAME, standing, NEW.statement_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""  # noqa: E501 (one condition to a line)
STATEMENTS = """
    CREATE FUNCTION ledger_bound_statements() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        most CONSTANT integer := 30;
        standing bigint;
    BEGIN
        PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
        SELECT count(*) INTO standing FROM public.payout_statements AS statement
            WHERE statement.epoch_id = NEW.epoch_id AND NOT EXISTS (
                SELECT FROM public.set_asides AS aside
                WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
            );
        IF standing >= most THEN
            RAISE EXCEPTION 'INSERT into payout_statements refused: % statements of epoch % stand there already; the owner '
                'of the ledger takes out those that nobody signed with `ledger-pipeline db set-aside`',
                standing, NEW.epoch_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""  # noqa: E501 (one condition to a line)


def upgrade() -> None:
    for table in TABLES:
        for column, shape in SHAPES.items():
            op.execute(f"""
                ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_check CHECK ({column} ~ '{shape}') NOT VALID
            """)
            op.execute(f"""
                DO $$ BEGIN
                    ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_check;
                EXCEPTION WHEN check_violation THEN
                    NULL;  -- rows of before
                END $$
            """)
    op.execute("""
        CREATE TRIGGER statement_inputs_signatures_sees_the_latest
            BEFORE INSERT OR UPDATE OR DELETE ON statement_inputs_signatures
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    op.execute(SIGNATURES)
    for table in TABLES:
        op.execute(f"""
            CREATE TRIGGER {table}_bounded BEFORE INSERT ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_bound_signatures()
        """)
    op.execute(STATEMENTS)
    op.execute("""
        CREATE TRIGGER payout_statements_bounded BEFORE INSERT ON payout_statements
            FOR EACH ROW EXECUTE FUNCTION ledger_bound_statements()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER payout_statements_bounded ON payout_statements")
    op.execute("DROP FUNCTION ledger_bound_statements()")
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_bounded ON {table}")
        for column in SHAPES:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check")
    op.execute("DROP FUNCTION ledger_bound_signatures()")
    op.execute("DROP TRIGGER statement_inputs_signatures_sees_the_latest ON statement_inputs_signatures")
