"""Readers see every claimant of a receipt, by the names of the system we join: its author and its co-authors.

`claimants_json` is in the order of claimants' keys, each once; `inputs_hash` is SHA-256 of the receipt's id and of
these keys, each with a line end. Of a receipt without co-authors both are what they were.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from alembic import op

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None

USER, ACCOUNT = "user:", "identity:"
AUTHOR = f"""COALESCE('{USER}' || curation.user_id,
                concat('{ACCOUNT}', event.source, ':', event.platform_user_id))"""
CO_AUTHORS = f"""
            UNION SELECT COALESCE('{USER}' || co_author.user_id,
                concat('{ACCOUNT}', co_author.provider, ':', co_author.external_id))
            FROM public.activity_co_authors AS co_author
            WHERE co_author.node_id = curation.node_id AND co_author.epoch_id = curation.epoch_id
                AND co_author.event_id = curation.event_id"""  # noqa: S608 (our own expressions)
IS_ACCOUNT = f"user_id ~ '^{ACCOUNT}[^:]+:[^:]+$'"
IS_SET_ASIDE = """EXISTS (
    SELECT FROM public.set_asides AS aside WHERE aside.statement_id = {0}.id AND aside.signature_id IS NULL
)"""


def upgrade() -> None:
    _receipt_claimants()
    _statements()


def downgrade() -> None:
    op.execute("DROP VIEW epoch_statements, epoch_receipt_claimants")
    file = Path(__file__).with_name("0075_statements_for_readers.py")
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise AssertionError(f"{file} is not beside this migration")
    before = module_from_spec(spec)
    spec.loader.exec_module(before)
    before.upgrade()


def _receipt_claimants() -> None:
    op.execute(f"""
        CREATE OR REPLACE VIEW epoch_receipt_claimants AS
        SELECT curation.id, curation.node_id, curation.epoch_id, curation.event_id AS receipt_id,
            CASE epoch.status WHEN 'open' THEN 'draft' ELSE 'locked' END AS status,
            CASE WHEN claimants.number = 1 THEN 'cogni.default-author.v0' ELSE 'fair-v1.co-authors' END AS resolver_ref,
            CASE WHEN claimants.number = 1 THEN 'default-author-v0' ELSE 'equal-shares-v1' END AS algo_ref,
            encode(sha256(convert_to(concat(event.id, chr(10), claimants.lines), 'UTF8')), 'hex') AS inputs_hash,
            claimants.keys AS claimants_json, curation.created_at, CAST(NULL AS text) AS created_by
        FROM public.activity_curation AS curation
        JOIN public.epochs AS epoch ON epoch.id = curation.epoch_id AND epoch.node_id = curation.node_id
        JOIN public.activity_events AS event
            ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curation.event_id
        CROSS JOIN LATERAL (
            SELECT count(*) AS number, jsonb_agg(key ORDER BY key COLLATE "C") AS keys,
                string_agg(key || chr(10), '' ORDER BY key COLLATE "C") AS lines
            FROM (SELECT {AUTHOR}{CO_AUTHORS}) AS claimant (key)
        ) AS claimants
    """)  # noqa: S608 (our own expressions)


def _statements() -> None:
    lines = f"""
        SELECT jsonb_agg(
            jsonb_build_object(
                'claimant_key', keyed.claimant_key,
                'claimant', CASE WHEN {IS_ACCOUNT} THEN jsonb_build_object(
                    'kind', 'identity', 'provider', split_part(user_id, ':', 2),
                    'externalId', split_part(user_id, ':', 3), 'providerLogin', counted.login
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
            SELECT claimant.key AS claimant_key,
                jsonb_agg(claimants.receipt_id ORDER BY claimants.receipt_id COLLATE "C") AS receipt_ids,
                (array_agg(event.platform_login ORDER BY event.event_time DESC, event.id COLLATE "C") FILTER (
                    WHERE claimant.key = concat('{ACCOUNT}', event.source, ':', event.platform_user_id)
                ))[1] AS login
            FROM public.epoch_receipt_claimants AS claimants
            CROSS JOIN LATERAL jsonb_array_elements_text(claimants.claimants_json) AS claimant (key)
            JOIN public.epoch_selection AS selection
                ON selection.id = claimants.id AND selection.epoch_id = claimants.epoch_id AND selection.included
            JOIN public.epochs AS epoch ON epoch.id = claimants.epoch_id AND epoch.node_id = claimants.node_id
            JOIN public.activity_events AS event
                ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = claimants.receipt_id
            WHERE claimants.epoch_id = statement.epoch_id AND claimants.node_id = statement.node_id
            GROUP BY 1
        ) AS counted ON counted.claimant_key = keyed.claimant_key
    """  # noqa: S608 (our own expressions)
    op.execute(f"""
        CREATE OR REPLACE VIEW epoch_statements AS
        SELECT statement.id, statement.node_id, statement.epoch_id,
            statement.allocation_set_hash AS final_allocation_set_hash, statement.pool_total_credits,
            COALESCE(({lines}), '[]') AS statement_lines_json, CAST(NULL AS jsonb) AS review_overrides_json,
            statement.supersedes_statement_id, statement.created_at
        FROM public.payout_statements AS statement
        WHERE NOT {IS_SET_ASIDE.format("statement")} AND NOT EXISTS (
            SELECT FROM public.payout_statements AS later
            WHERE later.supersedes_statement_id = statement.id AND NOT {IS_SET_ASIDE.format("later")}
        )
    """)  # noqa: S608 (our own expressions)
