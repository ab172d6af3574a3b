"""A signature names its scheme, the form of what was signed; an epoch closes with the chain of its typed data.

Every signature of before is of the payout text, and so is every one of an epoch that closed without a chain. The same
signature may be written under another scheme than its own by whoever may write: it is in the way of none.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0077"
down_revision = "0076"
branch_labels = None
depends_on = None

LARGEST_CHAIN_ID = 2**53 - 1
PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
KEYS = "WHERE key <> 'selection' ORDER BY"
KEYS_OF_ALL = "WHERE key NOT IN ('chain_id', 'selection') ORDER BY"
LAST = "        RETURN NULL;\n    END"
CHAIN_AND_LAST = f"""        IF spec ? 'chain_id' AND (
            jsonb_typeof(spec -> 'chain_id') <> 'string' OR spec ->> 'chain_id' !~ '^[1-9][0-9]{{0,15}}$'
        ) THEN
            RETURN 'the chain_id of pinned_spec is no decimal digits';
        END IF;
        IF (spec ->> 'chain_id')::bigint > {LARGEST_CHAIN_ID} THEN
            RETURN 'the chain_id of pinned_spec is larger than every reader of JSON keeps exact';
        END IF;
{LAST}"""
COPY = "stored.statement_id = NEW.statement_id AND stored.signature = NEW.signature\n                        AND lower("
COPY_OF_SCHEME = (
    "stored.statement_id = NEW.statement_id AND stored.signature = NEW.signature\n"
    "                        AND stored.scheme = NEW.scheme AND lower("
)
CHANGES = ((PINS, KEYS, KEYS_OF_ALL), (PINS, LAST, CHAIN_AND_LAST), ("ledger_skip_copy()", COPY, COPY_OF_SCHEME))
OF_BEFORE = "statement_signatures_statement_id_signer_wallet_signature_key"


def upgrade() -> None:
    op.execute(f"""
        ALTER TABLE statement_signatures
            ADD COLUMN scheme text NOT NULL DEFAULT 'eip191-payout-v1',
            ADD CONSTRAINT statement_signatures_scheme_length_check CHECK (char_length(scheme) <= 1000),
            ADD CONSTRAINT statement_signatures_scheme_check
                CHECK (scheme IN ('eip712-attribution-v1', 'eip191-attribution-v1', 'eip191-payout-v1')),
            DROP CONSTRAINT {OF_BEFORE},
            ADD CONSTRAINT statement_signatures_once UNIQUE (statement_id, signer_wallet, signature, scheme)
    """)
    op.execute("""
        CREATE FUNCTION ledger_guard_scheme() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            has_chain boolean;
        BEGIN
            SELECT coalesce(epoch.pinned_spec ? 'chain_id', false) INTO has_chain
                FROM public.payout_statements AS statement JOIN public.epochs AS epoch ON epoch.id = statement.epoch_id
                WHERE statement.id = NEW.statement_id;
            IF has_chain = (NEW.scheme = 'eip191-payout-v1') THEN
                RAISE EXCEPTION 'INSERT into statement_signatures refused: the epoch closed with % chain, and is not '
                    'signed by %',
                    CASE WHEN has_chain THEN 'a' ELSE 'no' END, NEW.scheme USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER statement_signatures_of_the_epochs_schemes BEFORE INSERT ON statement_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_scheme()
    """)
    for function, before, after in CHANGES:
        _rewrite(function, before, after)


def downgrade() -> None:
    closed = op.get_bind().scalar(text("SELECT count(*) FROM epochs WHERE pinned_spec ? 'chain_id'"))
    if closed:
        raise CommandError(
            f"downgrade below 0077 refused: {closed} epochs closed with a chain, by which they are signed"
        )
    for function, before, after in reversed(CHANGES):
        _rewrite(function, after, before)
    op.execute("DROP TRIGGER statement_signatures_of_the_epochs_schemes ON statement_signatures")
    op.execute("DROP FUNCTION ledger_guard_scheme()")
    op.execute(f"""
        ALTER TABLE statement_signatures
            DROP CONSTRAINT statement_signatures_once,
            ADD CONSTRAINT {OF_BEFORE} UNIQUE (statement_id, signer_wallet, signature),
            DROP COLUMN scheme
    """)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
