"""A row's number is the ledger's: nobody else chooses one that comes last for ever, or that the next row would have.

A rejected event takes the place of no other one: not of one at another time, from elsewhere, or of another repository.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

NUMBERED = (
    "epochs",
    "rejected_events",
    "scan_receipts",
    "statement_corrections",
    "signing_requests",
    "left_out_items",
    "set_asides",
)
# The owner keeps numbers: a copy of the ledger is filled with those of the original.
NUMBER = """
    CREATE FUNCTION ledger_number_row() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
            NEW.id := nextval(TG_ARGV[0]::regclass);
        END IF;
        RETURN NEW;
    END $$
"""
REJECTED_OF_EPOCH = """
    CREATE FUNCTION ledger_guard_rejected_epoch() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT FROM public.epochs AS epoch
            WHERE epoch.id = NEW.epoch_id AND epoch.node_id = NEW.node_id AND epoch.scope_id = NEW.scope_id
                AND NEW.event_time >= epoch.period_start AND NEW.event_time < epoch.period_end
        ) THEN
            RAISE EXCEPTION 'INSERT into rejected_events refused: epoch % does not hold % of event %',
                NEW.epoch_id, NEW.event_time, NEW.event_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""
ONCE = "node_id, scope_id, event_id, payload_hash, reason"


def upgrade() -> None:
    op.execute(NUMBER)
    for table in NUMBERED:
        op.execute(f"""
            CREATE TRIGGER {table}_numbered BEFORE INSERT ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_number_row('public.{table}_id_seq')
        """)
        # Numbers that somebody has taken ahead are passed over, but for those no sequence comes to.
        op.execute(f"""
            SELECT setval('public.{table}_id_seq', greatest(max(id), (SELECT last_value FROM public.{table}_id_seq)))
            FROM {table} WHERE id < 9007199254740991 HAVING count(*) > 0
        """)  # noqa: S608 (our own statement)
    op.execute("ALTER TABLE rejected_events DROP CONSTRAINT rejected_events_once")
    op.execute(f"""
        CREATE UNIQUE INDEX rejected_events_once ON rejected_events
            ({ONCE}, event_time, source, event_type, COALESCE(metadata ->> 'repository', ''))
    """)
    op.execute(REJECTED_OF_EPOCH)
    op.execute("""
        CREATE TRIGGER rejected_events_of_its_epoch BEFORE INSERT ON rejected_events
            FOR EACH ROW WHEN (NEW.epoch_id IS NOT NULL) EXECUTE FUNCTION ledger_guard_rejected_epoch()
    """)


def downgrade() -> None:
    twice = op.get_bind().scalar(
        text(f"SELECT count(*) FROM (SELECT FROM rejected_events GROUP BY {ONCE} HAVING count(*) > 1) AS found")  # noqa: S608
    )
    if twice:
        raise CommandError(f"downgrade below 0042 refused: {twice} rejected events are there at several times")
    op.execute("DROP TRIGGER rejected_events_of_its_epoch ON rejected_events")
    op.execute("DROP FUNCTION ledger_guard_rejected_epoch()")
    op.execute("DROP INDEX rejected_events_once")
    op.execute(f"ALTER TABLE rejected_events ADD CONSTRAINT rejected_events_once UNIQUE ({ONCE})")
    for table in NUMBERED:
        op.execute(f"DROP TRIGGER {table}_numbered ON {table}")
    op.execute("DROP FUNCTION ledger_number_row()")
