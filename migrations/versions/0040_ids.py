"""Ids of users and accounts are what they look like: no line feed, colon or invisible character makes one another.

Rows that are there stay; a user or account that is new has to be an id, and so has one that takes another's place.
"""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

# As `core/identifiers.py` has them; a test compares. Text holds no zero byte and no half of a surrogate pair.
FORBIDDEN = (
    r"\u0001-\u001F:\u007F-\u00A0\u00AD\u034F\u0600-\u0605\u061C\u06DD\u070F\u0890-\u0891\u08E2\u115F-\u1160\u1680"
    r"\u17B4-\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uE000-\uF8FF\uFDD0-\uFDEF"
    r"\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE-\uFFFF\U000110BD\U000110CD\U00013430-\U0001343F"
    r"\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF\U000F0000-\U0010FFFF"
)
RULE = "1 to 128 characters in NFC, none of them a colon or invisible, and no space at its ends"
USERS = ("user_bindings", "activity_curation", "epoch_allocations")


def upgrade() -> None:
    op.execute(f"""
        CREATE FUNCTION ledger_is_id(value text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
            SELECT char_length(value) BETWEEN 1 AND 128 AND value !~ '^ | $|[{FORBIDDEN}]' AND value IS NFC NORMALIZED
        $$
    """)
    op.execute("""
        CREATE FUNCTION ledger_is_account(provider text, value text) RETURNS boolean LANGUAGE sql IMMUTABLE
        PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            SELECT public.ledger_is_id(value) AND (provider <> 'github' OR value ~ '^[1-9][0-9]{0,18}$')
        $$
    """)
    # However many rows a statement writes, its users are few.
    op.execute(f"""
        CREATE FUNCTION ledger_guard_users() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            broken text;
        BEGIN
            IF TG_OP = 'INSERT' THEN
                SELECT user_id INTO broken FROM (SELECT DISTINCT user_id FROM inserted) AS found
                    WHERE NOT public.ledger_is_id(user_id) LIMIT 1;
            ELSE
                SELECT user_id INTO broken
                    FROM (SELECT user_id FROM updated EXCEPT SELECT user_id FROM outdated) AS found
                    WHERE NOT public.ledger_is_id(user_id) LIMIT 1;
            END IF;
            IF FOUND THEN
                RAISE EXCEPTION '% of % refused: "%" is no id of a user, which is {RULE}; `ledger-pipeline identities '
                    'list` names those there are', TG_OP, TG_TABLE_NAME, regexp_replace(broken, '[^ -~]', '?', 'g')
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608 (our own statement)
    for table in USERS:
        op.execute(f"""
            CREATE TRIGGER {table}_new_users AFTER INSERT ON {table} REFERENCING NEW TABLE AS inserted
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_users()
        """)
        op.execute(f"""
            CREATE TRIGGER {table}_other_users AFTER UPDATE ON {table}
                REFERENCING OLD TABLE AS outdated NEW TABLE AS updated
                FOR EACH STATEMENT EXECUTE FUNCTION ledger_guard_users()
        """)
    op.execute("""
        CREATE FUNCTION ledger_refuse_account() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            RAISE EXCEPTION '% of % refused: the account is none of its provider (of github, its numeric id in decimal '
                'digits, the first not 0)', TG_OP, TG_TABLE_NAME USING ERRCODE = 'check_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER user_bindings_account BEFORE INSERT OR UPDATE OF provider, external_id ON user_bindings
            FOR EACH ROW WHEN (NOT (public.ledger_is_id(NEW.provider)
                AND public.ledger_is_account(NEW.provider, NEW.external_id)))
            EXECUTE FUNCTION ledger_refuse_account()
    """)
    op.execute("""
        CREATE TRIGGER activity_events_account BEFORE INSERT ON activity_events
            FOR EACH ROW WHEN (NEW.source = 'github' AND NEW.platform_user_id !~ '^[1-9][0-9]{0,18}$')
            EXECUTE FUNCTION ledger_refuse_account()
    """)
    op.execute(f"""
        CREATE FUNCTION ledger_guard_corrected_user() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            IF NOT public.ledger_is_id(NEW.user_id) AND NOT EXISTS (
                SELECT FROM public.payout_statements AS superseded,
                    jsonb_array_elements(superseded.payouts_json) AS line
                WHERE superseded.id = NEW.supersedes_statement_id AND line ->> 'userId' = NEW.user_id
            ) THEN
                RAISE EXCEPTION 'INSERT into statement_corrections refused: "%" is no id of a user, which is {RULE}',
                    regexp_replace(NEW.user_id, '[^ -~]', '?', 'g') USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER statement_corrections_user BEFORE INSERT ON statement_corrections
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_corrected_user()
    """)
    # Of an epoch that was stated before this rule, the lines there are may be stated again: but none that could be two.
    op.execute(f"""
        CREATE FUNCTION ledger_guard_stated_users() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            broken text;
        BEGIN
            SELECT line ->> 'userId' INTO broken FROM jsonb_array_elements(NEW.payouts_json) AS line
                WHERE line ->> 'userId' ~ E':[0-9]+\\n' OR NOT public.ledger_is_id(line ->> 'userId') AND NOT EXISTS (
                    SELECT FROM public.payout_statements AS superseded,
                        jsonb_array_elements(superseded.payouts_json) AS stated
                    WHERE superseded.id = NEW.supersedes_statement_id AND stated ->> 'userId' = line ->> 'userId'
                )
                LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into payout_statements refused: "%" is no id of a user, which is {RULE}',
                    regexp_replace(broken, '[^ -~]', '?', 'g') USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)  # noqa: S608 (our own statement)
    op.execute("""
        CREATE TRIGGER payout_statements_users BEFORE INSERT ON payout_statements
            FOR EACH ROW EXECUTE FUNCTION ledger_guard_stated_users()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER payout_statements_users ON payout_statements")
    op.execute("DROP FUNCTION ledger_guard_stated_users()")
    op.execute("DROP TRIGGER statement_corrections_user ON statement_corrections")
    op.execute("DROP FUNCTION ledger_guard_corrected_user()")
    op.execute("DROP TRIGGER activity_events_account ON activity_events")
    op.execute("DROP TRIGGER user_bindings_account ON user_bindings")
    op.execute("DROP FUNCTION ledger_refuse_account()")
    for table in USERS:
        op.execute(f"DROP TRIGGER {table}_new_users ON {table}")
        op.execute(f"DROP TRIGGER {table}_other_users ON {table}")
    op.execute("DROP FUNCTION ledger_guard_users()")
    op.execute("DROP FUNCTION ledger_is_account(text, text)")
    op.execute("DROP FUNCTION ledger_is_id(text)")
