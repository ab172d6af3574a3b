"""A simulated GitHub, a fresh ledger, and one way to collect from the one into the other."""

from collections.abc import Iterator, Sequence

import pytest

from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID, scope
from ledger_pipeline_tests.pipeline.collecting import NOW, THIS_WEEK, Collect
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, world


@pytest.fixture
def github(github: Simulator) -> Simulator:
    """A GitHub with one empty repository, NAME, whose clock says NOW."""
    github.set_clock(NOW)
    github.replace_world(world())
    return github


@pytest.fixture
def run(github: Simulator, ledger: PostgresLedger) -> Collect:
    """Collects this week of NAME unless told otherwise; one source_scope at a time, so that turns are predictable."""

    def collect_now(
        windows: Sequence[EpochWindow] = (THIS_WEEK,),
        of: Scope | None = None,
        page_size: int = 100,
        concurrency: int = 1,
        **options: object,
    ) -> CollectReport:
        with github_source(github.url, page_size) as source:
            return collect(source, ledger, of or scope(NAME), windows, concurrency=concurrency, **options)  # type: ignore[arg-type]

    return collect_now


@pytest.fixture
def other_ledger(postgres_server: str, migrated_template: str) -> Iterator[PostgresLedger]:
    """A second fresh ledger."""
    with fresh_database(postgres_server, migrated_template) as url:
        engine = make_engine(url)
        yield PostgresLedger(engine, NODE_ID)
        engine.dispose()
