"""The sensors: epochs that just closed are looked at once more, and each run's end is one line in the log."""

import json
import logging
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine

from ledger_pipeline.dagster_contract import WORKFLOW_ID_TAG
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.run_log import LOGGER
from ledger_pipeline.defs.sensors import closed_epochs, log_failed_runs, log_succeeded_runs
from ledger_pipeline.logs import FIELDS, JsonFormatter
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import SCOPE_ID, window
from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.sources.simulator.worlds import NAME

WEEK = window("2026-02-16")


class Ticks:
    """A sensor asked again and again, as the daemon does, with the cursor it left."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._cursor: str | None = None

    def tick(self) -> list[str]:
        """The run keys asked for."""
        definitions = self._deployment.definitions()
        with dg.build_sensor_context(
            instance=self._deployment.instance,
            cursor=self._cursor,
            repository_def=definitions.get_repository_def(),
            resources=definitions.resources,
        ) as context:
            data = closed_epochs.evaluate_tick(context)
        self._cursor = data.cursor or self._cursor
        for request in data.run_requests or []:
            assert (request.run_key or "").startswith(request.tags["dagster/partition"])
        return [request.run_key or "" for request in data.run_requests or []]


@pytest.fixture
def ticks(deployment: Deployment) -> Ticks:
    """The sensor after its first look, with last week and this week in the ledger."""
    assert deployment.materialize("2026-02-09", "2026-02-16").success
    sensor = Ticks(deployment)
    assert sensor.tick() == []
    return sensor


def test_it_is_on_and_runs_the_collection() -> None:
    assert closed_epochs.default_status is dg.DefaultSensorStatus.RUNNING
    assert closed_epochs.job_name == "collect_epoch"


def test_the_first_look_asks_for_none_of_the_past(ticks: Ticks) -> None:
    assert ticks.tick() == []


def test_an_epoch_is_asked_for_once_when_it_is_over(ticks: Ticks, deployment: Deployment) -> None:
    deployment.set_clock(shown_whole_at(WEEK) - timedelta(microseconds=1))
    assert ticks.tick() == []
    deployment.set_clock(shown_whole_at(WEEK))
    assert ticks.tick() == ["2026-02-16|default ended"]
    assert ticks.tick() == []


def test_an_epoch_is_asked_for_when_its_status_moves(
    ticks: Ticks, deployment: Deployment, ledger_engine: Engine
) -> None:
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    assert ticks.tick() == ["2026-02-16|default review"]
    assert ticks.tick() == []
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.FINALIZED)
    assert ticks.tick() == ["2026-02-16|default finalized"]
    assert ticks.tick() == []


def test_the_run_it_asks_for_turns_a_running_square_complete(ticks: Ticks, deployment: Deployment) -> None:
    before = deployment.metadata("activity_events", "2026-02-16|default")["state"]
    deployment.set_clock(shown_whole_at(WEEK))
    [key] = ticks.tick()
    assert deployment.materialize(key.partition("|")[0]).success
    after = deployment.metadata("activity_events", "2026-02-16|default")["state"]
    assert (before, after) == ("running: collected up to 2026-02-18T12:00Z", "complete")


def test_all_epochs_that_closed_while_it_was_off_are_asked_for_once_each(ticks: Ticks, deployment: Deployment) -> None:
    deployment.set_clock(shown_whole_at(window("2026-02-23")))
    assert deployment.materialize("2026-02-23").success
    assert ticks.tick() == ["2026-02-16|default review", "2026-02-23|default ended"]
    assert ticks.tick() == []


@pytest.mark.parametrize(
    ("url", "says"),
    [(None, "DATABASE_URL is not set"), ("postgresql://u@127.0.0.1:1/d", "127.0.0.1"), ("migrate me", "db upgrade")],
    ids=["not set", "down", "not migrated"],
)
def test_without_a_ledger_it_skips_with_the_reason(
    deployment: Deployment, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, url: str | None, says: str
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    deployment.configure(database_url=empty_database_url if url == "migrate me" else url)
    resources = deployment.definitions().resources
    with dg.build_sensor_context(instance=deployment.instance, resources=resources) as context:
        data = closed_epochs.evaluate_tick(context)
    assert says in (data.skip_message or "")
    assert not data.run_requests


# Runs' ends in the log.


def logged(sensor: dg.RunStatusSensorDefinition, context: Any, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    with caplog.at_level(logging.INFO, logger=LOGGER):
        sensor(context)
    [record] = [record for record in caplog.records if record.name == LOGGER]
    line = JsonFormatter().format(record)
    assert "\n" not in line
    fields = json.loads(line)
    assert fields | getattr(record, FIELDS) == fields
    return {name: fields[name] for name in ("level", "message", *getattr(record, FIELDS))}


def test_a_run_that_succeeded_is_one_line_with_its_partitions_and_workflow(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    tags = {WORKFLOW_ID_TAG: "ledger-collect-x", "ledger/trigger": "temporal"}
    result = deployment.materialize("2026-02-09", "2026-02-16", tags=tags)
    context = succeeded(deployment, result)
    line = logged(log_succeeded_runs, context, caplog)
    assert line.pop("duration_seconds") > 0
    assert line == {
        "level": "INFO",
        "message": "run succeeded",
        "run_id": result.run_id,
        "job": "collect_epoch",
        "scope": "default",
        "partition": "2026-02-09|default...2026-02-16|default",
        "trigger": "temporal",
        "workflow_id": "ledger-collect-x",
        "workflow_run_id": None,
    }


def succeeded(deployment: Deployment, result: dg.ExecuteInProcessResult) -> dg.RunStatusSensorContext:
    [event] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.RUN_SUCCESS]
    return dg.build_run_status_sensor_context("log_succeeded_runs", event, deployment.instance, result.dagster_run)


def failed(deployment: Deployment, result: dg.ExecuteInProcessResult) -> dg.RunFailureSensorContext:
    [event] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context("log_failed_runs", event, deployment.instance, result.dagster_run)
    return context.for_run_failure()


def test_a_run_that_failed_is_one_line_with_what_its_first_failing_step_said(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    result = deployment.materialize("2026-02-16")
    line = logged(log_failed_runs, failed(deployment, result), caplog)
    assert (line["level"], line["message"], line["step"]) == ("ERROR", "run failed", "github_activity")
    assert line["problem"].startswith(f"github {NAME}: no such repository")
    assert (line["partition"], line["trigger"]) == ("2026-02-16|default", "manual")


def test_a_bug_is_logged_with_its_own_message(
    deployment: Deployment, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("of all things")

    monkeypatch.setattr("ledger_pipeline.defs.activity_events.window_completeness", broken)
    result = deployment.materialize("2026-02-16", selection=[ACTIVITY_EVENTS])
    line = logged(log_failed_runs, failed(deployment, result), caplog)
    assert (line["step"], "of all things" in line["problem"]) == ("activity_events", True)


def test_where_nobody_configured_logging_the_line_goes_to_stderr(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger(LOGGER)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    try:
        result = deployment.materialize("2026-02-16")
        log_succeeded_runs(succeeded(deployment, result))
        log_succeeded_runs(succeeded(deployment, result))
        lines = capsys.readouterr().err.splitlines()
    finally:
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
    assert [json.loads(line)["run_id"] for line in lines if LOGGER in line] == [result.run_id] * 2


def test_the_sensors_of_runs_are_on() -> None:
    sensors = (log_succeeded_runs, log_failed_runs)
    assert [sensor.default_status for sensor in sensors] == [dg.DefaultSensorStatus.RUNNING] * 2
