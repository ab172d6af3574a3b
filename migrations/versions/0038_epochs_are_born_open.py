"""Nothing that the writer's login adds blocks an epoch: epochs are born open, of the scope's one calendar; cursors move
with receipts; events are of known sources; and no lock of the writer's shuts everybody else out of what is never
deleted.

Whoever owns the tables is not held to it: the owner can change the rules themselves.
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

# What the pipeline changes, by table. A right to the whole table would be one to lock it against every reader.
CHANGED = {
    "epochs": (
        "status, pool_total_credits, closed_at, allocation_algo_ref, weight_config_hash, approver_set_hash, pinned_spec"
    ),
    "source_cursors": "cursor_value, covered_from, retrieved_at, source_scope_id, source_total",
    "activity_curation": "user_id, included, weight_override_milli, note, updated_at",
    "user_bindings": "user_id",
}
IS_OWNER = "pg_has_role({user}, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER')"
OF_AN_EPOCH = (
    "activity_curation",
    "epoch_allocations",
    "payout_statements",
    "statement_corrections",
    "signing_requests",
)

MAKE_EPOCHS = """
    CREATE FUNCTION ledger_make_epochs(
        of_node uuid, of_scope uuid, starts timestamptz[], ends timestamptz[], weights jsonb
    ) RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        anchor CONSTANT timestamptz := '2026-01-05T00:00:00Z';
        is_owner CONSTANT boolean := pg_has_role(session_user, current_user, 'MEMBER');
        given record;
        days numeric;
        pinned integer;
        made bigint;
    BEGIN
        IF jsonb_typeof(weights) IS DISTINCT FROM 'object' OR EXISTS (
            SELECT FROM jsonb_each(weights) AS weight WHERE weight.value::text !~ '^[0-9]{1,16}$'
        ) THEN
            RAISE EXCEPTION 'INSERT into epochs refused: weights are whole numbers of milli-units by kind'
                USING ERRCODE = 'check_violation';
        END IF;
        FOR given IN
            SELECT DISTINCT period_start, period_end FROM unnest(starts, ends) AS of_call (period_start, period_end)
            WHERE NOT EXISTS (  -- whoever makes an epoch waits for all who add events to its scope
                SELECT FROM public.epochs AS stored
                WHERE (stored.node_id, stored.scope_id, stored.period_start, stored.period_end)
                    = (of_node, of_scope, of_call.period_start, of_call.period_end)
            )
            ORDER BY period_start
        LOOP
            IF NOT isfinite(given.period_start) OR NOT isfinite(given.period_end) THEN
                RAISE EXCEPTION 'INSERT into epochs refused: % to % has no end', given.period_start, given.period_end
                    USING ERRCODE = 'check_violation';
            END IF;
            -- Whoever asks looks at the epoch that is in the way, and says the way out.
            CONTINUE WHEN EXISTS (
                SELECT FROM public.epochs AS stored WHERE (stored.node_id, stored.scope_id) = (of_node, of_scope)
                    AND stored.period_start < given.period_end AND given.period_start < stored.period_end
            );
            days := extract(epoch FROM given.period_end - given.period_start) / 86400;
            IF days <> 1 AND (days NOT BETWEEN 7 AND 84 OR days % 7 <> 0)
                OR extract(epoch FROM given.period_start - anchor) % (86400 * days) <> 0
            THEN
                RAISE EXCEPTION 'INSERT into epochs refused: % to % is no epoch from 2026-01-05 on, of 1 day or of '
                    'whole weeks up to 84 days', given.period_start, given.period_end USING ERRCODE = 'check_violation';
            END IF;
            INSERT INTO public.scope_calendars AS calendar (node_id, scope_id, epoch_length_days)
                VALUES (of_node, of_scope, days)
                ON CONFLICT (node_id, scope_id) DO UPDATE SET epoch_length_days = excluded.epoch_length_days
                WHERE is_owner AND calendar.epoch_length_days <> excluded.epoch_length_days;
            SELECT epoch_length_days INTO pinned FROM public.scope_calendars
                WHERE node_id = of_node AND scope_id = of_scope;
            IF pinned <> days THEN
                RAISE EXCEPTION 'INSERT into epochs refused: epochs of scope % have % days, not %; to change it, as '
                    'the owner: UPDATE scope_calendars SET epoch_length_days = % WHERE scope_id = ''%''',
                    of_scope, pinned, days::integer, days::integer, of_scope USING ERRCODE = 'restrict_violation';
            END IF;
            INSERT INTO public.epochs (node_id, scope_id, period_start, period_end, weight_config)
                VALUES (of_node, of_scope, given.period_start, given.period_end, weights)
                ON CONFLICT DO NOTHING RETURNING id INTO made;
            IF made IS NOT NULL THEN
                RETURN NEXT made;
            END IF;
        END LOOP;
    END $$
