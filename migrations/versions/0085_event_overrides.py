"""What a person decides about one event: its units, and each claimant's part of them. The latest counts; all are kept.

One with neither takes the earlier ones back. Beside each stands what it replaced, as it was then.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0085"
down_revision = "0084"
branch_labels = None
depends_on = None

EXACT = 2**53 - 1


def upgrade() -> None:
    # As `core/overrides.py` has it.
    op.execute("""
        CREATE FUNCTION ledger_is_shares(shares jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
            SELECT CASE WHEN jsonb_typeof(shares) <> 'object' THEN false ELSE (
                SELECT count(*) BETWEEN 1 AND 100 AND bool_and(
                    CASE WHEN jsonb_typeof(value) = 'number' THEN value::text ~ '^[1-9][0-9]{0,6}$' ELSE false END
                    AND (
                        public.ledger_is_account_key(key)
                        OR (key LIKE 'user:%' AND public.ledger_is_id(substr(key, 6)))
                    )
                ) AND sum(
                    CASE WHEN value::text ~ '^[1-9][0-9]{0,6}$' THEN CAST(value::text AS bigint) ELSE 0 END
                ) = 1000000
                FROM jsonb_each(shares)
            ) END
        $$
    """)
    op.execute(f"""
        CREATE TABLE event_overrides (
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            event_id text NOT NULL,
            place bigint NOT NULL,
            units bigint,
            shares jsonb,
            replaced jsonb NOT NULL,
            reason text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            decided_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, epoch_id, event_id, place),
            CONSTRAINT event_overrides_event_id_length_check CHECK (char_length(event_id) <= 1000),
            CONSTRAINT event_overrides_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT event_overrides_actor_length_check CHECK (char_length(actor) <= 1000),
            CONSTRAINT event_overrides_place_sign_check CHECK (place >= 0),
            CONSTRAINT event_overrides_place_check CHECK (place >= 1),
            CONSTRAINT event_overrides_units_sign_check CHECK (units >= 0),
            CONSTRAINT event_overrides_units_check CHECK (units BETWEEN 0 AND {EXACT}),
            CONSTRAINT event_overrides_shares_json_check CHECK (ledger_is_plain_json(shares, 'object', 64000)),
            CONSTRAINT event_overrides_shares_check CHECK (ledger_is_shares(shares)),
            CONSTRAINT event_overrides_replaced_json_check CHECK (ledger_is_plain_json(replaced, 'object', 64000)),
            CONSTRAINT event_overrides_reason_check CHECK (ledger_is_reason(reason)),
            CONSTRAINT event_overrides_decided_at_instant_check
                CHECK (decided_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z')
        )
    """)
    # Who, and when, is the ledger's to say.
    op.execute("""
        CREATE FUNCTION ledger_say_who_overrides() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            NEW.actor := session_user;
            NEW.decided_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_overrides_by_whom BEFORE INSERT ON event_overrides
            FOR EACH ROW EXECUTE FUNCTION ledger_say_who_overrides()
    """)
    op.execute("""
        CREATE TRIGGER event_overrides_guarded_insert AFTER INSERT ON event_overrides
            REFERENCING NEW TABLE AS selected
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_selection()
    """)
    op.execute("""
        CREATE TRIGGER event_overrides_sees_the_latest BEFORE INSERT ON event_overrides
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    op.execute("""
        CREATE TRIGGER event_overrides_immutable BEFORE UPDATE OR DELETE ON event_overrides
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER event_overrides_never_truncated BEFORE TRUNCATE ON event_overrides
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON event_overrides TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON event_overrides TO ledger_writer")
    op.execute("""
        CREATE VIEW finalized.event_overrides WITH (security_barrier) AS
        SELECT stored.* FROM public.event_overrides AS stored WHERE EXISTS (
            SELECT FROM public.epochs AS epoch
            WHERE epoch.node_id = stored.node_id AND epoch.id = stored.epoch_id AND epoch.status = 'finalized'
        )
    """)
    op.execute("GRANT SELECT ON finalized.event_overrides TO ledger_web")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM event_overrides"))
    if kept:
        raise CommandError(f"{kept} overrides of events would be lost: what epochs pay follows from them")
    op.execute("DROP VIEW finalized.event_overrides")
    op.execute("DROP TABLE event_overrides")
    op.execute("DROP FUNCTION ledger_say_who_overrides()")
    op.execute("DROP FUNCTION ledger_is_shares(jsonb)")
