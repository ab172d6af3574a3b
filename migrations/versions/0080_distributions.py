"""Wallets that credits are paid to, and distributions of tokens: a claimant's line of an epoch is paid once, for ever.

Rows are only appended; the owner sets a distribution aside that nobody will pay, on record. A line has the credits of
its statement, which stands; of an epoch no more credits are distributed than its statement shares out, in one token,
and no more of it than was first said. A distribution is written in one transaction, and is whole at its end.
"""

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0080"
down_revision = "0079"
branch_labels = None
depends_on = None

WRITTEN = ("payout_wallets", "distributions", "distribution_epochs", "distribution_lines")
TABLES = (*WRITTEN, "distribution_set_asides")
ADDRESS = "{0} ~ '^0x[0-9a-fA-F]{{40}}$'"
HASH = "{0} ~ '^0x[0-9a-f]{{64}}$'"
# Whole numbers of 256 bits, which no integer of Postgres holds. The second half is read only of what is digits.
AMOUNT = "CASE WHEN {0} ~ '^[1-9][0-9]{{0,77}}$' THEN {0}::numeric < 2::numeric ^ 256 ELSE {0} = '0' END"
HALF = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
SIGNATURE = f"""approver_signature ~ '^0x[0-9a-f]{{128}}1[bc]$'
    AND substr(approver_signature, 67, 64) COLLATE "C" <= '{HALF}'"""


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE payout_wallets (
            node_id uuid NOT NULL,
            number bigint NOT NULL,
            wallets jsonb NOT NULL,
            reason text NOT NULL,
            approver text NOT NULL,
            approver_signature text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            recorded_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, number),
            {_common("payout_wallets", ("approver", "approver_signature", "actor"), ("number",), "recorded_at")},
            CONSTRAINT payout_wallets_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT payout_wallets_reason_check CHECK (ledger_is_reason(reason)),
            CONSTRAINT payout_wallets_wallets_json_check CHECK (ledger_is_plain_json(wallets, 'object', 1900000)),
            CONSTRAINT payout_wallets_approver_check CHECK ({ADDRESS.format("approver")}),
            CONSTRAINT payout_wallets_approver_signature_check CHECK ({SIGNATURE})
        )
    """)
    op.execute(f"""
        CREATE TABLE distributions (
            node_id uuid NOT NULL,
            number bigint NOT NULL,
            scope_id uuid NOT NULL,
            chain_id bigint NOT NULL,
            token_address text NOT NULL,
            amount text NOT NULL,
            statement_hash text NOT NULL,
            merkle_root text NOT NULL,
            manifest_hash text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            made_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, number),
            {
        _common(
            "distributions",
            ("token_address", "amount", "statement_hash", "merkle_root", "manifest_hash", "actor"),
            ("number", "chain_id"),
            "made_at",
        )
    },
            CONSTRAINT distributions_chain_id_check CHECK (chain_id BETWEEN 1 AND {2**53 - 1}),
            CONSTRAINT distributions_token_address_check CHECK ({ADDRESS.format("token_address")}),
            CONSTRAINT distributions_amount_check CHECK ({AMOUNT.format("amount")}),
            CONSTRAINT distributions_statement_hash_check CHECK ({HASH.format("statement_hash")}),
            CONSTRAINT distributions_merkle_root_check CHECK ({HASH.format("merkle_root")}),
            CONSTRAINT distributions_manifest_hash_check CHECK ({HASH.format("manifest_hash")})
        )
    """)
    op.execute(f"""
        CREATE TABLE distribution_epochs (
            node_id uuid NOT NULL,
            number bigint NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            statement_id uuid NOT NULL,
            amount text NOT NULL,
            PRIMARY KEY (node_id, number, epoch_id),
            FOREIGN KEY (node_id, number) REFERENCES distributions (node_id, number),
            FOREIGN KEY (statement_id, epoch_id) REFERENCES payout_statements (id, epoch_id),
            {_common("distribution_epochs", ("amount",), ("number",))},
            CONSTRAINT distribution_epochs_amount_check CHECK ({AMOUNT.format("amount")})
        )
    """)
    op.execute(f"""
        CREATE TABLE distribution_lines (
            node_id uuid NOT NULL,
            epoch_id bigint NOT NULL REFERENCES epochs (id),
            claimant_key text NOT NULL,
            place bigint NOT NULL,
            number bigint NOT NULL,
            credits bigint NOT NULL,
            amount text NOT NULL,
            account text NOT NULL,
            receipts jsonb NOT NULL,
            PRIMARY KEY (node_id, epoch_id, claimant_key, place),
            FOREIGN KEY (node_id, number, epoch_id) REFERENCES distribution_epochs (node_id, number, epoch_id),
            {_common("distribution_lines", ("claimant_key", "amount", "account"), ("place", "number", "credits"))},
            CONSTRAINT distribution_lines_amount_check CHECK ({AMOUNT.format("amount")}),
            CONSTRAINT distribution_lines_account_check CHECK ({ADDRESS.format("account")}),
            CONSTRAINT distribution_lines_receipts_json_check
                CHECK (ledger_is_plain_json(receipts, 'object', 1900000))
        )
    """)
    op.execute(f"""
        CREATE TABLE distribution_set_asides (
            node_id uuid NOT NULL,
            number bigint NOT NULL,
            reason text NOT NULL,
            actor text NOT NULL DEFAULT session_user,
            set_aside_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (node_id, number),
            FOREIGN KEY (node_id, number) REFERENCES distributions (node_id, number),
            {_common("distribution_set_asides", ("actor",), ("number",), "set_aside_at")},
            CONSTRAINT distribution_set_asides_reason_length_check CHECK (char_length(reason) <= 10000),
            CONSTRAINT distribution_set_asides_reason_check CHECK (ledger_is_reason(reason))
        )
    """)
    op.execute("CREATE INDEX distribution_lines_number ON distribution_lines (node_id, number)")
    _number_rows()
    _guard_epochs()
    _guard_lines()
    _guard_the_whole()
    for table in TABLES:
        op.execute(f"""
            CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()
        """)
        op.execute(f"""
            CREATE TRIGGER {table}_never_truncated BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
        """)
        op.execute(f"""
            CREATE TRIGGER {table}_sees_the_latest BEFORE INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_old_snapshot()
        """)
    op.execute(f"GRANT SELECT ON {', '.join(TABLES)} TO ledger_reader, ledger_writer")
    op.execute(f"GRANT INSERT ON {', '.join(WRITTEN)} TO ledger_writer")


def downgrade() -> None:
    made = op.get_bind().scalar(text("SELECT count(*) FROM distributions"))
    if made:
        raise CommandError(f"downgrade below {revision} refused: what {made} distributions paid is kept there")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    for function in ("number_wallets", "number_distribution", "guard_distributed_epoch", "guard_distributed_line"):
        op.execute(f"DROP FUNCTION ledger_{function}()")
    op.execute("DROP FUNCTION ledger_guard_distribution()")


def _number_rows() -> None:
    # Who signs wallets names the number: only the next one is taken.
    op.execute("""
        CREATE FUNCTION ledger_number_wallets() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            next bigint;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('payout_wallets ' || NEW.node_id, 0));
            SELECT 1 + coalesce(max(number), 0) INTO next FROM public.payout_wallets WHERE node_id = NEW.node_id;
            IF NEW.number <> next THEN
                RAISE EXCEPTION 'INSERT into payout_wallets refused: the next number is %, not %', next, NEW.number
                    USING ERRCODE = 'restrict_violation';
            END IF;
            NEW.actor := session_user;
            NEW.recorded_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER payout_wallets_numbered BEFORE INSERT ON payout_wallets
            FOR EACH ROW EXECUTE FUNCTION ledger_number_wallets()
    """)
    op.execute("""
        CREATE FUNCTION ledger_number_distribution() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            next bigint;
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('distributions ' || NEW.node_id, 0));
            SELECT 1 + coalesce(max(number), 0) INTO next FROM public.distributions WHERE node_id = NEW.node_id;
            IF NEW.number <> next THEN
                RAISE EXCEPTION 'INSERT into distributions refused: the next number is %, not %', next, NEW.number
                    USING ERRCODE = 'restrict_violation';
            END IF;
            NEW.actor := session_user;
            NEW.made_at := now();
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER distributions_numbered BEFORE INSERT ON distributions
            FOR EACH ROW EXECUTE FUNCTION ledger_number_distribution()
    """)


def _guard_epochs() -> None:
    # The epoch's lock holds off an amendment meanwhile; `made_at` is the instant of the transaction that made it.
    op.execute("""
        CREATE FUNCTION ledger_guard_distributed_epoch() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            made record;
        BEGIN
            SELECT * INTO made FROM public.distributions WHERE node_id = NEW.node_id AND number = NEW.number;
            IF made.made_at IS DISTINCT FROM now() THEN
                RAISE EXCEPTION 'INSERT into distribution_epochs refused: distribution % is not of this transaction',
                    NEW.number USING ERRCODE = 'restrict_violation';
            END IF;
            PERFORM FROM public.epochs
                WHERE id = NEW.epoch_id AND node_id = NEW.node_id AND scope_id = made.scope_id AND status = 'finalized'
                FOR SHARE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'INSERT into distribution_epochs refused: epoch % is no finalized one of its scope',
                    NEW.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
            IF NOT EXISTS (
                SELECT FROM public.payout_statements AS statement
                WHERE statement.id = NEW.statement_id AND statement.node_id = NEW.node_id
                    AND NOT EXISTS (
                        SELECT FROM public.set_asides AS aside
                        WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
                    )
            ) THEN
                RAISE EXCEPTION 'INSERT into distribution_epochs refused: % is no statement that stands',
                    NEW.statement_id USING ERRCODE = 'restrict_violation';
            END IF;
            IF EXISTS (
                SELECT FROM public.distribution_epochs AS earlier JOIN public.distributions AS of_it
                    ON of_it.node_id = earlier.node_id AND of_it.number = earlier.number
                WHERE earlier.node_id = NEW.node_id AND earlier.epoch_id = NEW.epoch_id
                    AND (earlier.amount, of_it.chain_id, lower(of_it.token_address))
                        <> (NEW.amount, made.chain_id, lower(made.token_address))
                    AND NOT EXISTS (
                        SELECT FROM public.distribution_set_asides AS aside
                        WHERE aside.node_id = earlier.node_id AND aside.number = earlier.number
                    )
            ) THEN
                RAISE EXCEPTION 'INSERT into distribution_epochs refused: epoch % was distributed before, in another '
                    'token or another amount', NEW.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER distribution_epochs_guarded BEFORE INSERT ON distribution_epochs
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_distributed_epoch()
    """)


def _guard_lines() -> None:
    op.execute("""
        CREATE FUNCTION ledger_guard_distributed_line() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            stated bigint;
        BEGIN
            IF (SELECT made_at FROM public.distributions WHERE node_id = NEW.node_id AND number = NEW.number)
                IS DISTINCT FROM now()
            THEN
                RAISE EXCEPTION 'INSERT into distribution_lines refused: distribution % is not of this transaction',
                    NEW.number USING ERRCODE = 'restrict_violation';
            END IF;
            SELECT sum((line ->> 'amountCredits')::numeric) INTO stated
            FROM public.distribution_epochs AS distributed
            JOIN public.payout_statements AS statement ON statement.id = distributed.statement_id
            CROSS JOIN jsonb_array_elements(statement.payouts_json) AS line
            WHERE distributed.node_id = NEW.node_id AND distributed.number = NEW.number
                AND distributed.epoch_id = NEW.epoch_id
                AND NEW.claimant_key = CASE
                    WHEN starts_with(line ->> 'userId', 'identity:') THEN line ->> 'userId'
                    ELSE 'user:' || (line ->> 'userId')
                END;
            IF stated IS DISTINCT FROM NEW.credits OR NEW.credits = 0 THEN
                RAISE EXCEPTION 'INSERT into distribution_lines refused: the statement of epoch % has % credits for '
                    '%, not %', NEW.epoch_id, coalesce(stated, 0), NEW.claimant_key, NEW.credits
                    USING ERRCODE = 'restrict_violation';
            END IF;
            -- Behind those that the owner set aside there is one place, so one line that counts.
            IF NEW.place <> (
                SELECT count(*) FROM public.distribution_lines AS line JOIN public.distribution_set_asides AS aside
                    ON aside.node_id = line.node_id AND aside.number = line.number
                WHERE line.node_id = NEW.node_id AND line.epoch_id = NEW.epoch_id
                    AND line.claimant_key = NEW.claimant_key
            ) THEN
                RAISE EXCEPTION 'INSERT into distribution_lines refused: % is not the next place of % in epoch %',
                    NEW.place, NEW.claimant_key, NEW.epoch_id USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER distribution_lines_guarded BEFORE INSERT ON distribution_lines
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_distributed_line()
    """)


def _guard_the_whole() -> None:
    op.execute("""
        CREATE FUNCTION ledger_guard_distribution() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            of_epoch record;
        BEGIN
            IF NEW.amount::numeric IS DISTINCT FROM (
                SELECT sum(amount::numeric) FROM public.distribution_lines
                WHERE node_id = NEW.node_id AND number = NEW.number
            ) THEN
                RAISE EXCEPTION 'INSERT into distributions refused: the lines of % do not have its amount together',
                    NEW.number USING ERRCODE = 'restrict_violation';
            END IF;
            FOR of_epoch IN
                SELECT distributed.epoch_id, distributed.amount::numeric AS whole, statement.pool_total_credits AS pool,
                    sum(line.amount::numeric) AS amount, sum(line.credits) AS credits
                FROM public.distribution_epochs AS distributed
                JOIN public.payout_statements AS statement ON statement.id = distributed.statement_id
                LEFT JOIN public.distribution_lines AS line
                    ON line.node_id = distributed.node_id AND line.epoch_id = distributed.epoch_id
                    AND NOT EXISTS (
                        SELECT FROM public.distribution_set_asides AS aside
                        WHERE aside.node_id = line.node_id AND aside.number = line.number
                    )
                WHERE distributed.node_id = NEW.node_id AND distributed.number = NEW.number
                GROUP BY 1, 2, 3
            LOOP
                IF of_epoch.amount > of_epoch.whole OR of_epoch.credits > of_epoch.pool THEN
                    RAISE EXCEPTION 'INSERT into distributions refused: of epoch % more would be distributed than % '
                        'credits or % of the token', of_epoch.epoch_id, of_epoch.pool, of_epoch.whole
                        USING ERRCODE = 'restrict_violation';
                END IF;
            END LOOP;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE CONSTRAINT TRIGGER distributions_whole AFTER INSERT ON distributions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_guard_distribution()
    """)


def _common(table: str, texts: tuple[str, ...], numbers: tuple[str, ...], instant: str | None = None) -> str:
    """What holds of every column of its type."""
    rules = [f"CONSTRAINT {table}_{name}_length_check CHECK (char_length({name}) <= 1000)" for name in texts]
    rules += [f"CONSTRAINT {table}_{name}_sign_check CHECK ({name} >= 0)" for name in numbers]
    if instant is not None:
        rules.append(
            f"CONSTRAINT {table}_{instant}_instant_check "
            f"CHECK ({instant} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z')"
        )
    return ",\n".join(rules)
