"""Schedule sync on a real Temporal server: every outcome, and what two at once, operators and others do to it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim
from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import Schedule
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse
from temporalio.client import Client

from ledger_pipeline.core.errors import ScheduleSyncFailed, SpecError, TemporalUnavailable
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.local.embedded_temporal import TemporalServer, free_port
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.temporal_bridge.schedules import server
from ledger_pipeline.temporal_bridge.schedules.plan import PAUSE_NOTE, Action
from ledger_pipeline.temporal_bridge.schedules.server import list_schedules, refuse_failures
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, SCOPE_ID, scope
from ledger_pipeline_tests.temporal_bridge.conftest import register_namespace
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import (
    DEFAULT,
    WEBSITE,
    Schedules,
    edited_payload,
    repo_spec,
    scheduled,
    website,
)
from ledger_pipeline_tests.waiting import eventually

ELSEWHERE = "4ff8eac1-0000-0000-0000-00000000000f"
WANTED = repo_spec(scheduled())
UNWANTED = repo_spec(scope())


@pytest.fixture
def schedules(temporal_namespace: Settings) -> Schedules:
    return Schedules(temporal_namespace)


@pytest.fixture(scope="module")
def one_namespace(temporal_server: TemporalServer) -> Settings:
    return register_namespace(temporal_server)


@pytest.fixture
def synced(one_namespace: Settings) -> Schedules:
    """A namespace that tests share, its one schedule as WANTED."""
    schedules = Schedules(one_namespace)
    schedules.sync(WANTED, resume=True)
    return schedules


# Created, and nothing more.


def test_missing_schedules_are_created_as_the_contract_says(schedules: Schedules) -> None:
    spec = repo_spec(scheduled(cron="30 6 * * 1", timezone="Europe/Berlin"), scheduled(website()))
    assert schedules.sync(spec) == {DEFAULT: Action.CREATED, WEBSITE: Action.CREATED}
    schedule = schedules.described().schedule
    start, policies = schedule.action.start_workflow, schedule.policies
    assert (start.workflow_type.name, start.task_queue.name) == ("CollectEpochWorkflow", "ledger-tasks")
    [payload] = start.input.payloads
    assert json.loads(payload.data) == {
        "scheduleId": DEFAULT,
        "temporalScheduleId": DEFAULT,
        "graphId": "ledger:ingest",
        "input": {
            "version": 1,
            "scopeId": str(SCOPE_ID),
            "scopeKey": "default",
            "epochLengthDays": 7,
            "activitySources": {
                "github": {
                    "creditEstimateAlgo": "cogni-v0.0",
                    "sourceRefs": ["cogni-dao/cogni"],
                    "streams": ["pull_requests", "reviews", "issues"],
                }
            },
            "autoCloseGracePeriodMs": 86_400_000,
        },
    }
    assert policies.overlap_policy == ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_SKIP
    assert policies.catchup_window.seconds == 86_400
    retry = start.retry_policy
    assert (retry.initial_interval.seconds, retry.backoff_coefficient) == (300, 2)
    assert (retry.maximum_interval.seconds, retry.maximum_attempts) == (3600, 4)
    assert schedule.spec.timezone_name == "Europe/Berlin"
    assert schedules.state() == (False, "")
    assert schedules.found(WEBSITE).scope_id == OTHER_SCOPE_ID


def test_a_second_sync_skips_all_and_writes_nothing(schedules: Schedules) -> None:
    spec = repo_spec(scheduled(timezone="Europe/Berlin"), scheduled(website(), cron="0 6 1 * 1"))
    schedules.sync(spec)
    before = [schedules.version(schedule_id) for schedule_id in (DEFAULT, WEBSITE)]
    assert schedules.sync(spec) == {DEFAULT: Action.IN_SYNC, WEBSITE: Action.IN_SYNC}
    assert [schedules.version(schedule_id) for schedule_id in (DEFAULT, WEBSITE)] == before


def test_the_server_acts_when_cron_says(schedules: Schedules) -> None:
    crons = ["*/15 * * * *", "5/20 6-8 * * *", "0 6 1 * 1", "0 6 */2 * 1", "0 6 * * 5-7", "0 6 * jan,feb SUN"]
    crons += ["0 6 1-7,15 * fri", "0 0 31 * *", "59 23 29 2 *", ",".join(map(str, range(0, 60, 2))) + " */2 1-31/2 * *"]
    keys = [f"s{number}" for number in range(len(crons))]
    spec = repo_spec(scope(), *(scheduled(scope(scope_key=key), cron) for key, cron in zip(keys, crons, strict=True)))
    assert set(schedules.sync(spec).values()) == {Action.CREATED}
    for key, cron in zip(keys, crons, strict=True):
        times = schedules.next_times(f"{DEFAULT}:{key}")
        assert times[0] <= next(CronSim(cron, datetime.now(UTC))), cron
        assert len(times) >= 5
        assert times == list(islice(CronSim(cron, times[0] - timedelta(minutes=1)), len(times))), cron


def test_a_started_workflow_carries_our_id_payload_and_memo(schedules: Schedules) -> None:
    schedules.sync(WANTED)
    schedules.run(lambda client: client.get_schedule_handle(DEFAULT).trigger())
    last_run = eventually(lambda: schedules.found().last_run)
    assert abs((datetime.now(UTC) - last_run).total_seconds()) < 60
    [action] = schedules.described().info.recent_actions
    workflow_id = action.start_workflow_result.workflow_id
    assert workflow_id.startswith("ledger-collect-scheduled-default-20")

    async def memo(client: Client) -> object:
        return await (await client.get_workflow_handle(workflow_id).describe()).memo_value("ledgerPipelineSchedule")

    logged = schedules.run(memo)
    assert isinstance(logged, dict)
    assert logged["nodeId"] == str(NODE_ID)


# Drift.


@pytest.mark.parametrize(
    ("wanted", "section"),
    [
        (scheduled(cron="0 7 * * *"), "cron"),
        (scheduled(timezone="Europe/Berlin"), "time zone"),
        (scheduled(scope("cogni-dao/ledger")), "payload.input.activitySources.github.sourceRefs"),
        (scheduled(scope(length_days=14)), "payload.input.epochLengthDays"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_of_the_repo_spec_is_an_update_that_says_what_changed(
    synced: Schedules, wanted: Scope, section: str
) -> None:
    [step] = synced.sync_steps(repo_spec(wanted))
    assert (step.action, step.reason) == (Action.UPDATED, "differs from the repo-spec")
    assert [change.part for change in step.changes] == [section]
    assert synced.sync(repo_spec(wanted)) == {DEFAULT: Action.IN_SYNC}
    assert synced.sync(WANTED) == {DEFAULT: Action.UPDATED}


def _set(path: str, value: object) -> Callable[[Schedule], None]:
    def change(schedule: Schedule) -> None:
        *parents, last = path.split(".")
        target: object = schedule
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)

    return change


def _another_hour(schedule: Schedule) -> None:
    schedule.spec.structured_calendar[0].hour[0].start = 7
    schedule.spec.structured_calendar[0].hour[0].end = 7


def _another_calendar(schedule: Schedule) -> None:
    schedule.spec.structured_calendar.add().CopyFrom(schedule.spec.structured_calendar[0])
    schedule.spec.structured_calendar[1].day_of_week.add(start=0, end=6)
    _another_hour(schedule)


def _two_arguments(schedule: Schedule) -> None:
    schedule.action.start_workflow.input.payloads.add().CopyFrom(schedule.action.start_workflow.input.payloads[0])


@pytest.mark.parametrize(
    ("edit", "section"),
    [
        (_another_hour, "cron"),
        (_another_calendar, "cron"),
        (lambda schedule: schedule.spec.cron_string.append("0 9 * * *"), "cron"),
        (lambda schedule: schedule.spec.interval.add().interval.FromSeconds(3600), "cron"),
        (_set("spec.jitter.seconds", 60), "cron"),
        (_set("spec.timezone_name", "Europe/Berlin"), "time zone"),
        (lambda schedule: edited_payload(schedule, epochLengthDays=14), "payload.input.epochLengthDays"),
        (lambda schedule: edited_payload(schedule, asOf="2026-02-16T00:00:00Z"), "payload.input.asOf"),
        (_two_arguments, "payload"),
        (_set("action.start_workflow.workflow_type.name", "Other"), "workflow type"),
        (_set("action.start_workflow.workflow_id", "other"), "workflow id"),
        (_set("action.start_workflow.task_queue.name", "other"), "task queue"),
        (_set("action.start_workflow.workflow_run_timeout.seconds", 60), "timeouts"),
        (_set("action.start_workflow.retry_policy.maximum_attempts", 1), "retries"),
        (lambda schedule: schedule.action.start_workflow.ClearField("retry_policy"), "retries"),
        (_set("policies.overlap_policy", ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL), "overlap"),
        (_set("policies.catchup_window.seconds", 3600), "catch-up"),
        (_set("policies.pause_on_failure", True), "pause on failure"),
        (_set("policies.keep_original_workflow_id", True), "workflow id"),
    ],
)
def test_an_edit_by_another_client_is_noticed_though_our_memo_stayed(
    synced: Schedules, edit: Callable[[Schedule], object], section: str
) -> None:
    synced.edit(edit)
    [step] = synced.sync_steps(WANTED)
    assert (step.action, step.reason) == (Action.UPDATED, "edited by another client")
    assert [change.part for change in step.changes] == [section]
    assert synced.sync(WANTED) == {DEFAULT: Action.IN_SYNC}


def test_a_schedule_made_by_another_client_is_adopted_with_what_is_not_ours_kept(schedules: Schedules) -> None:
    payload = {"scheduleId": "x", "input": {"scopeId": str(SCOPE_ID), "scopeKey": "default"}}
    schedules.create(DEFAULT, [payload], memo={"team": "ops"}, remaining_actions=5)
    [step] = schedules.sync_steps(WANTED)
    assert (step.action, step.reason) == (Action.UPDATED, "made by another client")
    assert {"catch-up", "timeouts", "memo"} <= {change.part for change in step.changes}
    assert "cron" not in {change.part for change in step.changes}
    schedule = schedules.described().schedule
    assert set(schedule.action.start_workflow.memo.fields) == {"team", "ledgerPipelineSchedule"}
    assert (schedule.state.limited_actions, schedule.state.remaining_actions) == (True, 5)
    assert schedules.sync(WANTED) == {DEFAULT: Action.IN_SYNC}


@pytest.mark.parametrize("payloads", [[], ["no object"], [{"input": {}}], [{"input": {"scopeId": "no uuid"}}]])
def test_one_that_names_no_scope_is_ours_by_its_id_while_it_is_wanted(
    schedules: Schedules, payloads: list[object]
) -> None:
    schedules.create(DEFAULT, payloads)
    schedules.until_listed(DEFAULT)
    assert schedules.sync(UNWANTED) == {DEFAULT: Action.LEFT_ALONE}
    assert schedules.state() == (False, "")
    assert schedules.sync(WANTED) == {DEFAULT: Action.UPDATED}


# Pausing and resuming.


def test_what_is_no_longer_wanted_is_paused_with_our_note_and_resumed_when_wanted_again(schedules: Schedules) -> None:
    schedules.sync(WANTED)
    schedules.until_listed(DEFAULT)
    assert schedules.sync(UNWANTED) == {DEFAULT: Action.PAUSED}
    assert schedules.state() == (True, PAUSE_NOTE)
    assert schedules.sync(UNWANTED) == {DEFAULT: Action.IN_SYNC}
    [step] = schedules.sync_steps(repo_spec(scheduled(cron="0 7 * * *")))
    assert (step.action, [change.part for change in step.changes]) == (Action.RESUMED, ["cron"])
    assert schedules.state() == (False, "")
    assert schedules.found().next_run is not None


def test_a_scope_that_left_the_repo_spec_is_paused_for_our_memo_is_in_it(schedules: Schedules) -> None:
    schedules.sync(repo_spec(scheduled(), scheduled(website())))
    schedules.until_listed(WEBSITE)
    assert schedules.sync(WANTED) == {DEFAULT: Action.IN_SYNC, WEBSITE: Action.PAUSED}
    assert schedules.state(WEBSITE) == (True, PAUSE_NOTE)


def test_one_paused_by_an_operator_stays_so_until_told_otherwise(schedules: Schedules) -> None:
    schedules.sync(WANTED)
    schedules.pause("GitHub is down")
    [step] = schedules.sync_steps(WANTED)
    assert (step.action, "GitHub is down" in step.reason) == (Action.LEFT_PAUSED, True)
    assert schedules.state() == (True, "GitHub is down")
    assert schedules.sync(WANTED, resume=True) == {DEFAULT: Action.RESUMED}
    assert schedules.state() == (False, "")


def test_an_update_keeps_an_operators_pause(schedules: Schedules) -> None:
    schedules.sync(WANTED)
    schedules.pause("GitHub is down")
    changed = repo_spec(scheduled(cron="0 7 * * *"))
    [step] = schedules.sync_steps(changed)
    assert (step.action, "stays paused by an operator: GitHub is down" in step.reason) == (Action.UPDATED, True)
    assert schedules.state() == (True, "GitHub is down")
    assert schedules.sync(changed) == {DEFAULT: Action.LEFT_PAUSED}


def test_an_operators_pause_of_an_unwanted_schedule_keeps_its_note(schedules: Schedules) -> None:
    schedules.sync(WANTED)
    schedules.pause("mine")
    schedules.until_listed(DEFAULT)
    assert schedules.sync(UNWANTED, resume=True) == {DEFAULT: Action.LEFT_PAUSED}
    assert schedules.state() == (True, "mine")


# What is not ours.


def test_schedules_of_others_are_never_touched(schedules: Schedules) -> None:
    ours = {"input": {"scopeId": str(SCOPE_ID)}}
    elsewhere = {"input": {"scopeId": ELSEWHERE}}
    others = {
        "governance:heartbeat": [ours],
        "governance:ledger_ingest_old": [ours],
        "governance:ledger_ingest:UPPER": [ours],
        "x:governance:ledger_ingest": [ours],
        "governance:ledger_ingest:theirs": [elsewhere],
    }
    for schedule_id, payloads in others.items():
        schedules.create(schedule_id, payloads)
    schedules.until_listed(*others)
    before = {schedule_id: schedules.version(schedule_id) for schedule_id in others}
    did = schedules.sync(WANTED)
    assert did == {DEFAULT: Action.CREATED, "governance:ledger_ingest:theirs": Action.LEFT_ALONE}
    assert {schedule_id: schedules.version(schedule_id) for schedule_id in others} == before


def test_another_nodes_schedules_are_left_alone_and_an_id_taken_by_one_is_a_failure(schedules: Schedules) -> None:
    second_spec = RepoSpec(OTHER_SCOPE_ID, (scheduled(scope(scope_id=OTHER_SCOPE_ID)), scheduled(website())), "theirs")
    schedules.sync(second_spec)
    schedules.until_listed(DEFAULT, WEBSITE)
    before = [schedules.version(schedule_id) for schedule_id in (DEFAULT, WEBSITE)]
    steps = schedules.sync_steps(repo_spec(scheduled(cron="0 7 * * *")), resume=True)
    assert {step.schedule_id: step.action for step in steps} == {DEFAULT: Action.CONFLICT, WEBSITE: Action.LEFT_ALONE}
    assert [schedules.version(schedule_id) for schedule_id in (DEFAULT, WEBSITE)] == before
    with pytest.raises(ScheduleSyncFailed, match=f"{DEFAULT}: it is of node {OTHER_SCOPE_ID}.*namespaces"):
        refuse_failures(steps)


def test_a_schedule_of_another_client_for_a_scope_elsewhere_is_a_conflict(schedules: Schedules) -> None:
    schedules.create(DEFAULT, [{"input": {"scopeId": ELSEWHERE}}])
    before = schedules.version()
    assert schedules.sync(WANTED) == {DEFAULT: Action.CONFLICT}
    assert schedules.version() == before


# Several at once.


def test_syncs_at_once_create_each_schedule_once_and_leave_all_as_wanted(schedules: Schedules) -> None:
    keys = [f"s{number}" for number in range(2)]
    spec = repo_spec(scheduled(), *(scheduled(scope(scope_key=key)) for key in keys))

    async def at_once(count: int) -> list[dict[str, Action]]:
        runs = (server.sync_schedules(schedules.settings, spec) for _ in range(count))
        return [{step.schedule_id: step.action for step in steps} for steps in await asyncio.gather(*runs)]

    did = asyncio.run(at_once(4))
    for schedule_id in (DEFAULT, *(f"{DEFAULT}:{key}" for key in keys)):
        assert sorted(actions[schedule_id] for actions in did) == [Action.CREATED, *[Action.IN_SYNC] * 3]
    for key in keys:
        schedules.edit(_another_hour, f"{DEFAULT}:{key}")
    did = asyncio.run(at_once(4))
    assert {action for actions in did for action in actions.values()} <= {Action.UPDATED, Action.IN_SYNC}
    assert set(schedules.sync(spec).values()) == {Action.IN_SYNC}


def _between_reading_and_writing(monkeypatch: pytest.MonkeyPatch, act: Callable[[Client], Awaitable[None]]) -> None:
    """Somebody acts once, right after a step has read its schedule."""
    describe = server._describe
    reads = 0

    async def described(client: Client, schedule_id: str) -> DescribeScheduleResponse | None:
        nonlocal reads
        answer = await describe(client, schedule_id)
        reads += 1
        if reads == 2:  # the first is the plan's
            await act(client)
        return answer

    monkeypatch.setattr(server, "_describe", described)


def test_an_operators_pause_between_reading_and_writing_is_kept(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules.sync(WANTED)
    _between_reading_and_writing(monkeypatch, lambda client: client.get_schedule_handle(DEFAULT).pause(note="mine"))
    changed = repo_spec(scheduled(cron="0 7 * * *"))
    assert schedules.sync(changed) == {DEFAULT: Action.UPDATED}
    assert schedules.state() == (True, "mine")
    assert schedules.sync(changed) == {DEFAULT: Action.LEFT_PAUSED}


def test_an_operators_note_is_not_taken_for_ours_when_both_pause_at_once(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules.sync(WANTED)
    schedules.until_listed(DEFAULT)
    _between_reading_and_writing(monkeypatch, lambda client: client.get_schedule_handle(DEFAULT).pause(note="mine"))
    schedules.sync(UNWANTED)
    assert schedules.state() == (True, "mine")


def test_a_schedule_deleted_between_reading_and_writing_is_made_again(
    schedules: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules.sync(WANTED)
    _between_reading_and_writing(monkeypatch, lambda client: client.get_schedule_handle(DEFAULT).delete())
    changed = repo_spec(scheduled(cron="0 7 * * *"))
    assert schedules.sync(changed) == {DEFAULT: Action.CREATED}
    assert schedules.sync(changed) == {DEFAULT: Action.IN_SYNC}


# Failure.


def test_a_schedule_the_server_refuses_fails_alone_and_is_named(schedules: Schedules) -> None:
    refused = scheduled(website(), timezone="Moon/Tranquility")
    third = scheduled(scope(scope_key="third"))
    steps = schedules.sync_steps(repo_spec(scheduled(), refused, third))
    assert [step.action for step in steps] == [Action.CREATED, Action.FAILED, Action.CREATED]
    with pytest.raises(ScheduleSyncFailed, match=rf"^schedules not as wanted: {WEBSITE}: .*Moon/Tranquility$"):
        refuse_failures(steps)
    again = schedules.sync(repo_spec(scheduled(), scheduled(website()), third))
    assert list(again.values()) == [Action.IN_SYNC, Action.CREATED, Action.IN_SYNC]


def test_a_bad_cron_is_refused_before_any_server_is_asked() -> None:
    settings = read_settings({"temporal_address": f"127.0.0.1:{free_port()}"})
    spec = repo_spec(scheduled(), scheduled(website(), cron="0 6 L * *"))
    for act in (server.sync_schedules, list_schedules):
        with pytest.raises(SpecError, match=r"governance\.schedules\[0\]\.cron: '0 6 L \* \*' is not valid"):
            asyncio.run(act(settings, spec))


def test_a_namespace_that_is_not_there_is_named(schedules: Schedules) -> None:
    settings = schedules.settings.model_copy(update={"temporal_namespace": "nowhere"})
    with pytest.raises(TemporalUnavailable, match=r"Temporal namespace nowhere .TEMPORAL_NAMESPACE.: .*not found"):
        asyncio.run(list_schedules(settings, WANTED))


def test_a_dry_run_plans_the_same_and_touches_nothing(schedules: Schedules) -> None:
    third = scheduled(scope(scope_key="third"))
    schedules.sync(repo_spec(scheduled(), scheduled(website()), third))
    schedules.pause("mine", f"{DEFAULT}:third")
    schedules.until_listed(DEFAULT, WEBSITE)
    ids = (DEFAULT, WEBSITE, f"{DEFAULT}:third")
    before = [schedules.version(schedule_id) for schedule_id in ids]
    spec = repo_spec(scheduled(cron="0 7 * * *"), third, scheduled(scope(scope_key="new")))
    planned = schedules.sync_steps(spec, dry_run=True, resume=True)
    assert [step.action for step in planned] == [Action.UPDATED, Action.RESUMED, Action.CREATED, Action.PAUSED]
    assert [schedules.version(schedule_id) for schedule_id in ids] == before
    assert schedules.sync_steps(spec, dry_run=True, resume=True) == planned
    assert schedules.sync_steps(spec, resume=True) == planned
