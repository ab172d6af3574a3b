"""A source may count more items than 32 bits hold; where it says nonsense, that is no reason to lose the receipt."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE scan_receipts ALTER COLUMN source_total TYPE bigint")


def downgrade() -> None:
    wide = op.get_bind().scalar(text("SELECT count(*) FROM scan_receipts WHERE source_total > 2147483647"))
    if wide:
        raise CommandError(f"downgrade below 0033 refused: {wide} receipts have a total beyond 32 bits")
    op.execute("ALTER TABLE scan_receipts ALTER COLUMN source_total TYPE integer")
