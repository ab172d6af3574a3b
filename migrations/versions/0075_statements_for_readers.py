"""Claimants of receipts, and statements, as the system we join names them: views that readers alone read.

A receipt's claimant is its author: the user that the epoch's curation has, else the account, which nobody linked. Of an
epoch's statements it is the one in force. `inputs_hash` is SHA-256 of the receipt's id and its claimant's key, each
with a line end.
"""

from alembic import op

revision = "0075"
down_revision = "0074"
branch_labels = None
depends_on = None

VIEWS = ("epoch_receipt_claimants", "epoch_statements")
USER, ACCOUNT = "user:", "identity:"
IS_ACCOUNT = f"user_id ~ '^{ACCOUNT}[^:]+:[^:]+$'"
IS_SET_ASIDE = """EXISTS (
    SELECT FROM public.set_asides AS aside WHERE aside.statement_id = {0}.id AND aside.signature_id IS NULL
)"""
LINES = f"""
    SELECT jsonb_agg(
        jsonb_build_object(
            'claimant_key', keyed.claimant_key,
            'claimant', CASE WHEN {IS_ACCOUNT} THEN jsonb_build_object(
                'kind', 'identity', 'provider', split_part(user_id, ':', 2), 'externalId', split_part(user_id, ':', 3),
                'providerLogin', counted.login
            ) ELSE jsonb_build_object('kind', 'user', 'userId', user_id) END,
            'final_units', line -> 'totalUnits',
            'pool_share', line -> 'share',
            'credit_amount', line -> 'amountCredits',
            'receipt_ids', COALESCE(counted.receipt_ids, '[]')
        ) ORDER BY keyed.claimant_key COLLATE "C"
    )
    FROM jsonb_path_query(statement.payouts_json, 'lax $[*]') AS line
    CROSS JOIN LATERAL (SELECT line ->> 'userId') AS named (user_id)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN {IS_ACCOUNT} THEN user_id ELSE concat('{USER}', user_id) END
    ) AS keyed (claimant_key)
    LEFT JOIN (
        SELECT claimants.claimants_json ->> 0 AS claimant_key,
            jsonb_agg(claimants.receipt_id ORDER BY claimants.receipt_id COLLATE "C") AS receipt_ids,
            (array_agg(event.platform_login ORDER BY event.event_time DESC, event.id COLLATE "C"))[1] AS login
        FROM public.epoch_receipt_claimants AS claimants
        JOIN public.epoch_selection AS selection
            ON selection.id = claimants.id AND selection.epoch_id = claimants.epoch_id AND selection.included
        JOIN public.epochs AS epoch ON epoch.id = claimants.epoch_id AND epoch.node_id = claimants.node_id
        JOIN public.activity_events AS event
            ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = claimants.receipt_id
        WHERE claimants.epoch_id = statement.epoch_id AND claimants.node_id = statement.node_id
        GROUP BY 1
    ) AS counted ON counted.claimant_key = keyed.claimant_key
"""  # noqa: S608 (our own expressions)


def upgrade() -> None:
    op.execute(f"""
        CREATE VIEW epoch_receipt_claimants AS
        SELECT curation.id, curation.node_id, curation.epoch_id, curation.event_id AS receipt_id,
            CASE epoch.status WHEN 'open' THEN 'draft' ELSE 'locked' END AS status,
            'cogni.default-author.v0' AS resolver_ref, 'default-author-v0' AS algo_ref,
            encode(sha256(convert_to(concat(event.id, chr(10), author.claimant_key, chr(10)), 'UTF8')), 'hex')
                AS inputs_hash,
            jsonb_build_array(author.claimant_key) AS claimants_json, curation.created_at,
            CAST(NULL AS text) AS created_by
        FROM public.activity_curation AS curation
        JOIN public.epochs AS epoch ON epoch.id = curation.epoch_id AND epoch.node_id = curation.node_id
        JOIN public.activity_events AS event
            ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curation.event_id
        CROSS JOIN LATERAL (
            SELECT COALESCE('{USER}' || curation.user_id,
                concat('{ACCOUNT}', event.source, ':', event.platform_user_id))
        ) AS author (claimant_key)
    """)  # noqa: S608 (our own expressions)
    op.execute(f"""
        CREATE VIEW epoch_statements AS
        SELECT statement.id, statement.node_id, statement.epoch_id,
            statement.allocation_set_hash AS final_allocation_set_hash, statement.pool_total_credits,
            COALESCE(({LINES}), '[]') AS statement_lines_json, CAST(NULL AS jsonb) AS review_overrides_json,
            statement.supersedes_statement_id, statement.created_at
        FROM public.payout_statements AS statement
        WHERE NOT {IS_SET_ASIDE.format("statement")} AND NOT EXISTS (
            SELECT FROM public.payout_statements AS later
            WHERE later.supersedes_statement_id = statement.id AND NOT {IS_SET_ASIDE.format("later")}
        )
    """)  # noqa: S608 (our own expressions)
    op.execute(f"GRANT SELECT ON {', '.join(VIEWS)} TO ledger_reader")


def downgrade() -> None:
    op.execute(f"DROP VIEW {', '.join(reversed(VIEWS))}")
