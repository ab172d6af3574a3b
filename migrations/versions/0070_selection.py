"""What a selection policy decides on each event of an epoch, and why; which policy that is, is pinned with its spec.

A person who took their decision on an event back has said why: it follows the policy again. Decisions of a policy are
computed anew whenever an epoch is curated, so the pipeline may forget them; a finalized epoch's
stay.
"""

from collections.abc import Mapping

from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None

EXACT = 2**53 - 1
PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
KEYS = """jsonb_object_keys(spec) AS key ORDER BY key COLLATE "C") <> ARRAY["""
KEYS_OF_ALL = """jsonb_object_keys(spec) AS key
            WHERE key <> 'selection' ORDER BY key COLLATE "C") <> ARRAY["""
LAST = "        RETURN NULL;\n    END"
SELECTION_AND_LAST = f"""        IF spec ? 'selection' THEN
            IF jsonb_typeof(spec -> 'selection') <> 'object' THEN
                RETURN 'the selection of pinned_spec is none';
            END IF;
            IF ARRAY(SELECT key FROM jsonb_object_keys(spec -> 'selection') AS key ORDER BY key COLLATE "C") <> ARRAY[
                'distribution', 'distribution_version', 'excluded_ids', 'excluded_logins', 'policy', 'settings',
                'version'
            ] OR EXISTS (
                SELECT FROM jsonb_each(spec -> 'selection') WHERE jsonb_typeof(value) <> CASE
                    WHEN key = 'settings' THEN 'object'
                    WHEN key IN ('excluded_ids', 'excluded_logins') THEN 'array'
                    ELSE 'string'
                END
            ) THEN
                RETURN 'the selection of pinned_spec has other members than a policy has';
            END IF;
        END IF;
{LAST}"""  # noqa: S608 (our own statement)
DECIDED = {
    "insert": "NEW.weight_override_milli IS NOT NULL OR NOT NEW.included",
    "update": "(NEW.included, NEW.weight_override_milli, NEW.note) "
    "IS DISTINCT FROM (OLD.included, OLD.weight_override_milli, OLD.note)",
}
DECIDED_OR_TAKEN_BACK = {
    "insert": f"{DECIDED['insert']} OR NEW.follows_policy",
    "update": "(NEW.included, NEW.weight_override_milli, NEW.note, NEW.follows_policy) "
    "IS DISTINCT FROM (OLD.included, OLD.weight_override_milli, OLD.note, OLD.follows_policy)",
}
CHANGES = ((KEYS, KEYS_OF_ALL), (LAST, SELECTION_AND_LAST))


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE activity_selection (
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            event_id text NOT NULL,
            included boolean NOT NULL,
            reason text NOT NULL,
            weight_factor_milli bigint,
            PRIMARY KEY (node_id, epoch_id, event_id),
            CONSTRAINT activity_selection_event_id_length_check CHECK (char_length(event_id) <= 1000),
            CONSTRAINT activity_selection_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT activity_selection_reason_check CHECK (ledger_is_reason(reason)),
            CONSTRAINT activity_selection_weight_factor_milli_sign_check CHECK (weight_factor_milli >= 0),
            CONSTRAINT activity_selection_weight_factor_milli_check
                CHECK (weight_factor_milli BETWEEN 0 AND {EXACT})
        )
    """)
    # One look at the statement's rows, whatever their number. FOR SHARE waits for a finalization under way.
    op.execute("""
        CREATE FUNCTION ledger_guard_selection() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            epoch_ids bigint[] := ARRAY(SELECT DISTINCT epoch_id FROM selected);
            epoch record;
            stray record;
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                epoch_ids := epoch_ids || ARRAY(SELECT DISTINCT epoch_id FROM selected_before);
            END IF;
            FOR epoch IN SELECT id, status FROM public.epochs WHERE id = ANY (epoch_ids) ORDER BY id FOR SHARE LOOP
                IF epoch.status = 'finalized' THEN
                    RAISE EXCEPTION '% of activity_selection refused: epoch % is finalized', TG_OP, epoch.id
                        USING ERRCODE = 'restrict_violation';
                END IF;
            END LOOP;
            IF TG_OP = 'DELETE' THEN
                RETURN NULL;
            END IF;
            SELECT row.epoch_id, row.event_id INTO stray
            FROM selected AS row
            LEFT JOIN public.epochs AS epoch_row ON epoch_row.id = row.epoch_id AND epoch_row.node_id = row.node_id
            LEFT JOIN LATERAL (
                SELECT id, event_time FROM public.activity_events
                WHERE node_id = epoch_row.node_id AND scope_id = epoch_row.scope_id AND id = row.event_id
                OFFSET 0
            ) AS event ON event.event_time >= epoch_row.period_start AND event.event_time < epoch_row.period_end
            WHERE event.id IS NULL
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION '% of activity_selection refused: % is no event of epoch %',
                    TG_OP, stray.event_id, stray.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    for operation, tables in (
        ("INSERT", "NEW TABLE AS selected"),
        ("UPDATE", "NEW TABLE AS selected OLD TABLE AS selected_before"),
        ("DELETE", "OLD TABLE AS selected"),
    ):
        op.execute(f"""
            CREATE TRIGGER activity_selection_guarded_{operation.lower()} AFTER {operation} ON activity_selection
                REFERENCING {tables}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_selection()
        """)
    op.execute("""
        CREATE TRIGGER activity_selection_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON activity_selection
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    op.execute("""
        CREATE TRIGGER activity_selection_never_truncated BEFORE TRUNCATE ON activity_selection
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON activity_selection TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT, DELETE ON activity_selection TO ledger_writer")
    op.execute("GRANT UPDATE (included, reason, weight_factor_milli) ON activity_selection TO ledger_writer")
    for before, after in CHANGES:
        _rewrite(before, after)
    op.execute("""
        ALTER TABLE activity_curation
            ADD COLUMN follows_policy boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT activity_curation_follows_policy_check
                CHECK (NOT follows_policy OR (included AND weight_override_milli IS NULL))
    """)
    op.execute("GRANT UPDATE (follows_policy) ON activity_curation TO ledger_writer")
    _ask_for_reasons(DECIDED_OR_TAKEN_BACK)


def downgrade() -> None:
    _ask_for_reasons(DECIDED)
    op.execute("ALTER TABLE activity_curation DROP COLUMN follows_policy")
    for before, after in reversed(CHANGES):
        _rewrite(after, before)
    op.execute("DROP TABLE activity_selection")
    op.execute("DROP FUNCTION ledger_guard_selection()")


def _ask_for_reasons(decided: Mapping[str, str]) -> None:
    for operation, condition in decided.items():
        name = f"activity_curation_with_a_reason_{operation}"
        op.execute(f"DROP TRIGGER {name} ON activity_curation")
        op.execute(f"""
            CREATE TRIGGER {name} BEFORE {operation.upper()} ON activity_curation
                FOR EACH ROW WHEN (({condition}) AND NOT public.ledger_is_reason(NEW.note))
                EXECUTE FUNCTION ledger_refuse_without_reason('note')
        """)


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{PINS}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{PINS} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
