"""A ledger whose public pages many tests look at, filled once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.web.publishing import FINALIZED, finalized_weeks, serving, shown


@pytest.fixture(scope="package")
def published_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """The URL of a ledger with the epochs FINALIZED, as its owner; tests that change it have others."""
    with fresh_database(postgres_server, migrated_template) as url:
        engine = make_engine(url)
        finalized_weeks(PostgresLedger(engine, NODE_ID), FINALIZED)
        engine.dispose()
        yield url


@pytest.fixture(scope="package")
def site(published_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of its public pages."""
    with shown(published_url, tmp_path_factory.mktemp("archives")) as app, serving(app) as url:
        yield url


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A folder for archives."""
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder
