"""Nothing was read up to a time that is to come, and nothing is pinned before an epoch closes.

A cursor or receipt of the year 2999 would have every epoch closed unread.
"""

from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER')"
READ_TO = {"scan_receipts": "covered_to", "source_cursors": "cursor_value", "scan_checkpoints": "watermark"}


def upgrade() -> None:
    op.execute(f"""
        CREATE FUNCTION ledger_refuse_read_ahead() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF {IS_OWNER} THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION '% of % refused: % of % is more than a day to come, and nothing was read up to then',
                TG_OP, TG_TABLE_NAME, TG_ARGV[0], NEW.source_scope USING ERRCODE = 'check_violation';
        END $$
    """)
    for table, column in READ_TO.items():
        op.execute(f"""
            CREATE TRIGGER {table}_not_ahead BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW
                WHEN (NEW.{column} > clock_timestamp() + interval '1 day')
                EXECUTE FUNCTION ledger_refuse_read_ahead('{column}')
        """)
    op.execute(f"""
        CREATE FUNCTION ledger_refuse_early_pins() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF {IS_OWNER} THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'UPDATE of epoch % refused: what it is paid by is pinned when it closes', OLD.id
                USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_pinned_at_closing BEFORE UPDATE ON epochs FOR EACH ROW
            WHEN (OLD.status = 'open' AND NEW.status = 'open' AND (
                NEW.closed_at, NEW.allocation_algo_ref, NEW.weight_config_hash, NEW.approver_set_hash, NEW.pinned_spec
            ) IS DISTINCT FROM (
                OLD.closed_at, OLD.allocation_algo_ref, OLD.weight_config_hash, OLD.approver_set_hash, OLD.pinned_spec
            ))
            EXECUTE FUNCTION ledger_refuse_early_pins()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epochs_pinned_at_closing ON epochs")
    op.execute("DROP FUNCTION ledger_refuse_early_pins()")
    for table in READ_TO:
        op.execute(f"DROP TRIGGER {table}_not_ahead ON {table}")
    op.execute("DROP FUNCTION ledger_refuse_read_ahead()")
