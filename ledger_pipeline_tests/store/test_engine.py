"""Whatever way the URL is written: psycopg 3, UTC, and no secret in anything a person may read."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import ConfigurationError, StoreUnavailable
from ledger_pipeline.store.engine import describe, make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, window


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = make_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_postgres_url_uses_psycopg_3(scheme: str) -> None:
    assert make_engine(f"{scheme}://u:p@db.example/ledger").url.drivername == "postgresql+psycopg"


def test_the_session_speaks_utc_and_says_who_it_is(ledger_url: str) -> None:
    with connected(ledger_url) as connection:
        assert connection.scalar(text("SHOW TimeZone")) == "UTC"
        assert connection.scalar(text("SHOW application_name")) == "ledger-pipeline"


def test_the_url_may_name_the_application_and_set_options(ledger_url: str) -> None:
    with connected(f"{ledger_url}&application_name=backfill&options=-c%20work_mem%3D8MB") as connection:
        assert connection.scalar(text("SHOW application_name")) == "backfill"
        assert connection.scalar(text("SHOW work_mem")) == "8MB"
        assert connection.scalar(text("SHOW TimeZone")) == "UTC"


@pytest.mark.parametrize(
    "url", ["postgresql://u:s3cret@127.0.0.1:1/ledger", "postgresql://u@127.0.0.1:1/ledger?password=s3cret"]
)
def test_the_password_is_in_no_repr_and_no_error(url: str) -> None:
    engine = make_engine(url)
    with pytest.raises(StoreUnavailable) as raised:
        PostgresLedger(engine, NODE_ID).epochs.within(SCOPE_ID, window())
    assert "127.0.0.1/ledger" in str(raised.value)
    assert raised.value.retryable
    assert "s3cret" not in f"{engine!r} {engine.url} {describe(engine.url)} {raised.value} {raised.value.__cause__}"


@pytest.mark.parametrize("url", ["postgresql://u:p@ss/w0rd@host:s3cret/db", "s3cret", "sqlite:///s3cret.db", ""])
def test_what_is_no_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make_engine(url)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_an_error_does_not_print_the_rows_it_is_about(ledger_url: str) -> None:
    with connected(ledger_url) as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text("SELECT CAST(:value AS integer) / 0"), {"value": "41"})
    assert "41" not in str(raised.value)
