"""What there is to know of a ledger's database without changing it: version, clock, migration, and rights."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, NullPool, text

from ledger_pipeline.store import migrations
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import describe, make_engine

# As migrations grant them to `ledger_writer`.
FACTS = (
    "activity_events",
    "event_facts",
    "rejected_events",
    "skipped_activity",
    "scan_receipts",
    "epoch_pool_components",
    "payout_statements",
    "statement_signatures",
    "statement_corrections",
    "signing_requests",
    "collected_signatures",
    "statement_inputs_signatures",
    "left_out_items",
    "routed_events",
    "account_links",
    "payout_wallets",
    "distributions",
    "distribution_epochs",
    "distribution_lines",
    "distribution_signatures",
    "event_overrides",
    "opt_outs",
)
STATE = (
    "epochs",
    "source_cursors",
    "scan_checkpoints",
    "unread_items",
    "listed_source_scopes",
    "activity_curation",
    "activity_selection",
    "activity_co_authors",
    "epoch_allocations",
)
# What the database itself writes, as facts are added.
DERIVED = ("user_bindings",)
FORGETTABLE = ("scan_checkpoints", "unread_items", "activity_selection", "activity_co_authors", "epoch_allocations")

_NEEDED = (
    *(("SELECT", table) for table in (*FACTS, *STATE, *DERIVED)),
    *(("INSERT", table) for table in (*FACTS, *STATE) if table != "epochs"),
    *(("UPDATE", table) for table in STATE),
    *(("DELETE", table) for table in FORGETTABLE),
)
_TOO_MUCH = (
    *((privilege, table) for table in FACTS for privilege in ("UPDATE", "DELETE", "TRUNCATE")),
    *((privilege, table) for table in DERIVED for privilege in ("INSERT", "UPDATE", "DELETE", "TRUNCATE")),
)

_HAS = text("""
    -- Of some tables a user may change some columns: to change them all is to lock them, too.
    SELECT privilege, name, CASE privilege
        WHEN 'UPDATE' THEN has_any_column_privilege(format('public.%I', name), privilege)
        ELSE has_table_privilege(format('public.%I', name), privilege)
    END
    FROM unnest(CAST(:privileges AS text[]), CAST(:names AS text[])) AS asked (privilege, name)
""")
_UNUSABLE_SEQUENCES = text("""
    SELECT s.relname FROM pg_class s
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype = 'a'
    JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY(:names)
      -- CASE, for conditions are tried in any order, and one about sequences fails for an index
      AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') ELSE false END
    ORDER BY 1
""")
_STANDING = text("""
    SELECT rolsuper, EXISTS (
        SELECT FROM pg_tables
        WHERE schemaname = 'public' AND tablename = ANY(:names) AND pg_has_role(current_user, tableowner, 'MEMBER')
    ) FROM pg_roles WHERE rolname = current_user
""")
_MAKES_EPOCHS = text("""
    SELECT has_function_privilege(
        'public.ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb)', 'EXECUTE'
    )
""")
_MAKES_OBJECTS = text("SELECT has_schema_privilege('public', 'CREATE')")
_DISABLED_TRIGGERS = text("""
    SELECT t.relname || '.' || g.tgname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname = ANY(:names) AND NOT g.tgisinternal
      AND g.tgenabled IN ('D', 'R')
    ORDER BY 1
""")


# What no pipeline of ours makes, and migrations before 0038 let anybody write who may add epochs.
_ODD_EPOCHS = text("""
    SELECT format('%s (%s to %s, %s)', id, period_start, period_end, status) FROM epochs
    WHERE NOT isfinite(period_start) OR NOT isfinite(period_end) OR period_end - period_start > interval '84 days'
        OR (status <> 'open' AND closed_at IS NULL)
        OR (status = 'finalized' AND NOT EXISTS (
            SELECT FROM payout_statements AS statement WHERE statement.epoch_id = epochs.id))
        OR id >= 9007199254740991 OR weight_config IS NULL OR jsonb_typeof(weight_config) <> 'object'
    ORDER BY id LIMIT 10
""")

# A migration that finds rows of before which its rule would refuse leaves them, and the rule not validated.
_BROKEN_RULES = text("""
    SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND NOT convalidated ORDER BY conname LIMIT 10
""")
_LOGINS = """
    SELECT login.oid, login.rolname, login.rolcanlogin FROM pg_roles AS login
    WHERE login.rolname IN ('ledger_writer', 'ledger_reader', 'ledger_web') OR login.oid IN (
        SELECT member FROM pg_auth_members JOIN pg_roles AS of_group ON of_group.oid = roleid
        WHERE of_group.rolname IN ('ledger_writer', 'ledger_reader', 'ledger_web')
    )
"""
# Any login may set what its own sessions begin with.
_SETTINGS = text(f"""
    SELECT format('%s: %s', login.rolname, left(array_to_string(setconfig, ', '), 300))
    FROM pg_db_role_setting JOIN ({_LOGINS}) AS login ON login.oid = setrole
    WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY 1 LIMIT 10
