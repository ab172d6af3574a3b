"""Receipts, selection and cursors as the system we join names them, for its queries: views that readers alone read.

A receipt there is of no scope: an event of several is the one that was stored first. What it has beside its contract
row is of the event's facts, as pinned where its epoch is closed; what nobody knows is null.
"""

from alembic import op

revision = "0074"
down_revision = "0073"
branch_labels = None
depends_on = None

VIEWS = ("ingestion_receipts", "epoch_selection", "ingestion_cursors")
LARGEST_WEIGHT_MILLI = 2**53 - 1


def facts_of(event_id: str) -> str:
    """The facts of an event of the same scope, as they are, or were when the epoch of `event` closed."""
    return f"""(
        SELECT fact.facts FROM public.event_facts AS fact
        WHERE fact.node_id = event.node_id AND fact.scope_id = event.scope_id AND fact.event_id = {event_id}
            AND fact.recorded_at <= COALESCE((
                SELECT epoch.closed_at FROM public.epochs AS epoch
                WHERE epoch.node_id = event.node_id AND epoch.scope_id = event.scope_id
                    AND epoch.period_start <= event.event_time AND epoch.period_end > event.event_time
            ), 'infinity')
        ORDER BY fact.recorded_at DESC LIMIT 1
    )"""  # noqa: S608 (our own expression)


REPOSITORY = "COALESCE(event.metadata -> 'repository', to_jsonb(split_part(event.id, ':', 3)))"
PULL_REQUEST_ID = "concat('github:pr:', split_part(event.id, ':', 3), ':', split_part(event.id, ':', 4))"
# By a subquery for each type of event, which is not looked at where a query asks for no metadata.
METADATA = f"""
    CASE event.event_type
    WHEN 'pr_merged' THEN (
        SELECT jsonb_build_object(
            'title', event.metadata -> 'title',
            'body', NULL,
            'baseBranch', COALESCE(of_event.facts -> 'baseBranch', event.metadata -> 'baseRefName'),
            'branch', of_event.facts -> 'headBranch',
            'mergeCommitSha', of_event.facts -> 'mergeCommitSha',
            'commitShas', of_event.facts -> 'commitShas',
            'labels', of_event.facts -> 'labels',
            'additions', NULL,
            'deletions', NULL,
            'changedFiles', NULL,
            'repo', {REPOSITORY}
        ) FROM (SELECT {facts_of("event.id")} AS facts) AS of_event
    )
    WHEN 'review_submitted' THEN (
        SELECT jsonb_build_object(
            'prNumber', event.metadata -> 'number',
            'prBaseBranch', COALESCE(of_pull_request.facts -> 'baseBranch', of_event.facts -> 'baseBranch'),
            'prMergeCommitSha', of_pull_request.facts -> 'mergeCommitSha',
            'state', event.metadata -> 'state',
            'repo', {REPOSITORY}
        ) FROM (SELECT {facts_of("event.id")} AS facts) AS of_event,
            (SELECT {facts_of(PULL_REQUEST_ID)} AS facts) AS of_pull_request
    )
    WHEN 'issue_closed' THEN jsonb_build_object('title', event.metadata -> 'title', 'repo', {REPOSITORY})
    ELSE event.metadata
    END
"""  # noqa: S608 (our own expressions)
# As `store/counting.py` has it; the weight is the pinned one times the policy's factor, as `core/weights.py` has it.
IS_BY_PERSON = """(
    curation.weight_override_milli IS NOT NULL OR NOT curation.included
    OR (NOT curation.follows_policy AND public.ledger_is_reason(curation.note))
)"""
WEIGHED_MILLI = f"""(
    SELECT CAST(
        LEAST(div(CAST(weight AS numeric) * selection.weight_factor_milli, 1000), {LARGEST_WEIGHT_MILLI}) AS bigint
    )
    FROM public.epochs AS epoch
    JOIN public.activity_events AS event
        ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id AND event.id = curation.event_id
    CROSS JOIN LATERAL (
        SELECT epoch.weight_config -> concat(event.source, ':', event.event_type)
    ) AS weighed (weight)
    WHERE epoch.id = curation.epoch_id AND epoch.node_id = curation.node_id AND jsonb_typeof(weight) = 'number'
)"""  # noqa: S608 (our own number)


def upgrade() -> None:
    op.execute(f"""
        CREATE VIEW ingestion_receipts AS
        SELECT event.node_id, event.id AS receipt_id, event.source, event.event_type, event.platform_user_id,
            event.platform_login, event.artifact_url, {METADATA} AS metadata, event.payload_hash, event.producer,
            event.producer_version, event.event_time, event.retrieved_at, event.ingested_at
        FROM public.activity_events AS event
        WHERE NOT EXISTS (
            SELECT FROM public.activity_events AS earlier
            WHERE earlier.node_id = event.node_id AND earlier.id = event.id
                AND (earlier.ingested_at, earlier.scope_id) < (event.ingested_at, event.scope_id)
        )
    """)  # noqa: S608 (our own expressions)
    op.execute(f"""
        CREATE VIEW epoch_selection AS
        SELECT curation.id, curation.node_id, curation.epoch_id, curation.event_id AS receipt_id, curation.user_id,
            curation.included AND (COALESCE(selection.included, true) OR {IS_BY_PERSON}) AS included,
            COALESCE(
                curation.weight_override_milli,
                CASE WHEN selection.weight_factor_milli IS NOT NULL AND NOT {IS_BY_PERSON} THEN {WEIGHED_MILLI} END
            ) AS weight_override_milli,
            COALESCE(curation.note, CASE WHEN NOT selection.included THEN selection.reason END) AS note,
            curation.created_at, curation.updated_at
        FROM public.activity_curation AS curation
        LEFT JOIN public.activity_selection AS selection
            ON selection.node_id = curation.node_id AND selection.epoch_id = curation.epoch_id
            AND selection.event_id = curation.event_id
    """)  # noqa: S608 (our own expressions)
    op.execute("""
        CREATE VIEW ingestion_cursors AS
        SELECT node_id, scope_id, source, stream, source_scope AS source_ref,
            to_char(cursor_value AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS cursor_value, retrieved_at
        FROM public.source_cursors
    """)
    op.execute(f"GRANT SELECT ON {', '.join(VIEWS)} TO ledger_reader")


def downgrade() -> None:
    op.execute(f"DROP VIEW {', '.join(VIEWS)}")
