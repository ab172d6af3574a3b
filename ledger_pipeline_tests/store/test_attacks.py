"""An adversary with the writer's login: every statement here is refused, on a new Postgres as on the oldest we support.

All of them run on one ledger, for what is refused changes nothing; the last test looks whether that is so.
"""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.store import schema
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.port import EpochStatus
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID
from ledger_pipeline_tests.postgres import fresh_database, set_status
from ledger_pipeline_tests.store.settlement import refused, rows_of
from ledger_pipeline_tests.store.test_roles import CLOSED, fill, urls

# What the writer may do to the rows there are, by table: a table that is new stands here, or a test fails.
NOTHING, CHANGE, FORGET = "nothing", "change", "forget"
RIGHTS: Mapping[str, str] = {
    "activity_events": NOTHING,
    "rejected_events": NOTHING,
    "skipped_activity": NOTHING,
    "scan_receipts": NOTHING,
    "epoch_pool_components": NOTHING,
    "payout_statements": NOTHING,
    "statement_signatures": NOTHING,
    "statement_corrections": NOTHING,
    "signing_requests": NOTHING,
    "left_out_items": NOTHING,
    "set_asides": NOTHING,
    "ledger_migrations": NOTHING,
    "epochs": CHANGE,
    "source_cursors": CHANGE,
    "activity_curation": CHANGE,
    "user_bindings": CHANGE,
    "scan_checkpoints": FORGET,
    "epoch_allocations": FORGET,
    "unread_items": FORGET,
}
# By table, what is refused to the writer of each kind.
UPDATE, DELETE = "UPDATE {} SET {column} = {column}", "DELETE FROM {}"
OF_EVERY_TABLE = (
    "TRUNCATE {} CASCADE",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "ALTER TABLE {} ADD COLUMN x int",
    "ALTER TABLE {} OWNER TO roles_writer",
    "DROP TABLE {} CASCADE",
    "CREATE TRIGGER x BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
    "CREATE RULE x AS ON INSERT TO {} DO INSTEAD NOTHING",
    "CREATE POLICY x ON {}",
)
# Statements of no table: the writer gets past no trigger, and grants itself nothing.
OTHERS = (
    "DROP TRIGGER activity_events_immutable ON activity_events",
    "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION ledger_refuse_late_events() RESET search_path",
    "DROP FUNCTION ledger_guard_epoch() CASCADE",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
    "CREATE ROLE another",
    "CREATE TABLE mine (id int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "GRANT ledger_reader TO roles_writer",
    "UPDATE ledger_migrations SET version_num = '0010'",
    "DROP TRIGGER left_out_items_at_closing_only ON left_out_items",
    "INSERT INTO set_asides (node_id, epoch_id, statement_id, reason) "
    "SELECT node_id, epoch_id, id, 'it is in the way' FROM payout_statements",
)


@pytest.fixture(scope="module", params=["migrated_template", "opened_template"])
def ledger_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """A ledger made on a new Postgres, and one made on Postgres 14, where everybody might make objects in `public`."""
    with fresh_database(postgres_server, request.getfixturevalue(request.param)) as url:
        yield url


@pytest.fixture(scope="module")
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """The owner of a ledger with rows in it."""
    engine = make_engine(ledger_url)
    ensure_logins(ledger_url, urls(ledger_url))
    fill(PostgresLedger(engine, NODE_ID))
    set_status(engine, SCOPE_ID, CLOSED, EpochStatus.REVIEW)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def writer(ledger_engine: Engine, ledger_url: str) -> Iterator[Engine]:
    """The adversary."""
    engine = make_engine(urls(ledger_url)[WRITER])
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def before(ledger_engine: Engine, writer: Engine) -> dict[str, int]:
    """How many rows each table has before the first attack."""
    return rows_of(ledger_engine, *RIGHTS)


def changes_refused(table: str) -> list[str]:
    """What the writer is refused of `table`."""
    right = RIGHTS[table]
    of_rows = [*([UPDATE] if right is NOTHING else []), *([DELETE] if right is not FORGET else [])]
    column = "version_num" if table == "ledger_migrations" else "node_id"
    return [change.format(table, column=column) for change in (*of_rows, *OF_EVERY_TABLE)]


def test_every_table_has_its_line_in_the_list_of_attacks(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        there = set(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))
    assert there == set(RIGHTS) == {*schema.metadata.tables, "ledger_migrations"}


@pytest.mark.parametrize("table", RIGHTS)
def test_the_writer_changes_neither_facts_nor_tables(writer: Engine, before: dict[str, int], table: str) -> None:
    for change in changes_refused(table):
        message = refused(writer, change)
        assert message.startswith(("permission denied ", "must be owner of ")), change
        assert table in message, change


@pytest.mark.parametrize("statement", OTHERS)
def test_the_writer_gets_past_no_trigger(writer: Engine, before: dict[str, int], statement: str) -> None:
    assert refused(writer, statement).startswith(("must be owner of ", "permission denied "))


def test_the_writer_grants_itself_nothing(writer: Engine, before: dict[str, int]) -> None:
    with writer.begin() as connection:
        connection.exec_driver_sql("GRANT UPDATE ON activity_events TO roles_writer")  # Postgres only warns
    assert refused(writer, "UPDATE activity_events SET id = id") == "permission denied for table activity_events"


def test_a_temporary_table_does_not_deceive_the_trigger(writer: Engine, before: dict[str, int]) -> None:
    columns = (
        "node_id, scope_id, source, event_type, platform_user_id, platform_login, artifact_url, metadata, "
        "payload_hash, producer, producer_version, retrieved_at"
    )
    late = (
        f"INSERT INTO activity_events (id, event_time, {columns}) "
        f"SELECT 'late', timestamptz '2026-02-10Z', {columns} FROM activity_events LIMIT 1"
    )
    with writer.connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE epochs (LIKE public.epochs)")
        with pytest.raises(DBAPIError, match="is in review, not open"):
            connection.exec_driver_sql(late)


def test_nothing_is_left_out_of_an_epoch_afterwards(writer: Engine, before: dict[str, int]) -> None:
    for status in ("open", "review"):
        message = refused(
            writer,
            "INSERT INTO left_out_items (node_id, epoch_id, source, source_scope, kind, number, unread_reason, "
            "unread_since, actor, reason, left_out_at) SELECT node_id, id, 'github', 'a/b', 'issue', 1, 'null', now(), "
            f"'ada', 'why', closed_at FROM epochs WHERE status = '{status}'",
        )
        assert message.startswith("INSERT into left_out_items refused: epoch ")
        assert message.endswith(" is not being closed")


def test_after_all_attacks_every_row_is_where_it_was(ledger_engine: Engine, before: dict[str, int]) -> None:
    assert rows_of(ledger_engine, *RIGHTS) == before
