"""The Dagster schedule: off, at the repo-spec's time, and of our own running epoch."""

from dataclasses import replace
from datetime import date

import dagster as dg
import pytest

from ledger_pipeline.core.spec import RepoSpec, ScheduleSpec
from ledger_pipeline.definitions import build_defs
from ledger_pipeline.defs.schedules import DEFAULT_CRON
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, instant, scope


def schedule(spec: RepoSpec) -> dg.ScheduleDefinition:
    schedule_made = build_defs(spec).resolve_schedule_def("collect_running_epochs")
    assert isinstance(schedule_made, dg.ScheduleDefinition)
    return schedule_made


def node(*, days: int = 7, first_epoch: str = "2026-01-05", schedules: tuple[ScheduleSpec, ...] = ()) -> RepoSpec:
    only = scope(length_days=days, first_epoch=first_epoch)
    return RepoSpec(NODE_ID, (replace(only, schedules=schedules),), "repo-spec.yaml")


def requests(spec: RepoSpec, at: str) -> list[dg.RunRequest]:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=instant(at),
            repository_def=build_defs(spec).get_repository_def(),
        )
        return list(schedule(spec).evaluate_tick(context).run_requests or [])


def test_it_is_off_until_somebody_turns_it_on_and_runs_the_collection() -> None:
    schedule_made = schedule(node())
    assert schedule_made.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule_made.job_name == "collect_epoch"


def test_its_time_is_that_of_ledger_ingest_in_any_case_or_daily_at_six() -> None:
    wanted = ScheduleSpec("ledger_Ingest", "30 4 * * 1", "Europe/Berlin", "x")
    second_schedule = ScheduleSpec("LEDGER_OTHER", "0 0 * * *", "UTC", "x")
    schedule_made = schedule(node(schedules=(second_schedule, wanted)))
    assert (schedule_made.cron_schedule, schedule_made.execution_timezone) == ("30 4 * * 1", "Europe/Berlin")
    without = schedule(node(schedules=(second_schedule,)))
    assert (without.cron_schedule, without.execution_timezone) == (DEFAULT_CRON, "UTC")


@pytest.mark.parametrize(
    ("days", "at", "epoch"),
    [
        (1, "2026-02-18T06:00", "2026-02-18"),
        (7, "2026-02-16T00:00", "2026-02-16"),
        (7, "2026-02-15T23:59", "2026-02-09"),
        (7, "2026-02-18T06:00", "2026-02-16"),
        (14, "2026-02-18T06:00", "2026-02-16"),
        (14, "2026-02-28T06:00", "2026-02-16"),  # to Dagster that epoch is over since the 23rd
        (28, "2026-02-27T06:00", "2026-02-02"),
    ],
)
def test_it_asks_for_the_running_epoch_of_our_calendar(days: int, at: str, epoch: str) -> None:
    [request] = requests(node(days=days), at)
    assert request.tags["dagster/partition"] == f"{epoch}|default"


def test_each_tick_asks_once_for_every_scope_that_has_begun() -> None:
    spec = node()
    others = [
        replace(scope(scope_key="website", scope_id=OTHER_SCOPE_ID), first_epoch=date.fromisoformat(first))
        for first in ("2026-01-05", "2026-02-23")
    ]
    spec = replace(spec, scopes=(*spec.scopes, others[0], replace(others[1], scope_key="later")))
    asked = requests(spec, "2026-02-18T06:00")
    assert [request.tags["dagster/partition"] for request in asked] == ["2026-02-16|default", "2026-02-16|website"]
    keys = {request.run_key for at in ("2026-02-18T06:00", "2026-02-19T06:00") for request in requests(spec, at)}
    assert len(keys) == 4


def test_before_the_first_epoch_it_skips_saying_why() -> None:
    spec = node(first_epoch="2026-03-02")
    context = dg.build_schedule_context(scheduled_execution_time=instant("2026-02-18"))
    assert schedule(spec).evaluate_tick(context).skip_message == (
        "no scope has begun by 2026-02-16: the first epoch is 2026-03-02"
    )
