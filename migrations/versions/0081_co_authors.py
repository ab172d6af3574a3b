"""Who has a part of an event beside whoever did it, by an epoch's policy: accounts, each with its user where linked.

They are computed anew whenever an epoch is curated, so the pipeline may forget them; a finalized epoch's stay. An
account of provider `email` is the SHA-256 of one, in new rows.
"""

from alembic import op

revision = "0081"
down_revision = "0080"
branch_labels = None
depends_on = None

GUARD = "ledger_guard_selection()"
ACCOUNT = "ledger_is_account(text, text)"
# Each with how often it stands in the function.
CHANGES = (
    (
        GUARD,
        "'% of activity_selection refused: epoch % is finalized', TG_OP, epoch.id",
        "'% of % refused: epoch % is finalized', TG_OP, TG_TABLE_NAME, epoch.id",
    ),
    (
        GUARD,
        "'% of activity_selection refused: % is no event of epoch %',\n                    TG_OP, stray",
        "'% of % refused: % is no event of epoch %',\n                    TG_OP, TG_TABLE_NAME, stray",
    ),
    (
        ACCOUNT,
        "value ~ '^[1-9][0-9]{0,18}$')",
        "value ~ '^[1-9][0-9]{0,18}$') AND (provider <> 'email' OR value ~ '^[0-9a-f]{64}$')",
    ),
)


def upgrade() -> None:
    for function, before, after in CHANGES:
        _rewrite(function, before, after)
    op.execute("""
        CREATE TABLE activity_co_authors (
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            event_id text NOT NULL,
            provider text NOT NULL,
            external_id text NOT NULL,
            user_id text,
            PRIMARY KEY (node_id, epoch_id, event_id, provider, external_id),
            CONSTRAINT activity_co_authors_event_id_length_check CHECK (char_length(event_id) <= 1000),
            CONSTRAINT activity_co_authors_provider_length_check CHECK (char_length(provider) <= 1000),
            CONSTRAINT activity_co_authors_external_id_length_check CHECK (char_length(external_id) <= 1000),
            CONSTRAINT activity_co_authors_user_id_length_check CHECK (char_length(user_id) <= 1000),
            CONSTRAINT activity_co_authors_account_check
                CHECK (ledger_is_id(provider) AND ledger_is_account(provider, external_id)),
            CONSTRAINT activity_co_authors_user_id_check CHECK (ledger_is_id(user_id))
        )
    """)
    for operation, tables in (
        ("INSERT", "NEW TABLE AS selected"),
        ("UPDATE", "NEW TABLE AS selected OLD TABLE AS selected_before"),
        ("DELETE", "OLD TABLE AS selected"),
    ):
        op.execute(f"""
            CREATE TRIGGER activity_co_authors_guarded_{operation.lower()} AFTER {operation} ON activity_co_authors
                REFERENCING {tables}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_selection()
        """)
    op.execute("""
        CREATE TRIGGER activity_co_authors_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON activity_co_authors
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    op.execute("""
        CREATE TRIGGER activity_co_authors_never_truncated BEFORE TRUNCATE ON activity_co_authors
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON activity_co_authors TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT, DELETE ON activity_co_authors TO ledger_writer")
    op.execute("GRANT UPDATE (user_id) ON activity_co_authors TO ledger_writer")
    op.execute("""
        CREATE VIEW finalized.activity_co_authors WITH (security_barrier) AS
        SELECT stored.* FROM public.activity_co_authors AS stored WHERE EXISTS (
            SELECT FROM public.epochs AS epoch
            WHERE epoch.node_id = stored.node_id AND epoch.id = stored.epoch_id AND epoch.status = 'finalized'
        )
    """)
    op.execute("GRANT SELECT ON finalized.activity_co_authors TO ledger_web")


def downgrade() -> None:
    op.execute("DROP VIEW finalized.activity_co_authors")
    op.execute("DROP TABLE activity_co_authors")
    for function, before, after in reversed(CHANGES):
        _rewrite(function, after, before)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
