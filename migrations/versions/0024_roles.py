"""Roles without a login: `ledger_writer` for the pipeline, `ledger_reader` for people; grant them to your users.

The writer adds facts and can neither change, delete nor truncate them; it owns nothing, so it cannot disable a
trigger. Roles belong to the whole server: they are made where missing, and left when this is undone.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

FACTS = (
    "activity_events, rejected_events, skipped_activity, scan_receipts, epoch_pool_components, payout_statements, "
    "statement_signatures"
)
STATE = "epochs, source_cursors, scan_checkpoints, activity_curation, epoch_allocations, user_bindings"
FORGETTABLE = "scan_checkpoints, epoch_allocations"


def upgrade() -> None:
    for role in ("ledger_writer", "ledger_reader"):
        # Two databases of one server may be migrated at once: the second finds the role made.
        op.execute(f"""
            DO $$ BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                    CREATE ROLE {role} NOLOGIN;
                END IF;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role {role} is missing and % may not make it: CREATE ROLE {role} NOLOGIN first',
                        current_user;
            END $$
        """)
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    op.execute(f"GRANT INSERT ON {FACTS}, {STATE} TO ledger_writer")
    op.execute(f"GRANT UPDATE ON {STATE} TO ledger_writer")
    op.execute(f"GRANT DELETE ON {FORGETTABLE} TO ledger_writer")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ledger_writer")


def downgrade() -> None:
    for role in ("ledger_writer", "ledger_reader"):
        op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE USAGE ON SCHEMA public FROM {role}")
