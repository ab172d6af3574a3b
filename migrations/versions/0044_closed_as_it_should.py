"""An epoch closes once it is over and read, with pins that say what they should, and is finalized from review alone.

Pins never change, so a hash that is none, or a spec without what an epoch is paid by, would block it for ever. Weights
are numbers that every reader of JSON keeps exact. Rows that are there stay as they are.
"""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER')"
EXACT = 2**53 - 1
MAX_CREDITS = 2**63 - 1
IS_WHOLE = "(CASE WHEN {value} ~ '^[0-9]{{1,16}}$' THEN {value}::numeric <= {at_most} ELSE false END)"

# As core/hashing.py and core/pins.py have them; a test compares.
WEIGHTS_HASH = """
    CREATE FUNCTION ledger_weights_hash(weights jsonb) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
        SELECT encode(sha256(convert_to('{' || coalesce(
            string_agg(to_json(key)::text || ':' || value::text, ',' ORDER BY key COLLATE "C"), ''
        ) || '}', 'UTF8')), 'hex') FROM jsonb_each(weights)
    $$
"""
APPROVERS_HASH = """
    CREATE FUNCTION ledger_approvers_hash(approvers jsonb) RETURNS text LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
        SELECT encode(sha256(convert_to(coalesce(
            string_agg(lower(address), ',' ORDER BY lower(address) COLLATE "C"), ''
        ), 'UTF8')), 'hex') FROM jsonb_array_elements_text(approvers) AS address
    $$
"""
# The first thing that is wrong with what an epoch closes with; null where nothing is.
PINS = f"""
    CREATE FUNCTION ledger_pins_problem(
        of_scope uuid, weights jsonb, algorithm text, weights_hash text, approvers_hash text, spec jsonb
    ) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF algorithm IS DISTINCT FROM 'weight-sum-v0' THEN
            RETURN format('no allocation algorithm %L is known', left(algorithm, 100));
        END IF;
        IF jsonb_typeof(weights) IS DISTINCT FROM 'object'
            OR weights_hash IS DISTINCT FROM public.ledger_weights_hash(weights)
        THEN
            RETURN format('weight_config_hash %L is not that of its weights', left(weights_hash, 100));
        END IF;
        IF jsonb_typeof(spec) IS DISTINCT FROM 'object' THEN
            RETURN 'pinned_spec is no object';
        END IF;
        IF ARRAY(SELECT key FROM jsonb_object_keys(spec) AS key ORDER BY key COLLATE "C") <> ARRAY[
            'activity_sources', 'approvers', 'auto_close_grace_hours', 'base_issuance_credits', 'epoch_length_days',
            'first_epoch', 'id_rule', 'scope_id', 'scope_key', 'weights_milli'
        ] THEN
            RETURN 'pinned_spec has other keys than a scope''s part of the repo-spec';
        END IF;
        IF spec -> 'scope_id' <> to_jsonb(of_scope::text) THEN
            RETURN format('pinned_spec is of scope %s', left(spec ->> 'scope_id', 100));
        END IF;
        IF spec -> 'id_rule' <> '"v1"' THEN
            RETURN 'pinned_spec has another id_rule than v1';
        END IF;
        IF jsonb_typeof(spec -> 'scope_key') <> 'string' OR spec ->> 'scope_key' !~ '^[a-z][a-z0-9-]{{0,31}}$' THEN
            RETURN 'the scope_key of pinned_spec is none';
        END IF;
        IF jsonb_typeof(spec -> 'first_epoch') <> 'string'
            OR spec ->> 'first_epoch' !~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$'
        THEN
            RETURN 'the first_epoch of pinned_spec is no date';
        END IF;
        IF NOT {IS_WHOLE.format(value="(spec -> 'epoch_length_days')::text", at_most=84)}
            OR NOT {IS_WHOLE.format(value="(spec -> 'auto_close_grace_hours')::text", at_most=EXACT)}
        THEN
            RETURN 'epoch_length_days or auto_close_grace_hours of pinned_spec is no whole number';
        END IF;
        IF jsonb_typeof(spec -> 'base_issuance_credits') <> 'null' AND (
            jsonb_typeof(spec -> 'base_issuance_credits') <> 'string'
            OR spec ->> 'base_issuance_credits' !~ '^(0|[1-9][0-9]{{0,18}})$'
        ) THEN
            RETURN 'the base_issuance_credits of pinned_spec are no decimal digits';
        END IF;
        IF (spec ->> 'base_issuance_credits')::numeric > {MAX_CREDITS} THEN
            RETURN 'the base_issuance_credits of pinned_spec are more than a BIGINT';
        END IF;
        IF jsonb_typeof(spec -> 'weights_milli') <> 'object' OR EXISTS (
            SELECT FROM jsonb_each(spec -> 'weights_milli')
            WHERE NOT {IS_WHOLE.format(value="value::text", at_most=EXACT)}
        ) THEN
            RETURN 'the weights_milli of pinned_spec are no whole numbers';
        END IF;
        IF jsonb_typeof(spec -> 'approvers') <> 'array' OR EXISTS (
            SELECT FROM jsonb_array_elements(spec -> 'approvers') AS address
            WHERE jsonb_typeof(address) <> 'string' OR address #>> '{{}}' !~ '^0x[0-9a-fA-F]{{40}}$'
        ) THEN
            RETURN 'the approvers of pinned_spec are no addresses';
        END IF;
        IF approvers_hash IS DISTINCT FROM public.ledger_approvers_hash(spec -> 'approvers') THEN
            RETURN format('approver_set_hash %L is not that of its approvers', left(approvers_hash, 100));
        END IF;
        IF jsonb_typeof(spec -> 'activity_sources') <> 'object' OR spec -> 'activity_sources' = '{{}}' OR EXISTS (
            SELECT FROM jsonb_each(spec -> 'activity_sources') AS of_spec
            WHERE jsonb_typeof(of_spec.value) <> 'object'
                OR jsonb_typeof(of_spec.value -> 'credit_estimate_algo') IS DISTINCT FROM 'string'
                OR jsonb_typeof(of_spec.value -> 'source_refs') IS DISTINCT FROM 'array'
                OR jsonb_typeof(of_spec.value -> 'streams') IS DISTINCT FROM 'array'
        ) THEN
            RETURN 'the activity_sources of pinned_spec are none';
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608 (our own statement)
# Read by a scan in one go, or by several without a gap; either has its receipts.
STEPS = f"""
    CREATE OR REPLACE FUNCTION ledger_guard_epoch_steps() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        problem text;
    BEGIN
        IF {IS_OWNER} THEN
            RETURN NEW;
        END IF;
        IF OLD.status = 'open' AND NEW.status <> 'review' THEN
            RAISE EXCEPTION 'UPDATE of epoch % refused: it is open, and goes to review first', NEW.id
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.status = 'review' AND OLD.status = 'open' THEN
            IF now() < NEW.period_end THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: it runs until %', NEW.id, NEW.period_end
                    USING ERRCODE = 'restrict_violation';
            END IF;
            IF NEW.closed_at IS DISTINCT FROM now() OR NEW.pool_total_credits IS NOT NULL THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: it closes at the time of its transaction, and its pool has '
                    'no total yet', NEW.id USING ERRCODE = 'restrict_violation';
            END IF;
            problem := public.ledger_pins_problem(
                NEW.scope_id, NEW.weight_config, NEW.allocation_algo_ref, NEW.weight_config_hash,
                NEW.approver_set_hash, NEW.pinned_spec
            );
            IF problem IS NULL THEN
                SELECT format('%s of %s was not read to its end', stream, source_ref) INTO problem
                FROM jsonb_each(NEW.pinned_spec -> 'activity_sources') AS of_spec,
                    jsonb_array_elements_text(of_spec.value -> 'source_refs') AS source_ref,
                    jsonb_array_elements_text(of_spec.value -> 'streams') AS stream
                WHERE NOT EXISTS (
                    SELECT FROM public.scan_receipts AS receipt
                    WHERE (receipt.node_id, receipt.scope_id, receipt.source, receipt.stream, receipt.source_scope)
                        = (NEW.node_id, NEW.scope_id, of_spec.key, stream, source_ref)
                        AND receipt.covered_from <= NEW.period_start AND receipt.covered_to >= NEW.period_end
                ) AND NOT EXISTS (
                    SELECT FROM public.source_cursors AS cursor
                    WHERE (cursor.node_id, cursor.scope_id, cursor.source, cursor.stream, cursor.source_scope)
                        = (NEW.node_id, NEW.scope_id, of_spec.key, stream, source_ref)
                        AND cursor.covered_from <= NEW.period_start AND cursor.cursor_value >= NEW.period_end
                )
                LIMIT 1;
            END IF;
            IF problem IS NOT NULL THEN
                RAISE EXCEPTION 'UPDATE of epoch % refused: it closes with all that it is paid by, and %',
                    NEW.id, problem USING ERRCODE = 'restrict_violation';
            END IF;
        END IF;
        IF NEW.status = 'finalized' AND NOT EXISTS (
            SELECT FROM public.payout_statements AS statement JOIN public.statement_signatures AS signature
                ON signature.statement_id = statement.id AND signature.node_id = statement.node_id
            WHERE statement.epoch_id = NEW.id AND statement.node_id = NEW.node_id
                AND statement.pool_total_credits = NEW.pool_total_credits AND NOT EXISTS (
                    SELECT FROM public.set_asides AS aside
                    WHERE aside.statement_id = statement.id
                        AND (aside.signature_id IS NULL OR aside.signature_id = signature.id)
                )
        ) THEN
            RAISE EXCEPTION 'UPDATE of epoch % refused: it is finalized by a signed statement, with its total', NEW.id
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""  # noqa: S608 (our own statement)
STEPS_BEFORE = f"""
    CREATE OR REPLACE FUNCTION ledger_guard_epoch_steps() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF {IS_OWNER} THEN
            RETURN NEW;
        END IF;
        IF NEW.closed_at IS NULL OR NEW.allocation_algo_ref IS NULL OR NEW.weight_config_hash IS NULL
            OR NEW.approver_set_hash IS NULL OR jsonb_typeof(NEW.pinned_spec) IS DISTINCT FROM 'object'
        THEN
            RAISE EXCEPTION 'UPDATE of epoch % refused: it closes with all that it is paid by', NEW.id
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NEW.status = 'finalized' AND NOT EXISTS (
            SELECT FROM public.payout_statements AS statement JOIN public.statement_signatures AS signature
                ON signature.statement_id = statement.id WHERE statement.epoch_id = NEW.id
        ) THEN
            RAISE EXCEPTION 'UPDATE of epoch % refused: it is finalized by a signed statement', NEW.id
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""
MAKE_EPOCHS = "ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb)"
# What a release before and this one say in that function, piece by piece.
REWRITTEN = (
    (
        "WHERE weight.value::text !~ '^[0-9]{1,16}$'\n",
        f"WHERE NOT {IS_WHOLE.format(value='weight.value::text', at_most=EXACT)}\n",
    ),
    (
        "SET epoch_length_days = % WHERE scope_id = ''%''',\n"
        "                    of_scope, pinned, days::integer, days::integer, of_scope USING",
        "SET epoch_length_days = % WHERE node_id = ''%'' AND scope_id = ''%''',\n"
        "                    of_scope, pinned, days::integer, days::integer, of_node, of_scope USING",
    ),
)


def upgrade() -> None:
    for function in (WEIGHTS_HASH, APPROVERS_HASH, PINS, STEPS):
        op.execute(function)
    for before, after in REWRITTEN:
        _rewrite(MAKE_EPOCHS, before, after)
    op.execute(f"""
        ALTER TABLE activity_curation ADD CONSTRAINT activity_curation_weight_override_milli_check
            CHECK (weight_override_milli BETWEEN 0 AND {EXACT}) NOT VALID
    """)
    op.execute("""
        DO $$ BEGIN
            ALTER TABLE activity_curation VALIDATE CONSTRAINT activity_curation_weight_override_milli_check;
        EXCEPTION WHEN check_violation THEN
            NULL;  -- rows of before
        END $$
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE activity_curation DROP CONSTRAINT activity_curation_weight_override_milli_check")
    for before, after in REWRITTEN:
        _rewrite(MAKE_EPOCHS, after, before)
    op.execute(STEPS_BEFORE)
    op.execute("DROP FUNCTION ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)")
    op.execute("DROP FUNCTION ledger_approvers_hash(jsonb)")
    op.execute("DROP FUNCTION ledger_weights_hash(jsonb)")


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if before not in source:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
