"""What a web server shows to strangers: views of finalized epochs alone, and the role `ledger_web`, which reads nothing
else.

They stand in a schema of their own under the names of their tables. So whoever looks into that schema first reads
with the statements that everybody reads with, and of an epoch that is open or in review there is no row for them.
A migration that gives one of these tables a column adds it to the view, at its end.
"""

from alembic import op

revision = "0079"
down_revision = "0078"
branch_labels = None
depends_on = None

ROLE = "ledger_web"
SCHEMA = "finalized"
OF_EPOCH = """EXISTS (
    SELECT FROM public.epochs AS epoch
    WHERE epoch.node_id = stored.node_id AND epoch.id = stored.epoch_id AND epoch.status = 'finalized'
)"""
# Epochs of a scope never overlap: the last that began before an event is the only one that may hold it.
OF_WINDOW = """(
    SELECT epoch.status = 'finalized' AND epoch.period_end > {0}.event_time FROM public.epochs AS epoch
    WHERE epoch.node_id = {0}.node_id AND epoch.scope_id = {0}.scope_id AND epoch.period_start <= {0}.event_time
    ORDER BY epoch.period_start DESC LIMIT 1
)"""
VIEWS = {
    "ledger_migrations": "true",
    "epochs": "stored.status = 'finalized'",
    "activity_events": OF_WINDOW.format("stored"),
    "event_facts": f"""EXISTS (
        SELECT FROM public.activity_events AS event
        WHERE event.node_id = stored.node_id AND event.scope_id = stored.scope_id AND event.id = stored.event_id
            AND {OF_WINDOW.format("event")}
    )""",
    "activity_curation": OF_EPOCH,
    "activity_selection": OF_EPOCH,
    "epoch_allocations": OF_EPOCH,
    "epoch_pool_components": OF_EPOCH,
    "payout_statements": OF_EPOCH,
    "statement_signatures": """EXISTS (
        SELECT FROM public.payout_statements AS statement JOIN public.epochs AS epoch
            ON epoch.node_id = statement.node_id AND epoch.id = statement.epoch_id AND epoch.status = 'finalized'
        WHERE statement.node_id = stored.node_id AND statement.id = stored.statement_id
    )""",
    "statement_inputs_signatures": OF_EPOCH,
    # Those that a signed statement rests on: others are an amendment that somebody is about to sign.
    "statement_corrections": f"""{OF_EPOCH} AND EXISTS (
        SELECT FROM public.payout_statements AS later
        WHERE later.node_id = stored.node_id AND later.supersedes_statement_id = stored.supersedes_statement_id
    )""",
    "set_asides": OF_EPOCH,
    "reopenings": OF_EPOCH,
    "left_out_items": OF_EPOCH,
}


def upgrade() -> None:
    # Two databases of one server may be migrated at once: the second finds the role made.
    op.execute(f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
                CREATE ROLE {ROLE} NOLOGIN;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'role {ROLE} is missing and % may not make it: CREATE ROLE {ROLE} NOLOGIN first',
                    current_user;
        END $$
    """)
    op.execute(f"CREATE SCHEMA {SCHEMA}")
    for view, condition in VIEWS.items():
        op.execute(f"""
            CREATE VIEW {SCHEMA}.{view} WITH (security_barrier) AS
            SELECT stored.* FROM public.{view} AS stored WHERE {condition}
        """)  # noqa: S608 (our own expressions)
    # The schema of the tables, too, for its functions; of the tables themselves nothing.
    op.execute(f"GRANT USAGE ON SCHEMA {SCHEMA}, public TO {ROLE}")
    op.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {ROLE}")


def downgrade() -> None:
    op.execute(f"DROP VIEW {', '.join(f'{SCHEMA}.{view}' for view in reversed(VIEWS))}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {ROLE}")
    op.execute(f"DROP SCHEMA {SCHEMA}")
