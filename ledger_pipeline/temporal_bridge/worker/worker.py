"""The worker process: refuses to start where it must, polls its queues, drains when told to, ends when it fails."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

from temporalio.client import Client

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import SettingsError, TemporalUnavailable
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.dagster_contract import stream_assets
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.port import ActivitySource
from ledger_pipeline.sources.registry import open_source
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient, dagster_client
from ledger_pipeline.temporal_bridge.collection.materialize import PartitionActivities
from ledger_pipeline.temporal_bridge.connection import connect, plain_status, workflow_url
from ledger_pipeline.temporal_bridge.contract import CANCEL_QUEUE, FINALIZE_QUEUE, TASK_QUEUE
from ledger_pipeline.temporal_bridge.ledger_activities.activities import PAGE_SIZE, LedgerActivities
from ledger_pipeline.temporal_bridge.ledger_activities.finalization import FinalizeActivities
from ledger_pipeline.temporal_bridge.pollers import worker_identity
from ledger_pipeline.temporal_bridge.worker.health import (
    DAGSTER,
    DATABASE,
    HEALTH_SETTING,
    TEMPORAL,
    HealthServer,
    Readiness,
    database_check,
    health_app,
    in_thread,
    listen,
)
from ledger_pipeline.temporal_bridge.worker.queues import QueueWork, QueueWorkers
from ledger_pipeline.temporal_bridge.worker.telemetry import start_runtime
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.temporal_bridge.workflows import CollectEpochWorkflow, FinalizeEpochWorkflow

CANCEL_SECONDS = 10  # after the grace period activities are canceled, and get this long to notice
POLLER_PATIENCE_SECONDS = 120
# On a queue of its own an activity ends in seconds: as many as come at once, not as many as wait.
PROMPT_SLOTS = 100
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerParts:
    """What the worker has opened by the time it needs its activities, for them to be built on."""

    settings: Settings
    spec: RepoSpec
    ledger: PostgresLedger
    client: Client
    threads: WorkerThreads


async def run_worker(
    settings: Settings,
    *,
    work: Callable[[WorkerParts], Mapping[str, QueueWork]],
    dagster_check: Callable[[RepoSpec, str | None], str],
    poller_patience_seconds: float = POLLER_PATIENCE_SECONDS,
) -> None:
    """Work until SIGTERM or SIGINT, then let running activities finish, WORKER_GRACE_SECONDS at most, and return.

    `work` says what is done on which task queue; every activity is a coroutine. `dagster_check` blocks; it says in one
    line what it saw of the Dagster of that repo-spec and ledger, or raises LedgerError. Run it in the main thread.

    Raises, before anything is polled: SettingsError where NODE_ID or SCOPE_ID is missing or not the repo-spec's, or an
    address of ours is taken; SpecError; StoreUnavailable or LedgerNotMigrated; TemporalUnavailable. Later
    TemporalUnavailable where the worker fails, or the server has not seen it poll for `poller_patience_seconds`.

    Ends the process, non-zero, on a second signal, and where an activity does not even end when canceled: its thread
    would keep the interpreter from exiting.
    """
    spec = _verified(settings)
    threads = WorkerThreads()
    # Blocking is fine up to here: nothing else runs yet.
    with (
        open_ledger(settings.ledger_url(), spec.node_id, worker_limits(settings, threads)) as ledger,
        closing(listen(HEALTH_SETTING, settings.worker_health_address)) as listener,
        closing(threads),
    ):
        client = await connect(settings, start_runtime(settings))
        parts = WorkerParts(settings, spec, ledger, client, threads)
        process = _Process(parts, work(parts), dagster_check, listener)
        await process.run(poller_patience_seconds)


def worker_limits(settings: Settings, threads: WorkerThreads) -> DatabaseLimits:
    """The database's limits in a worker: no activity's thread waits for another's connection."""
    return settings.database_limits.for_threads(threads.with_connections)


