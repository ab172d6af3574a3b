"""An epoch of a repository that several scopes claim parts of closes with the claims, and what it has of each event."""

from alembic import op

revision = "0073"
down_revision = "0072"
branch_labels = None
depends_on = None

PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
KEYS = """jsonb_object_keys(spec -> 'selection') AS key ORDER BY key COLLATE "C") <> ARRAY["""
KEYS_OF_ALL = """jsonb_object_keys(spec -> 'selection') AS key
                WHERE key <> 'routing' ORDER BY key COLLATE "C") <> ARRAY["""
TYPES = "WHEN key = 'settings' THEN 'object'"
TYPES_OF_ALL = "WHEN key IN ('settings', 'routing') THEN 'object'"
CHANGES = ((KEYS, KEYS_OF_ALL), (TYPES, TYPES_OF_ALL))


def upgrade() -> None:
    for before, after in CHANGES:
        _rewrite(before, after)


def downgrade() -> None:
    for before, after in reversed(CHANGES):
        _rewrite(after, before)


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{PINS}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{PINS} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
