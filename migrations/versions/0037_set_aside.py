"""A statement that nobody signed is set aside by the owner, on record, and another takes its place.

A chain never states the same numbers twice, for what was signed of the first would put the second in force. A signature
belongs to one statement. Of a wallet there may be several under a statement: one that is garbage keeps no place.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

# What two spellings of a signature, and its twin, have in common: its r.
KEY = "\"left\"(replace(lower({signature}), '0x', ''), 64)"
LATE_CORRECTION = """
    CREATE OR REPLACE FUNCTION ledger_refuse_late_correction() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR SHARE;
            IF EXISTS (
                SELECT FROM public.payout_statements AS statement
                WHERE supersedes_statement_id = NEW.supersedes_statement_id AND NOT EXISTS (
                    SELECT FROM public.set_asides AS aside
                    WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
                )
            ) THEN
                RAISE EXCEPTION 'INSERT into statement_corrections refused: statement % is superseded already',
                    NEW.supersedes_statement_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
"""
STATEMENT = """
    CREATE FUNCTION ledger_guard_statement() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            twin uuid;
        BEGIN
            IF jsonb_typeof(NEW.payouts_json) <> 'array' OR EXISTS (
                SELECT FROM jsonb_array_elements(NEW.payouts_json) AS line
                WHERE jsonb_typeof(line) <> 'object' OR EXISTS (
                    SELECT FROM unnest(ARRAY['userId', 'totalUnits', 'share', 'amountCredits']) AS key
                    WHERE jsonb_typeof(line -> key) IS DISTINCT FROM 'string'
                )
            ) THEN
                RAISE EXCEPTION 'INSERT into payout_statements refused: a line of payouts_json is not of four strings, '
                    'userId, totalUnits, share and amountCredits' USING ERRCODE = 'check_violation';
            END IF;
            -- One statement of an epoch after the other, so that each sees those before it.
            PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
            SELECT statement.id INTO twin FROM public.payout_statements AS statement
                WHERE statement.epoch_id = NEW.epoch_id
                    AND statement.allocation_set_hash = NEW.allocation_set_hash
                    AND statement.pool_total_credits = NEW.pool_total_credits
                    AND NOT EXISTS (
                        SELECT FROM public.set_asides AS aside
                        WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
                    );
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into payout_statements refused: statement % of epoch % has the same numbers, '
                    'and what was signed of it would be good for this one too', twin, NEW.epoch_id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            SELECT count(*) INTO NEW.attempt FROM public.payout_statements AS statement
                JOIN public.set_asides AS aside ON aside.statement_id = statement.id AND aside.signature_id IS NULL
                WHERE statement.epoch_id = NEW.epoch_id
                    AND statement.supersedes_statement_id IS NOT DISTINCT FROM NEW.supersedes_statement_id;
            RETURN NEW;
        END $$
"""
SIGNATURE = f"""
    CREATE FUNCTION ledger_guard_signature() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            key text := {KEY.format(signature="NEW.signature")};
            other uuid;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('statement_signatures ' || key, 0));
            SELECT stored.statement_id INTO other FROM public.statement_signatures AS stored
                WHERE {KEY.format(signature="stored.signature")} = key
                    AND stored.statement_id <> NEW.statement_id
                    AND NOT EXISTS (
                        SELECT FROM public.set_asides AS aside
                        WHERE aside.statement_id = stored.statement_id
                            AND (aside.signature_id IS NULL OR aside.signature_id = stored.id)
                    );
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into statement_signatures refused: it is the signature of statement %',
                    other USING ERRCODE = 'unique_violation';
            END IF;
            RETURN NEW;
        END $$
