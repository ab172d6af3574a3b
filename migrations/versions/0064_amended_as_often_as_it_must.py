"""An epoch is amended as often as it must be: few statements that nobody signed stand, and ten times as many in all.

And a signature that somebody wrote under another statement of the epoch is in nobody's way: it recovers to nobody
there, and counts for nothing. It is one statement's where two have the same numbers.
"""

from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

STANDS = """NOT EXISTS (
                SELECT FROM public.set_asides AS aside
                WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
            )"""
BEFORE = f"""
    CREATE OR REPLACE FUNCTION ledger_bound_statements() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        most CONSTANT integer := 30;
        standing bigint;
    BEGIN
        PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
        SELECT count(*) INTO standing FROM public.payout_statements AS statement
            WHERE statement.epoch_id = NEW.epoch_id AND {STANDS};
        IF standing >= most THEN
            RAISE EXCEPTION 'INSERT into payout_statements refused: % statements of epoch % stand there already; the owner '
                'of the ledger takes out those that nobody signed with `ledger-pipeline db set-aside`',
                standing, NEW.epoch_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""  # noqa: E501, S608 (to the byte as it was)
AFTER = f"""
    CREATE OR REPLACE FUNCTION ledger_bound_statements() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        most CONSTANT integer := 300;
        most_unsigned CONSTANT integer := 30;
        standing bigint;
        unsigned bigint;
    BEGIN
        PERFORM FROM public.epochs WHERE id = NEW.epoch_id FOR NO KEY UPDATE;
        SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM public.statement_signatures AS signature
            WHERE signature.statement_id = statement.id AND NOT EXISTS (
                SELECT FROM public.set_asides AS aside WHERE aside.signature_id = signature.id
            )
        )) INTO standing, unsigned FROM public.payout_statements AS statement
            WHERE statement.epoch_id = NEW.epoch_id AND {STANDS};
        IF standing >= most OR unsigned >= most_unsigned THEN
            RAISE EXCEPTION 'INSERT into payout_statements refused: % statements of epoch % stand there already, of '
                'which % are without a signature; the owner of the ledger takes out those that do not verify with '
                '`ledger-pipeline db set-aside`',
                standing, NEW.epoch_id, unsigned USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""  # noqa: S608 (our own statement)
OF_CHAIN = """                    AND (SELECT epoch_id FROM public.payout_statements WHERE id = stored.statement_id)
                        = (SELECT epoch_id FROM public.payout_statements WHERE id = NEW.statement_id)
"""
OF_NUMBERS = """                    AND (SELECT (epoch_id, allocation_set_hash, pool_total_credits)
                        FROM public.payout_statements WHERE id = stored.statement_id)
                        = (SELECT (epoch_id, allocation_set_hash, pool_total_credits)
                        FROM public.payout_statements WHERE id = NEW.statement_id)
"""


def upgrade() -> None:
    op.execute(AFTER)
    _rewrite("ledger_guard_signature()", OF_CHAIN, OF_NUMBERS)


def downgrade() -> None:
    _rewrite("ledger_guard_signature()", OF_NUMBERS, OF_CHAIN)
    op.execute(BEFORE)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
