"""What is stated, signed and corrected has an instant that was: one that no calendar holds could not be read at all."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

INSTANTS = {
    "payout_statements": "created_at",
    "statement_signatures": "signed_at",
    "statement_inputs_signatures": "signed_at",
    "statement_corrections": "created_at",
}


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION ledger_refuse_instant() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            RAISE EXCEPTION '% of % refused: % is no instant between 2000 and tomorrow',
                TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'check_violation';
        END $$
    """)
    for table, column in INSTANTS.items():
        op.execute(f"""
            CREATE TRIGGER {table}_instant BEFORE INSERT ON {table} FOR EACH ROW
                WHEN (NEW.{column} NOT BETWEEN timestamptz '2000-01-01Z' AND clock_timestamp() + interval '1 day')
                EXECUTE FUNCTION ledger_refuse_instant('{column}')
        """)


def downgrade() -> None:
    for table in reversed(INSTANTS):
        op.execute(f"DROP TRIGGER {table}_instant ON {table}")
    op.execute("DROP FUNCTION ledger_refuse_instant()")
