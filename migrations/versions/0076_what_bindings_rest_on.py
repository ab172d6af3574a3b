"""What a binding rests on is kept: links are appended, and the present bindings follow from them.

The writer appends links and no longer writes bindings: each link has the next place of its account, and its user is the
account's from then on. Bindings of before come along as such.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0076"
down_revision = "0075"
branch_labels = None
depends_on = None

TEXTS = (
    *("provider", "external_id", "user_id", "rests_on", "wallet", "message", "signature", "nonce", "proof_url"),
    *("approver", "approver_signature", "actor"),
)
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SIGNATURE = """{0} ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr({0}, 67, 64) COLLATE "C" <= '{1}'"""
EVIDENCE = """CASE rests_on
    WHEN 'before_evidence' THEN
        num_nonnulls(reason, wallet, message, signature, nonce, proof_url, approver, approver_signature) = 0
    WHEN 'operator' THEN ledger_is_reason(reason) AND num_nonnulls(wallet, message, signature, nonce) IN (0, 4)
        AND num_nonnulls(proof_url, approver, approver_signature) = 0
    WHEN 'proof' THEN num_nonnulls(wallet, message, signature, nonce, proof_url) = 5
        AND num_nonnulls(reason, approver, approver_signature) = 0
    WHEN 'approver' THEN num_nonnulls(wallet, message, signature, nonce, approver, approver_signature) = 6
        AND num_nonnulls(reason, proof_url) = 0
    ELSE false
END"""


def upgrade() -> None:
    lengths = ",\n".join(
        f"CONSTRAINT account_links_{column}_length_check CHECK (char_length({column}) <= 1000)" for column in TEXTS
    )
    op.execute(f"""
        CREATE TABLE account_links (
            node_id uuid NOT NULL,
            provider text NOT NULL,
            external_id text NOT NULL,
            place bigint NOT NULL,
            user_id text NOT NULL,
            rests_on text NOT NULL,
            reason text,
            wallet text,
            message text,
            signature text,
            nonce text,
            proof_url text,
            approver text,
            approver_signature text,
            actor text NOT NULL DEFAULT session_user,
            linked_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, provider, external_id, place),
            UNIQUE (node_id, nonce),
            CONSTRAINT account_links_place_check CHECK (place >= 1),
            CONSTRAINT account_links_place_sign_check CHECK (place >= 0),
            CONSTRAINT account_links_evidence_check CHECK ({EVIDENCE}),
            CONSTRAINT account_links_wallet_check CHECK (wallet ~ '^0x[0-9a-fA-F]{{40}}$'),
            CONSTRAINT account_links_approver_check CHECK (approver ~ '^0x[0-9a-fA-F]{{40}}$'),
            CONSTRAINT account_links_signature_check CHECK ({SIGNATURE.format("signature", HALF)}),
            CONSTRAINT account_links_approver_signature_check CHECK ({SIGNATURE.format("approver_signature", HALF)}),
            CONSTRAINT account_links_nonce_check CHECK (nonce ~ '^[0-9a-f]{{32}}$'),
            CONSTRAINT account_links_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT account_links_linked_at_instant_check
                CHECK (linked_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'),
            {lengths}
        )
    """)
    # What is longer was let in before there was a rule: it stays a binding, and is told to be of before all the same.
    op.execute("""
        INSERT INTO account_links (node_id, provider, external_id, place, user_id, rests_on)
        SELECT node_id, provider, external_id, 1, user_id, 'before_evidence' FROM user_bindings
        WHERE greatest(char_length(provider), char_length(external_id), char_length(user_id)) <= 1000
    """)
    # As the owner, who alone writes bindings. What is an account and a user's id, the triggers there look after.
    op.execute("""
        CREATE FUNCTION ledger_follow_links() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF EXISTS (SELECT FROM linked WHERE rests_on = 'before_evidence') THEN
                RAISE EXCEPTION 'INSERT into account_links refused: a binding that is new rests on evidence'
                    USING ERRCODE = 'check_violation';
            END IF;
            IF EXISTS (
                SELECT FROM linked WHERE place > 1 AND NOT EXISTS (
                    SELECT FROM public.account_links AS earlier
                    WHERE (earlier.node_id, earlier.provider, earlier.external_id, earlier.place)
                        = (linked.node_id, linked.provider, linked.external_id, linked.place - 1)
                )
            ) THEN
                RAISE EXCEPTION 'INSERT into account_links refused: a link has the place behind the last of its account'
                    USING ERRCODE = 'check_violation';
            END IF;
            INSERT INTO public.user_bindings (node_id, provider, external_id, user_id)
            SELECT DISTINCT ON (node_id, provider, external_id) node_id, provider, external_id, user_id
            FROM linked ORDER BY node_id, provider, external_id, place DESC
            ON CONFLICT (node_id, provider, external_id) DO UPDATE SET user_id = excluded.user_id;
            RETURN NULL;
        END $$
    """)
    op.execute("REVOKE ALL ON FUNCTION ledger_follow_links() FROM PUBLIC")
    op.execute("""
        CREATE TRIGGER account_links_followed AFTER INSERT ON account_links REFERENCING NEW TABLE AS linked
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_follow_links()
    """)
    op.execute("""
        CREATE FUNCTION ledger_stamp_link() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            NEW.actor := session_user;
            NEW.linked_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER account_links_stamped BEFORE INSERT ON account_links
            FOR EACH ROW EXECUTE FUNCTION ledger_stamp_link()
    """)
    op.execute("""
        CREATE TRIGGER account_links_immutable BEFORE UPDATE OR DELETE ON account_links
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER account_links_never_truncated BEFORE TRUNCATE ON account_links
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON account_links TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON account_links TO ledger_writer")
    op.execute("REVOKE INSERT, UPDATE ON user_bindings FROM ledger_writer")


def downgrade() -> None:
    proven = op.get_bind().scalar(text("SELECT count(*) FROM account_links WHERE signature IS NOT NULL"))
    if proven:
        raise CommandError(f"downgrade below 0076 refused: {proven} links with a wallet's signature are kept there")
    op.execute("GRANT INSERT, UPDATE (user_id) ON user_bindings TO ledger_writer")
    op.execute("DROP TABLE account_links")
    op.execute("DROP FUNCTION ledger_follow_links()")
    op.execute("DROP FUNCTION ledger_stamp_link()")
