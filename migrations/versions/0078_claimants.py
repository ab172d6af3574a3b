"""An account that nobody linked to a user may be a claimant: its units are allocated and stated, by a key of its own.

An epoch closes with the rule that this is so. Rows of epochs that closed before stay as they are.
"""

from alembic import op

revision = "0078"
down_revision = "0077"
branch_labels = None
depends_on = None

PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
USERS = "ledger_guard_users()"
CORRECTED = "ledger_guard_corrected_user()"
STATED = "ledger_guard_stated_users()"
NO_ID = "WHERE NOT public.ledger_is_id(user_id) LIMIT 1"
NO_CLAIMANT = """WHERE NOT public.ledger_is_id(user_id) AND NOT (
                        TG_TABLE_NAME = 'epoch_allocations' AND public.ledger_is_account_key(user_id)
                    ) LIMIT 1"""
# Each with how often it stands in the function.
CHANGES = (
    (
        PINS,
        "'base_issuance_credits', 'epoch_length_days'",
        "'base_issuance_credits', 'claimants', 'epoch_length_days'",
        1,
    ),
    (
        PINS,
        "        IF jsonb_typeof(spec -> 'scope_key') <> 'string'",
        """        IF spec -> 'claimants' <> '1' THEN
            RETURN 'pinned_spec has another rule of claimants than 1';
        END IF;
        IF jsonb_typeof(spec -> 'scope_key') <> 'string'""",
        1,
    ),
    (USERS, NO_ID, NO_CLAIMANT, 2),
    (
        CORRECTED,
        "IF NOT public.ledger_is_id(NEW.user_id) AND",
        "IF NOT public.ledger_is_id(NEW.user_id) AND NOT public.ledger_is_account_key(NEW.user_id) AND",
        1,
    ),
    (
        STATED,
        "NOT public.ledger_is_id(line ->> 'userId') AND NOT EXISTS",
        """NOT public.ledger_is_id(line ->> 'userId')
                    AND NOT public.ledger_is_account_key(line ->> 'userId') AND NOT EXISTS""",
        1,
    ),
)


def upgrade() -> None:
    # As `core/claimants.py` has it.
    op.execute(r"""
        CREATE FUNCTION ledger_is_account_key(value text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
            SELECT value ~ '^identity:[^:]+:[^:]+$' AND public.ledger_is_id(split_part(value, ':', 2))
                AND public.ledger_is_account(split_part(value, ':', 2), split_part(value, ':', 3))
        $$
    """)
    for function, before, after, times in CHANGES:
        _rewrite(function, before, after, times)


def downgrade() -> None:
    for function, before, after, times in reversed(CHANGES):
        _rewrite(function, after, before, times)
    op.execute("DROP FUNCTION ledger_is_account_key(text)")


def _rewrite(function: str, before: str, after: str, times: int) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != times:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
