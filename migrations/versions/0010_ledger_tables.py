"""The ledger's tables as the system we join had them before one node could hold several scopes."""

from alembic import op

revision = "0010"
down_revision = None
branch_labels = None
depends_on = None

TABLES = {
    "epochs": """
        id bigserial PRIMARY KEY,
        node_id uuid NOT NULL,
        status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'review', 'finalized')),
        period_start timestamptz NOT NULL,
        period_end timestamptz NOT NULL,
        weight_config jsonb NOT NULL,
        pool_total_credits bigint,
        opened_at timestamptz NOT NULL DEFAULT now(),
        closed_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (node_id, period_start, period_end)
    """,
    "activity_events": """
        node_id uuid NOT NULL,
        id text NOT NULL,
        source text NOT NULL,
        event_type text NOT NULL,
        platform_user_id text NOT NULL,
        platform_login text NOT NULL,
        artifact_url text NOT NULL,
        metadata jsonb NOT NULL,
        payload_hash text NOT NULL,
        producer text NOT NULL,
        producer_version text NOT NULL,
        event_time timestamptz NOT NULL,
        retrieved_at timestamptz NOT NULL,
        ingested_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (node_id, id)
    """,
    "activity_curation": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        epoch_id bigint NOT NULL REFERENCES epochs (id),
        event_id text NOT NULL,
        user_id text,
        included boolean NOT NULL DEFAULT true,
        weight_override_milli bigint,
        note text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (epoch_id, event_id)
    """,
    "epoch_allocations": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        epoch_id bigint NOT NULL REFERENCES epochs (id),
        user_id text NOT NULL,
        proposed_units bigint NOT NULL,
        final_units bigint,
        override_reason text,
        activity_count integer NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (epoch_id, user_id)
    """,
    "source_cursors": """
        node_id uuid NOT NULL,
        source text NOT NULL,
        stream text NOT NULL,
        scope text NOT NULL,
        cursor_value text NOT NULL,
        retrieved_at timestamptz NOT NULL,
        PRIMARY KEY (node_id, source, stream, scope)
    """,
    "epoch_pool_components": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        epoch_id bigint NOT NULL REFERENCES epochs (id),
        component_id text NOT NULL,
        algorithm_version text NOT NULL,
        inputs_json jsonb NOT NULL,
        amount_credits bigint NOT NULL,
        evidence_ref text,
        computed_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (epoch_id, component_id)
    """,
    "payout_statements": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        epoch_id bigint NOT NULL REFERENCES epochs (id),
        allocation_set_hash text NOT NULL,
        pool_total_credits bigint NOT NULL,
        payouts_json jsonb NOT NULL,
        supersedes_statement_id uuid REFERENCES payout_statements (id),
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (node_id, epoch_id)
    """,
    "statement_signatures": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        statement_id uuid NOT NULL REFERENCES payout_statements (id),
        signer_wallet text NOT NULL,
        signature text NOT NULL,
        signed_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (statement_id, signer_wallet)
    """,
    "user_bindings": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        node_id uuid NOT NULL,
        user_id text NOT NULL,
        provider text NOT NULL,
        external_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (provider, external_id)
    """,
}


def upgrade() -> None:
    for table, columns in TABLES.items():
        op.execute(f"CREATE TABLE {table} ({columns})")
    op.execute("CREATE UNIQUE INDEX epochs_one_open ON epochs (node_id) WHERE status = 'open'")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
