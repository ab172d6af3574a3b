"""What a person decided is not deleted: it is taken back first, as anybody does who may decide.

A row without a decision goes as before, once nobody's events propose it any more.
"""

from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE FUNCTION ledger_refuse_loss_of_decision() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            RAISE EXCEPTION 'DELETE of epoch_allocations refused: a person decided the units of user % in epoch %, and '
                'takes that back first (`ledger-pipeline allocations set --clear`)',
                OLD.user_id, OLD.epoch_id USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER epoch_allocations_decided BEFORE DELETE ON epoch_allocations
            FOR EACH ROW WHEN (OLD.final_units IS NOT NULL) EXECUTE FUNCTION ledger_refuse_loss_of_decision()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER epoch_allocations_decided ON epoch_allocations")
    op.execute("DROP FUNCTION ledger_refuse_loss_of_decision()")
