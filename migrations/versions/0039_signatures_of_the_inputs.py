"""What an approver signs beside a statement: the root of all that it follows from, events and decisions.

It binds what the contract's message does not. Whoever may write can add rows that are no such signature: those count
for nothing, wherever they are read.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE statement_inputs_signatures (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            statement_id uuid NOT NULL,
            signer_wallet text NOT NULL,
            inputs_root text NOT NULL,
            signature text NOT NULL,
            signed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT statement_inputs_signatures_once
                UNIQUE (statement_id, signer_wallet, inputs_root, signature),
            CONSTRAINT statement_inputs_signatures_inputs_root_check CHECK (inputs_root ~ '^[0-9a-f]{64}$'),
            CONSTRAINT statement_inputs_signatures_statement_id_epoch_id_fkey
                FOREIGN KEY (statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id)
        )
    """)
    op.execute("""
        CREATE TRIGGER statement_inputs_signatures_of_the_epochs_node BEFORE INSERT ON statement_inputs_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_other_node()
    """)
    op.execute("""
        CREATE TRIGGER statement_inputs_signatures_immutable BEFORE UPDATE OR DELETE ON statement_inputs_signatures
            FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("""
        CREATE TRIGGER statement_inputs_signatures_never_truncated BEFORE TRUNCATE ON statement_inputs_signatures
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.execute("GRANT SELECT ON statement_inputs_signatures TO ledger_reader, ledger_writer")
    op.execute("GRANT INSERT ON statement_inputs_signatures TO ledger_writer")


def downgrade() -> None:
    kept = op.get_bind().scalar(text("SELECT count(*) FROM statement_inputs_signatures"))
    if kept:
        raise CommandError(f"downgrade below 0039 refused: {kept} signatures of statements' inputs would be lost")
    op.execute("DROP TABLE statement_inputs_signatures")
