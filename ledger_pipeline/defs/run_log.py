"""The end of every run as one line of JSON on the logger `ledger_pipeline.runs`: what a log collector alerts on."""

import logging
from typing import Any

import dagster as dg

from ledger_pipeline.dagster_contract import (
    WORKFLOW_ID_TAG,
    WORKFLOW_RUN_ID_TAG,
    first_and_last_partition,
    scope_of_run,
)
from ledger_pipeline.defs.metadata import run_trigger
from ledger_pipeline.logs import FIELDS, JsonFormatter

LOGGER = "ledger_pipeline.runs"


def log_run(instance: dg.DagsterInstance, run: dg.DagsterRun, failed: dg.RunFailureSensorContext | None = None) -> None:
    """Log `run`, which is finished: at INFO, or at ERROR with its first failing step where it `failed`."""
    level, message = (logging.INFO, "run succeeded") if failed is None else (logging.ERROR, "run failed")
    _logger().log(level, message, extra={FIELDS: run_summary(instance, run, failed)})


def run_summary(
    instance: dg.DagsterInstance, run: dg.DagsterRun, failed: dg.RunFailureSensorContext | None = None
) -> dict[str, Any]:
    """What the line says; what the run has not is null. `duration_seconds` is from start to end.

    `partition` is `first...last` of a range; `problem` is what the first failing `step` said.
    """
    record = instance.get_run_record_by_id(run.run_id)
    started, ended = (record.start_time, record.end_time) if record else (None, None)
    partitions = dict.fromkeys(first_and_last_partition(run.tags) or ())
    summary: dict[str, Any] = {
        "run_id": run.run_id,
        "job": run.job_name,
        "scope": scope_of_run(run.tags),
        "partition": "...".join(partitions) or None,
        "trigger": run_trigger(run.tags),
        "workflow_id": run.tags.get(WORKFLOW_ID_TAG),
        "workflow_run_id": run.tags.get(WORKFLOW_RUN_ID_TAG),
        "duration_seconds": None if started is None or ended is None else round(ended - started, 3),
    }
    if failed is not None:
        summary["step"], summary["problem"] = _first_problem(failed)
    return summary


def _first_problem(failed: dg.RunFailureSensorContext) -> tuple[str | None, str]:
    """The first failing step and what it said; what the run said where no step had begun."""
    for event in failed.get_step_failure_events():
        failure = event.step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return event.step_key, failure.user_failure_data.description
        if failure.error is not None:
            return event.step_key, (failure.error.cause or failure.error).message.strip()
    return None, (failed.failure_event.message or "the run failed: see its log in Dagster").strip()


def _logger() -> logging.Logger:
    """The logger; where the process configures no logging, as Dagster's code server does not, it writes to stderr."""
    logger = logging.getLogger(LOGGER)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    return logger
