"""An epoch may close with a number of approvers who have to sign: signatures are collected until there are as many.

They are of numbers that were handed out to be signed, and stand beside them; the statement is made with the last of
them. So no statement of such an epoch is there with fewer, whoever makes it. Which statement of an epoch is in force,
one function says.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0086"
down_revision = "0085"
branch_labels = None
depends_on = None

HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SCHEMES = "'eip712-attribution-v1', 'eip191-attribution-v1', 'eip191-payout-v1'"
PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
KEYS = "WHERE key NOT IN ('chain_id', 'selection') ORDER BY"
KEYS_OF_ALL = "WHERE key NOT IN ('approval_threshold', 'chain_id', 'selection') ORDER BY"
LAST = "        RETURN NULL;\n    END"
# Of one approver it is not pinned: such an epoch is what it was before.
THRESHOLD_AND_LAST = f"""        IF spec ? 'approval_threshold' AND NOT (CASE
            WHEN (spec -> 'approval_threshold')::text ~ '^[0-9]{{1,4}}$'
                THEN (spec -> 'approval_threshold')::text::integer BETWEEN 2 AND (
                    SELECT count(DISTINCT lower(address)) FROM jsonb_array_elements_text(spec -> 'approvers') AS address
                )
            ELSE false
        END) THEN
            RETURN 'the approval_threshold of pinned_spec is not from 2 to the number of its approvers';
        END IF;
{LAST}"""  # noqa: S608 (our own statement)
CHANGES = ((PINS, KEYS, KEYS_OF_ALL), (PINS, LAST, THRESHOLD_AND_LAST))
# Which of an epoch's statements readers see: as the views of before have it, by what is written, and from now on.
FROM_STATEMENTS = "FROM payout_statements statement\n  WHERE "
IS_SET_ASIDE = """EXISTS (
    SELECT FROM public.set_asides AS aside WHERE aside.statement_id = {0}.id AND aside.signature_id IS NULL
)"""
LATEST = f"""NOT {IS_SET_ASIDE.format("statement")} AND NOT EXISTS (
    SELECT FROM public.payout_statements AS later
    WHERE later.supersedes_statement_id = statement.id AND NOT {IS_SET_ASIDE.format("later")}
)"""
IN_FORCE = "statement.id = public.ledger_statement_in_force(statement.epoch_id)"
GUARDS = {
    "sees_the_latest": "BEFORE INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()",
    "of_the_epochs_node": "BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION ledger_refuse_other_node()",
    "instant": """BEFORE INSERT ON {} FOR EACH ROW
        WHEN (NEW.signed_at < '2000-01-01Z' OR NEW.signed_at > clock_timestamp() + interval '1 day')
        EXECUTE FUNCTION ledger_refuse_instant('signed_at')""",
    "guarded": "BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION ledger_guard_collected()",
    "immutable": "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
    "never_truncated": "BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()",
}
COLLECTED = """
    CREATE FUNCTION ledger_guard_collected() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of_wallet CONSTANT integer := 8;
        of_epoch CONSTANT integer := 200;
        pinned jsonb;
    BEGIN
        -- One after the other, each seeing those before it.
        SELECT epoch.pinned_spec INTO pinned FROM public.epochs AS epoch
            WHERE epoch.id = NEW.epoch_id FOR NO KEY UPDATE;
        IF public.ledger_threshold(pinned) < 2 THEN
            RAISE EXCEPTION 'INSERT into collected_signatures refused: epoch % is signed by one approver, and none is '
                'waited for', NEW.epoch_id USING ERRCODE = 'restrict_violation';
        END IF;
        IF NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(pinned -> 'approvers') AS approver
            WHERE lower(approver) = lower(NEW.signer_wallet)
        ) THEN
            RAISE EXCEPTION 'INSERT into collected_signatures refused: % is not among the approvers that the epoch '
                'pinned', NEW.signer_wallet USING ERRCODE = 'restrict_violation';
        END IF;
        IF (pinned ? 'chain_id') = (NEW.scheme = 'eip191-payout-v1') THEN
            RAISE EXCEPTION 'INSERT into collected_signatures refused: the epoch closed with % chain, and is not '
                'signed by %',
                CASE WHEN pinned ? 'chain_id' THEN 'a' ELSE 'no' END, NEW.scheme USING ERRCODE = 'restrict_violation';
        END IF;
        IF EXISTS (SELECT FROM public.set_asides AS aside WHERE aside.signing_request_id = NEW.request_id) THEN
            RAISE EXCEPTION 'INSERT into collected_signatures refused: request % to sign is set aside', NEW.request_id
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF EXISTS (
            SELECT FROM public.collected_signatures AS stored
            WHERE stored.request_id = NEW.request_id AND stored.signature = NEW.signature
                AND stored.scheme = NEW.scheme AND lower(stored.signer_wallet) = lower(NEW.signer_wallet)
        ) THEN
            RETURN NULL;  -- it is there
        END IF;
        IF of_wallet <= (
            SELECT count(*) FROM public.collected_signatures AS stored
            WHERE stored.request_id = NEW.request_id AND lower(stored.signer_wallet) = lower(NEW.signer_wallet)
        ) OR of_epoch <= (
            SELECT count(*) FROM public.collected_signatures AS stored
            WHERE stored.epoch_id = NEW.epoch_id AND NOT EXISTS (
                SELECT FROM public.set_asides AS aside WHERE aside.signing_request_id = stored.request_id
            )
        ) THEN
            RAISE EXCEPTION 'INSERT into collected_signatures refused: as many of % or of epoch % stand there as have '
                'a place; the owner of the ledger takes out the requests that they are of with `ledger-pipeline db '
                'set-aside request:%`',
                NEW.signer_wallet, NEW.epoch_id, NEW.request_id USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
