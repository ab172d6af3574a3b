"""The schedules of a Temporal namespace in tests: synced by us, and handled by somebody else's client."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import (
    DescribeScheduleRequest,
    DescribeScheduleResponse,
    ListSchedulesRequest,
    UpdateScheduleRequest,
)
from temporalio.client import Client, ScheduleActionStartWorkflow, SchedulePolicy, ScheduleSpec, ScheduleState
from temporalio.client import Schedule as SdkSchedule

from ledger_pipeline.core import spec as core
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.schedules.messages import found_schedule
from ledger_pipeline.temporal_bridge.schedules.plan import Action, FoundSchedule, ScheduleStep
from ledger_pipeline.temporal_bridge.schedules.server import sync_schedules
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, scope
from ledger_pipeline_tests.waiting import eventually

DEFAULT = "governance:ledger_ingest"
WEBSITE = "governance:ledger_ingest:website"

_T = TypeVar("_T")


def scheduled(
    scope_: Scope | None = None, cron: str = "0 6 * * *", timezone: str = "UTC", charter: str = "LEDGER_INGEST"
) -> Scope:
    """A scope with a schedule of that charter; the default scope where none is given."""
    return replace(scope_ or scope(), schedules=(core.ScheduleSpec(charter, cron, timezone, "LEDGER_INGEST"),))


def website() -> Scope:
    """Another scope, without schedules."""
    return scope("cogni-dao/website", scope_key="website", scope_id=OTHER_SCOPE_ID)


def repo_spec(*scopes: Scope) -> RepoSpec:
    """A node with these scopes, the default one first."""
    return RepoSpec(NODE_ID, scopes, "repo-spec.yaml")


def edited_payload(schedule: Schedule, **fields: Any) -> None:
    """Replace fields of the payload's `input`."""
    [payload] = schedule.action.start_workflow.input.payloads
    content = json.loads(payload.data)
    content["input"].update(fields)
    payload.data = json.dumps(content).encode()


@dataclass(frozen=True)
class Schedules:
    """The schedules of the namespace that `settings` name."""

    settings: Settings

    def run(self, act: Callable[[Client], Awaitable[_T]]) -> _T:
        """What `act` answers, given a client of its own."""

        async def acting() -> _T:
            return await act(await connect(self.settings))

        return asyncio.run(acting())

    def sync_steps(self, spec: RepoSpec, *, resume: bool = False, dry_run: bool = False) -> list[ScheduleStep]:
        """One sync's steps."""
        return asyncio.run(sync_schedules(self.settings, spec, resume=resume, dry_run=dry_run))

    def sync(self, spec: RepoSpec, *, resume: bool = False, dry_run: bool = False) -> dict[str, Action]:
        """What one sync did, by schedule."""
        return {step.schedule_id: step.action for step in self.sync_steps(spec, resume=resume, dry_run=dry_run)}

    def described(self, schedule_id: str = DEFAULT) -> DescribeScheduleResponse:
        """All the server says of a schedule."""
        request = DescribeScheduleRequest(namespace=self.settings.temporal_namespace, schedule_id=schedule_id)
        return self.run(lambda client: client.workflow_service.describe_schedule(request))

    def found(self, schedule_id: str = DEFAULT) -> FoundSchedule:
        """A schedule as we read it."""
        return found_schedule(schedule_id, self.described(schedule_id))

    def state(self, schedule_id: str = DEFAULT) -> tuple[bool, str]:
        """Whether a schedule is paused, and its note."""
        existing = self.found(schedule_id)
        return existing.paused, existing.note

    def version(self, schedule_id: str = DEFAULT) -> bytes:
        """Something that changes whenever the schedule is written."""
        return self.described(schedule_id).conflict_token

    def ids(self) -> set[str]:
        """The schedules the server lists, which lags behind by moments."""
        request = ListSchedulesRequest(namespace=self.settings.temporal_namespace)
        page = self.run(lambda client: client.workflow_service.list_schedules(request))
        return {schedule.schedule_id for schedule in page.schedules}

    def until_listed(self, *ids: str) -> None:
        """Wait until the server lists them."""
        eventually(lambda: self.ids() >= set(ids))

    def pause(self, note: str, schedule_id: str = DEFAULT) -> None:
        """As an operator does."""
        self.run(lambda client: client.get_schedule_handle(schedule_id).pause(note=note))

    def edit(self, change: Callable[[Schedule], object], schedule_id: str = DEFAULT) -> None:
        """As another client does: everything stays but what `change` changes."""
        schedule = self.described(schedule_id).schedule
        change(schedule)
        request = UpdateScheduleRequest(
            namespace=self.settings.temporal_namespace,
            schedule_id=schedule_id,
            schedule=schedule,
            request_id=str(uuid4()),
        )
        self.run(lambda client: client.workflow_service.update_schedule(request))

    def create(
        self,
        schedule_id: str,
        payloads: Sequence[object] = (),
        *,
        cron: str = "0 6 * * *",
        memo: dict[str, object] | None = None,
        remaining_actions: int = 0,
    ) -> None:
        """As another client does, with the SDK's own classes."""
        schedule = SdkSchedule(
            action=ScheduleActionStartWorkflow(
                "CollectEpochWorkflow",
                args=payloads,
                id="theirs",
                task_queue="ledger-tasks",
                memo=memo,
                execution_timeout=timedelta(minutes=1),
            ),
            spec=ScheduleSpec(cron_expressions=[cron]),
            policy=SchedulePolicy(),
            state=ScheduleState(limited_actions=remaining_actions > 0, remaining_actions=remaining_actions),
        )
        self.run(lambda client: client.create_schedule(schedule_id, schedule))

    def next_times(self, schedule_id: str = DEFAULT) -> list[datetime]:
        """When the server will act next."""
        described = self.run(lambda client: client.get_schedule_handle(schedule_id).describe())
        return list(described.info.next_action_times)