""")  # noqa: S608 (our own statement)
# Up to Postgres 14, any login may lend itself to others. Who makes roles is an administrator, and from Postgres 16 on a
# member of those they made.
_LENT = text(f"""
    SELECT format('%s may act as %s', borrower.rolname, login.rolname)
    FROM pg_auth_members JOIN ({_LOGINS}) AS login ON login.oid = roleid
        JOIN pg_roles AS borrower ON borrower.oid = member
    WHERE login.rolcanlogin AND NOT borrower.rolsuper AND NOT borrower.rolcreaterole AND NOT pg_has_role(
        borrower.oid, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER'
    )
    ORDER BY 1 LIMIT 10
""")  # noqa: S608 (our own statement)
# Of rows that change, a rule is asked when they do; these have not since.
_UNEXPLAINED = text("""
    SELECT format('%s of %s in epoch %s says not why', of_column, of_table, epoch_id) FROM (
        SELECT 'note' AS of_column, 'activity_curation' AS of_table, epoch_id FROM activity_curation
            WHERE (weight_override_milli IS NOT NULL OR NOT included) AND NOT ledger_is_reason(note)
        UNION
        SELECT 'override_reason', 'epoch_allocations', epoch_id FROM epoch_allocations
            WHERE final_units IS NOT NULL AND NOT ledger_is_reason(override_reason)
        UNION
        SELECT 'evidence_ref', 'epoch_pool_components', epoch_id FROM epoch_pool_components
            WHERE component_id <> 'base_issuance' AND NOT ledger_is_reason(evidence_ref)
    ) AS unexplained ORDER BY epoch_id, of_table LIMIT 10
""")


@dataclass(frozen=True)
class DatabaseFacts:
    """A database that answered. `version` as Postgres numbers it (140005 is 14.5); `revision` None before the first.

    `skew_seconds` is how far its clock is ahead of ours.
    """

    where: str
    user: str
    version: int
    revision: str | None
    skew_seconds: float


@dataclass(frozen=True)
class Rights:
    """What the user lacks of what the pipeline does, what it could do to facts, and the triggers that are off.

    `makes_objects` is whether a user who owns nothing may make functions and tables in the ledger's schema;
    `odd_epochs` are the first ten rows of epochs that no pipeline of ours makes; `broken_rules` the first ten rules
    that rows of before break. `settings` are what the roles of the ledger set for their own sessions, `lent` who else
    may act as one of their logins; the first ten of each.
    """

    missing: tuple[str, ...]
    excess: tuple[str, ...]
    disabled_triggers: tuple[str, ...]
    makes_objects: bool
    odd_epochs: tuple[str, ...]
    broken_rules: tuple[str, ...]
    settings: tuple[str, ...]
    lent: tuple[str, ...]


def look_at(url: str) -> DatabaseFacts:
    """What the database at `url` is. Raises ConfigurationError for a bad URL, StoreUnavailable, StoreError."""
    engine = make_engine(url, poolclass=NullPool)
    with translated(engine), engine.connect() as connection:
        version = int(connection.scalar(text("SHOW server_version_num")) or 0)
        asked = datetime.now(UTC)
        there, user = connection.execute(text("SELECT clock_timestamp(), current_user")).one()
        here = asked + (datetime.now(UTC) - asked) / 2
        revision = migrations.current_of(engine)
    return DatabaseFacts(describe(engine.url), user, version, revision, (there - here).total_seconds())


def rights_of(url: str) -> Rights:
    """What the user of `url` may do, by the catalogue; of a migrated database. Raises as `look_at` does."""
    engine = make_engine(url, poolclass=NullPool)
    names = {"names": [*FACTS, *STATE, *DERIVED]}
    with translated(engine), engine.connect() as connection:
        missing = [right for right, held in _held(connection, _NEEDED) if not held]
        if not connection.scalar(_MAKES_EPOCHS):
            missing.append("EXECUTE on ledger_make_epochs")
        missing += [f"USAGE on {name}" for name in connection.scalars(_UNUSABLE_SEQUENCES, names)]
        is_superuser, is_owner = connection.execute(_STANDING, names).one()
        excess = [
            *(["is a superuser"] if is_superuser else []),
            *(["owns the tables"] if is_owner and not is_superuser else []),
        ]
        if not excess:  # either of them may do everything
            excess = [f"may {right}" for right, held in _held(connection, _TOO_MUCH) if held]
        disabled = connection.scalars(_DISABLED_TRIGGERS, names).all()
        makes_objects = not is_owner and bool(connection.scalar(_MAKES_OBJECTS))
        odd_epochs = connection.scalars(_ODD_EPOCHS).all()
        broken_rules = [*connection.scalars(_BROKEN_RULES), *connection.scalars(_UNEXPLAINED)]
        settings, lent = connection.scalars(_SETTINGS).all(), connection.scalars(_LENT).all()
    return Rights(
        tuple(missing),
        tuple(excess),
        tuple(disabled),
        makes_objects,
        tuple(odd_epochs),
        tuple(broken_rules),
        tuple(settings),
        tuple(lent),
    )


def _held(connection: Connection, rights: tuple[tuple[str, str], ...]) -> list[tuple[str, bool]]:
    asked = {"privileges": [privilege for privilege, _ in rights], "names": [name for _, name in rights]}
    return [(f"{privilege} on {name}", held) for privilege, name, held in connection.execute(_HAS, asked)]
