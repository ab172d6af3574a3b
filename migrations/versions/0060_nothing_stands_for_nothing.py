"""No row has the nil UUID for its id, and no id stands for "supersedes nothing": each has an index of its own.

Whoever may write may choose a row's id, and a request that superseded the nil statement took the place of the honest
one, which was handed out and not remembered.
"""

from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

NIL = "'00000000-0000-0000-0000-000000000000'::uuid"
TABLES = (
    "epoch_allocations",
    "epoch_pool_components",
    "payout_statements",
    "statement_inputs_signatures",
    "statement_signatures",
    "activity_curation",
    "user_bindings",
)
ONCE, FIRST_ONCE = "signing_requests_once", "signing_requests_first_once"
NUMBERS = "epoch_id, allocation_set_hash, pool_total_credits"


def upgrade() -> None:
    for table in TABLES:
        constraint = f"{table}_id_check"
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK (id <> {NIL}) NOT VALID")
        op.execute(f"""
            DO $$ BEGIN
                ALTER TABLE {table} VALIDATE CONSTRAINT {constraint};
            EXCEPTION WHEN check_violation THEN
                NULL;  -- rows of before
            END $$
        """)
    op.execute(f"DROP INDEX {ONCE}")
    op.execute(f"""
        CREATE UNIQUE INDEX {ONCE} ON signing_requests ({NUMBERS}, supersedes_statement_id)
            WHERE supersedes_statement_id IS NOT NULL
    """)
    op.execute(
        f"CREATE UNIQUE INDEX {FIRST_ONCE} ON signing_requests ({NUMBERS}) WHERE supersedes_statement_id IS NULL"
    )


def downgrade() -> None:
    op.execute(f"DROP INDEX {FIRST_ONCE}")
    op.execute(f"DROP INDEX {ONCE}")
    # Of two that the older index takes for one, the honest one stays.
    op.execute("ALTER TABLE signing_requests DISABLE TRIGGER signing_requests_immutable")
    op.execute(f"""
        DELETE FROM signing_requests AS request USING signing_requests AS first
        WHERE request.supersedes_statement_id = {NIL} AND first.supersedes_statement_id IS NULL
            AND (first.epoch_id, first.allocation_set_hash, first.pool_total_credits)
                = (request.epoch_id, request.allocation_set_hash, request.pool_total_credits)
    """)  # noqa: S608 (our own statement)
    op.execute("ALTER TABLE signing_requests ENABLE TRIGGER signing_requests_immutable")
    op.execute(f"CREATE UNIQUE INDEX {ONCE} ON signing_requests ({NUMBERS}, COALESCE(supersedes_statement_id, {NIL}))")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_id_check")
