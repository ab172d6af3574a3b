"""Where runs in place are launched, and how it is noticed that the process of one is gone.

Dagster's own launcher cannot tell. A run whose process was killed together with its code location would then stay
STARTED, and its scope taken, until the instance's `max_runtime_seconds` have passed. And a run that is being launched
while its code location stops would be failed for good, because not every error of that moment says so.
"""

import time

from dagster import DagsterRun, DefaultRunLauncher, deserialize_value

# Dagster exports its launcher, but neither what it is called with and raises, nor the client of its code server.
from dagster._core.errors import (
    DagsterCodeLocationNotFoundError,
    DagsterLaunchFailedError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import ConfigurableClassData

# A server that stops refuses questions at once. Its runs may be told a moment before it is.
STOPPING_SHOWS_WITHIN_SECONDS = 5
ASK_AGAIN_SECONDS = 0.2


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher of runs in place; the code location's server is asked which runs it has.

    Named in dagster.yaml as `run_launcher`. The daemon's `run_monitoring` asks for every run in progress. Not
    thread-safe.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._denied_by: dict[str, str] = {}  # run id -> the id of the server that did not have it
        super().__init__(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch the run, as Dagster's own does.

        Raises DagsterUserCodeUnreachableError, for which the run queue keeps the run and tries again, also where the
        code location is being loaded, or stops while it launches the run.
        """
        try:
            super().launch_run(context)
        except DagsterCodeLocationNotFoundError as error:
            raise DagsterUserCodeUnreachableError(f"the run's code location is not loaded: {error}") from error
        except DagsterLaunchFailedError as error:
            if _stops(context):
                raise DagsterUserCodeUnreachableError(f"the run's code location has stopped: {error}") from error
            raise

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring asks only a launcher that says so."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED once the server has answered twice that it does not have the run: it was started anew.

        RUNNING also where the server does not answer: that proves nothing about the process, and the server answers
        again once its container is back. Whoever launches the run again needs the code location: by the second answer
        the daemon has noticed that it is back.
        """
        client: DagsterGrpcClient | None = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, "the run does not say which code location has it")
        try:
            server_id = client.get_server_id()
            answer = deserialize_value(client.get_current_runs(), GetCurrentRunsResult)
        except DagsterUserCodeUnreachableError as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"its code location does not answer: {error}")
        if run.run_id in answer.current_runs:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if self._denied_by.get(run.run_id) != server_id:
            self._denied_by[run.run_id] = server_id
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code location was started anew: asked once more")
        del self._denied_by[run.run_id]
        return CheckRunHealthResult(
            WorkerStatus.FAILED, "its process is gone: the code location was stopped or restarted meanwhile"
        )


def _stops(context: LaunchRunContext) -> bool:
    """Whether the server that was to launch the run goes away, or another has taken its place."""
    origin = context.dagster_run.remote_job_origin
    if origin is None or context.workspace is None:
        return False
    location = context.workspace.get_code_location(origin.location_name)
    if not isinstance(location, GrpcServerCodeLocation):
        return False
    deadline = time.monotonic() + STOPPING_SHOWS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            if location.client.get_server_id(timeout=STOPPING_SHOWS_WITHIN_SECONDS) != location.server_id:
                return True
        except DagsterUserCodeUnreachableError:
            return True
        time.sleep(ASK_AGAIN_SECONDS)
    return False
