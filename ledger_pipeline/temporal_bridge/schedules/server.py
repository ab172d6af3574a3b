"""Temporal schedules brought to what the repo-spec wants: read, plan, apply one by one, each safe to repeat.

An update carries the conflict token of what it was decided on, and the server drops it (it reports nothing) where the
schedule has changed since, so each write is read back: two syncs at once, or an operator's pause in between, lose
nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    ListSchedulesRequest,
    UpdateScheduleRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ledger_pipeline.core.errors import ScheduleSyncFailed, TemporalUnavailable
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.schedules.calendar import times_text
from ledger_pipeline.temporal_bridge.schedules.messages import found_schedule, holding, paused_by_us, resumed
from ledger_pipeline.temporal_bridge.schedules.plan import (
    WRITES,
    Action,
    Desired,
    FoundSchedule,
    ScheduleStep,
    desired,
    is_our_id,
    plan,
    plan_one,
)

ATTEMPTS = 5
_PAGE_SIZE = 1000
# Somebody else was faster: read again, and decide again.
_OUTRUN = {
    RPCStatusCode.ALREADY_EXISTS,
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.ABORTED,
}


@dataclass(frozen=True)
class ListedSchedule:
    """A schedule wanted or found, for people; `state` says how it stands to the repo-spec."""

    schedule_id: str
    cron: str | None
    timezone: str | None
    next_run: datetime | None
    last_run: datetime | None
    paused: bool | None
    note: str | None
    state: str


async def sync_schedules(
    settings: Settings,
    spec: RepoSpec,
    *,
    resume: bool = False,
    dry_run: bool = False,
    on_plan: Callable[[Sequence[ScheduleStep]], None] | None = None,
) -> list[ScheduleStep]:
    """Bring the server's schedules to what `spec` wants; the steps as they were in the end. `on_plan` is told first.

    A dry run stops there. A step that failed comes back as such, after the rest was applied: `refuse_failures` raises
    for it. Raises SpecError before anything is touched, TemporalUnavailable where the server cannot be read.
    """
    want = desired(spec)
    client = await connect(settings)
    steps = plan(want, await _read_all(client, want), resume=resume)
    if on_plan is not None:
        on_plan(steps)
    if dry_run:
        return steps
    return [await _apply(client, want, step, resume) for step in steps]


def refuse_failures(steps: Sequence[ScheduleStep]) -> None:
    """Raises ScheduleSyncFailed naming the schedules that are not as wanted, each with its reason; else nothing."""
    failed = [step for step in steps if step.action in (Action.FAILED, Action.CONFLICT)]
    if failed:
        problems = "; ".join(f"{step.schedule_id}: {step.reason}" for step in failed)
        hint = ""
        if any(step.action is Action.CONFLICT for step in failed):
            hint = " (nodes with the same scope keys need Temporal namespaces of their own; or delete that schedule)"
        raise ScheduleSyncFailed(f"schedules not as wanted: {problems}{hint}")


async def list_schedules(settings: Settings, spec: RepoSpec) -> list[ListedSchedule]:
    """The schedules wanted and found. Raises as `sync_schedules` does; touches nothing."""
    want = desired(spec)
    existing = await _read_all(await connect(settings), want)
    return [_listed(want, step, existing.get(step.schedule_id)) for step in plan(want, existing)]


def _listed(want: Desired, step: ScheduleStep, existing: FoundSchedule | None) -> ListedSchedule:
    changed = ", ".join(change.part for change in step.changes)
    state = f"{step.reason} ({changed})" if changed else step.reason
    if step.action is Action.IN_SYNC:
        state = f"{step.action}: {state}"
    if existing is None:
        return ListedSchedule(step.schedule_id, None, None, None, None, None, None, state)
    wanted = want.schedules.get(step.schedule_id)
    as_written = wanted is not None and wanted.contents.parts()["cron"] == existing.contents.parts()["cron"]
    return ListedSchedule(
        schedule_id=step.schedule_id,
        cron=wanted.cron if wanted is not None and as_written else times_text(existing.contents.calendars),
        timezone=existing.contents.timezone,
        next_run=existing.next_run,
        last_run=existing.last_run,
        paused=existing.paused,
        note=existing.note or None,
        state=state,
    )


async def _apply(client: Client, want: Desired, step: ScheduleStep, resume: bool) -> ScheduleStep:
    if step.action not in WRITES:
        return step
    done: ScheduleStep | None = None
    try:
        for _ in range(ATTEMPTS):
            described = await _describe(client, step.schedule_id)
            existing = found_schedule(step.schedule_id, described) if described else None
            current = plan_one(want, step.schedule_id, existing, resume=resume)
            if current.action not in WRITES:
                return current if done is None or current.action is Action.CONFLICT else done
            if await _write(client, want, current, described):
                done = current
    except RPCError as error:
        return replace(step, action=Action.FAILED, reason=_problem(error))
    reason = f"others changed it {ATTEMPTS} times while it was to be {step.action}: run this again"
    return replace(step, action=Action.FAILED, reason=reason)


async def _write(client: Client, want: Desired, step: ScheduleStep, described: DescribeScheduleResponse | None) -> bool:
    """Whether the server took it; an update that it drops for its conflict token counts as taken."""
    schedule = described.schedule if described else Schedule()
    wanted = want.schedules.get(step.schedule_id)
    schedule = (
        paused_by_us(schedule)
        if wanted is None
        else holding(schedule, wanted.contents, str(want.node_id), cron=wanted.cron)
    )
    if step.action is Action.RESUMED:
        schedule = resumed(schedule)
    try:
        if described is None:
            create = CreateScheduleRequest(
                namespace=client.namespace,
                schedule_id=step.schedule_id,
                schedule=schedule,
                identity=client.identity,
                request_id=str(uuid4()),
            )
            await client.workflow_service.create_schedule(create, retry=True)
        else:
            update = UpdateScheduleRequest(
                namespace=client.namespace,
                schedule_id=step.schedule_id,
                schedule=schedule,
                conflict_token=described.conflict_token,
                identity=client.identity,
                request_id=str(uuid4()),
            )
            await client.workflow_service.update_schedule(update, retry=True)
    except RPCError as error:
        if error.status in _OUTRUN:
            return False
        raise
    return True


async def _read_all(client: Client, want: Desired) -> dict[str, FoundSchedule]:
    # The list lags behind by moments and says little: it only adds ids, and each schedule is asked for by itself.
    try:
        ids = sorted({*want.schedules, *await _listed_ids(client)})
        described = await asyncio.gather(*(_describe(client, schedule_id) for schedule_id in ids))
    except RPCError as error:
        where = f"Temporal namespace {client.namespace} (TEMPORAL_NAMESPACE)"
        raise TemporalUnavailable(f"{where}: schedules cannot be read: {_problem(error)}") from error
    return {
        schedule_id: found_schedule(schedule_id, answer)
        for schedule_id, answer in zip(ids, described, strict=True)
        if answer
    }


async def _listed_ids(client: Client) -> set[str]:
    # Without a query: not every server can filter schedules by id.
    request = ListSchedulesRequest(namespace=client.namespace, maximum_page_size=_PAGE_SIZE)
    ids: set[str] = set()
    while True:
        page = await client.workflow_service.list_schedules(request, retry=True)
        ids.update(schedule.schedule_id for schedule in page.schedules if is_our_id(schedule.schedule_id))
        if not page.next_page_token:
            return ids
        request.next_page_token = page.next_page_token


async def _describe(client: Client, schedule_id: str) -> DescribeScheduleResponse | None:
    request = DescribeScheduleRequest(namespace=client.namespace, schedule_id=schedule_id)
    try:
        return await client.workflow_service.describe_schedule(request, retry=True)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


def _problem(error: RPCError) -> str:
    return f"{error.status.name}: {error.message}".splitlines()[0]
