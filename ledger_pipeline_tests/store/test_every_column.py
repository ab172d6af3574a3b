"""What holds of every column of a type: a table or column that is new has its rule, or a test fails."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.store import migrations
from ledger_pipeline.store.database_condition import rights_of
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.store.settlement import ADA_USER, collected, finalized

COLUMNS = text("""
    SELECT table_name, column_name FROM information_schema.columns
    JOIN pg_tables ON (schemaname, tablename) = (table_schema, table_name)
    WHERE table_schema = 'public' AND table_name <> 'ledger_migrations' AND data_type = :type
    ORDER BY table_name, column_name
""")
RULES = text("""
    SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint
    JOIN pg_attribute ON attrelid = conrelid AND attname = :column AND conkey = ARRAY[attnum]
    WHERE contype = 'c' AND conrelid = CAST(:table AS regclass)
""")


def taken(engine: Engine, type_: str, values: Sequence[str]) -> list[tuple[str, str, str]]:
    """By table and column of that type, each of `values` (SQL) that no rule of the column alone refuses."""
    with engine.connect() as connection:
        problems = []
        for table, column in connection.execute(COLUMNS, {"type": type_}).all():
            rules = connection.scalars(RULES, {"table": f"public.{table}", "column": column}).all()
            for value in values:
                kept = " AND ".join(f"({rule})" for rule in rules) or "true"
                if connection.scalar(text(f"SELECT {kept} FROM (SELECT CAST({value} AS {type_}) AS {column}) AS row")):
                    problems.append((table, column, value))
    return problems


INSTANTS = ("'infinity'", "'-infinity'", "'0044-03-15 BC'", "'20000-01-01Z'", "'0001-01-01Z'", "'9999-12-31Z'")


def test_every_instant_can_be_read_and_reckoned_with(ledger_engine: Engine) -> None:
    assert taken(ledger_engine, "timestamp with time zone", INSTANTS) == []
    with ledger_engine.connect() as connection:
        instants = connection.execute(COLUMNS, {"type": "timestamp with time zone"}).all()
        others = connection.execute(COLUMNS, {"type": "timestamp without time zone"}).all()
    assert len(instants) > 40
    assert others == []
    assert len(taken(ledger_engine, "timestamp with time zone", ["'2026-02-18Z'"])) == len(instants)


UNREADABLE_JSON = {
    "a number of 5,000 digits": """'{"x": ' || repeat('9', 5000) || '}'""",
    "a number of 130,001 digits": """'{"x": 1e130000}'""",
    "a number that is not whole": """'{"x": 1.5}'""",
    "a number that is nearly nothing": """'{"x": 1e-16000}'""",
    "such a number in a list": """'[' || repeat('9', 5000) || ']'""",
    "three thousand brackets": "repeat('[', 3000) || repeat(']', 3000)",
    "a hundred brackets": """'{"x": ' || repeat('[', 100) || repeat(']', 100) || '}'""",
    "three thousand braces": """repeat('{"x": ', 3000) || '1' || repeat('}', 3000)""",
    "two megabytes": """'{"x": "' || repeat('x', 2000000) || '"}'""",
    "text": """'"x"'""",
    "a number": "'7'",
    "null": "'null'",
}


def test_all_json_can_be_read(ledger_engine: Engine) -> None:
    assert taken(ledger_engine, "jsonb", [f"({value})" for value in UNREADABLE_JSON.values()]) == []
    odd_text = r"""'{"x": [{"y": "1.5 [\" [[[\\"}], "9.99999999999999999999999999999999999999999999": -7}'"""
    with ledger_engine.connect() as connection:
        columns = {(table, column) for table, column in connection.execute(COLUMNS, {"type": "jsonb"}).all()}
    # Parts of an event have to be of a whole.
    plain = ["'{}'", "'[]'", """'{"user:ada": 1000000}'"""]
    assert {(table, column) for table, column, _ in taken(ledger_engine, "jsonb", plain)} == columns
    objects = columns - {("payout_statements", "payouts_json"), ("event_overrides", "shares")}
    assert {(table, column) for table, column, _ in taken(ledger_engine, "jsonb", [odd_text])} == objects


def test_no_text_is_longer_than_anybody_reads(ledger_engine: Engine) -> None:
    assert taken(ledger_engine, "text", ["repeat('x', 10001)", "repeat('\U0001f600', 10001)"]) == []
    with ledger_engine.connect() as connection:
        others = connection.execute(COLUMNS, {"type": "character varying"}).all()
    assert others == []
    kept = {(table, column) for table, column, _ in taken(ledger_engine, "text", ["repeat('x', 10000)"])}
    reasons = {"note", "reason", "override_reason", "evidence_ref", "unread_reason", "artifact_url", "platform_login"}
    assert {column for _, column in kept} == reasons


@pytest.mark.parametrize("type_", ["bigint", "integer"])
def test_no_number_is_negative_but_those_that_only_refer(ledger_engine: Engine, type_: str) -> None:
    assert {column for _, column, _ in taken(ledger_engine, type_, ["-1"])} <= {"id", "epoch_id"}
    with ledger_engine.connect() as connection:
        others = [
            connection.execute(COLUMNS, {"type": column_type}).all() for column_type in ("smallint", "numeric", "real")
        ]
    assert others == [[], [], []]


def test_rows_of_before_a_rule_stay_and_are_named(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, "0042")
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO user_bindings (node_id, user_id, provider, external_id, created_at) "
            "VALUES (gen_random_uuid(), 'ada', 'github', '1', 'infinity')"
        )
    migrations.upgrade(empty_database_url)
    [named] = rights_of(empty_database_url).broken_rules
    assert named.startswith("user_bindings: CHECK (((created_at >= ")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE user_bindings SET created_at = now()")
        connection.exec_driver_sql(
            "ALTER TABLE user_bindings VALIDATE CONSTRAINT user_bindings_created_at_instant_check"
        )
    assert rights_of(empty_database_url).broken_rules == ()
    engine.dispose()


def test_decisions_of_before_that_say_not_why_are_named(ledger_url: str, ledger_engine: Engine) -> None:
    books = collected(PostgresLedger(ledger_engine, NODE_ID))
    books.materialize()
    assert rights_of(ledger_url).broken_rules == ()
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE activity_curation SET included = false, note = E'\\n'"))
        connection.execute(text("UPDATE epoch_allocations SET final_units = 5"))
    assert rights_of(ledger_url).broken_rules == (
        f"note of activity_curation in epoch {books.epoch.id} says not why",
        f"override_reason of epoch_allocations in epoch {books.epoch.id} says not why",
    )
    # They stand in the way of nothing.
    books.materialize()
    PostgresLedger(ledger_engine, NODE_ID).allocations.decide(books.epoch, ADA_USER, 5, "she led it")


def test_a_row_of_before_that_was_numbered_beyond_all_others_is_the_last_word_no_more(
    ledger_url: str, ledger_engine: Engine
) -> None:
    books = finalized(PostgresLedger(ledger_engine, NODE_ID))
    number = (
        "INSERT INTO statement_corrections (id, node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
    )
    with ledger_engine.begin() as connection:
        for beyond in (2**63 - 1, 2**62):  # the owner's numbers are kept, as the writer's were
            connection.execute(
                text(f"{number} SELECT {beyond}, node_id, epoch_id, id, :user, :units, 'x' FROM payout_statements"),
                {"user": ADA_USER, "units": beyond},
            )
    migrations.downgrade(ledger_url, "0056")
    migrations.upgrade(ledger_url)
    ledger = PostgresLedger(ledger_engine, NODE_ID)
    assert [row.units for row in ledger.statements.settlement(books.epoch).corrections] == [2**63 - 1]
    books.correct(ADA_USER, 500, "put right")
    assert [row.units for row in ledger.statements.settlement(books.epoch).corrections] == [500]
