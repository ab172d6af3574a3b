"""What goes around every activity: its slot is counted, its log lines carry its workflow and partition, and a domain
error becomes Temporal's failure that knows whether a retry can help.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from ledger_pipeline.core.errors import CollectionFailed, LedgerError, PayloadError, SourceUnavailable
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import format_partition_key
from ledger_pipeline.logs import about
from ledger_pipeline.temporal_bridge.contract import BAD_PAYLOAD, MaterializeInput, parse


class LogContext(Interceptor):
    """Tells the log, for as long as an activity's task lasts, what it works on."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (theirs)
        """Temporal calls it once for each activity it starts."""
        return _InLogContext(next)


class _InLogContext(ActivityInboundInterceptor):
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


class DomainFailures(Interceptor):
    """Turns the LedgerError that an activity raises into an ApplicationError; anything else is a bug and passes.

    The cause is left out: Temporal would send it along, with whatever a library put into its message.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (theirs)
        """Temporal calls it once for each activity it starts."""
        return _Translated(next)


class _Translated(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (theirs)
        try:
            return await super().execute_activity(input)
        except LedgerError as error:
            raise application_error(error) from None


def application_error(error: LedgerError) -> ApplicationError:
    """The failure that says what `error` says: its line, its class as the type, whether to retry, and when.

    A PayloadError has the type BAD_PAYLOAD, which callers in other languages know.
    """
    kind = BAD_PAYLOAD if isinstance(error, PayloadError) else type(error).__name__
    retryable = error.worth_retrying if isinstance(error, CollectionFailed) else error.retryable
    seconds = error.retry_after_seconds if isinstance(error, CollectionFailed | SourceUnavailable) else None
    delay = None if seconds is None else timedelta(seconds=seconds)
    return ApplicationError(str(error), type=kind, non_retryable=not retryable, next_retry_delay=delay)
