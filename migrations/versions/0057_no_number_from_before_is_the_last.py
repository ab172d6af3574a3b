"""A row that somebody numbered beyond all that the ledger will is numbered anew: it was the last word for ever.

Rows keep their order, so whatever was stated by it stays so. An epoch keeps its number, which is signed: `doctor` names
it.
"""

from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

TABLES = (
    "rejected_events",
    "scan_receipts",
    "statement_corrections",
    "signing_requests",
    "left_out_items",
    "set_asides",
)
BEYOND = 9007199254740991  # as 0042 passed over those below


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_immutable")
        op.execute(f"""
            UPDATE {table} AS row SET id = numbered.anew FROM (
                SELECT id, nextval('public.{table}_id_seq') AS anew
                FROM (SELECT id FROM {table} WHERE id >= {BEYOND} ORDER BY id) AS beyond
            ) AS numbered
            WHERE numbered.id = row.id
        """)  # noqa: S608 (our own statement)
        op.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_immutable")


def downgrade() -> None:
    """What was numbered anew stays so."""
