"""The Temporal workers of one process, one for each task queue: what fills the slots of one leaves the others' free.

Each is watched: that it takes tasks is what the Temporal server sees of its pollers.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from ledger_pipeline.core.errors import TemporalUnavailable
from ledger_pipeline.temporal_bridge.pollers import ACTIVITY, KINDS, RPC_TIMEOUT, SEEN_FOR_SECONDS
from ledger_pipeline.temporal_bridge.worker.interceptors import ActivitySlots, DomainFailures, LogContext

WATCH_INTERVAL_SECONDS = 30.0
# An activity hears of its cancellation in the answer to a heartbeat; by default those are held back for up to a minute.
HEARTBEAT_INTERVAL = timedelta(seconds=1)


@dataclass(frozen=True)
class QueueWork:
    """What is done on one task queue: its activities, of which `slots` go on at once, and workflows."""

    activities: Sequence[Callable[..., Any]]
    slots: int
    workflows: Sequence[type] = ()


class QueueWorkers:
    """A worker for each queue of `work`, all polling as `identity`; `on_fatal_error` hears of what ends one."""

    def __init__(
        self,
        client: Client,
        identity: str,
        work: Mapping[str, QueueWork],
        *,
        grace_seconds: int,
        on_fatal_error: Callable[[BaseException], Coroutine[Any, Any, None]],
    ) -> None:
        self._workers: list[Worker] = []
        self._slots: list[ActivitySlots] = []
        self._pollers: list[Pollers] = []
        for queue, of_queue in work.items():
            slots = ActivitySlots(of_queue.slots)
            worker = Worker(
                client,
                task_queue=queue,
                workflows=of_queue.workflows,
                activities=of_queue.activities,
                max_concurrent_activities=of_queue.slots,
                max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
                graceful_shutdown_timeout=timedelta(seconds=grace_seconds),
                identity=identity,
                interceptors=[slots, LogContext(), DomainFailures()],
                on_fatal_error=on_fatal_error,
            )
            self._workers.append(worker)
            self._slots.append(slots)
            self._pollers.append(Pollers(worker, identity, slots, for_workflows=bool(of_queue.workflows)))

    @property
    def taken(self) -> int:
        """How many activities run."""
        return sum(slots.taken for slots in self._slots)

    def start(self) -> list[asyncio.Task[None]]:
        """The workers as tasks that end once shut down, or with what a worker fails of."""
        return [asyncio.create_task(worker.run()) for worker in self._workers]

    async def check(self) -> str:
        """Check the pollers of every queue, as `Pollers.check` does."""
        return "; ".join(await asyncio.gather(*(pollers.check() for pollers in self._pollers)))

    async def watch(self, patience_seconds: float) -> None:
        """Watch the pollers of every queue, as `Pollers.watch` does."""
        await asyncio.gather(*(pollers.watch(patience_seconds) for pollers in self._pollers))

    async def shutdown(self) -> None:
        """Take no more tasks, and return once all workers have ended: activities get the grace period."""
        await asyncio.gather(*(worker.shutdown() for worker in self._workers))


class Pollers:
    """The pollers of `worker`, which polls as `identity` and runs its activities in `slots`, and workflows or none."""

    def __init__(self, worker: Worker, identity: str, slots: ActivitySlots, *, for_workflows: bool = True) -> None:
        self._worker = worker
        self._identity = identity
        self._slots = slots
        self._kinds = KINDS if for_workflows else {ACTIVITY: KINDS[ACTIVITY]}

    async def check(self) -> str:
        """A readiness check: the server sees us poll for both kinds of tasks. Raises TemporalUnavailable."""
        if not self._worker.is_running:
            raise TemporalUnavailable("the worker does not run (yet, or any more)")
        seen = await asyncio.gather(*(self._last_poll(kind) for kind in self._kinds))
        wanted = {kind: last for kind, last in zip(self._kinds, seen, strict=True) if not self._may_rest(kind)}
        missing = [kind for kind, last in wanted.items() if not _is_recent(last)]
        if missing:
            raise _NotSeen(
                f"the server does not see {self._identity} poll {self._worker.task_queue} for {missing[0]} tasks"
            )
        return f"{self._identity} polls {self._worker.task_queue}"

    async def watch(self, patience_seconds: float) -> None:
        """Raises TemporalUnavailable once the server, though it answers, has not seen us poll for that long.

        Temporal's core tries for ever where the namespace is gone, and would not notice a poller that hangs. A server
        that does not answer is waited for: another process would find it no more than this one.
        """
        seen_at = time.monotonic()
        while True:
            await asyncio.sleep(min(WATCH_INTERVAL_SECONDS, patience_seconds / 2))
            try:
                await self.check()
            except _NotSeen:
                if time.monotonic() - seen_at > patience_seconds:
                    raise
            except TemporalUnavailable:
                seen_at = time.monotonic()
            else:
                seen_at = time.monotonic()

    def _may_rest(self, kind: str) -> bool:
        return kind == ACTIVITY and self._slots.taken >= self._slots.size

    async def _last_poll(self, kind: str) -> datetime | None:
        client = self._worker.client
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=self._worker.task_queue),
            task_queue_type=KINDS[kind],
        )
        try:
            answer = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
            problem = f"Temporal at {where}: {error.status.name.lower()}: {error.message}"
            raise (_NotSeen if error.status == RPCStatusCode.NOT_FOUND else TemporalUnavailable)(problem) from error
        ours = [
            poller.last_access_time.ToDatetime(tzinfo=UTC)
            for poller in answer.pollers
            if poller.identity == self._identity
        ]
        return max(ours, default=None)


class _NotSeen(TemporalUnavailable):
    """The server answered, and what it says is that we do not poll."""


def _is_recent(last: datetime | None) -> bool:
    return last is not None and datetime.now(UTC) - last < timedelta(seconds=SEEN_FOR_SECONDS)
