"""What a source says of an event beside its contract row: observations, appended where they differ from the last.

`recorded_at` is the database's own, and an epoch's row is held while facts of its events are written: what is recorded
up to the time at which it closes is all that whoever closes it sees.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None

TEXTS = ("event_id", "facts_hash", "producer", "producer_version")
INSTANTS = ("observed_at", "recorded_at")
LONGEST_FACTS_BYTES = 1_900_000


def upgrade() -> None:
    lengths = ",\n".join(
        f"CONSTRAINT event_facts_{column}_length_check CHECK (char_length({column}) <= 1000)" for column in TEXTS
    )
    instants = ",\n".join(
        f"CONSTRAINT event_facts_{column}_instant_check "
        f"CHECK ({column} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z')"
        for column in INSTANTS
    )
    op.execute(f"""
        CREATE TABLE event_facts (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            event_id text NOT NULL,
            recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            facts_hash text NOT NULL,
            facts jsonb NOT NULL,
            observed_at timestamptz NOT NULL,
            producer text NOT NULL,
            producer_version text NOT NULL,
            PRIMARY KEY (node_id, scope_id, event_id, recorded_at),
            CONSTRAINT event_facts_facts_hash_check CHECK (facts_hash ~ '^[0-9a-f]{{64}}$'),
            CONSTRAINT event_facts_facts_json_check
                CHECK (ledger_is_plain_json(facts, 'object', {LONGEST_FACTS_BYTES})),
            {lengths},
            {instants}
        )
    """)
    op.execute("""
        CREATE FUNCTION ledger_record_now() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            NEW.recorded_at := clock_timestamp();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_facts_recorded_now BEFORE INSERT ON event_facts
            FOR EACH ROW EXECUTE FUNCTION ledger_record_now()
    """)
    # Once an epoch's row is held: was it closed at a time that is after a row's? Whoever closed it did not see the row.
    # Epochs never overlap, so the last one starting at or before an event is the only one that can hold it.
    op.execute("""
        CREATE FUNCTION ledger_guard_facts() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            broken text;
            first_recorded_at timestamptz;
            epoch record;
        BEGIN
            SELECT fact.event_id INTO broken FROM inserted AS fact WHERE NOT EXISTS (
                SELECT FROM public.activity_events AS event
                WHERE event.node_id = fact.node_id AND event.scope_id = fact.scope_id AND event.id = fact.event_id
                    AND event.event_type = fact.facts ->> 'eventType'
                OFFSET 0
            ) LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into event_facts refused: there is no event "%" of the type that its facts are '
                    'of', regexp_replace(broken, '[^ -~]', '?', 'g') USING ERRCODE = 'foreign_key_violation';
            END IF;
            SELECT event_id INTO broken FROM inserted WHERE observed_at > clock_timestamp() + interval '1 day' LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into event_facts refused: observed_at of event "%" is more than a day to come',
                    regexp_replace(broken, '[^ -~]', '?', 'g') USING ERRCODE = 'check_violation';
            END IF;
            SELECT min(recorded_at) INTO first_recorded_at FROM inserted;
            FOR epoch IN
                SELECT id, closed_at FROM public.epochs
                WHERE id = ANY (ARRAY (
                    SELECT DISTINCT candidate.id
                    FROM (
                        SELECT DISTINCT fact.node_id, fact.scope_id, event.event_time
                        FROM inserted AS fact CROSS JOIN LATERAL (
                            SELECT stored.event_time FROM public.activity_events AS stored
                            WHERE stored.node_id = fact.node_id AND stored.scope_id = fact.scope_id
                                AND stored.id = fact.event_id
                            OFFSET 0
                        ) AS event
                    ) AS event
                    CROSS JOIN LATERAL (
                        SELECT e.id, e.period_end FROM public.epochs AS e
                        WHERE e.node_id = event.node_id AND e.scope_id = event.scope_id
                            AND e.period_start <= event.event_time
                        ORDER BY e.period_start DESC LIMIT 1
                    ) AS candidate
                    WHERE event.event_time < candidate.period_end
                ))
                ORDER BY id FOR SHARE
            LOOP
                IF epoch.closed_at >= first_recorded_at THEN
                    RAISE EXCEPTION 'INSERT into event_facts refused: epoch % closed meanwhile', epoch.id
                        USING ERRCODE = 'LP001', HINT = 'write them again: they are of after its closing';
                END IF;
            END LOOP;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_facts_guarded AFTER INSERT ON event_facts
            REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_facts()
    """)
    op.execute("""
        CREATE TRIGGER event_facts_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON event_facts
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    op.execute("""
        CREATE TRIGGER event_facts_immutable BEFORE UPDATE OR DELETE ON event_facts
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER event_facts_never_truncated BEFORE TRUNCATE ON event_facts
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON event_facts TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON event_facts TO ledger_writer")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM event_facts"))
    if kept:
        raise CommandError(f"downgrade below 0069 refused: {kept} observations of facts are kept there")
    op.execute("DROP TABLE event_facts")
    op.execute("DROP FUNCTION ledger_guard_facts()")
    op.execute("DROP FUNCTION ledger_record_now()")
