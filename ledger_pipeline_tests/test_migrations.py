"""The migrations: up from nothing, up from a database in use, down again, and equal to what the code believes."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from ledger_pipeline.core.errors import StoreError, StoreUnavailable
from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.core.pins import epoch_pins
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store import distribution_schema, migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus, Exclusion
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import (
    NODE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    checkpoint,
    cursor,
    instant,
    issue,
    note_unread,
    pull_request,
    receipt,
    save_checkpoint,
    scope,
    skipped,
    unread,
    weeks,
    window,
)
from ledger_pipeline_tests.store.settlement import ADA_USER, finalized

ZERO = UUID(int=0)
NOW = instant("2026-02-18")
REVISIONS = [f"{number:04}" for number in range(10, 88)]

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, replace(column_default, '::text', '')
    FROM information_schema.columns JOIN pg_tables ON (schemaname, tablename) = (table_schema, table_name)
    WHERE table_schema = 'public' AND table_name <> 'ledger_migrations'
"""
VIEWS = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conrelid::regclass::text <> 'ledger_migrations'
        AND contype NOT IN ('n', 't')  -- newer servers list NOT NULL here too; triggers have a list
"""
INDEXES = """
    SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'ledger_migrations'
"""
PROGRAMS = """
    SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function', proname, concat(prosrc, proconfig) FROM pg_proc WHERE starts_with(proname, 'ledger')
