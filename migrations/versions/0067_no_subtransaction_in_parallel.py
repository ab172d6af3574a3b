"""What catches an error begins a subtransaction, and no parallel worker of Postgres before 17 may.

An epoch with so many events that the planner reads them in parallel could not be drafted there.
"""

from alembic import op

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None

EVENT = "text, text, text, jsonb, text, timestamptz"


def upgrade() -> None:
    op.execute(f"ALTER FUNCTION ledger_is_event({EVENT}) PARALLEL RESTRICTED")


def downgrade() -> None:
    op.execute(f"ALTER FUNCTION ledger_is_event({EVENT}) PARALLEL SAFE")
