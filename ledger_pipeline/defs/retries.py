"""Runs that a limit of their source ended: when they may be asked for again is a tag of theirs.

What a Temporal workflow launched, the bridge launches again once the time has come; a sensor launches everything else.
A `RetryPolicy` of the asset would do neither: it also repeats what was told to stop, and sleeps in the run's process.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed
from ledger_pipeline.dagster_contract import (
    BACKFILL_JOB,
    COLLECT_EPOCH_JOB,
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    RETRY_AT_TAG,
    RETRY_OF_TAG,
    WORKFLOW_RUN_ID_TAG,
)

# Longer than any limit lasts. What is older is nobody's business any more: it was collected since, or given up.
LOOK_BACK = timedelta(days=2)
RUNS_READ = 500


def remember_retry(instance: dg.DagsterInstance, run_id: str, failed: CollectionFailed, now: datetime) -> None:
    """Tag the run with the time from which on a retry may help, where its source named one."""
    if failed.retry_after_seconds is not None:
        # To the second, and rounded up: who asks a moment too early is told to wait once more.
        at = datetime.fromtimestamp(ceil(now.timestamp() + failed.retry_after_seconds), UTC)
        instance.add_run_tags(run_id, {RETRY_AT_TAG: at.isoformat()})


def due_retries(instance: dg.DagsterInstance, now: datetime) -> Iterator[dg.RunRequest]:
    """A request for each failed run whose time has come, and that nobody has launched or will launch again."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=now - LOOK_BACK)
    due = [run for run in instance.get_runs(failed, limit=RUNS_READ) if _is_due(run, now)]
    launched = _launched_again(instance, due)
    for run in due:
        if run.run_id not in launched:
            partitions = {
                key: run.tags[key] for key in (PARTITION_TAG, RANGE_START_TAG, RANGE_END_TAG) if key in run.tags
            }
            is_ours = run.job_name in (COLLECT_EPOCH_JOB, BACKFILL_JOB)
            yield dg.RunRequest(
                run_key=f"in place of {run.run_id}",
                # A run of single assets is made up for by the whole collection.
                job_name=run.job_name if is_ours else COLLECT_EPOCH_JOB,
                run_config=run.run_config if is_ours else {},
                tags={**partitions, RETRY_OF_TAG: run.run_id},
            )


def _is_due(run: dg.DagsterRun, now: datetime) -> bool:
    at = run.tags.get(RETRY_AT_TAG)
    return at is not None and WORKFLOW_RUN_ID_TAG not in run.tags and datetime.fromisoformat(at) <= now


def _launched_again(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> set[str]:
    if not runs:
        return set()
    successors = instance.get_runs(dg.RunsFilter(tags={RETRY_OF_TAG: [run.run_id for run in runs]}))
    return {run.tags[RETRY_OF_TAG] for run in successors}