"""  # noqa: S608 (our own statement)


def upgrade() -> None:
    op.execute("""
        CREATE TABLE set_asides (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            statement_id uuid NOT NULL,
            signature_id uuid REFERENCES statement_signatures (id),
            reason text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            set_aside_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT set_asides_reason_check CHECK (btrim(reason) <> ''),
            CONSTRAINT set_asides_signature_id_key UNIQUE (signature_id),
            CONSTRAINT set_asides_statement_id_epoch_id_fkey
                FOREIGN KEY (statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id)
        )
    """)
    op.execute("CREATE UNIQUE INDEX set_asides_statement ON set_asides (statement_id) WHERE signature_id IS NULL")
    op.execute("""
        CREATE TRIGGER set_asides_immutable BEFORE UPDATE OR DELETE ON set_asides
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER set_asides_never_truncated BEFORE TRUNCATE ON set_asides
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    # Nobody but the owner sets anything aside.
    op.execute("GRANT SELECT ON set_asides TO ledger_reader, ledger_writer")
    # Still one original, and each superseded once: of those that stand.
    op.execute("""
        ALTER TABLE payout_statements
            ADD COLUMN attempt integer NOT NULL DEFAULT 0,
            DROP CONSTRAINT payout_statements_supersedes_statement_id_key,
            ADD CONSTRAINT payout_statements_supersedes_statement_id_attempt_key
                UNIQUE (supersedes_statement_id, attempt)
    """)
    op.execute("DROP INDEX payout_statements_one_original")
    op.execute("""
        CREATE UNIQUE INDEX payout_statements_one_original ON payout_statements (node_id, epoch_id, attempt)
            WHERE supersedes_statement_id IS NULL
    """)
    op.execute("""
        ALTER TABLE statement_signatures
            DROP CONSTRAINT statement_signatures_statement_id_signer_wallet_key,
            ADD CONSTRAINT statement_signatures_statement_id_signer_wallet_signature_key
                UNIQUE (statement_id, signer_wallet, signature)
    """)
    op.execute(f"CREATE INDEX statement_signatures_key ON statement_signatures ({KEY.format(signature='signature')})")
    op.execute(STATEMENT)
    op.execute("""
        CREATE TRIGGER payout_statements_guarded BEFORE INSERT ON payout_statements
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_statement()
    """)
    op.execute(SIGNATURE)
    op.execute("""
        CREATE TRIGGER statement_signatures_guarded BEFORE INSERT ON statement_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_signature()
    """)
    op.execute(LATE_CORRECTION)


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM set_asides"))
    if kept:
        raise CommandError(f"downgrade below 0037 refused: {kept} rows that were set aside would count again")
    op.execute("""
        CREATE OR REPLACE FUNCTION ledger_refuse_late_correction() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR SHARE;
            IF EXISTS (SELECT FROM public.payout_statements WHERE supersedes_statement_id = NEW.supersedes_statement_id) THEN
                RAISE EXCEPTION 'INSERT into statement_corrections refused: statement % is superseded already',
                    NEW.supersedes_statement_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)  # noqa: E501 (to the byte as it was)
    op.execute("DROP TRIGGER statement_signatures_guarded ON statement_signatures")
    op.execute("DROP FUNCTION ledger_guard_signature()")
    op.execute("DROP TRIGGER payout_statements_guarded ON payout_statements")
    op.execute("DROP FUNCTION ledger_guard_statement()")
    op.execute("DROP INDEX statement_signatures_key")
    op.execute("""
        ALTER TABLE statement_signatures
            DROP CONSTRAINT statement_signatures_statement_id_signer_wallet_signature_key,
            ADD CONSTRAINT statement_signatures_statement_id_signer_wallet_key UNIQUE (statement_id, signer_wallet)
    """)
    op.execute("DROP INDEX payout_statements_one_original")
    op.execute("""
        CREATE UNIQUE INDEX payout_statements_one_original ON payout_statements (node_id, epoch_id)
            WHERE supersedes_statement_id IS NULL
    """)
    op.execute("""
        ALTER TABLE payout_statements
            DROP CONSTRAINT payout_statements_supersedes_statement_id_attempt_key,
            ADD CONSTRAINT payout_statements_supersedes_statement_id_key UNIQUE (supersedes_statement_id),
            DROP COLUMN attempt
    """)
    op.execute("DROP TABLE set_asides")