"""
BORN_OPEN = """
    CREATE FUNCTION ledger_guard_new_epoch() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF NEW.status <> 'open' OR NEW.closed_at IS NOT NULL OR NEW.pool_total_credits IS NOT NULL
            OR NEW.allocation_algo_ref IS NOT NULL OR NEW.weight_config_hash IS NOT NULL
            OR NEW.approver_set_hash IS NOT NULL OR NEW.pinned_spec IS NOT NULL
        THEN
            RAISE EXCEPTION 'INSERT into epochs refused: an epoch is born open, with nothing pinned'
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF NOT isfinite(NEW.period_start) OR NOT isfinite(NEW.period_end)
            OR NEW.period_start < '0001-01-01T00:00:00Z' OR NEW.period_end > '9999-12-31T00:00:00Z'
        THEN
            RAISE EXCEPTION 'INSERT into epochs refused: % to % leaves the years 1 to 9999',
                NEW.period_start, NEW.period_end USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
"""
CLOSED_WITH_PINS = f"""
    CREATE FUNCTION ledger_guard_epoch_steps() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF {IS_OWNER.format(user="current_user")} THEN
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
OTHER_NODE = """
    CREATE FUNCTION ledger_refuse_other_node() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of_node uuid;
    BEGIN
        SELECT node_id INTO of_node FROM public.epochs WHERE id = NEW.epoch_id;
        IF of_node <> NEW.node_id THEN
            RAISE EXCEPTION 'INSERT into % refused: epoch % is of node %, not of %',
                TG_TABLE_NAME, NEW.epoch_id, of_node, NEW.node_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""
KNOWN_SOURCES = f"""
    CREATE FUNCTION ledger_refuse_unknown_sources() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        event record;
    BEGIN
        SELECT id, source, event_type INTO event FROM inserted
            WHERE (source, event_type) NOT IN
                (('github', 'pr_merged'), ('github', 'review_submitted'), ('github', 'issue_closed')) LIMIT 1;
        IF FOUND AND NOT {IS_OWNER.format(user="current_user")} THEN
            RAISE EXCEPTION 'INSERT into activity_events refused: no % of source % is known, as event % is one',
                event.event_type, event.source, event.id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608 (our own statement)
