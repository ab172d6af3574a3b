"""The simulated GitHub that tests ask for: one server a module, as new for each test."""

from collections.abc import Iterator

import pytest

from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.builders import instant

STARTED_AT = instant("2026-01-05")


@pytest.fixture(scope="module")
def _running_github() -> Iterator[Simulator]:
    with Simulator(World(), as_of=STARTED_AT) as simulator:
        yield simulator


@pytest.fixture
def github(_running_github: Simulator) -> Simulator:
    """A GitHub without repositories or faults, asked nothing yet. A module overrides it with a world and a time."""
    _running_github.faults.clear()
    _running_github.set_clock(STARTED_AT)
    _running_github.replace_world(World())
    _running_github.clear_requests()
    _running_github.renew_budgets()
    return _running_github
