"""The Temporal schedules a repo-spec wants, held against those found: what is to be done with each, and why. Pure.

Whose is a schedule? Its id has our form, and its memo names our node; a schedule made by another client has no memo,
and is ours where its payload is for a scope of ours. In doubt it is left alone: several nodes may share a namespace.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ledger_pipeline.core.errors import PayloadError, SpecError
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.temporal_bridge.collection.trigger import SCHEDULE_ID, schedule_id_of, scheduled_payload
from ledger_pipeline.temporal_bridge.contract import CollectEpochPayload, parse
from ledger_pipeline.temporal_bridge.schedules.calendar import calendars_of
from ledger_pipeline.temporal_bridge.schedules.contents import Change, ScheduleContents, differences

CHARTER = "LEDGER_INGEST"
PAUSE_NOTE = "paused by ledger-pipeline: no longer in the repo-spec"

_OUR_ID = re.compile(rf"{SCHEDULE_ID}(:[a-z][a-z0-9-]{{0,31}})?")


@dataclass(frozen=True)
class WantedSchedule:
    """A schedule as the repo-spec wants it; `cron` as it is written there."""

    schedule_id: str
    cron: str
    contents: ScheduleContents


@dataclass(frozen=True)
class Desired:
    """All that a node wants, and what makes a schedule its own."""

    node_id: UUID
    scope_ids: frozenset[UUID]
    schedules: Mapping[str, WantedSchedule]


@dataclass(frozen=True)
class OurMemo:
    """What we leave in a schedule: whose it is, and the fingerprint of what we wrote."""

    node_id: str
    fingerprint: str


@dataclass(frozen=True)
class FoundSchedule:
    """A schedule as the server has it; `memo` is None where another client made it."""

    schedule_id: str
    contents: ScheduleContents
    paused: bool
    note: str
    memo: OurMemo | None
    next_run: datetime | None = None
    last_run: datetime | None = None

    @property
    def scope_id(self) -> UUID | None:
        """The scope its payload is for, where that can be read."""
        payload = self.contents.payload
        asked = payload.get("input") if isinstance(payload, dict) else None
        try:
            return UUID(str(asked["scopeId"])) if isinstance(asked, dict) else None
        except (KeyError, ValueError):
            return None


class Action(StrEnum):
    """What is done with a schedule. In a conflict another's schedule has the id we want; both of these fail a sync."""

    CREATED = "created"
    UPDATED = "updated"
    RESUMED = "resumed"
    IN_SYNC = "in sync"
    PAUSED = "paused"
    LEFT_PAUSED = "left paused"
    LEFT_ALONE = "left alone"
    CONFLICT = "conflict"
    FAILED = "failed"


WRITES = frozenset({Action.CREATED, Action.UPDATED, Action.RESUMED, Action.PAUSED})


@dataclass(frozen=True)
class ScheduleStep:
    """What is done with one schedule, why, and which of its parts change."""

    schedule_id: str
    action: Action
    reason: str
    changes: tuple[Change, ...] = ()


def is_our_id(schedule_id: str) -> bool:
    """Whether the id is one that this project gives; other `governance:` schedules belong to others."""
    return _OUR_ID.fullmatch(schedule_id) is not None


def desired(spec: RepoSpec) -> Desired:
    """What `spec` wants. Raises SpecError, naming file and key, for what Temporal or the workflow would refuse."""
    wanted = {
        schedule.schedule_id: schedule
        for scope in spec.scopes
        for schedule in _wanted(scope, schedule_id_of(spec, scope))
    }
    return Desired(spec.node_id, frozenset(scope.scope_id for scope in spec.scopes), wanted)


def plan(want: Desired, existing: Mapping[str, FoundSchedule], *, resume: bool = False) -> list[ScheduleStep]:
    """A step for each schedule wanted or found, wanted ones first; `resume` also resumes what operators paused."""
    others = sorted(existing.keys() - want.schedules.keys())
    return [
        plan_one(want, schedule_id, existing.get(schedule_id), resume=resume)
        for schedule_id in (*want.schedules, *others)
    ]


