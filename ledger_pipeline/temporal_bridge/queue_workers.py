"""The Temporal workers of one process, one for each task queue: what fills the slots of one leaves the others' free."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from ledger_pipeline.temporal_bridge.log_context import LogContext
from ledger_pipeline.temporal_bridge.polling import ActivitySlots, Pollers

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
                interceptors=[slots, LogContext()],
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
        """As `Pollers.check`, of every queue."""
        return "; ".join(await asyncio.gather(*(pollers.check() for pollers in self._pollers)))

    async def watch(self, patience_seconds: float) -> None:
        """As `Pollers.watch`, of every queue."""
        await asyncio.gather(*(pollers.watch(patience_seconds) for pollers in self._pollers))

    async def shutdown(self) -> None:
        """Take no more tasks, and return once all workers have ended: activities get the grace period."""
        await asyncio.gather(*(worker.shutdown() for worker in self._workers))
