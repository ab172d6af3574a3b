"""Of an epoch few signatures stand beside the first of their approver under their statement.

An epoch has more statements now than before, and each signature that somebody made up takes milliseconds to tell.
"""

from alembic import op

revision = "0066"
down_revision = "0065"
branch_labels = None
depends_on = None

STANDING = """        IF standing >= most THEN
"""
FEW_BESIDE = f"""        IF TG_TABLE_NAME = 'statement_signatures' AND EXISTS (
            SELECT FROM public.statement_signatures AS signature
            WHERE signature.statement_id = NEW.statement_id
                AND lower(signature.signer_wallet) = lower(NEW.signer_wallet)
                AND NOT EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.signature_id = signature.id)
        ) AND beside <= (
            SELECT count(*) - count(DISTINCT (signature.statement_id, lower(signature.signer_wallet)))
            FROM public.statement_signatures AS signature JOIN public.payout_statements AS statement
                ON statement.id = signature.statement_id
            WHERE statement.epoch_id = (SELECT epoch_id FROM public.payout_statements WHERE id = NEW.statement_id)
                AND NOT EXISTS (
                    SELECT FROM public.set_asides AS aside WHERE aside.statement_id = statement.id
                        AND (aside.signature_id IS NULL OR aside.signature_id = signature.id)
                )
        ) THEN
            RAISE EXCEPTION 'INSERT into % refused: % signatures of the epoch stand there already beside the first of '
                'their approver; the owner of the ledger takes out those that are none with `ledger-pipeline db '
                'set-aside`',
                TG_TABLE_NAME, beside USING ERRCODE = 'restrict_violation';
        END IF;
{STANDING}"""  # noqa: S608 (our own statement)
DECLARED = "        of_statement CONSTANT integer := 60;\n"
BESIDE = f"{DECLARED}        beside CONSTANT integer := 60;\n"


def upgrade() -> None:
    _rewrite(DECLARED, BESIDE)
    _rewrite(STANDING, FEW_BESIDE)


def downgrade() -> None:
    _rewrite(FEW_BESIDE, STANDING)
    _rewrite(BESIDE, DECLARED)


def _rewrite(before: str, after: str) -> None:
    function = "public.ledger_bound_signatures()"
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (function,))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
