"""Concurrency: who waits for whom. The limits themselves are the instance's, in its dagster.yaml.

Each source has a concurrency pool of its name. Runs wait in the queue, holding no process, while a concurrency pool or
their scope is full (`granularity: run`). A limit by tag needs a tag, and Dagster gives none of ours to the runs of a
backfill: the run queue adds it to every run it is given.
"""

from typing import Any

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from ledger_pipeline.core.sources import source_kinds
from ledger_pipeline.dagster_contract import SCOPE_TAG, scope_of_run

# For an instance that retries runs (`run_retries`): a run whose process was stopped or killed is repeated as a whole,
# which costs no request for what it had stored. One whose step failed is not: the step has said what is wrong.
RETRIES = {
    "dagster/retry_strategy": "ALL_STEPS",
    "dagster/retry_on_asset_or_op_failure": "false",
}


class ScopedRunQueue(QueuedRunCoordinator[Any]):
    """Dagster's run queue; each run says in SCOPE_TAG whose epochs it is about and, in RETRIES, when it is retried.

    A run over several scopes has no such tag, for a tag has one value: it waits for a free concurrency pool alone.
    Beside a run of one of its scopes it reads some pages twice, which the ledger counts as duplicates.

    Named in dagster.yaml as `run_coordinator`, with the same configuration as Dagster's own.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Enqueue the run, tagged with its scope where it is of one."""
        run = context.dagster_run
        storage = self._instance.event_log_storage
        limited = {limit.name for limit in storage.get_pool_limits()}
        for source in source_kinds():
            if source.name not in limited:
                # Dagster makes a concurrency pool's limit when it first looks for it, and lets all pass that once.
                storage.initialize_concurrency_limit_to_default(source.name)
        scope_key = scope_of_run(run.tags)
        scope = {} if scope_key is None else {SCOPE_TAG: scope_key}
        # What whoever launched the run said of its retries stands.
        retries = {name: value for name, value in RETRIES.items() if name not in run.tags}
        self._instance.add_run_tags(run.run_id, retries | scope)
        return super().submit_run(context)
