"""`ledger-pipeline worker`: the Temporal worker of this deployment."""

from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.worker.telemetry import configure_logging
from ledger_pipeline.temporal_bridge.worker.worker import run_ledger_worker


def command() -> None:
    """Run the Temporal worker on the queue `ledger-tasks` until SIGTERM or Ctrl-C, then let its activities finish.

    Needs NODE_ID and SCOPE_ID as the repo-spec has them, a migrated database, and a Temporal server
    (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE). Serves /livez and /readyz on WORKER_HEALTH_ADDRESS and Prometheus metrics
    on WORKER_METRICS_ADDRESS.
    """
    configure_logging()
    run_ledger_worker(read_settings())
