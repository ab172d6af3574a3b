"""A signature is one statement's within its epoch, and numbers that were handed out to be signed are of their place.

What an approver signed and nobody stated is good for the same numbers whenever they come back: so they come back in no
later statement of the chain. Elsewhere a signature recovers to nobody who may sign, and is in nobody's way.
"""

from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

OF_NODE = "                    AND stored.node_id = NEW.node_id\n"
OF_CHAIN = """                    AND stored.node_id = NEW.node_id
                    AND (SELECT epoch_id FROM public.payout_statements WHERE id = stored.statement_id)
                        = (SELECT epoch_id FROM public.payout_statements WHERE id = NEW.statement_id)
"""
STANDS = """NOT EXISTS (
                        SELECT FROM public.set_asides AS aside
                        WHERE aside.statement_id = {statement} AND aside.signature_id IS NULL
                    )"""
COUNTED = "            SELECT count(*) INTO NEW.attempt FROM public.payout_statements AS statement\n"
NOT_HANDED_OUT = f"""            IF EXISTS (
                SELECT FROM public.signing_requests AS request
                WHERE request.epoch_id = NEW.epoch_id
                    AND request.allocation_set_hash = NEW.allocation_set_hash
                    AND request.pool_total_credits = NEW.pool_total_credits
                    AND request.supersedes_statement_id IS DISTINCT FROM NEW.supersedes_statement_id
                    AND {STANDS.format(statement="request.supersedes_statement_id")}
            ) THEN
                RAISE EXCEPTION 'INSERT into payout_statements refused: the same numbers of epoch % were handed out to '
                    'be signed for another place of its chain, and what was signed then would be good for this one too',
                    NEW.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
{COUNTED}"""  # noqa: S608 (our own statement)
ONCE = "signing_requests_once"


def upgrade() -> None:
    _rewrite("ledger_guard_signature()", OF_NODE, OF_CHAIN)
    op.execute(f"""
        ALTER TABLE signing_requests
            ADD COLUMN supersedes_statement_id uuid,
            ADD CONSTRAINT signing_requests_supersedes_statement_id_epoch_id_fkey
                FOREIGN KEY (supersedes_statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id),
            DROP CONSTRAINT {ONCE}
    """)
    op.execute("ALTER TABLE signing_requests DISABLE TRIGGER signing_requests_immutable")
    op.execute("""
        UPDATE signing_requests AS request SET supersedes_statement_id = (
            SELECT statement.id FROM payout_statements AS statement
            WHERE statement.epoch_id = request.epoch_id AND statement.created_at <= request.requested_at
                AND NOT EXISTS (
                    SELECT FROM set_asides AS aside
                    WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
                )
            ORDER BY statement.created_at DESC, statement.id LIMIT 1
        )
    """)
    op.execute("ALTER TABLE signing_requests ENABLE TRIGGER signing_requests_immutable")
    op.execute(f"""
        CREATE UNIQUE INDEX {ONCE} ON signing_requests (
            epoch_id, allocation_set_hash, pool_total_credits,
            COALESCE(supersedes_statement_id, '00000000-0000-0000-0000-000000000000'::uuid)
        )
    """)
    op.execute(f"""
        CREATE FUNCTION ledger_guard_request() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            latest uuid;
        BEGIN
            -- Nobody says of numbers that they were handed out for a place of the chain that is taken.
            PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR SHARE;
            SELECT statement.id INTO latest FROM public.payout_statements AS statement
                WHERE statement.epoch_id = NEW.epoch_id AND {STANDS.format(statement="statement.id")}
                    AND NOT EXISTS (
                        SELECT FROM public.payout_statements AS next
                        WHERE next.supersedes_statement_id = statement.id
                            AND {STANDS.format(statement="next.id")}
                    )
                ORDER BY (statement.id = NEW.supersedes_statement_id) IS TRUE DESC LIMIT 1;
            IF NEW.supersedes_statement_id IS DISTINCT FROM latest THEN
                RAISE EXCEPTION 'INSERT into signing_requests refused: what is to be signed of epoch % supersedes %, '
                    'not %',
                    NEW.epoch_id, coalesce(latest::text, 'nothing'),
                    coalesce(NEW.supersedes_statement_id::text, 'nothing') USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)  # noqa: S608 (our own statement)
    op.execute("""
        CREATE TRIGGER signing_requests_of_the_chains_end BEFORE INSERT ON signing_requests
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_request()
    """)
    op.execute("""
        CREATE TRIGGER signing_requests_sees_the_latest BEFORE INSERT ON signing_requests
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
    """)
    _rewrite("ledger_guard_statement()", COUNTED, NOT_HANDED_OUT)


def downgrade() -> None:
    _rewrite("ledger_guard_statement()", NOT_HANDED_OUT, COUNTED)
    op.execute("DROP TRIGGER signing_requests_sees_the_latest ON signing_requests")
    op.execute("DROP TRIGGER signing_requests_of_the_chains_end ON signing_requests")
    op.execute("DROP FUNCTION ledger_guard_request()")
    # The same numbers may have been handed out for several places: the first is enough for what they were for.
    op.execute("ALTER TABLE signing_requests DISABLE TRIGGER signing_requests_immutable")
    op.execute("""
        DELETE FROM signing_requests AS request USING signing_requests AS earlier
        WHERE earlier.id < request.id AND (earlier.epoch_id, earlier.allocation_set_hash, earlier.pool_total_credits)
            = (request.epoch_id, request.allocation_set_hash, request.pool_total_credits)
    """)
    op.execute("ALTER TABLE signing_requests ENABLE TRIGGER signing_requests_immutable")
    op.execute(f"""
        DROP INDEX {ONCE};
        ALTER TABLE signing_requests
            DROP COLUMN supersedes_statement_id,
            ADD CONSTRAINT {ONCE} UNIQUE (epoch_id, allocation_set_hash, pool_total_credits)
    """)
    _rewrite("ledger_guard_signature()", OF_CHAIN, OF_NODE)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
