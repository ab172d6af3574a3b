"""Temporal: reachable, with the schedules that the repo-spec wants, and a worker on our queue."""

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.findings import Finding, State, failed, fine, skipped, warning, within_limit
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline.temporal_bridge.pollers import REMEDY, namespace_state, pollers, stranger
from ledger_pipeline.temporal_bridge.schedules.plan import CHARTER, Action, ScheduleStep, desired
from ledger_pipeline.temporal_bridge.schedules.server import sync_schedules

TEMPORAL = "temporal"
SCHEDULES = "schedules"
WORKER = "worker"

_NOT_AS_WANTED = frozenset({Action.CREATED, Action.UPDATED, Action.RESUMED})
_WOULD_BE = {
    Action.CREATED: "is missing",
    Action.UPDATED: "is not as wanted",
    Action.RESUMED: "is paused by us, and wanted again",
    Action.PAUSED: "still runs",
}


async def check_temporal(settings: Settings) -> Finding:
    """The server answers, and has the namespace."""
    try:
        return fine(TEMPORAL, await within_limit(namespace_state(settings)))
    except LedgerError as error:
        remedy = (
            "check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE (for Temporal Cloud also TEMPORAL_API_KEY or the client "
            "certificate), and that the server runs"
        )
        return failed(TEMPORAL, error, remedy)


async def check_schedules(settings: Settings, spec: RepoSpec | None, temporal: Finding) -> Finding:
    """Each wanted schedule is there, runs, and is as the repo-spec has it: `schedules sync` would do nothing."""
    if spec is None or temporal.state is not State.OK:
        return skipped(SCHEDULES, "the repo-spec cannot be read" if spec is None else "Temporal cannot be asked")
    try:
        steps = await within_limit(sync_schedules(settings, spec, dry_run=True))
    except LedgerError as error:
        return failed(SCHEDULES, error, "check that TEMPORAL_NAMESPACE may be read with these credentials")
    wanted = desired(spec).schedules
    wrong = [step for step in steps if step.action in _NOT_AS_WANTED]
    conflicts = [step for step in steps if step.action is Action.CONFLICT]
    if conflicts:
        return failed(
            SCHEDULES, _told(conflicts), "give this node a Temporal namespace of its own, or delete that schedule"
        )
    if wrong:
        return failed(SCHEDULES, _told(wrong), "run `ledger-pipeline schedules sync`")
    paused = [step for step in steps if step.action is Action.LEFT_PAUSED and step.schedule_id in wanted]
    if paused:
        return warning(SCHEDULES, _told(paused), "run `ledger-pipeline schedules sync --resume` to have it run again")
    running = [step for step in steps if step.action is Action.PAUSED]
    if running:
        return warning(SCHEDULES, _told(running), "run `ledger-pipeline schedules sync`, which pauses it")
    if not wanted:
        remedy = f"write a schedule with charter {CHARTER} under governance.schedules, then `schedules sync`"
        return warning(SCHEDULES, "the repo-spec wants none: no workflow starts by itself", remedy)
    return fine(SCHEDULES, f"in sync: {', '.join(wanted)}")


async def check_worker(settings: Settings, spec: RepoSpec | None, ledger_id: str | None, temporal: Finding) -> Finding:
    """A worker of ours polls our queue, for workflows and for activities, and nobody else's does."""
    if temporal.state is not State.OK:
        return skipped(WORKER, "Temporal cannot be asked")
    remedy = "start `ledger-pipeline worker` with the same TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE; see its /readyz"
    try:
        seen = await within_limit(pollers(settings))
    except LedgerError as error:
        return failed(WORKER, error, remedy)
    missing = [kind for kind, pollers in seen.items() if not pollers]
    if missing:
        return failed(WORKER, f"nobody polls {TASK_QUEUE} for {' and '.join(missing)} tasks", remedy)
    pollers_seen = {poller.identity for pollers in seen.values() for poller in pollers}
    strangers = [stranger(identity, spec, spec.scopes, ledger_id) for identity in sorted(pollers_seen)] if spec else []
    foreign = [problem for problem in strangers if problem is not None]
    if foreign:
        return failed(WORKER, f"not ours polls {TASK_QUEUE}: {'; '.join(foreign)}", REMEDY)
    latest = min((pollers[0] for pollers in seen.values()), key=lambda poller: poller.seconds_ago)
    return fine(WORKER, f"{latest.identity} polled {TASK_QUEUE} {max(0.0, latest.seconds_ago):.0f} s ago")


def _told(steps: list[ScheduleStep]) -> str:
    return "; ".join(
        f"{step.schedule_id} {_WOULD_BE[step.action]}: {step.reason}"
        if step.action in _WOULD_BE
        else f"{step.schedule_id}: {step.reason}"
        for step in steps
    )
