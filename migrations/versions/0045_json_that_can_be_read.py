"""JSON that is stored can be read by everybody: of few levels, with whole numbers of few digits, of bounded length.

A statement's lines are of four short strings and nothing besides. Rows that are there stay as they are; `doctor` names
a rule that some of them break.
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

KILOBYTE = 1000
# By table and column: of what kind, and how many bytes as text.
JSON = {
    ("epochs", "weight_config"): ("object", 64 * KILOBYTE),
    ("epochs", "pinned_spec"): ("object", 1000 * KILOBYTE),
    ("activity_events", "metadata"): ("object", 64 * KILOBYTE),
    ("rejected_events", "metadata"): ("object", 64 * KILOBYTE),
    ("scan_receipts", "skipped_by_reason"): ("object", 64 * KILOBYTE),
    ("scan_checkpoints", "coverage"): ("array", 64 * KILOBYTE),
    ("scan_checkpoints", "position"): ("object", 1000 * KILOBYTE),
    ("epoch_pool_components", "inputs_json"): ("object", 64 * KILOBYTE),
}
RULES = {
    **{
        (table, column): f"ledger_is_plain_json({column}, '{kind}', {longest})"
        for (table, column), (kind, longest) in JSON.items()
    },
    ("payout_statements", "payouts_json"): "ledger_is_payouts(payouts_json)",
}


def upgrade() -> None:
    # Text in quotes may hold anything; outside of it a point is of a number that is not whole.
    op.execute(r"""
        CREATE FUNCTION ledger_is_plain_json(value jsonb, kind text, longest integer) RETURNS boolean
        LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            SELECT CASE
                WHEN jsonb_typeof(value) <> kind OR octet_length(value::text) > longest THEN false
                WHEN jsonb_path_exists(value, 'strict $.**{32 to last}') THEN false
                ELSE regexp_replace(value::text, '"(\\.|[^"\\])*"', '', 'g') !~ '[.]|[0-9]{40}'
            END
        $$
    """)
    op.execute("""
        CREATE FUNCTION ledger_is_payouts(value jsonb) RETURNS boolean
        LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            SELECT CASE
                WHEN jsonb_typeof(value) <> 'array' THEN false
                WHEN jsonb_array_length(value) > 50000 THEN false
                ELSE NOT EXISTS (
                    SELECT FROM jsonb_array_elements(value) AS line WHERE CASE
                        WHEN jsonb_typeof(line) <> 'object' THEN true
                        WHEN line - ARRAY['userId', 'totalUnits', 'share', 'amountCredits'] <> '{}' THEN true
                        ELSE EXISTS (
                            SELECT FROM unnest(ARRAY['userId', 'totalUnits', 'share', 'amountCredits']) AS key
                            WHERE jsonb_typeof(line -> key) IS DISTINCT FROM 'string'
                                OR char_length(line ->> key) > 1000
                        ) OR line ->> 'totalUnits' !~ '^[0-9]{1,40}$' OR line ->> 'amountCredits' !~ '^[0-9]{1,40}$'
                    END
                )
            END
        $$
    """)
    for (table, column), rule in RULES.items():
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_json_check CHECK ({rule}) NOT VALID")
        op.execute(f"""
            DO $$ BEGIN
                ALTER TABLE {table} VALIDATE CONSTRAINT {table}_{column}_json_check;
            EXCEPTION WHEN check_violation OR statement_too_complex THEN
                NULL;  -- rows of before
            END $$
        """)
    op.execute("""
        ALTER TABLE payout_statements ADD CONSTRAINT payout_statements_pool_total_credits_check
            CHECK (pool_total_credits >= 0) NOT VALID
    """)
    op.execute("""
        DO $$ BEGIN
            ALTER TABLE payout_statements VALIDATE CONSTRAINT payout_statements_pool_total_credits_check;
        EXCEPTION WHEN check_violation THEN
            NULL;  -- rows of before
        END $$
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE payout_statements DROP CONSTRAINT payout_statements_pool_total_credits_check")
    for table, column in RULES:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_json_check")
    op.execute("DROP FUNCTION ledger_is_payouts(jsonb)")
    op.execute("DROP FUNCTION ledger_is_plain_json(jsonb, text, integer)")
