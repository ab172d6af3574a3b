"""Real Temporal for tests: one development server per test process, kept in memory of nothing but its folder.

Tests share it and keep apart by ids of their own: schedules, workflows and, where they run workers, task queues.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger_pipeline.local.embedded_temporal import TemporalServer, embedded_temporal


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[TemporalServer]:
    """A running Temporal server, without UI."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, embedded_temporal(Path(folder)) as server:
        yield server
