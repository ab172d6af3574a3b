"""Real Temporal for tests: one development server per test process, kept in memory of nothing but its folder.

Tests share it and keep apart by ids of their own: schedules, workflows and, where they run workers, task queues.
"""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from ledger_pipeline.local.embedded_temporal import TemporalServer, embedded_temporal
from ledger_pipeline.temporal_bridge.worker.interceptors import DomainFailures


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[TemporalServer]:
    """A running Temporal server, without UI."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, embedded_temporal(Path(folder)) as server:
        yield server


class _Activity(ActivityInboundInterceptor):
    """What a worker's interceptors stand around."""

    def __init__(self) -> None:
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (theirs)
        answer = input.fn(*input.args)
        return await answer if inspect.isawaitable(answer) else answer


async def run_activity(environment: ActivityEnvironment, activity: Callable[..., Any], *arguments: Any) -> Any:
    """What the activity answers, or fails with, where a worker of ours runs it: domain errors are translated."""

    async def translated() -> Any:
        execution = ExecuteActivityInput(fn=activity, args=arguments, executor=None, headers={})
        return await DomainFailures().intercept_activity(_Activity()).execute_activity(execution)

    return await environment.run(translated)
