"""No new event may join an epoch that is in review or finalized; SQLSTATE LP001 says so."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A statement trigger sees only rows really inserted: a duplicate skipped by ON CONFLICT is no error.
    # FOR SHARE waits for an epoch that is just closing, and keeps it open until this transaction ends.
    # Epochs never overlap, so the last one starting at or before an event is the only one that can hold it.
    op.execute("""
        CREATE FUNCTION ledger_refuse_late_events() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            epoch record;
        BEGIN
            FOR epoch IN
                SELECT id, status, period_start, period_end FROM epochs
                WHERE id = ANY (ARRAY (
                    SELECT DISTINCT candidate.id
                    FROM (SELECT DISTINCT node_id, scope_id, event_time FROM inserted) AS event
                    CROSS JOIN LATERAL (
                        SELECT e.id, e.period_end FROM epochs AS e
                        WHERE e.node_id = event.node_id AND e.scope_id = event.scope_id
                            AND e.period_start <= event.event_time
                        ORDER BY e.period_start DESC LIMIT 1
                    ) AS candidate
                    WHERE event.event_time < candidate.period_end
                ))
                ORDER BY id FOR SHARE
            LOOP
                IF epoch.status <> 'open' THEN
                    RAISE EXCEPTION 'INSERT into activity_events refused: epoch % (% to %) is in %, not open',
                        epoch.id, epoch.period_start, epoch.period_end, epoch.status USING ERRCODE = 'LP001';
                END IF;
            END LOOP;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER activity_events_refuse_late AFTER INSERT ON activity_events
            REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_late_events()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER activity_events_refuse_late ON activity_events")
    op.execute("DROP FUNCTION ledger_refuse_late_events()")
