"""The Dagster schedule, off unless somebody turns it on: in production the Temporal schedule is the trigger."""

from collections.abc import Iterator
from datetime import UTC

import dagster as dg

from ledger_pipeline.core.spec import RepoSpec, ScheduleSpec
from ledger_pipeline.defs.jobs import collect_epoch
from ledger_pipeline.defs.partitions import partition_run

CHARTER = "LEDGER_INGEST"
DEFAULT_CRON = "0 6 * * *"


def collect_running_epochs(spec: RepoSpec) -> dg.ScheduleDefinition:
    """A run of the running epoch for every scope, when the default scope's LEDGER_INGEST says, else daily at 06:00 UTC.

    The epoch is our calendar's, at the time of the tick: to Dagster an epoch of two weeks is over after one.
    """
    wanted = _ingest_schedule(spec)

    @dg.schedule(
        name="collect_running_epochs",
        job=collect_epoch,
        cron_schedule=wanted.cron if wanted else DEFAULT_CRON,
        execution_timezone=wanted.timezone if wanted else "UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Collects the running epoch of every scope. Off: the Temporal schedule does it in production.",
    )
    def collect_running_epochs(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        at = context.scheduled_execution_time.astimezone(UTC)
        window = spec.calendar.window_at(at)
        begun = [scope for scope in spec.scopes if scope.first_epoch <= window.start.date()]
        if not begun:
            yield dg.SkipReason(f"no scope has begun by {window.key}: the first epoch is {spec.first_epoch}")
        for scope in begun:
            yield partition_run(window, scope, run_key_suffix=at.isoformat())

    return collect_running_epochs


def _ingest_schedule(spec: RepoSpec) -> ScheduleSpec | None:
    return next(
        (schedule for schedule in spec.default_scope.schedules if schedule.charter.casefold() == CHARTER.casefold()),
        None,
    )