"""
FUNCTIONS = (
    """
    CREATE FUNCTION ledger_threshold(pinned jsonb) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp AS $$
        SELECT CASE
            WHEN (pinned ? 'approval_threshold') IS NOT TRUE THEN 1
            WHEN (pinned -> 'approval_threshold')::text ~ '^[0-9]{1,4}$'
                THEN greatest((pinned -> 'approval_threshold')::text::integer, 1)
            ELSE 2147483647
        END
    $$
    """,
    # Whether as many approvers as the epoch pinned have a signature there: whose they are, readers of it recover.
    """
    CREATE FUNCTION ledger_is_signed(of_statement uuid) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp AS $$
        SELECT coalesce(
            count(DISTINCT lower(signature.signer_wallet)) >= min(public.ledger_threshold(epoch.pinned_spec)), false
        )
        FROM public.payout_statements AS statement
        JOIN public.epochs AS epoch ON epoch.id = statement.epoch_id
        JOIN public.statement_signatures AS signature
            ON signature.statement_id = statement.id AND signature.node_id = statement.node_id
        WHERE statement.id = of_statement AND (
            jsonb_typeof(epoch.pinned_spec -> 'approvers') IS DISTINCT FROM 'array' OR EXISTS (
                SELECT FROM jsonb_array_elements_text(epoch.pinned_spec -> 'approvers') AS approver
                WHERE lower(approver) = lower(signature.signer_wallet)
            )
        ) AND NOT EXISTS (
            SELECT FROM public.set_asides AS aside WHERE aside.statement_id = statement.id
                AND (aside.signature_id IS NULL OR aside.signature_id = signature.id)
        )
    $$
    """,
    # The last of the chain that is signed, as is every one before it.
    """
    CREATE FUNCTION ledger_statement_in_force(of_epoch bigint) RETURNS uuid LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        in_force uuid;
        following uuid;
    BEGIN
        SELECT statement.id INTO following FROM public.epochs AS epoch JOIN public.payout_statements AS statement
            ON (statement.node_id, statement.epoch_id) = (epoch.node_id, epoch.id)
            WHERE epoch.id = of_epoch AND statement.supersedes_statement_id IS NULL
                AND public.ledger_is_signed(statement.id)
            ORDER BY statement.attempt DESC LIMIT 1;
        WHILE following IS NOT NULL LOOP
            in_force := following;
            following := (
                SELECT statement.id FROM public.payout_statements AS statement
                WHERE statement.supersedes_statement_id = in_force AND public.ledger_is_signed(statement.id)
                ORDER BY statement.attempt DESC LIMIT 1
            );
        END LOOP;
        RETURN in_force;
    END $$
    """,
    """
    CREATE FUNCTION ledger_refuse_too_few_signatures() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        of_epoch bigint;
        is_signed boolean;
        threshold integer;
    BEGIN
        IF TG_TABLE_NAME = 'epochs' THEN
            of_epoch := NEW.id;
            is_signed := public.ledger_statement_in_force(NEW.id) IS NOT NULL;
        ELSE
            of_epoch := NEW.epoch_id;
            is_signed := public.ledger_is_signed(NEW.id);
        END IF;
        SELECT public.ledger_threshold(epoch.pinned_spec) INTO threshold FROM public.epochs AS epoch
            WHERE epoch.id = of_epoch;
        IF threshold > 1 AND NOT is_signed THEN
            RAISE EXCEPTION '% of % refused: epoch % is signed by % approvers, and its statement by fewer',
                TG_OP, TG_TABLE_NAME, of_epoch, threshold USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    COLLECTED,
)


