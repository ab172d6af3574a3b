"""No event slips into an epoch behind its back: not from an older snapshot, nor from before the epoch was there.

Whoever adds an event holds its scope until the transaction ends; whoever makes an epoch waits for them, and they for
it. What triggers look up is the latest only under READ COMMITTED, so nothing they guard is written under another.
"""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

# Tables whose triggers look at other rows than those being written.
GUARDED = (
    "activity_events",
    "epochs",
    "activity_curation",
    "epoch_allocations",
    "epoch_pool_components",
    "payout_statements",
    "statement_signatures",
    "statement_corrections",
)
SCOPE = "'activity_events ' || {row}.node_id || ' ' || {row}.scope_id"


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION ledger_refuse_old_snapshot() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE EXCEPTION '% of % refused: under % it would not see what others have just committed',
                    TG_OP, TG_TABLE_NAME, upper(current_setting('transaction_isolation'))
                    USING ERRCODE = 'restrict_violation', HINT = 'use READ COMMITTED';
            END IF;
            RETURN NULL;
        END $$
    """)
    for table in GUARDED:
        op.execute(f"""
            CREATE TRIGGER {table}_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
        """)
    op.execute(f"""
        CREATE FUNCTION ledger_hold_scopes() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            scope record;
        BEGIN
            FOR scope IN SELECT DISTINCT node_id, scope_id FROM inserted ORDER BY node_id, scope_id LOOP
                PERFORM pg_advisory_xact_lock_shared(hashtextextended({SCOPE.format(row="scope")}, 0));
            END LOOP;
            RETURN NULL;
        END $$
    """)  # noqa: S608 (our own statement)
    # Triggers of one kind go by their names: the scope is held before the epochs are looked at.
    op.execute("""
        CREATE TRIGGER activity_events_hold_scopes AFTER INSERT ON activity_events
            REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_hold_scopes()
    """)
    op.execute(f"""
        CREATE FUNCTION ledger_wait_for_scope() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended({SCOPE.format(row="NEW")}, 0));
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_wait_for_events BEFORE INSERT ON epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_wait_for_scope()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epochs_wait_for_events ON epochs")
    op.execute("DROP FUNCTION ledger_wait_for_scope()")
    op.execute("DROP TRIGGER activity_events_hold_scopes ON activity_events")
    op.execute("DROP FUNCTION ledger_hold_scopes()")
    for table in GUARDED:
        op.execute(f"DROP TRIGGER {table}_sees_the_latest ON {table}")
    op.execute("DROP FUNCTION ledger_refuse_old_snapshot()")
