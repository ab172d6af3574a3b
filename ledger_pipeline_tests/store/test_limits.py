"""No thread waits for the database for ever: whatever hangs ends within the limits, and is worth retrying."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import StoreUnavailable
from ledger_pipeline.settings import Settings
from ledger_pipeline.store import migrations
from ledger_pipeline.store.bounded_connection import BoundedConnection
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.temporal_bridge.worker.worker import worker_limits
from ledger_pipeline_tests.builders import NODE_ID, PRODUCER, SCOPE_ID, instant, pull_request, window
from ledger_pipeline_tests.silent_proxy import silent_proxy

NOW = instant("2026-02-18")
SHORT = DatabaseLimits(
    statement_seconds=1,
    lock_seconds=1,
    idle_in_transaction_seconds=1,
    connect_seconds=2,
    silence_seconds=1,
    pool_size=1,
    pool_wait_seconds=1,
)
# A probe of the pooled connection, and connecting anew; then with room for a busy machine.
DEADLINE_SECONDS = SHORT.statement_seconds + SHORT.silence_seconds + 2 * SHORT.connect_seconds + 10


@contextmanager
def ending_in_time() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < DEADLINE_SECONDS


@pytest.fixture
def short(ledger_url: str) -> Iterator[Engine]:
    engine = make_engine(ledger_url, limits=SHORT)
    yield engine
    engine.dispose()


def test_a_verb_ends_when_the_connection_goes_silent(ledger_url: str) -> None:
    with silent_proxy(ledger_url) as proxy:
        engine = make_engine(proxy.url, limits=SHORT)
        ledger = PostgresLedger(engine, NODE_ID)
        ledger.epochs.ensure(SCOPE_ID, [window()], {})
        proxy.go_silent()
        with ending_in_time(), pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1/") as raised:
            ledger.epochs.within(SCOPE_ID, window())
        assert raised.value.retryable
        engine.dispose()


def test_a_stream_ends_when_the_connection_goes_silent_in_the_middle(ledger_url: str) -> None:
    with silent_proxy(ledger_url) as proxy:
        engine = make_engine(proxy.url, limits=SHORT)
        ledger = PostgresLedger(engine, NODE_ID)
        ledger.events.append(SCOPE_ID, [pull_request(n) for n in range(3000)], PRODUCER, NOW)
        rows = ledger.events.within(SCOPE_ID, window())
        next(rows)
        proxy.go_silent()
        with ending_in_time(), pytest.raises(StoreUnavailable, match="no answer for 2 s"):
            list(rows)
        engine.dispose()


def test_connecting_ends_when_nobody_answers(ledger_url: str) -> None:
    with silent_proxy(ledger_url) as proxy:
        proxy.go_silent()
        engine = make_engine(proxy.url, limits=SHORT)
        with ending_in_time(), pytest.raises(StoreUnavailable, match="timeout"):
            PostgresLedger(engine, NODE_ID).check_migrated()


def test_a_statement_that_takes_too_long_is_ended_and_its_limit_named(short: Engine) -> None:
    with (
        pytest.raises(StoreUnavailable, match="DATABASE_STATEMENT_SECONDS"),
        translated(short),
        short.connect() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(60)"))


def test_a_lock_is_not_waited_for_without_end(ledger: PostgresLedger, ledger_engine: Engine, short: Engine) -> None:
    (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    with ledger_engine.begin() as second_connection:
        second_connection.execute(text("LOCK TABLE epochs"))
        with pytest.raises(StoreUnavailable, match=r"DATABASE_(LOCK|STATEMENT)_SECONDS"):
            PostgresLedger(short, NODE_ID).epochs.of_id(epoch.id)


def test_a_transaction_that_does_nothing_gives_its_locks_back(ledger: PostgresLedger, short: Engine) -> None:
    (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs

    def idle() -> None:
        with translated(short), short.begin() as connection:
            connection.execute(text("LOCK TABLE epochs"))
            assert ledger.epochs.of_id(epoch.id) == epoch  # waits until the server has ended the idle one
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable, match="DATABASE_IDLE_IN_TRANSACTION_SECONDS"):
        idle()


def test_a_slow_reader_of_a_stream_is_not_cut_off(ledger: PostgresLedger, ledger_engine: Engine, short: Engine) -> None:
    ledger.events.append(SCOPE_ID, [pull_request(n) for n in range(3000)], PRODUCER, NOW)
    rows = PostgresLedger(short, NODE_ID).events.within(SCOPE_ID, window())
    next(rows)
    with ledger_engine.connect() as second_connection:
        second_connection.execute(
            text("SELECT pg_sleep(1.5)")
        )  # the reader's pause, longer than an idle transaction may take
    assert len(list(rows)) == 2999


def test_a_pool_that_is_busy_says_what_it_is_limited_by(short: Engine) -> None:
    with (
        short.connect(),
        pytest.raises(StoreUnavailable, match="DATABASE_POOL_SIZE"),
        translated(short),
    ):
        short.connect()


def test_what_the_url_says_wins(ledger_url: str) -> None:
    engine = make_engine(f"{ledger_url}&options=-c%20statement_timeout%3D90min&connect_timeout=7", limits=SHORT)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "90min"
        assert connection.scalar(text("SHOW lock_timeout")) == "1s"
        driver = connection.connection.driver_connection
        assert isinstance(driver, BoundedConnection)
        assert driver.answer_seconds == 90 * 60 + SHORT.silence_seconds
    assert engine.url.query["connect_timeout"] == "7"
    engine.dispose()


def test_an_engine_without_limits_of_its_own_has_the_defaults(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "2min"
        assert connection.scalar(text("SHOW lock_timeout")) == "30s"
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10min"
    assert ledger_engine.url.query["keepalives"] == "1"
    assert ledger_engine.url.query["tcp_user_timeout"] == "30000"


def test_a_migration_takes_as_long_as_it_takes(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(
        "alembic.command.upgrade",
        lambda config, _: limits.extend(
            config.attributes["connection"].scalar(text(f"SHOW {name}"))
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        ),
    )
    migrations.upgrade(empty_database_url)
    assert limits == ["0", "0", "0"]


def test_a_worker_has_a_connection_for_each_of_its_threads() -> None:
    with closing(WorkerThreads()) as threads:
        assert worker_limits(Settings(database_pool_size=1), threads).pool_size == threads.with_connections + 4
        assert worker_limits(Settings(database_pool_size=500), threads).pool_size == 500
