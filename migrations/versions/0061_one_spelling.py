"""A signature has one spelling, and stands once under its statement, however its wallet is spelled.

Anybody can write the same signature in upper case, with another v or as its twin: as a row of its own it kept an honest
epoch from verifying, and could not be set aside, for it verifies.
"""

from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

# Half of the order of secp256k1: of a signature and its twin one alone has an s that is no more.
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SHAPE = "signature ~ '^0x[0-9a-fA-F]{130}$'"
CANONICAL = f"""signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'"""
TABLES = ("statement_signatures", "statement_inputs_signatures")


def upgrade() -> None:
    for table in TABLES:
        _check(table, CANONICAL)
    op.execute("""
        CREATE FUNCTION ledger_skip_copy() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            -- The trigger before this one holds the epoch, so each sees those before it.
            IF TG_TABLE_NAME = 'statement_signatures' THEN
                PERFORM FROM public.statement_signatures AS stored
                    WHERE stored.statement_id = NEW.statement_id AND stored.signature = NEW.signature
                        AND lower(stored.signer_wallet) = lower(NEW.signer_wallet)
                        AND NOT EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.signature_id = stored.id);
            ELSE
                PERFORM FROM public.statement_inputs_signatures AS stored
                    WHERE stored.statement_id = NEW.statement_id AND stored.signature = NEW.signature
                        AND stored.inputs_root = NEW.inputs_root
                        AND lower(stored.signer_wallet) = lower(NEW.signer_wallet)
                        AND NOT EXISTS (
                            SELECT FROM public.set_asides AS aside WHERE aside.inputs_signature_id = stored.id
                        );
            END IF;
            IF FOUND THEN
                RETURN NULL;  -- it is there
            END IF;
            RETURN NEW;
        END $$
    """)
    for table in TABLES:
        op.execute(f"""
            CREATE TRIGGER {table}_copied_once BEFORE INSERT ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_skip_copy()
        """)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_copied_once ON {table}")
    op.execute("DROP FUNCTION ledger_skip_copy()")
    for table in TABLES:
        _check(table, SHAPE)


def _check(table: str, rule: str) -> None:
    op.execute(f"""
        ALTER TABLE {table}
            DROP CONSTRAINT {table}_signature_check,
            ADD CONSTRAINT {table}_signature_check CHECK ({rule}) NOT VALID
    """)
    op.execute(f"""
        DO $$ BEGIN
            ALTER TABLE {table} VALIDATE CONSTRAINT {table}_signature_check;
        EXCEPTION WHEN check_violation THEN
            NULL;  -- rows of before
        END $$
    """)