"""


def shape(connection: Connection, *queries: str) -> set[tuple[object, ...]]:
    """Everything the catalogue says, as a set of rows."""
    return {tuple(row) for query in queries for row in connection.exec_driver_sql(query)}


@pytest.fixture
def empty_engine(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def shape_of(url: str) -> set[tuple[object, ...]]:
    engine = make_engine(url)
    with engine.connect() as connection:
        tables_now = shape(connection, COLUMNS, CONSTRAINTS, INDEXES, PROGRAMS, VIEWS)
    engine.dispose()
    return tables_now


def test_up_from_nothing_and_again(empty_database_url: str) -> None:
    assert migrations.current(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head() == REVISIONS[-1]
    before = shape_of(empty_database_url)
    migrations.upgrade(empty_database_url)
    assert shape_of(empty_database_url) == before


def test_asking_for_the_current_migration_writes_nothing(empty_database_url: str, empty_engine: Engine) -> None:
    assert migrations.current(empty_database_url) is None
    with empty_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0


def test_each_migration_goes_down_to_what_was_before_and_up_to_the_same(empty_database_url: str) -> None:
    shapes = []
    for revision in REVISIONS:
        migrations.upgrade(empty_database_url, revision)
        shapes.append(shape_of(empty_database_url))
    for revision, expected in reversed(list(zip(REVISIONS, shapes, strict=True))):
        migrations.downgrade(empty_database_url, revision)
        assert migrations.current(empty_database_url) == revision
        assert shape_of(empty_database_url) == expected
    migrations.downgrade(empty_database_url, "base")
    assert shape_of(empty_database_url) == set()
    migrations.upgrade(empty_database_url)
    assert shape_of(empty_database_url) == shapes[-1]


def test_the_tables_in_code_are_those_of_the_database(ledger_engine: Engine, empty_engine: Engine) -> None:
    with empty_engine.begin() as connection:
        connection.execute(text("CREATE TYPE uuid_range AS RANGE (subtype = uuid)"))
        for function in (
            "ledger_is_plain_json(jsonb, text, integer)",
            "ledger_is_payouts(jsonb)",
            "ledger_is_reason(text)",
            "ledger_is_id(text)",
            "ledger_is_account(text, text)",
            "ledger_is_shares(jsonb)",
            "ledger_is_account_key(text)",
        ):
            connection.execute(text(f"CREATE FUNCTION {function} RETURNS boolean LANGUAGE sql IMMUTABLE RETURN true"))
        distribution_schema.metadata.create_all(connection)
        believed = shape(connection, COLUMNS, CONSTRAINTS, INDEXES)
    with ledger_engine.connect() as connection:
        tables_now = shape(connection, COLUMNS, CONSTRAINTS, INDEXES)
    assert tables_now == believed


def test_dagsters_own_migrations_may_live_beside(empty_database_url: str, empty_engine: Engine) -> None:
    with empty_engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('dagsters own')"))
    migrations.upgrade(empty_database_url)
    with empty_engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "dagsters own"


def test_processes_that_upgrade_at_once_take_turns(empty_database_url: str) -> None:
    barrier = Barrier(3)

    def upgrade(_: int) -> None:
        barrier.wait()
        migrations.upgrade(empty_database_url)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade, range(3)))
    assert migrations.current(empty_database_url) == migrations.head()


def test_upgrading_leaves_logging_as_it_is(empty_database_url: str) -> None:
    logger = logging.getLogger("somebody.elses")
    before = (list(logging.root.handlers), logging.root.level, logger.disabled)
    migrations.upgrade(empty_database_url)
    assert (list(logging.root.handlers), logging.root.level, logger.disabled) == before


def test_a_database_that_is_away_is_worth_retrying() -> None:
    for attempt in (migrations.upgrade, migrations.current):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1/books") as raised:
            attempt("postgresql://ledger:s3cret@127.0.0.1:1/books")
        assert "s3cret" not in str(raised.value)


def test_every_migration_is_named_for_what_it_does() -> None:
    folder = Path(__file__).resolve().parents[1] / "migrations" / "versions"
    names = sorted(path.stem for path in folder.glob("*.py"))
    assert [name.split("_")[0] for name in names] == REVISIONS
    assert {"0010_ledger_tables", "0011_immutability_triggers", "0012_scope_columns"} <= set(names)


def fill_without_scopes(connection: Connection) -> None:
    """What a node that knew no scopes might hold: a closed week, the running one, and all that hangs on them."""
    finalized, running = weeks(2)
    parameters = {
        "node": NODE_ID,
        "s1": finalized.start,
        "e1": finalized.end,
        "s2": running.start,
        "e2": running.end,
        "now": NOW,
        "hash": pull_request(1).payload_hash,
        "at": pull_request(1).event_time,
    }
    for statement in (
        """INSERT INTO epochs (node_id, status, period_start, period_end, weight_config) VALUES
            (%(node)s, 'open', %(s1)s, %(e1)s, '{"github:pr_merged": 1000}')""",
        """INSERT INTO activity_events (node_id, id, source, event_type, platform_user_id, platform_login,
                artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
            VALUES (%(node)s, 'github:pr:cogni-dao/cogni:1', 'github', 'pr_merged', '583231', 'ada', 'https://x', '{}',
                %(hash)s, 'older', '0', %(at)s, %(now)s),
            (%(node)s, 'github:pr:cogni-dao/cogni:2', 'github', 'pr_merged', '583231', 'ada', 'https://x', '{}',
                'other', 'older', '0', %(e1)s, %(now)s)""",
        """INSERT INTO activity_curation (node_id, epoch_id, event_id) VALUES
            (%(node)s, 1, 'github:pr:cogni-dao/cogni:1')""",
        """INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count)
            VALUES (%(node)s, 1, 'ada', 1000, 1)""",
        "UPDATE epochs SET status = 'finalized' WHERE period_start = %(s1)s",
        """INSERT INTO epochs (node_id, status, period_start, period_end, weight_config) VALUES
            (%(node)s, 'open', %(s2)s, %(e2)s, '{"github:pr_merged": 1000}')""",
        """INSERT INTO source_cursors (node_id, source, stream, scope, cursor_value, retrieved_at) VALUES
            (%(node)s, 'github', 'pull_requests', 'cogni-dao/cogni', '2026-02-17T11:22:33.444Z', %(now)s)""",
    ):
        connection.exec_driver_sql(statement, parameters)


def test_a_database_from_before_scopes_is_upgraded_with_its_rows(empty_database_url: str, empty_engine: Engine) -> None:
    migrations.upgrade(empty_database_url, "0011")
    with empty_engine.begin() as connection:
        fill_without_scopes(connection)
    migrations.upgrade(empty_database_url)

    ledger = PostgresLedger(empty_engine, NODE_ID)
    ledger.check_migrated()
    finalized, running = weeks(2)
    both = EpochWindow(finalized.start, running.end)
    assert [(epoch.scope_id, epoch.window, epoch.status) for epoch in ledger.epochs.within(ZERO, both)] == [
        (ZERO, finalized, EpochStatus.FINALIZED),
        (ZERO, running, EpochStatus.OPEN),
    ]
    rows = list(ledger.events.within(ZERO, both))
    assert [(row.id, row.scope_id, row.source_object_id) for row in rows] == [
        (pull_request(1).id, ZERO, None),
        (pull_request(2).id, ZERO, None),
    ]
    inherited = cursor(instant("2026-02-17T11:22:33.444"), None)
    assert ledger.scans.cursors(ZERO, "github") == {("pull_requests", "cogni-dao/cogni"): inherited}
    with empty_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM activity_curation")) == 1
        assert connection.scalar(text("SELECT proposed_units FROM epoch_allocations")) == 1000
        defaults = "SELECT column_default FROM information_schema.columns WHERE column_name = 'scope_id'"
        assert set(connection.scalars(text(defaults))) == {None}
        # The system we join reads these rows too, by its own names.
        receipts = connection.execute(text("SELECT receipt_id, metadata ->> 'repo' FROM ingestion_receipts ORDER BY 1"))
        assert [tuple(row) for row in receipts] == [(pull_request(number).id, REPO) for number in (1, 2)]
        assert connection.scalar(text("SELECT receipt_id FROM epoch_selection WHERE included")) == pull_request(1).id
        assert connection.scalar(text("SELECT cursor_value FROM ingestion_cursors")) == "2026-02-17T11:22:33.444Z"

    outcomes = ledger.events.append(
        ZERO, [pull_request(1), pull_request(3), issue(1, at="2026-02-24T00:00:00Z")], PRODUCER, NOW
    )
    assert sorted(outcomes.values()) == [AppendOutcome.DUPLICATE, AppendOutcome.LATE, AppendOutcome.NEW]
    assert ledger.scans.finish(ZERO, [cursor("2026-02-18")], NOW) == [cursor("2026-02-18")]


def test_the_rows_of_before_survive_the_way_down_and_up(empty_database_url: str, empty_engine: Engine) -> None:
    migrations.upgrade(empty_database_url, "0011")
    with empty_engine.begin() as connection:
        fill_without_scopes(connection)
    before = contents(empty_engine)
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url, "0011")
    assert contents(empty_engine) == before | {"cursor": "2026-02-17T11:22:33.444000Z"}
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url, "base")


def contents(engine: Engine) -> dict[str, object]:
    with engine.connect() as connection:
        return {
            "epochs": connection.scalar(text("SELECT json_agg(e ORDER BY id) FROM epochs e")),
            "events": connection.scalar(text("SELECT json_agg(e ORDER BY id) FROM activity_events e")),
            "cursor": connection.scalar(text("SELECT cursor_value FROM source_cursors")),
        }


def test_going_below_scopes_is_refused_while_there_are_any_and_changes_nothing(
    ledger: PostgresLedger, ledger_url: str
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    before = shape_of(ledger_url)
    with pytest.raises(StoreError, match="below 0012 refused: 1 rows of epochs belong to scopes"):
        migrations.downgrade(ledger_url, "0011")
    assert migrations.current(ledger_url) == migrations.head()
    assert shape_of(ledger_url) == before


def test_rejected_events_are_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    ledger.events.append(ZERO, [issue(1), issue(1, at="2026-02-18T00:00:00Z")], PRODUCER, NOW)
    with pytest.raises(StoreError, match="below 0019 refused: 1 rejected events"):
        migrations.downgrade(ledger_url, "0018")


def test_skipped_activity_is_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    ledger.scans.record_skipped(ZERO, [skipped()], NOW)
    with pytest.raises(StoreError, match="below 0021 refused: 1 skipped activities"):
        migrations.downgrade(ledger_url, "0020")
    assert migrations.current(ledger_url) == migrations.head()


def test_receipts_are_not_dropped_by_going_down_and_checkpoints_are(ledger: PostgresLedger, ledger_url: str) -> None:
    ledger.scans.finish(ZERO, [cursor("2026-02-17")], NOW, [receipt()])
    save_checkpoint(ledger, ZERO, checkpoint())
    with pytest.raises(StoreError, match="below 0022 refused: 1 scan receipts"):
        migrations.downgrade(ledger_url, "0021")
    assert ledger.scans.checkpoint(ZERO, "github", checkpoint().source_scope) == checkpoint()
    migrations.downgrade(ledger_url, "0022")
    assert migrations.current(ledger_url) == "0022"


def test_unread_items_are_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    note_unread(ledger, unread(12))
    with pytest.raises(StoreError, match="below 0032 refused: 1 unread items"):
        migrations.downgrade(ledger_url, "0031")
    note_unread(ledger, settled=[unread(12).key])
    migrations.downgrade(ledger_url, "0031")
    assert migrations.current(ledger_url) == "0031"


def test_what_an_epoch_was_closed_without_is_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    note_unread(ledger, unread(12))
    exclusion = Exclusion(tuple(ledger.unread.items(SCOPE_ID)), "ada", "why")
    assert ledger.epochs.close(epoch.id, epoch_pins(scope(), {}), exclusion=exclusion)
    with pytest.raises(StoreError, match="below 0036 refused: 1 items that epochs were closed without"):
        migrations.downgrade(ledger_url, "0035")


def test_facts_are_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    ledger.events.append(SCOPE_ID, [pull_request()], PRODUCER, NOW)
    ledger.facts.record(SCOPE_ID, [Observation(pull_request().id, PullRequestFacts())], NOW, PRODUCER)
    with pytest.raises(StoreError, match="below 0069 refused: 1 observations of facts"):
        migrations.downgrade(ledger_url, "0068")


def test_a_total_beyond_32_bits_is_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    ledger.scans.finish(ZERO, [cursor("2026-02-17")], NOW, [receipt(source_total=2**31)])
    with pytest.raises(StoreError, match="below 0033 refused: 1 receipts have a total beyond 32 bits"):
        migrations.downgrade(ledger_url, "0032")


def test_corrections_are_not_dropped_by_going_down(ledger: PostgresLedger, ledger_url: str) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 1000, "counted again")
    with pytest.raises(StoreError, match="below 0029 refused: 1 corrections of statements are recorded nowhere else"):
        migrations.downgrade(ledger_url, "0028")
    books.finalize(books.signature())
    with pytest.raises(StoreError, match="below 0029 refused: 1 corrections"):
        migrations.downgrade(ledger_url, "0028")
    assert migrations.current(ledger_url) == migrations.head()


def test_a_statement_survives_the_way_below_amendments_and_up_again(ledger: PostgresLedger, ledger_url: str) -> None:
    books = finalized(ledger)
    before = ledger.statements.rows(books.epoch)
    migrations.downgrade(ledger_url, "0028")
    migrations.upgrade(ledger_url)
    assert ledger.statements.rows(books.epoch) == before
    assert books.epoch.status is EpochStatus.FINALIZED
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


def test_a_migration_that_fails_leaves_those_before_it_with_their_record(
    empty_database_url: str, empty_engine: Engine
) -> None:
    migrations.upgrade(empty_database_url, "0012")
    with empty_engine.begin() as connection:
        for days in (7, 14):
            connection.execute(
                text("""
                    INSERT INTO epochs (node_id, scope_id, status, period_start, period_end, weight_config)
                    VALUES (:node, :scope, 'review', :start, :end, '{}')
                """),
                {"node": NODE_ID, "scope": ZERO, "start": window(days=days).start, "end": window(days=days).end},
            )
    with pytest.raises(StoreError, match="epochs_never_overlap"):
        migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == "0012"


@pytest.mark.parametrize("installed", [True, False])
def test_migrations_are_found_in_the_installed_package_and_beside_it_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    module = tmp_path / "ledger_pipeline" / "store" / "migrations.py"
    folder = (module.parents[1] if installed else tmp_path) / "migrations"
    folder.mkdir(parents=True)
    monkeypatch.setattr(migrations, "__file__", str(module))
    assert migrations._folder() == folder