def plan_one(want: Desired, schedule_id: str, existing: FoundSchedule | None, *, resume: bool = False) -> ScheduleStep:
    """The step for one schedule of our form."""
    wanted = want.schedules.get(schedule_id)
    if existing is None:
        action, reason = (Action.CREATED, "missing") if wanted else (Action.IN_SYNC, "deleted by another client")
        return ScheduleStep(schedule_id, action, reason)
    stranger = _is_anothers(want, wanted, existing)
    if stranger is not None:
        return ScheduleStep(schedule_id, Action.CONFLICT if wanted else Action.LEFT_ALONE, stranger)
    return _unwanted_step(existing) if wanted is None else _wanted_step(want, wanted, existing, resume)


def _wanted(scope: Scope, schedule_id: str) -> list[WantedSchedule]:
    wanted = []
    for position, schedule in enumerate(scope.schedules):
        if schedule.charter.casefold() != CHARTER.casefold():
            continue
        try:
            calendars = calendars_of(schedule.cron)
        except ValueError as error:
            key = f"governance.schedules[{position}].cron"
            raise SpecError(scope.file, key, f"{schedule.cron!r} is not valid: {error}") from error
        payload = scheduled_payload(scope, schedule_id)
        try:
            parse(CollectEpochPayload, payload)
        except PayloadError as error:
            raise SpecError(scope.file, f"payload of {schedule_id}", str(error)) from error
        # Temporal appends the time of the run.
        workflow_id = f"ledger-collect-scheduled-{scope.scope_key}"
        contents = ScheduleContents(calendars, schedule.timezone, payload, workflow_id)
        wanted.append(WantedSchedule(schedule_id, schedule.cron, contents))
    return wanted


def _is_anothers(want: Desired, wanted: WantedSchedule | None, existing: FoundSchedule) -> str | None:
    if existing.memo is not None:
        return None if existing.memo.node_id == str(want.node_id) else f"it is of node {existing.memo.node_id}"
    if existing.scope_id in want.scope_ids or (wanted is not None and existing.scope_id is None):
        return None
    scope = (
        f"for scope {existing.scope_id}, none of this repo-spec's"
        if existing.scope_id
        else "for no scope that it names"
    )
    return f"made by another client, {scope}"


def _wanted_step(want: Desired, wanted: WantedSchedule, existing: FoundSchedule, resume: bool) -> ScheduleStep:
    changes = tuple(differences(existing.contents, wanted.contents))
    ours = OurMemo(str(want.node_id), wanted.contents.fingerprint)
    if existing.memo is None:
        reason = "made by another client"
        changes += (Change("memo", "none", "ours"),)
    elif changes:
        reason = "edited by another client" if existing.memo == ours else "differs from the repo-spec"
    elif existing.memo != ours:
        reason = "as wanted, but for its memo"
        changes = (Change("memo", "of other contents", "of these"),)
    else:
        reason = "as wanted"
    if existing.paused and existing.note == PAUSE_NOTE:
        return ScheduleStep(wanted.schedule_id, Action.RESUMED, "wanted again", changes)
    paused_by = f"paused by an operator: {existing.note or 'no note'}"
    if existing.paused and resume:
        return ScheduleStep(wanted.schedule_id, Action.RESUMED, f"was {paused_by}", changes)
    if changes:
        stays = f"; stays {paused_by}" if existing.paused else ""
        return ScheduleStep(wanted.schedule_id, Action.UPDATED, reason + stays, changes)
    if existing.paused:
        return ScheduleStep(wanted.schedule_id, Action.LEFT_PAUSED, f"{paused_by} (--resume resumes it)")
    return ScheduleStep(wanted.schedule_id, Action.IN_SYNC, reason)


def _unwanted_step(existing: FoundSchedule) -> ScheduleStep:
    reason = "no longer in the repo-spec"
    if not existing.paused:
        return ScheduleStep(existing.schedule_id, Action.PAUSED, reason)
    if existing.note == PAUSE_NOTE:
        return ScheduleStep(existing.schedule_id, Action.IN_SYNC, f"{reason}, paused already")
    paused_by = f"paused by an operator: {existing.note or 'no note'}"
    return ScheduleStep(existing.schedule_id, Action.LEFT_PAUSED, f"{reason}; {paused_by}")
