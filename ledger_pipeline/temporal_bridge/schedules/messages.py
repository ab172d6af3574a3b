"""Schedules in Temporal's own messages: reading what matters to us, and writing it while keeping what does not.

The messages rather than the SDK's classes: those cannot hold all that another client may have set, refuse to read
schedules that start no workflow, and their update knows no conflict token.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import Range, Schedule, ScheduleSpec, StructuredCalendarSpec
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.temporal_bridge.schedules.calendar import Calendar, runs_of
from ledger_pipeline.temporal_bridge.schedules.contents import OVERLAP_SKIP, RetryTimes, ScheduleContents
from ledger_pipeline.temporal_bridge.schedules.plan import PAUSE_NOTE, FoundSchedule, OurMemo

# In the action's memo, so that each workflow the schedule starts carries it too.
MEMO_KEY = "ledgerPipelineSchedule"

_COMMENT_LENGTH = 200  # the server refuses more
_ENCODING = "encoding"
_JSON = b"json/plain"
_OVERLAP_PREFIX = "SCHEDULE_OVERLAP_POLICY_"
_TIMEOUTS = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout")


def found_schedule(schedule_id: str, described: DescribeScheduleResponse) -> FoundSchedule:
    """What the server says of a schedule, whoever made it."""
    state, info = described.schedule.state, described.info
    upcoming = () if state.paused else info.future_action_times
    return FoundSchedule(
        schedule_id=schedule_id,
        contents=_contents(described.schedule),
        paused=state.paused,
        note=state.notes,
        memo=_our_memo(described.schedule.action.start_workflow),
        next_run=min((datetime.fromtimestamp(start.seconds, UTC) for start in upcoming), default=None),
        last_run=max(
            (datetime.fromtimestamp(action.actual_time.seconds, UTC) for action in info.recent_actions), default=None
        ),
    )


def holding(schedule: Schedule, contents: ScheduleContents, node_id: str, cron: str) -> Schedule:
    """`schedule` with our contents and memo. Its state (paused, note, remaining actions) stays, and so does what we
    have no opinion on: search attributes, headers, priority, others' memo. `cron` is shown to people beside the times.
    """
    made = Schedule()
    made.CopyFrom(schedule)
    calendars = [
        _calendar_message(calendar, cron[:_COMMENT_LENGTH]) for calendar in sorted(contents.calendars, key=str)
    ]
    made.spec.CopyFrom(ScheduleSpec(structured_calendar=calendars, timezone_name=contents.timezone))
    start = made.action.start_workflow
    start.workflow_id = contents.workflow_id
    start.workflow_type.name = contents.workflow_type
    start.task_queue.CopyFrom(TaskQueue(name=contents.task_queue))
    start.input.CopyFrom(Payloads(payloads=[_encoded(contents.payload)]))
    memo = {"nodeId": node_id, "fingerprint": contents.fingerprint}
    start.memo.fields[MEMO_KEY].CopyFrom(_encoded(memo))
    start.ClearField("workflow_execution_timeout")
    start.ClearField("workflow_run_timeout")
    start.ClearField("workflow_task_timeout")
    start.ClearField("retry_policy")
    if contents.retry is not None:
        start.retry_policy.initial_interval.FromTimedelta(timedelta(seconds=contents.retry.initial_seconds))
        start.retry_policy.backoff_coefficient = contents.retry.coefficient
        start.retry_policy.maximum_interval.FromTimedelta(timedelta(seconds=contents.retry.maximum_seconds))
        start.retry_policy.maximum_attempts = contents.retry.attempts
        start.retry_policy.non_retryable_error_types.extend(contents.retry.never_for)
    made.policies.overlap_policy = ScheduleOverlapPolicy.Value(_OVERLAP_PREFIX + contents.overlap)
    made.policies.catchup_window.FromTimedelta(timedelta(seconds=contents.catchup_seconds))
    made.policies.pause_on_failure = contents.pause_on_failure
    made.policies.keep_original_workflow_id = False
    return made


def paused_by_us(schedule: Schedule) -> Schedule:
    """`schedule` paused, with the note by which we know it again."""
    made = Schedule()
    made.CopyFrom(schedule)
    made.state.paused, made.state.notes = True, PAUSE_NOTE
    return made


def resumed(schedule: Schedule) -> Schedule:
    """`schedule` running again, without a note."""
    made = Schedule()
    made.CopyFrom(schedule)
    made.state.paused, made.state.notes = False, ""
    return made


def _contents(schedule: Schedule) -> ScheduleContents:
    spec, start, policies = schedule.spec, schedule.action.start_workflow, schedule.policies
    overlap = ScheduleOverlapPolicy.Name(policies.overlap_policy).removeprefix(_OVERLAP_PREFIX)
    read_fields = {"structured_calendar", "timezone_name"}
    payloads = start.input.payloads
    return ScheduleContents(
        calendars=frozenset(map(_calendar, spec.structured_calendar)),
        timezone=spec.timezone_name or "UTC",
        payload=_decoded(payloads[0]) if len(payloads) == 1 else None,
        workflow_id=start.workflow_id + (" without the time" if policies.keep_original_workflow_id else ""),
        workflow_type=start.workflow_type.name,
        task_queue=start.task_queue.name,
        overlap=OVERLAP_SKIP if overlap == "UNSPECIFIED" else overlap,  # the server's default
        catchup_seconds=_seconds(policies.catchup_window),
        pause_on_failure=policies.pause_on_failure,
        retry=_retry(start),
        other_times=tuple(field.name for field, _ in spec.ListFields() if field.name not in read_fields),
        timeouts=tuple(
            field.name for field, value in start.ListFields() if field.name in _TIMEOUTS and _seconds(value)
        ),
    )


def _retry(start: NewWorkflowExecutionInfo) -> RetryTimes | None:
    if not start.HasField("retry_policy"):
        return None
    policy = start.retry_policy
    return RetryTimes(
        _seconds(policy.initial_interval),
        policy.backoff_coefficient,
        _seconds(policy.maximum_interval),
        policy.maximum_attempts,
        tuple(policy.non_retryable_error_types),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _our_memo(start: NewWorkflowExecutionInfo) -> OurMemo | None:
    memo = _decoded(start.memo.fields[MEMO_KEY]) if MEMO_KEY in start.memo.fields else None
    if not isinstance(memo, dict):
        return None
    node_id, fingerprint = memo.get("nodeId"), memo.get("fingerprint")
    return OurMemo(node_id, fingerprint) if isinstance(node_id, str) and isinstance(fingerprint, str) else None


def _calendar(message: StructuredCalendarSpec) -> Calendar:
    return Calendar(
        minutes=_values(message.minute),
        hours=_values(message.hour),
        days=_values(message.day_of_month),
        months=_values(message.month),
        weekdays=_values(message.day_of_week),
        seconds=_values(message.second),
        years=_values(message.year),
    )


def _calendar_message(calendar: Calendar, comment: str) -> StructuredCalendarSpec:
    return StructuredCalendarSpec(
        second=_ranges(calendar.seconds),
        minute=_ranges(calendar.minutes),
        hour=_ranges(calendar.hours),
        day_of_month=_ranges(calendar.days),
        month=_ranges(calendar.months),
        year=_ranges(calendar.years),
        day_of_week=_ranges(calendar.weekdays),
        comment=comment,
    )


def _values(ranges: Iterable[Range]) -> frozenset[int]:
    return frozenset(
        value for values in ranges for value in range(values.start, max(values.start, values.end) + 1, values.step or 1)
    )


def _ranges(values: frozenset[int]) -> list[Range]:
    return [Range(start=start, end=end, step=1) for start, end in runs_of(values)]


def _encoded(value: Json) -> Payload:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Payload(metadata={_ENCODING: _JSON}, data=text.encode())


def _decoded(payload: Payload) -> Json:
    if payload.metadata.get(_ENCODING) != _JSON:
        return None
    try:
        value: Json = json_of(payload.data)
    except ValueError:
        return None
    return value
