"""Approvers' signatures of distributions: root and manifest, kept beside them and only appended."""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0083"
down_revision = "0082"
branch_labels = None
depends_on = None

HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SIGNATURE = f"""signature ~ '^0x[0-9a-f]{{128}}1[bc]$' AND substr(signature, 67, 64) COLLATE "C" <= '{HALF}'"""


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE distribution_signatures (
            node_id uuid NOT NULL,
            number bigint NOT NULL,
            signer_wallet text NOT NULL,
            signature text NOT NULL,
            signed_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, number, signer_wallet, signature),
            FOREIGN KEY (node_id, number) REFERENCES distributions (node_id, number),
            CONSTRAINT distribution_signatures_number_sign_check CHECK (number >= 0),
            CONSTRAINT distribution_signatures_signer_wallet_length_check CHECK (char_length(signer_wallet) <= 1000),
            CONSTRAINT distribution_signatures_signature_length_check CHECK (char_length(signature) <= 1000),
            CONSTRAINT distribution_signatures_signer_wallet_check CHECK (signer_wallet ~ '^0x[0-9a-fA-F]{{40}}$'),
            CONSTRAINT distribution_signatures_signature_check CHECK ({SIGNATURE}),
            CONSTRAINT distribution_signatures_signed_at_instant_check
                CHECK (signed_at BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z')
        )
    """)
    op.execute("""
        CREATE TRIGGER distribution_signatures_immutable BEFORE UPDATE OR DELETE ON distribution_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER distribution_signatures_never_truncated BEFORE TRUNCATE ON distribution_signatures
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON distribution_signatures TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON distribution_signatures TO ledger_writer")


def downgrade() -> None:
    signed = op.get_bind().scalar(text("SELECT count(*) FROM distribution_signatures"))
    if signed:
        raise CommandError(f"downgrade below {revision} refused: {signed} signatures of distributions are kept there")
    op.execute("DROP TABLE distribution_signatures")
