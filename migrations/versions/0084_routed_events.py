"""What an epoch's scope has of each event of a claimed repository: rows, written as it closes, and never changed.

They were a part of its spec, which has no room for them in an epoch of many events. Epochs that closed so keep theirs
there. A spec with many repositories can be kept when its epoch is opened again, too.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0084"
down_revision = "0083"
branch_labels = None
depends_on = None

WHOLE_MILLI = 1000
LONGEST_SPEC_BYTES = 1_000_000
LONGEST_PINNED_BYTES = {"before": 128_000, "now": LONGEST_SPEC_BYTES + 28_000}


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE routed_events (
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            closed_at timestamptz NOT NULL DEFAULT now(),
            event_id text NOT NULL,
            share_milli bigint NOT NULL,
            reason text NOT NULL,
            routed_by jsonb NOT NULL,
            PRIMARY KEY (node_id, epoch_id, closed_at, event_id),
            CONSTRAINT routed_events_closed_at_instant_check
                CHECK (closed_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'),
            CONSTRAINT routed_events_event_id_length_check CHECK (char_length(event_id) <= 1000),
            CONSTRAINT routed_events_share_milli_sign_check CHECK (share_milli >= 0),
            CONSTRAINT routed_events_share_milli_check CHECK (share_milli BETWEEN 0 AND {WHOLE_MILLI}),
            CONSTRAINT routed_events_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT routed_events_routed_by_json_check
                CHECK (ledger_is_plain_json(routed_by, 'object', {LONGEST_SPEC_BYTES}))
        )
    """)
    # closed_at is the time of the transaction that closes an epoch. One look at the statement's rows, however many.
    op.execute("""
        CREATE FUNCTION ledger_guard_routed() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            stray record;
        BEGIN
            SELECT epoch_id, event_id INTO stray FROM routed
            WHERE routed_by - ARRAY['labels', 'paths', 'repository'] <> '{}'
                OR jsonb_path_exists(routed_by, 'strict $.* ? (@.type() <> "array")')
                OR jsonb_path_exists(routed_by, '$.*[*] ? (@.type() <> "string")')
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into routed_events refused: "%" of epoch % is routed by more than lists of '
                    'labels, paths and names', regexp_replace(stray.event_id, '[^ -~]', '?', 'g'), stray.epoch_id
                    USING ERRCODE = 'check_violation';
            END IF;
            SELECT row.epoch_id, row.event_id, epoch.id IS NULL AS is_late INTO stray
            FROM routed AS row
            LEFT JOIN public.epochs AS epoch ON epoch.id = row.epoch_id AND epoch.node_id = row.node_id
                AND epoch.status = 'review' AND epoch.closed_at = now() AND row.closed_at = now()
            LEFT JOIN LATERAL (
                SELECT id, event_time FROM public.activity_events
                WHERE node_id = epoch.node_id AND scope_id = epoch.scope_id AND id = row.event_id
                OFFSET 0
            ) AS event ON event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
            WHERE event.id IS NULL
            LIMIT 1;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
            IF stray.is_late THEN
                RAISE EXCEPTION 'INSERT into routed_events refused: epoch % is not being closed', stray.epoch_id
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RAISE EXCEPTION 'INSERT into routed_events refused: "%" is no event of epoch %',
                regexp_replace(stray.event_id, '[^ -~]', '?', 'g'), stray.epoch_id USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER routed_events_at_closing_only AFTER INSERT ON routed_events
            REFERENCING NEW TABLE AS routed
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_routed();
        CREATE TRIGGER routed_events_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON routed_events
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot();
        CREATE TRIGGER routed_events_immutable BEFORE UPDATE OR DELETE ON routed_events
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
        CREATE TRIGGER routed_events_never_truncated BEFORE TRUNCATE ON routed_events
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON routed_events TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON routed_events TO ledger_writer")
    # What a web server shows of a table, as the other views of `finalized` do.
    op.execute("""
        CREATE VIEW finalized.routed_events WITH (security_barrier) AS
        SELECT stored.* FROM public.routed_events AS stored WHERE EXISTS (
            SELECT FROM public.epochs AS epoch
            WHERE epoch.node_id = stored.node_id AND epoch.id = stored.epoch_id AND epoch.status = 'finalized'
        )
    """)
    op.execute("GRANT SELECT ON finalized.routed_events TO ledger_web")
    _keep_pinned_of("now")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM routed_events"))
    if kept:
        raise CommandError(
            f"downgrade below 0084 refused: {kept} parts of events that epochs closed with are kept there"
        )
    longer = op.get_bind().scalar(
        text("SELECT count(*) FROM reopenings WHERE octet_length(pinned::text) > :longest"),
        {"longest": LONGEST_PINNED_BYTES["before"]},
    )
    if longer:
        raise CommandError(f"downgrade below 0084 refused: {longer} epochs were opened again that had a long spec")
    _keep_pinned_of("before")
    op.execute("DROP VIEW finalized.routed_events")
    op.execute("DROP TABLE routed_events")
    op.execute("DROP FUNCTION ledger_guard_routed()")


def _keep_pinned_of(which: str) -> None:
    op.execute(f"""
        ALTER TABLE reopenings
            DROP CONSTRAINT reopenings_pinned_json_check,
            ADD CONSTRAINT reopenings_pinned_json_check
                CHECK (ledger_is_plain_json(pinned, 'object', {LONGEST_PINNED_BYTES[which]}))
    """)
