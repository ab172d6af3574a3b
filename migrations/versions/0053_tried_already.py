"""Nobody has tried in vain to read an item at a time to come: it would be unread whatever is read of it since."""

from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TRIGGER unread_items_not_ahead BEFORE INSERT OR UPDATE ON unread_items FOR EACH ROW
            WHEN (NEW.last_tried_at > clock_timestamp() + interval '1 day')
            EXECUTE FUNCTION ledger_refuse_read_ahead('last_tried_at')
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER unread_items_not_ahead ON unread_items")
