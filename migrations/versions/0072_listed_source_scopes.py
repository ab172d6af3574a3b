"""What sources list of owners: a scope that collects `acme/*` closes no epoch before all of it was listed and read."""

from alembic import op

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None

STEPS = "public.ledger_guard_epoch_steps()"
CHECKED = """                LIMIT 1;
            END IF;
            IF problem IS NOT NULL THEN
"""
CHECKED_WITH_OWNERS = """                LIMIT 1;
            END IF;
            IF problem IS NULL THEN
                SELECT format('%s was not listed since its end', owner_ref) INTO problem
                FROM jsonb_each(NEW.pinned_spec -> 'activity_sources') AS of_spec,
                    jsonb_path_query(of_spec.value, '$.owners.source_refs[*]') AS pinned_ref,
                    LATERAL (SELECT pinned_ref #>> '{}') AS names (owner_ref)
                WHERE NOT EXISTS (
                    SELECT FROM public.listed_source_scopes AS listed
                    WHERE (listed.node_id, listed.scope_id, listed.source, listed.owner_ref)
                        = (NEW.node_id, NEW.scope_id, of_spec.key, names.owner_ref)
                        AND listed.listed_at >= NEW.period_end
                )
                LIMIT 1;
            END IF;
            IF problem IS NOT NULL THEN
"""


def upgrade() -> None:
    # The latest listing of an owner is the rows of its latest `listed_at`; earlier ones are of what is gone by then.
    op.execute("""
        CREATE TABLE listed_source_scopes (
            node_id uuid NOT NULL,
            scope_id uuid NOT NULL,
            source text NOT NULL,
            owner_ref text NOT NULL,
            source_scope text NOT NULL,
            source_scope_id text,
            is_fork boolean NOT NULL,
            is_archived boolean NOT NULL,
            found_archived boolean NOT NULL,
            first_listed_at timestamptz NOT NULL,
            listed_at timestamptz NOT NULL,
            PRIMARY KEY (node_id, scope_id, source, owner_ref, source_scope),
            CONSTRAINT listed_source_scopes_first_listed_at_instant_check
                CHECK (first_listed_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'),
            CONSTRAINT listed_source_scopes_listed_at_instant_check
                CHECK (listed_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'),
            CONSTRAINT listed_source_scopes_order_check CHECK (first_listed_at <= listed_at),
            CONSTRAINT listed_source_scopes_source_length_check CHECK (char_length(source) <= 1000),
            CONSTRAINT listed_source_scopes_owner_ref_length_check CHECK (char_length(owner_ref) <= 1000),
            CONSTRAINT listed_source_scopes_source_scope_length_check CHECK (char_length(source_scope) <= 1000),
            CONSTRAINT listed_source_scopes_source_scope_id_length_check CHECK (char_length(source_scope_id) <= 1000)
        )
    """)
    op.execute("GRANT SELECT ON listed_source_scopes TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON listed_source_scopes TO ledger_writer")
    op.execute("""
        GRANT UPDATE (source_scope_id, is_fork, is_archived, listed_at) ON listed_source_scopes TO ledger_writer
    """)
    op.execute("""
        CREATE TRIGGER listed_source_scopes_not_ahead BEFORE INSERT OR UPDATE ON listed_source_scopes FOR EACH ROW
            WHEN (NEW.listed_at > clock_timestamp() + interval '1 day')
            EXECUTE FUNCTION ledger_refuse_read_ahead('listed_at')
    """)
    _rewrite(CHECKED, CHECKED_WITH_OWNERS)


def downgrade() -> None:
    _rewrite(CHECKED_WITH_OWNERS, CHECKED)
    op.execute("DROP TABLE listed_source_scopes")


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (STEPS,))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{STEPS} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
