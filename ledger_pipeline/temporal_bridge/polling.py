"""Whether this worker takes tasks: what the Temporal server sees of its pollers, and a watch over them.

The server remembers a poller for five minutes after its last poll, and a poll that finds nothing lasts a minute. A
queue has several partitions, and the server tells of the pollers of one: of many workers a single one shows up there
not with every poll, but well within those minutes. So a poller counts as seen for as long as the server remembers it.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from ledger_pipeline.core.errors import TemporalUnavailable

SEEN_FOR_SECONDS = 300
WATCH_INTERVAL_SECONDS = 30.0
RPC_TIMEOUT = timedelta(seconds=5)
ACTIVITY = "activity"
KINDS = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


class ActivitySlots(Interceptor):
    """Counts the activities that run. A worker whose `size` slots are all taken rightly polls for no more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (theirs)
        """Temporal calls it once for each activity it starts."""
        return _Counted(next, self)


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


class _Counted(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, slots: ActivitySlots) -> None:
        super().__init__(inner)
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (theirs)
        self._slots.taken += 1
        try:
            return await super().execute_activity(input)
        finally:
            self._slots.taken -= 1


def _is_recent(last: datetime | None) -> bool:
    return last is not None and datetime.now(UTC) - last < timedelta(seconds=SEEN_FOR_SECONDS)
