"""Where runs in place are launched, and how it is noticed that the process of one is gone.

Dagster's own launcher cannot tell. A run whose process was killed together with its code location would then stay
STARTED, and its scope taken, until the instance's `max_runtime_seconds` have passed.
"""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher of runs in place; the code location's server is asked which runs it has.

    Named in dagster.yaml as `run_launcher`. The daemon's `run_monitoring` asks for every run in progress.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring asks only a launcher that says so."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED once the server answers that it does not have the run: it was started anew, and the process is gone.

        RUNNING also where the server does not answer: that proves nothing about the process, and the server answers
        again once its container is back.
        """
        client: DagsterGrpcClient | None = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.FAILED, "the run does not say which code location has it")
        try:
            answer = deserialize_value(client.get_current_runs(), GetCurrentRunsResult)
        except DagsterUserCodeUnreachableError as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"its code location does not answer: {error}")
        if run.run_id in answer.current_runs:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, "its process is gone: the code location was stopped or restarted meanwhile"
        )
