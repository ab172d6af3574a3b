"""The sensors: epochs that just closed are looked at once more, what a limit ended is launched again, and every run's
end is one line in the log.

The Temporal schedule collects the running epoch. When that is over it goes on with the next one, so nothing would ever
say on the closed epoch's own square that it is complete, in review or finalized: that is what the first sensor is for.
It is on, because a square that says "running" for ever is not true, and it costs one scan an epoch at most.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs.jobs import backfill, collect_epoch
from ledger_pipeline.defs.partitions import partition_run
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.retries import due_retries
from ledger_pipeline.defs.run_log import log_run
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.store.records import EpochStatus

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

CHECK_SECONDS = 300
RETRY_CHECK_SECONDS = 30


@dg.sensor(
    name="closed_epochs",
    job=collect_epoch,
    minimum_interval_seconds=CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Materializes an epoch once more when it is over, and when it moves to review or is finalized.",
)
def closed_epochs(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[SettingsResource],
    ledger: dg.ResourceParam[LedgerResource],
    clock: dg.ResourceParam[Clock],
) -> dg.SensorResult | dg.SkipReason:
    """One request for each epoch that ended or changed its status since the last tick; the first tick only looks."""
    now = clock.now()
    try:
        spec = settings.repo_spec()
        with ledger.open() as store:
            statuses_by_scope = {scope.scope_key: _statuses(store, scope, now) for scope in spec.scopes}
    except LedgerError as error:
        return dg.SkipReason(plain_message(str(error)))
    cursor = json.dumps(
        {"at": now.isoformat(), "statuses": {key: _unfinished(statuses) for key, statuses in statuses_by_scope.items()}}
    )
    if context.cursor is None:
        return dg.SensorResult(skip_reason="the first look: epochs that close from now on are asked for", cursor=cursor)
    before = json.loads(context.cursor)
    requests = [
        partition_run(window, scope, run_key_suffix=event)
        for scope in spec.scopes
        for window, event in _changes(
            statuses_by_scope[scope.scope_key],
            before["statuses"].get(scope.scope_key, {}),
            datetime.fromisoformat(before["at"]),
            now,
        )
    ]
    return dg.SensorResult(run_requests=requests, cursor=cursor)


@dg.sensor(
    name="passed_limits",
    jobs=[collect_epoch, backfill],
    minimum_interval_seconds=RETRY_CHECK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches again what a limit of its source ended, once that has passed.",
)
def passed_limits(
    context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock]
) -> dg.SensorResult | dg.SkipReason:
    """One request for each run that may be asked for again now; what a workflow launched is the workflow's."""
    requests = list(due_retries(context.instance, clock.now()))
    return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("no limit has passed")


@dg.run_status_sensor(
    name="log_succeeded_runs",
    run_status=dg.DagsterRunStatus.SUCCESS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs one line of JSON for each run that succeeded.",
)
def log_succeeded_runs(context: dg.RunStatusSensorContext) -> None:
    """One line on the logger `ledger_pipeline.runs`, at INFO."""
    log_run(context.instance, context.dagster_run)


@dg.run_failure_sensor(
    name="log_failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Logs one line of JSON for each run that failed, with what its first failing step said.",
)
def log_failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One line on the logger `ledger_pipeline.runs`, at ERROR."""
    log_run(context.instance, context.dagster_run, context)


_Statuses = dict[EpochWindow, EpochStatus]


def _statuses(store: "PostgresLedger", scope: Scope, now: datetime) -> _Statuses:
    first = datetime.combine(scope.first_epoch, datetime.min.time(), UTC)
    if first >= now:
        return {}
    return {epoch.window: epoch.status for epoch in store.epochs.within(scope.scope_id, EpochWindow(first, now))}


def _unfinished(statuses: _Statuses) -> dict[str, str]:
    """What a cursor remembers: the statuses that can still change, by epoch key."""
    return {window.key: status.value for window, status in statuses.items() if status is not EpochStatus.FINALIZED}


def _changes(
    statuses: _Statuses, before: dict[str, str], since: datetime, now: datetime
) -> Iterator[tuple[EpochWindow, str]]:
    for window, status in statuses.items():
        if window.key in before and before[window.key] != status.value:
            yield window, status.value
        elif since < shown_whole_at(window) <= now:
            yield window, "ended"
