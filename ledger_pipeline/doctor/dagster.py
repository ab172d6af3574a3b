"""Dagster: its API with our code location, and the daemon that starts what is queued."""

import time

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.findings import Finding, State, answer_of, failed, fine, skipped
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.collection.dagster_answers import DaemonStatus
from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client

DAGSTER = "dagster"
DAEMON = "daemon"


async def check_dagster(settings: Settings, spec: RepoSpec | None, ledger_id: str | None) -> Finding:
    """The API answers, and has our code location and job loaded: our repo-spec's and ledger's where known."""
    try:
        version = await answer_of(lambda: dagster_client(settings).check(spec, ledger_id))
    except LedgerError as error:
        remedy = (
            "start Dagster's webserver at DAGSTER_URL, with our code location named as DAGSTER_CODE_LOCATION; where it "
            "is not loaded, its page Deployment says why"
        )
        return failed(DAGSTER, error, remedy)
    return fine(DAGSTER, f"{version} at {settings.dagster_url}, code location {settings.dagster_code_location}")


async def check_daemon(settings: Settings, dagster: Finding) -> Finding:
    """Each daemon that this instance needs is alive: without them queued runs never start."""
    if dagster.state is not State.OK:
        return skipped(DAEMON, "Dagster cannot be asked")
    remedy = "start `dagster-daemon run` with Dagster's workspace and the same DAGSTER_HOME; its log says what ails it"
    try:
        needed = [daemon for daemon in await answer_of(lambda: dagster_client(settings).daemons()) if daemon.required]
    except LedgerError as error:
        return failed(DAEMON, error, remedy)
    ill = [daemon for daemon in needed if not daemon.healthy]
    if ill:
        return failed(DAEMON, f"queued runs do not start: {'; '.join(map(_told, ill))}", remedy)
    return fine(DAEMON, f"alive: {', '.join(daemon.kind.lower() for daemon in needed) or 'none is needed'}")


def _told(daemon: DaemonStatus) -> str:
    name = daemon.kind.lower()
    if daemon.last_heartbeat is None:
        return f"{name} has never been heard of"
    silent = f"{name} was last heard of {time.time() - daemon.last_heartbeat:.0f} s ago"
    return f"{silent}: {daemon.problem.splitlines()[0]}" if daemon.problem else silent
