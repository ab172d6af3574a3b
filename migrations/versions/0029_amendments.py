"""A statement is corrected by another one that supersedes it; what approvers were asked to sign is kept."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

FACTS = ("statement_corrections", "signing_requests")


def upgrade() -> None:
    # One original an epoch, each superseded at most once, by one of the same epoch: a chain.
    op.execute("""
        ALTER TABLE payout_statements
            DROP CONSTRAINT payout_statements_node_id_epoch_id_key,
            DROP CONSTRAINT payout_statements_supersedes_statement_id_fkey,
            ADD CONSTRAINT payout_statements_id_epoch_id_key UNIQUE (id, epoch_id),
            ADD CONSTRAINT payout_statements_supersedes_statement_id_key UNIQUE (supersedes_statement_id),
            ADD CONSTRAINT payout_statements_supersedes_statement_id_epoch_id_fkey
                FOREIGN KEY (supersedes_statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id)
    """)
    op.execute("""
        CREATE UNIQUE INDEX payout_statements_one_original ON payout_statements (node_id, epoch_id)
            WHERE supersedes_statement_id IS NULL
    """)
    op.execute("""
        CREATE TABLE statement_corrections (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            supersedes_statement_id uuid NOT NULL,
            user_id text NOT NULL,
            units bigint NOT NULL,
            reason text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT statement_corrections_units_check CHECK (units >= 0),
            CONSTRAINT statement_corrections_supersedes_statement_id_epoch_id_fkey
                FOREIGN KEY (supersedes_statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id)
        )
    """)
    op.execute("CREATE INDEX statement_corrections_statement ON statement_corrections (supersedes_statement_id)")
    op.execute("""
        CREATE TABLE signing_requests (
            id bigserial PRIMARY KEY,
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            allocation_set_hash text NOT NULL,
            pool_total_credits bigint NOT NULL,
            requested_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT signing_requests_once UNIQUE (epoch_id, allocation_set_hash, pool_total_credits)
        )
    """)
    # Locked as the finalization locks it: a correction never slips in beside the statement that carries the others.
    op.execute("""
        CREATE FUNCTION ledger_refuse_late_correction() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            PERFORM FROM epochs WHERE id = NEW.epoch_id FOR SHARE;
            IF EXISTS (SELECT FROM payout_statements WHERE supersedes_statement_id = NEW.supersedes_statement_id) THEN
                RAISE EXCEPTION 'INSERT into statement_corrections refused: statement % is superseded already',
                    NEW.supersedes_statement_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER statement_corrections_not_late BEFORE INSERT ON statement_corrections
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_late_correction()
    """)
    for table in FACTS:
        op.execute(f"""
            CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
        """)
        op.execute(f"""
            CREATE TRIGGER {table}_never_truncated BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
        """)
        op.execute(f"GRANT SELECT ON {table} TO ledger_reader, ledger_writer")
        op.execute(f"GRANT INSERT ON {table} TO ledger_writer")
        op.execute(f"GRANT USAGE ON SEQUENCE {table}_id_seq TO ledger_writer")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM statement_corrections"))
    if kept:
        raise CommandError(f"downgrade below 0029 refused: {kept} corrections of statements are recorded nowhere else")
    for table in reversed(FACTS):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION ledger_refuse_late_correction()")
    op.execute("DROP INDEX payout_statements_one_original")
    # Refused by the database where a statement has been superseded: no row is thrown away.
    op.execute("""
        ALTER TABLE payout_statements
            DROP CONSTRAINT payout_statements_supersedes_statement_id_epoch_id_fkey,
            DROP CONSTRAINT payout_statements_supersedes_statement_id_key,
            DROP CONSTRAINT payout_statements_id_epoch_id_key,
            ADD CONSTRAINT payout_statements_node_id_epoch_id_key UNIQUE (node_id, epoch_id),
            ADD CONSTRAINT payout_statements_supersedes_statement_id_fkey
                FOREIGN KEY (supersedes_statement_id) REFERENCES payout_statements (id)
    """)