# At the end of the transaction: cursor and receipt are written in either order.
WITH_RECEIPTS = f"""
    CREATE FUNCTION ledger_refuse_cursor_without_receipt() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        reached timestamptz := NEW.cursor_value;
        began timestamptz := NEW.covered_from;
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            IF NEW.cursor_value IS NOT DISTINCT FROM OLD.cursor_value THEN
                reached := NULL;
            END IF;
            IF NEW.covered_from IS NOT DISTINCT FROM OLD.covered_from THEN
                began := NULL;
            END IF;
        END IF;
        IF {IS_OWNER.format(user="current_user")} THEN
            RETURN NULL;
        END IF;
        IF (reached IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.scan_receipts AS receipt
            WHERE (receipt.node_id, receipt.scope_id, receipt.source, receipt.stream, receipt.source_scope)
                = (NEW.node_id, NEW.scope_id, NEW.source, NEW.stream, NEW.source_scope) AND covered_to >= reached
        )) OR (began IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.scan_receipts AS receipt
            WHERE (receipt.node_id, receipt.scope_id, receipt.source, receipt.stream, receipt.source_scope)
                = (NEW.node_id, NEW.scope_id, NEW.source, NEW.stream, NEW.source_scope) AND covered_from <= began
        )) THEN
            RAISE EXCEPTION '% of source_cursors refused: no receipt says that % of % was read from % to %',
                TG_OP, NEW.stream, NEW.source_scope, NEW.covered_from, NEW.cursor_value
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608 (our own statement)


def upgrade() -> None:
    op.execute("""
        CREATE TABLE scope_calendars (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            epoch_length_days integer NOT NULL,
            pinned_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, scope_id),
            CHECK (epoch_length_days = 1 OR (epoch_length_days BETWEEN 7 AND 84 AND epoch_length_days % 7 = 0))
        )
    """)
    op.execute("GRANT SELECT ON scope_calendars TO ledger_reader, ledger_writer")
    # The latest epoch's length, where it is one.
    op.execute("""
        INSERT INTO scope_calendars (node_id, scope_id, epoch_length_days)
        SELECT node_id, scope_id, days FROM (
            SELECT DISTINCT ON (node_id, scope_id) node_id, scope_id,
                extract(epoch FROM period_end - period_start) / 86400 AS days
            FROM epochs WHERE isfinite(period_start) AND isfinite(period_end)
            ORDER BY node_id, scope_id, period_start DESC
        ) AS latest
        WHERE days = 1 OR (days BETWEEN 7 AND 84 AND days % 7 = 0)
    """)
    op.execute(MAKE_EPOCHS)
    signature = "ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb)"
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO ledger_writer")
    op.execute("REVOKE INSERT ON epochs FROM ledger_writer")
    for table, columns in CHANGED.items():
        op.execute(f"REVOKE UPDATE ON {table} FROM ledger_writer")
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO ledger_writer")
    op.execute(BORN_OPEN)
    op.execute("""
        CREATE TRIGGER epochs_born_open BEFORE INSERT ON epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_new_epoch()
    """)
    op.execute(CLOSED_WITH_PINS)
    op.execute("""
        CREATE TRIGGER epochs_steps BEFORE UPDATE ON epochs FOR EACH ROW
            WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION ledger_guard_epoch_steps()
    """)
    op.execute(OTHER_NODE)
    for table in OF_AN_EPOCH:
        op.execute(f"""
            CREATE TRIGGER {table}_of_the_epochs_node BEFORE INSERT ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_refuse_other_node()
        """)
    op.execute(KNOWN_SOURCES)
    op.execute("""
        CREATE TRIGGER activity_events_known_sources AFTER INSERT ON activity_events
            REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_unknown_sources()
    """)
    op.execute(WITH_RECEIPTS)
    op.execute("""
        CREATE CONSTRAINT TRIGGER source_cursors_with_receipts AFTER INSERT OR UPDATE ON source_cursors
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_refuse_cursor_without_receipt()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER source_cursors_with_receipts ON source_cursors")
    op.execute("DROP TRIGGER activity_events_known_sources ON activity_events")
    for table in OF_AN_EPOCH:
        op.execute(f"DROP TRIGGER {table}_of_the_epochs_node ON {table}")
    op.execute("DROP TRIGGER epochs_steps ON epochs")
    op.execute("DROP TRIGGER epochs_born_open ON epochs")
    op.execute("DROP FUNCTION ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb)")
    for function in (
        "ledger_refuse_cursor_without_receipt",
        "ledger_refuse_unknown_sources",
        "ledger_refuse_other_node",
        "ledger_guard_epoch_steps",
        "ledger_guard_new_epoch",
    ):
        op.execute(f"DROP FUNCTION {function}()")
    for table, columns in CHANGED.items():
        op.execute(f"REVOKE UPDATE ({columns}) ON {table} FROM ledger_writer")
    op.execute(f"GRANT UPDATE ON {', '.join(CHANGED)} TO ledger_writer")
    op.execute("GRANT INSERT ON epochs TO ledger_writer")
    op.execute("DROP TABLE scope_calendars")
