"""What goes around every activity: its log lines carry its workflow and partition, and its slot is counted."""

from collections.abc import Mapping
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from ledger_pipeline.core.errors import PayloadError
from ledger_pipeline.core.partition_runs import format_partition_key
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.logs import about
from ledger_pipeline.temporal_bridge.contract import MaterializeInput, parse


class LogContext(Interceptor):
    """Tells the log, for as long as an activity's task lasts, what it works on."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (theirs)
        """Temporal calls it once for each activity it starts."""
        return _Told(next)


class _Told(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (theirs)
        info = activity.info()
        # Not taken back: the task is the activity's own, and its last line comes after this.
        about(
            workflow_id=info.workflow_id,
            workflow_run_id=info.workflow_run_id,
            partition=partition_of(input.args[0]) if input.args else None,
        )
        return await super().execute_activity(input)


def partition_of(payload: object) -> str | None:
    """The partition that an activity's payload names; None where it names none, or is not what it should be."""
    if not isinstance(payload, Mapping):
        return None
    requested = payload.get("requested")  # the schedule's own payload, which has the scope's key
    try:
        asked = parse(MaterializeInput, {**(requested if isinstance(requested, Mapping) else {}), **payload})
    except PayloadError:
        return None
    return format_partition_key(EpochWindow(asked.period_start, asked.period_end).key, asked.scope_key)


class ActivitySlots(Interceptor):
    """Counts the activities that run. A worker whose `size` slots are all taken rightly polls for no more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (theirs)
        """Temporal calls it once for each activity it starts."""
        return _Counted(next, self)


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
