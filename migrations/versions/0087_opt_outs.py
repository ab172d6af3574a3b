"""Who takes no pay: choices, appended one behind the other, with a wallet's signature or a reason.

An epoch closes with those of that moment, and with no others; where nobody chose so its pinned spec is what it was.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0087"
down_revision = "0086"
branch_labels = None
depends_on = None

PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
KEYS = "jsonb_object_keys(spec)"
OTHER_KEYS = "jsonb_object_keys(spec - 'opted_out')"
TEXTS = ("claimant", "wallet", "message", "signature", "nonce", "actor")
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
# So many that no epoch's pinned spec is too large for them.
MOST = 1000


def upgrade() -> None:
    lengths = ",\n".join(
        f"CONSTRAINT opt_outs_{column}_length_check CHECK (char_length({column}) <= 1000)" for column in TEXTS
    )
    op.execute(f"""
        CREATE TABLE opt_outs (
            node_id uuid NOT NULL,
            claimant text NOT NULL,
            place bigint NOT NULL,
            is_opted_out boolean NOT NULL,
            reason text,
            wallet text,
            message text,
            signature text,
            nonce text,
            actor text NOT NULL DEFAULT session_user,
            chosen_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, claimant, place),
            UNIQUE (node_id, nonce),
            CONSTRAINT opt_outs_place_check CHECK (place >= 1),
            CONSTRAINT opt_outs_place_sign_check CHECK (place >= 0),
            CONSTRAINT opt_outs_claimant_check
                CHECK (ledger_is_id(claimant) OR ledger_is_account_key(claimant)),
            CONSTRAINT opt_outs_evidence_check CHECK (CASE
                WHEN reason IS NULL THEN num_nonnulls(wallet, message, signature, nonce) = 4
                ELSE ledger_is_reason(reason) AND num_nonnulls(wallet, message, signature, nonce) = 0
            END),
            CONSTRAINT opt_outs_wallet_check CHECK (wallet ~ '^0x[0-9a-fA-F]{{40}}$'),
            CONSTRAINT opt_outs_signature_check CHECK (
                signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'
            ),
            CONSTRAINT opt_outs_nonce_check CHECK (nonce ~ '^[0-9a-f]{{32}}$'),
            CONSTRAINT opt_outs_chosen_at_instant_check
                CHECK (chosen_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'),
            CONSTRAINT opt_outs_reason_length_check CHECK (char_length(reason) <= 10000),
            {lengths}
        )
    """)
    op.execute("""
        CREATE FUNCTION ledger_opted_out(of_node uuid) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
            SELECT COALESCE(jsonb_agg(claimant ORDER BY claimant COLLATE "C"), '[]') FROM (
                SELECT DISTINCT ON (claimant) claimant, is_opted_out FROM public.opt_outs
                WHERE node_id = of_node ORDER BY claimant, place DESC
            ) AS latest WHERE is_opted_out
        $$
    """)
    op.execute(f"""
        CREATE FUNCTION ledger_guard_opt_outs() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM chosen WHERE is_opted_out IS DISTINCT FROM (place % 2 = 1) OR (
                    place > 1 AND NOT EXISTS (
                        SELECT FROM public.opt_outs AS earlier WHERE (earlier.node_id, earlier.claimant, earlier.place)
                            = (chosen.node_id, chosen.claimant, chosen.place - 1)
                    )
                )
            ) THEN
                RAISE EXCEPTION 'INSERT into opt_outs refused: a choice is another than the one before, and has the '
                    'place behind it' USING ERRCODE = 'check_violation';
            END IF;
            IF EXISTS (
                SELECT FROM (SELECT DISTINCT node_id FROM chosen WHERE is_opted_out) AS node
                WHERE jsonb_array_length(public.ledger_opted_out(node.node_id)) > {MOST}
            ) THEN
                RAISE EXCEPTION 'INSERT into opt_outs refused: more than {MOST} would take no pay'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608 (our own number)
    op.execute("""
        CREATE TRIGGER opt_outs_in_order AFTER INSERT ON opt_outs REFERENCING NEW TABLE AS chosen
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_opt_outs()
    """)
    op.execute("""
        CREATE FUNCTION ledger_stamp_opt_out() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            NEW.actor := session_user;
            NEW.chosen_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER opt_outs_stamped BEFORE INSERT ON opt_outs
            FOR EACH ROW EXECUTE FUNCTION ledger_stamp_opt_out()
    """)
    op.execute("""
        CREATE TRIGGER opt_outs_immutable BEFORE UPDATE OR DELETE ON opt_outs
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER opt_outs_never_truncated BEFORE TRUNCATE ON opt_outs
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE FUNCTION ledger_guard_pinned_opt_outs() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF COALESCE(NEW.pinned_spec -> 'opted_out', '[]') <> public.ledger_opted_out(NEW.node_id)
                OR NEW.pinned_spec -> 'opted_out' = '[]' THEN
                RAISE EXCEPTION 'UPDATE of epochs refused: epoch % closes with others taking no pay than do so',
                    NEW.id USING ERRCODE = 'check_violation', HINT = 'whoever closes it reads them anew';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epochs_close_with_the_opt_outs BEFORE UPDATE OF status ON epochs FOR EACH ROW
            WHEN (OLD.status = 'open' AND NEW.status <> 'open'
                AND (NEW.pinned_spec ? 'claimants' OR NEW.pinned_spec ? 'opted_out'))
            EXECUTE FUNCTION ledger_guard_pinned_opt_outs()
    """)
    _rewrite(KEYS, OTHER_KEYS)
    op.execute("GRANT SELECT ON opt_outs TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON opt_outs TO ledger_writer")


def downgrade() -> None:
    chosen = op.get_bind().scalar(text("SELECT count(*) FROM opt_outs"))
    if chosen:
        raise CommandError(f"downgrade below {revision} refused: {chosen} choices of who takes no pay are kept there")
    _rewrite(OTHER_KEYS, KEYS)
    op.execute("DROP TRIGGER epochs_close_with_the_opt_outs ON epochs")
    op.execute("DROP FUNCTION ledger_guard_pinned_opt_outs()")
    op.execute("DROP TABLE opt_outs")
    op.execute("DROP FUNCTION ledger_guard_opt_outs()")
    op.execute("DROP FUNCTION ledger_stamp_opt_out()")
    op.execute("DROP FUNCTION ledger_opted_out(uuid)")


def _rewrite(before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{PINS}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{PINS} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
