"""Functions find operators in the catalogue alone, and nobody but the owner makes objects in the ledger's schema.

Up to Postgres 14, and in a database upgraded from it, everybody may make an operator in `public` that a trigger would
take for the catalogue's. `public` after `pg_catalog` is not enough: what fits exactly is preferred to the catalogue's
functions of any type, wherever it stands. So tables are named with their schema, and `public` is not looked into.
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = "epochs|activity_events|payout_statements"
LOOKING_UP = (
    "ledger_refuse_late_events",
    "ledger_refuse_curation_once_finalized",
    "ledger_refuse_foreign_curation",
    "ledger_refuse_once_finalized",
    "ledger_lock_pool",
    "ledger_refuse_late_correction",
)
OTHERS = ("ledger_refuse_change", "ledger_guard_epoch", "ledger_guard_pins")


def upgrade() -> None:
    for function in LOOKING_UP:
        _rewrite(function, rf"\m(FROM|JOIN) ({TABLES})\M", r"\1 public.\2")
    for function in (*LOOKING_UP, *OTHERS):
        # Named at its end, because temporary tables are searched first where pg_temp is not named at all.
        op.execute(f"ALTER FUNCTION {function}() SET search_path = pg_catalog, pg_temp")
    # Postgres 14 lets only an administrator do so, where the ledger's owner does not own the schema; doctor tells.
    op.execute("""
        DO $$ BEGIN
            IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
                REVOKE CREATE ON SCHEMA public FROM PUBLIC, ledger_writer, ledger_reader;
            END IF;
        END $$
    """)


def downgrade() -> None:
    """The schema stays closed: whether it was open before is not known, and nothing of ours needs it."""
    for function in OTHERS:
        op.execute(f"ALTER FUNCTION {function}() RESET search_path")
    for function in LOOKING_UP:
        op.execute(f"ALTER FUNCTION {function}() SET search_path = pg_catalog, public, pg_temp")
        _rewrite(function, rf"\m(FROM|JOIN) public\.({TABLES})\M", r"\1 \2")


def _rewrite(function: str, pattern: str, replacement: str) -> None:
    op.execute(f"""
        DO $do$ BEGIN
            EXECUTE regexp_replace(
                pg_get_functiondef('public.{function}()'::regprocedure), '{pattern}', '{replacement}', 'g'
            );
        END $do$
    """)
