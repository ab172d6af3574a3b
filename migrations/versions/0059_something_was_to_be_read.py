"""An epoch closes with sources that name something to read: of none, all was read before anybody looked."""

from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

PINS = "public.ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
LISTS = "                OR jsonb_typeof(of_spec.value -> 'streams') IS DISTINCT FROM 'array'\n"
OF_SOMETHING = f"""{LISTS}                OR of_spec.value -> 'source_refs' = '[]' OR of_spec.value -> 'streams' = '[]'
"""


def upgrade() -> None:
    _rewrite(LISTS, OF_SOMETHING)


def downgrade() -> None:
    _rewrite(OF_SOMETHING, LISTS)


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (PINS,))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{PINS} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