class _Process:
    """The Temporal workers, the health server and the watch over the pollers, which start and end together."""

    def __init__(
        self,
        parts: WorkerParts,
        work: Mapping[str, QueueWork],
        dagster_check: Callable[[RepoSpec, str | None], str],
        listener: socket.socket,
    ) -> None:
        self._settings = parts.settings
        ledger_id = parts.ledger.ledger_id
        self._identity = worker_identity(parts.spec, ledger_id)
        # What ended the work: None where a signal did, else what failed.
        self._ending: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._workers = QueueWorkers(
            parts.client,
            self._identity,
            work,
            grace_seconds=parts.settings.worker_grace_seconds,
            on_fatal_error=self._fatal,
        )
        self._readiness = Readiness(
            {
                TEMPORAL: self._workers.check,
                DATABASE: in_thread(database_check(parts.settings.ledger_url(), parts.settings.database_limits)),
                DAGSTER: in_thread(partial(dagster_check, parts.spec, ledger_id)),
            }
        )
        self._listener = listener

    async def run(self, poller_patience_seconds: float) -> None:
        working = self._workers.start()
        health = HealthServer(
            health_app(lambda: not any(task.done() for task in working), self._readiness), self._listener
        )
        serving = asyncio.create_task(health.serve())
        watching = asyncio.create_task(self._workers.watch(poller_patience_seconds))
        for task in (*working, serving, watching):
            task.add_done_callback(self._ended_by_itself)
        with self._signals():
            self._say_hello()
            failure = await self._ending
            await self._drain(working)
        watching.cancel()
        health.stop()
        await asyncio.gather(serving, watching, return_exceptions=True)
        failure = failure or next((problem for task in working if (problem := task.exception())), None)
        if failure is not None:
            raise TemporalUnavailable(f"the worker on {TASK_QUEUE} {_plain(failure)}") from failure

    def _say_hello(self) -> None:
        settings = self._settings
        _logger.info(
            "worker %s starts: Temporal at %s, namespace %s, queue %s; health http://%s/readyz, metrics http://%s/metrics",
            self._identity,
            settings.temporal_address,
            settings.temporal_namespace,
            TASK_QUEUE,
            settings.worker_health_address,
            settings.worker_metrics_address,
        )

    async def _drain(self, working: Sequence[asyncio.Task[None]]) -> None:
        self._readiness.drain()
        grace_seconds = self._settings.worker_grace_seconds
        _logger.info("draining: %d activities run, %d s for them to finish", self._workers.taken, grace_seconds)
        stopping = asyncio.create_task(self._workers.shutdown())
        _, unfinished = await asyncio.wait(working, timeout=grace_seconds + CANCEL_SECONDS)
        if unfinished:
            _logger.error("%d activities did not end even when canceled: ending without them", self._workers.taken)
            _end_at_once(1)
        await stopping
        _logger.info("drained")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signaled, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _signaled(self, number: signal.Signals) -> None:
        if self._ending.done():
            _logger.warning("%s while draining: ending at once, %d activities run", number.name, self._workers.taken)
            _end_at_once(128 + number)
        _logger.info("%s: stopping", number.name)
        self._ending.set_result(None)

    async def _fatal(self, error: BaseException) -> None:
        self._end(error)

    def _ended_by_itself(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._end(task.exception() or RuntimeError("a part of the worker ended by itself"))

    def _end(self, error: BaseException) -> None:
        if not self._ending.done():
            _logger.error("the worker %s", _plain(error))
            self._ending.set_result(error)


def _verified(settings: Settings) -> RepoSpec:
    """The repo-spec, which NODE_ID and SCOPE_ID must confirm."""
    spec = settings.repo_spec()
    for name, given, wanted in (
        ("NODE_ID", settings.node_id, spec.node_id),
        ("SCOPE_ID", settings.scope_id, spec.default_scope.scope_id),
    ):
        if given is None:
            raise SettingsError(f"{name} is not set, and {spec.file} says {wanted}: a worker must be told whose it is")
    return spec


def _plain(error: BaseException) -> str:
    """What the error goes back to, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"failed: {plain_status(error)}"


def _end_at_once(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)  # sys.exit would wait for the threads of running activities


def run_ledger_worker(settings: Settings) -> None:
    """Work on `ledger-tasks` and the queues beside it until told to stop. Raises as `run_worker` does."""
    dagster = dagster_client(settings)
    asyncio.run(run_worker(settings, work=partial(ledger_work, dagster), dagster_check=dagster.check))


def ledger_work(dagster: DagsterClient, parts: WorkerParts) -> Mapping[str, QueueWork]:
    """What a worker does, by task queue."""
    settings, threads = parts.settings, parts.threads

    def opened(name: str, stop: StopSignal) -> AbstractContextManager[ActivitySource]:
        return open_source(settings, name, PAGE_SIZE, stop)

    ledger = LedgerActivities(parts.spec, parts.ledger, opened, lambda: datetime.now(UTC), threads)
    partition = PartitionActivities(
        dagster, parts.client, partial(workflow_url, settings), threads, stream_assets(parts.spec.source_kinds)
    )
    settling = FinalizeActivities(parts.spec, parts.ledger, threads.settling)
    prompt: dict[str, Callable[..., Any]] = {
        FINALIZE_QUEUE: settling.finalize_epoch,
        CANCEL_QUEUE: partition.cancel_partition_run,
    }
    # Those of the prompt queues also where workflows of earlier releases, and of other systems, ask for them.
    everything: list[Callable[..., Any]] = [*ledger.activities, partition.materialize_partition, *prompt.values()]
    workflows = [CollectEpochWorkflow, FinalizeEpochWorkflow]
    return {
        TASK_QUEUE: QueueWork(everything, settings.worker_activity_slots, workflows),
        **{queue: QueueWork([activity], PROMPT_SLOTS) for queue, activity in prompt.items()},
    }
