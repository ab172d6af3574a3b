"""Triggers that look things up look in the ledger: a writer's temporary `epochs` would otherwise come first."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

LOOKING_UP = ("ledger_refuse_late_events", "ledger_refuse_curation_once_finalized")


def upgrade() -> None:
    for function in LOOKING_UP:
        # Named at its end, because temporary tables are searched first where pg_temp is not named at all.
        op.execute(f"ALTER FUNCTION {function}() SET search_path = pg_catalog, public, pg_temp")


def downgrade() -> None:
    for function in LOOKING_UP:
        op.execute(f"ALTER FUNCTION {function}() RESET search_path")
