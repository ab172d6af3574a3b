"""An epoch that closes with a selection policy closes with the hash of its facts, which the database computes itself.

Of an epoch that closes with none, nothing follows from facts, and none are pinned.
"""

from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None

PINNED = "'approver_set_hash', epoch.approver_set_hash, 'pinned_spec', epoch.pinned_spec\n        )"
PINNED_WITH_FACTS = f"""{PINNED} || CASE WHEN epoch.facts_set_hash IS NULL THEN '{{}}'
            ELSE jsonb_build_object('facts_set_hash', epoch.facts_set_hash) END"""


def upgrade() -> None:
    op.execute("""
        ALTER TABLE epochs
            ADD COLUMN facts_set_hash text,
            ADD CONSTRAINT epochs_facts_set_hash_length_check CHECK (char_length(facts_set_hash) <= 1000)
    """)
    # As core.facts.facts_set_hash; a test compares. The row is held by now, so whoever writes facts of the epoch has
    # committed them, or writes them at a later time than closed_at.
    op.execute("""
        CREATE FUNCTION ledger_pin_facts() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF NEW.status = 'open' OR NOT COALESCE(NEW.pinned_spec ? 'selection', false) THEN
                NEW.facts_set_hash := NULL;
            ELSIF OLD.status = 'open' THEN
                NEW.facts_set_hash := encode(sha256(convert_to('[' || COALESCE((
                    SELECT string_agg(
                        '[' || to_json(event.id) || ',' || to_json(latest.facts_hash) || ']', ','
                        ORDER BY event.id COLLATE "C"
                    )
                    FROM public.activity_events AS event CROSS JOIN LATERAL (
                        SELECT fact.facts_hash FROM public.event_facts AS fact
                        WHERE fact.node_id = event.node_id AND fact.scope_id = event.scope_id
                            AND fact.event_id = event.id AND fact.recorded_at <= NEW.closed_at
                        ORDER BY fact.recorded_at DESC LIMIT 1
                    ) AS latest
                    WHERE event.node_id = NEW.node_id AND event.scope_id = NEW.scope_id
                        AND event.event_time >= NEW.period_start AND event.event_time < NEW.period_end
                ), '') || ']', 'UTF8')), 'hex');
            ELSE
                NEW.facts_set_hash := OLD.facts_set_hash;
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_facts_pinned BEFORE UPDATE ON epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_pin_facts()
    """)
    _rewrite(PINNED, PINNED_WITH_FACTS)


def downgrade() -> None:
    _rewrite(PINNED_WITH_FACTS, PINNED)
    op.execute("DROP TRIGGER epochs_facts_pinned ON epochs")
    op.execute("DROP FUNCTION ledger_pin_facts()")
    op.execute("ALTER TABLE epochs DROP COLUMN facts_set_hash")


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef('public.ledger_reopen()'::regprocedure)")
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"ledger_reopen() is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
