"""An epoch curates events of its own window only; allocations are fixed with it once it is finalized."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One look at the statement's rows, whatever their number.
    op.execute("""
        CREATE FUNCTION ledger_refuse_foreign_curation() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            stray record;
        BEGIN
            SELECT curated.epoch_id, curated.event_id INTO stray
            FROM curated
            LEFT JOIN epochs AS epoch ON epoch.id = curated.epoch_id AND epoch.node_id = curated.node_id
            LEFT JOIN activity_events AS event
                ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curated.event_id
                AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
            WHERE event.id IS NULL
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION '% of activity_curation refused: % is no event of epoch %',
                    TG_OP, stray.event_id, stray.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    for operation in ("INSERT", "UPDATE"):
        op.execute(f"""
            CREATE TRIGGER activity_curation_of_own_events_{operation.lower()} AFTER {operation} ON activity_curation
                REFERENCING NEW TABLE AS curated
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_foreign_curation()
        """)
    op.execute("""
        CREATE FUNCTION ledger_refuse_once_finalized() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            epoch record;
        BEGIN
            FOR epoch IN
                SELECT id, status FROM epochs
                WHERE (TG_OP <> 'INSERT' AND id = OLD.epoch_id) OR (TG_OP <> 'DELETE' AND id = NEW.epoch_id)
                ORDER BY id FOR SHARE
            LOOP
                IF epoch.status = 'finalized' THEN
                    RAISE EXCEPTION '% of % refused: epoch % is finalized', TG_OP, TG_TABLE_NAME, epoch.id
                        USING ERRCODE = 'restrict_violation';
                END IF;
            END LOOP;
            RETURN COALESCE(NEW, OLD);
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epoch_allocations_fixed_once_finalized BEFORE INSERT OR UPDATE OR DELETE ON epoch_allocations
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_once_finalized()
    """)
    op.execute("""
        CREATE TRIGGER epoch_allocations_never_truncated BEFORE TRUNCATE ON epoch_allocations
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epoch_allocations_never_truncated ON epoch_allocations")
    op.execute("DROP TRIGGER epoch_allocations_fixed_once_finalized ON epoch_allocations")
    op.execute("DROP FUNCTION ledger_refuse_once_finalized()")
    for operation in ("insert", "update"):
        op.execute(f"DROP TRIGGER activity_curation_of_own_events_{operation} ON activity_curation")
    op.execute("DROP FUNCTION ledger_refuse_foreign_curation()")
