"""Dagster's services on their way out: what they began is finished first, as what they leave behind shows as failed."""

import time
from collections.abc import Callable, Collection
from datetime import datetime

import dagster as dg

from ledger_pipeline.local.dagster_services import DagsterServices
from ledger_pipeline.local.processes import stop

DRAIN_TIMEOUT_SECONDS = 120
_PAUSE_SECONDS = 0.2

_BEGUN = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_TO_COME = (dg.DagsterRunStatus.QUEUED, *_BEGUN)


def drain(
    services: DagsterServices,
    instance: dg.DagsterInstance,
    since: datetime,
    say: Callable[[str], None],
    timeout_seconds: float = DRAIN_TIMEOUT_SECONDS,
) -> None:
    """Stop the daemon once no run is queued or on its way; return once those that it began meanwhile are done.

    It looks at the runs that changed after `since`: one that another session left behind is not waited for. `say`
    hears in one line that it waits, and of the runs that are not done when the time is up.
    """
    deadline = time.monotonic() + timeout_seconds
    _wait(instance, since, _TO_COME, say, deadline)
    stop(services.children["daemon"].popen)  # it would begin what a sensor or a schedule asks for next
    _wait(instance, since, _BEGUN, say, deadline)


def _wait(
    instance: dg.DagsterInstance,
    since: datetime,
    statuses: Collection[dg.DagsterRunStatus],
    say: Callable[[str], None],
    deadline: float,
) -> None:
    wanted = dg.RunsFilter(statuses=list(statuses), updated_after=since)
    runs = instance.get_runs(wanted)
    if runs:
        say(f"waiting for Dagster to finish what its sensors asked for: {_named(runs)}")
    while runs:
        if time.monotonic() > deadline:
            say(f"not done in time, so it will show as failed: {_named(runs)}")
            return
        time.sleep(_PAUSE_SECONDS)
        runs = instance.get_runs(wanted)


def _named(runs: Collection[dg.DagsterRun]) -> str:
    return ", ".join(f"{run.job_name} {run.run_id}" for run in runs)
