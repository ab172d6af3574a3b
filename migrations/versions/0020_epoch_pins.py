"""What an epoch is closed with: the allocation algorithm, the hash of its weights, and of its approvers."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE epochs
            ADD COLUMN allocation_algo_ref text,
            ADD COLUMN weight_config_hash text,
            ADD COLUMN approver_set_hash text
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE epochs
            DROP COLUMN allocation_algo_ref,
            DROP COLUMN weight_config_hash,
            DROP COLUMN approver_set_hash
    """)