def upgrade() -> None:
    for function, before, after in CHANGES:
        _rewrite(function, before, after)
    op.execute("ALTER TABLE signing_requests ADD CONSTRAINT signing_requests_id_epoch_id_key UNIQUE (id, epoch_id)")
    op.execute(f"""
        CREATE TABLE collected_signatures (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            request_id bigint NOT NULL,
            signer_wallet text NOT NULL,
            signature text NOT NULL,
            scheme text NOT NULL,
            signed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT collected_signatures_request_id_epoch_id_fkey
                FOREIGN KEY (request_id, epoch_id) REFERENCES signing_requests (id, epoch_id),
            CONSTRAINT collected_signatures_once UNIQUE (node_id, request_id, signer_wallet, signature, scheme),
            CONSTRAINT collected_signatures_id_check CHECK (id <> '00000000-0000-0000-0000-000000000000'::uuid),
            CONSTRAINT collected_signatures_request_id_sign_check CHECK (request_id >= 0),
            CONSTRAINT collected_signatures_signer_wallet_check CHECK (signer_wallet ~ '^0x[0-9a-fA-F]{{40}}$'),
            CONSTRAINT collected_signatures_signature_check CHECK (
                signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'
            ),
            CONSTRAINT collected_signatures_scheme_check CHECK (scheme IN ({SCHEMES})),
            CONSTRAINT collected_signatures_signer_wallet_length_check CHECK (char_length(signer_wallet) <= 1000),
            CONSTRAINT collected_signatures_signature_length_check CHECK (char_length(signature) <= 1000),
            CONSTRAINT collected_signatures_scheme_length_check CHECK (char_length(scheme) <= 1000),
            CONSTRAINT collected_signatures_signed_at_instant_check
                CHECK (signed_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z')
        )
    """)
    op.execute("CREATE INDEX collected_signatures_epoch ON collected_signatures (epoch_id)")
    for function in FUNCTIONS:
        op.execute(function)
    for name, trigger in GUARDS.items():
        op.execute(f"CREATE TRIGGER collected_signatures_{name} {trigger.format('collected_signatures')}")
    # Asked at the end of the transaction: the statement's signatures are written after it.
    op.execute("""
        CREATE CONSTRAINT TRIGGER payout_statements_signed_by_enough AFTER INSERT ON payout_statements
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_refuse_too_few_signatures()
    """)
    op.execute("""
        CREATE TRIGGER epochs_signed_by_enough BEFORE UPDATE ON epochs
            FOR EACH ROW WHEN (NEW.status = 'finalized' AND OLD.status <> 'finalized')
            EXECUTE FUNCTION ledger_refuse_too_few_signatures()
    """)
    op.execute("GRANT SELECT ON collected_signatures TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON collected_signatures TO ledger_writer")
    _show(IN_FORCE)


def downgrade() -> None:
    closed = op.get_bind().scalar(text("SELECT count(*) FROM epochs WHERE pinned_spec ? 'approval_threshold'"))
    if closed:
        raise CommandError(f"downgrade below 0086 refused: {closed} epochs closed with an approval_threshold")
    _show(LATEST)
    op.execute("DROP TRIGGER epochs_signed_by_enough ON epochs")
    op.execute("DROP TRIGGER payout_statements_signed_by_enough ON payout_statements")
    op.execute("DROP TABLE collected_signatures")
    for function in (
        *("ledger_guard_collected()", "ledger_refuse_too_few_signatures()", "ledger_statement_in_force(bigint)"),
        *("ledger_is_signed(uuid)", "ledger_threshold(jsonb)"),
    ):
        op.execute(f"DROP FUNCTION {function}")
    op.execute("ALTER TABLE signing_requests DROP CONSTRAINT signing_requests_id_epoch_id_key")
    for function, before, after in reversed(CHANGES):
        _rewrite(function, after, before)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))


def _show(which: str) -> None:
    shown = op.get_bind().exec_driver_sql("SELECT pg_get_viewdef('public.epoch_statements'::regclass)").scalar_one()
    columns, statements, _ = str(shown).rpartition(FROM_STATEMENTS)
    if not statements:
        raise AssertionError(f"epoch_statements is not what the migration before left: {FROM_STATEMENTS}")
    op.get_bind().exec_driver_sql(
        f"CREATE OR REPLACE VIEW public.epoch_statements AS {columns}{statements}{which}".replace("%", "%%")
    )
