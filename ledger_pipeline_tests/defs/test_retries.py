"""A limit that lasts: the run ends and says until when, and a sensor launches it again once that time has come."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from ledger_pipeline.dagster_contract import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    RETRY_AT_TAG,
    RETRY_OF_TAG,
    WORKFLOW_RUN_ID_TAG,
)
from ledger_pipeline.defs.sensors import passed_limits
from ledger_pipeline.sources.simulator.faults import FailedAnswer, SecondaryLimit
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

LONG_SECONDS = 3600
SHORT_SECONDS = 2


@pytest.fixture
def limited(deployment: Deployment) -> Deployment:
    """GitHub asks to be left alone for an hour, until its faults are cleared; two tries, and a wait of a minute."""
    deployment.github.replace_world(world(merged(1, NOW - timedelta(hours=1))))
    deployment.github.faults.for_repository(NAME, SecondaryLimit(LONG_SECONDS))
    deployment.configure(github_retries=1, github_max_wait_seconds=60)
    return deployment


def tick(deployment: Deployment) -> list[dg.RunRequest]:
    definitions = deployment.definitions()
    with dg.build_sensor_context(
        instance=deployment.instance,
        repository_def=definitions.get_repository_def(),
        resources=definitions.resources,
    ) as context:
        return list(passed_limits.evaluate_tick(context).run_requests or [])


def collect(deployment: Deployment, **tags: str) -> dg.DagsterRun:
    """One run of two epochs, as it is stored."""
    ran = deployment.materialize("2026-02-09", "2026-02-16", tags=tags)
    run = deployment.instance.get_run_by_id(ran.run_id)
    assert run is not None
    return run


def failure_metadata(deployment: Deployment, run: dg.DagsterRun) -> dict[str, Any]:
    [event] = deployment.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    assert event.dagster_event is not None
    failed = event.dagster_event.step_failure_data.user_failure_data
    assert failed is not None
    return {name: value.value for name, value in failed.metadata.items()}


def test_a_long_limit_ends_the_run_at_once_which_says_until_when(limited: Deployment) -> None:
    run = collect(limited)
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert run.tags[RETRY_AT_TAG] == (NOW + timedelta(seconds=LONG_SECONDS)).isoformat()
    metadata = failure_metadata(limited, run)
    assert (metadata["retryable"], metadata["retry_after_seconds"]) == (True, LONG_SECONDS)
    assert "a wait of 3600 s" in metadata[f"failed {NAME}"]


def test_it_is_asked_for_again_once_when_the_time_has_come(limited: Deployment) -> None:
    run = collect(limited)
    assert tick(limited) == []
    limited.set_clock(NOW + timedelta(seconds=LONG_SECONDS))
    [request] = tick(limited)
    assert (request.job_name, request.run_config) == (run.job_name, run.run_config)
    [same] = tick(limited)  # until it is launched; Dagster launches a run key once
    assert same.run_key == request.run_key
    limited.github.faults.clear()
    launched = collect(limited, **request.tags)
    assert launched.status is dg.DagsterRunStatus.SUCCESS
    assert launched.tags[RETRY_OF_TAG] == run.run_id
    for name in (RANGE_START_TAG, RANGE_END_TAG):
        assert request.tags[name] == run.tags[name]
    assert tick(limited) == []


def test_what_meets_the_limit_again_is_asked_for_again(limited: Deployment) -> None:
    collect(limited)
    limited.set_clock(NOW + timedelta(seconds=LONG_SECONDS))
    [request] = tick(limited)
    second = collect(limited, **request.tags)
    assert tick(limited) == []
    limited.set_clock(NOW + timedelta(seconds=2 * LONG_SECONDS))
    [again] = tick(limited)
    assert again.tags[RETRY_OF_TAG] == second.run_id


def test_what_a_workflow_launched_is_left_to_it(limited: Deployment) -> None:
    assert RETRY_AT_TAG in collect(limited, **{WORKFLOW_RUN_ID_TAG: "a workflow's run"}).tags
    limited.set_clock(NOW + timedelta(seconds=LONG_SECONDS))
    assert tick(limited) == []


def test_an_outage_that_names_no_time_is_not_asked_for(limited: Deployment) -> None:
    limited.github.faults.clear()
    limited.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    assert RETRY_AT_TAG not in collect(limited).tags


def test_a_short_limit_is_sat_out(limited: Deployment) -> None:
    limited.github.faults.clear()
    limited.github.faults.for_repository(NAME, SecondaryLimit(SHORT_SECONDS), times=1)
    assert collect(limited).status is dg.DagsterRunStatus.SUCCESS
