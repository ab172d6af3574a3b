"""What a person decides has a reason that can be seen: line feeds, no-width and filler characters are none.

Rows that are there stay; `doctor` and `verify` name those whose reason says nothing.
"""

from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

# As `core/reasons.py` has them; a test compares.
BLANK = (
    r" \u0001-\u001F\u007F-\u00A0\u00AD\u034F\u0600-\u0605\u061C\u06DD\u070F\u0890-\u0891\u08E2\u115F-\u1160\u1680"
    r"\u17B4-\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uE000-\uF8FF\uFDD0-\uFDEF"
    r"\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE-\uFFFF\U000110BD\U000110CD\U00013430-\U0001343F"
    r"\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF\U000F0000-\U0010FFFF"
)
# Of tables whose rows never change, by table: columns, and the rule that there was.
KEPT = {
    ("set_asides", "reason"): "btrim(reason) <> ''",
    ("left_out_items", "actor"): "btrim(actor) <> ''",
    ("left_out_items", "reason"): "btrim(reason) <> ''",
    ("statement_corrections", "reason"): None,
}
OVERRIDE = "final_units IS NULL OR COALESCE(btrim(override_reason), '') <> ''"
# Of rows that change, when a reason is asked for: a row of before is materialized anew all the same.
DECIDED = {
    ("activity_curation", "note"): (
        "NEW.weight_override_milli IS NOT NULL OR NOT NEW.included",
        "(NEW.included, NEW.weight_override_milli, NEW.note) "
        "IS DISTINCT FROM (OLD.included, OLD.weight_override_milli, OLD.note)",
    ),
    ("epoch_allocations", "override_reason"): (
        "NEW.final_units IS NOT NULL",
        "NEW.final_units IS NOT NULL "
        "AND (NEW.final_units, NEW.override_reason) IS DISTINCT FROM (OLD.final_units, OLD.override_reason)",
    ),
}


def upgrade() -> None:
    op.execute(f"""
        CREATE FUNCTION ledger_is_reason(value text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
            SELECT coalesce(value ~ '[^{BLANK}]', false)
        $$
    """)
    for (table, column), before in KEPT.items():
        if before is not None:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check")
        _add_check(table, column, f"ledger_is_reason({column})")
    op.execute("ALTER TABLE epoch_allocations DROP CONSTRAINT epoch_allocations_override_reason_check")
    op.execute("""
        CREATE FUNCTION ledger_refuse_without_reason() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            RAISE EXCEPTION '% of % refused: % says why, in characters that can be seen',
                TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'check_violation';
        END $$
    """)
    for (table, column), (inserted, updated) in DECIDED.items():
        for operation, decided in (("INSERT", inserted), ("UPDATE", updated)):
            op.execute(f"""
                CREATE TRIGGER {table}_with_a_reason_{operation.lower()} BEFORE {operation} ON {table}
                    FOR EACH ROW WHEN (({decided}) AND NOT public.ledger_is_reason(NEW.{column}))
                    EXECUTE FUNCTION ledger_refuse_without_reason('{column}')
            """)


def downgrade() -> None:
    for table, _ in DECIDED:
        for operation in ("insert", "update"):
            op.execute(f"DROP TRIGGER {table}_with_a_reason_{operation} ON {table}")
    op.execute("DROP FUNCTION ledger_refuse_without_reason()")
    _add_check("epoch_allocations", "override_reason", OVERRIDE)
    for (table, column), before in KEPT.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check")
        if before is not None:
            _add_check(table, column, before)
    op.execute("DROP FUNCTION ledger_is_reason(text)")


def _add_check(table: str, column: str, rule: str) -> None:
    name = f"{table}_{column}_check"
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    op.execute(f"""
        DO $$ BEGIN
            ALTER TABLE {table} VALIDATE CONSTRAINT {name};
        EXCEPTION WHEN check_violation THEN
            NULL;  -- rows of before
        END $$
    """)
