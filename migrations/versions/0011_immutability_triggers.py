"""Facts and pool components never change, and curation is fixed once its epoch is finalized."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

IMMUTABLE = ("activity_events", "epoch_pool_components")


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% of % refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation';
        END $$
    """)
    for table in IMMUTABLE:
        op.execute(f"""
            CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
        """)
    # FOR SHARE waits for a finalization under way, so that curation never slips in beside it.
    op.execute("""
        CREATE FUNCTION ledger_refuse_curation_once_finalized() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            epoch record;
        BEGIN
            FOR epoch IN
                SELECT id, status FROM epochs
                WHERE (TG_OP <> 'INSERT' AND id = OLD.epoch_id) OR (TG_OP <> 'DELETE' AND id = NEW.epoch_id)
                ORDER BY id FOR SHARE
            LOOP
                IF epoch.status = 'finalized' THEN
                    RAISE EXCEPTION '% of activity_curation refused: epoch % is finalized', TG_OP, epoch.id
                        USING ERRCODE = 'restrict_violation';
                END IF;
            END LOOP;
            RETURN COALESCE(NEW, OLD);
        END $$
    """)
    op.execute("""
        CREATE TRIGGER activity_curation_fixed_once_finalized
            BEFORE INSERT OR UPDATE OR DELETE ON activity_curation
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_curation_once_finalized()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER activity_curation_fixed_once_finalized ON activity_curation")
    op.execute("DROP FUNCTION ledger_refuse_curation_once_finalized()")
    for table in IMMUTABLE:
        op.execute(f"DROP TRIGGER {table}_immutable ON {table}")
    op.execute("DROP FUNCTION ledger_refuse_change()")
