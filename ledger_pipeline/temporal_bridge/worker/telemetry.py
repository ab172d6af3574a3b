"""What the worker process tells the outside without being asked: its log, and Prometheus metrics on their own port."""

import logging

from temporalio import activity, workflow
from temporalio.runtime import LogForwardingConfig, LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig
from temporalio.runtime import TelemetryFilter as Levels

from ledger_pipeline.logs import is_for_programs, log_to_stderr
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.worker.health import cannot_listen, resolved

METRICS_SETTING = "WORKER_METRICS_ADDRESS"


def configure_logging() -> None:
    """Lines on stderr for a process that is a worker, as `logs` has them: our own at INFO, all others at WARNING."""
    log_to_stderr(logging.WARNING)
    # JSON has fields for it; people read it behind the message.
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = not is_for_programs()
    for ours in ("ledger_pipeline", "temporalio.activity", "temporalio.workflow"):
        logging.getLogger(ours).setLevel(logging.INFO)
    # It prints a fatal error's traceback; the worker says the same in one line.
    logging.getLogger("temporalio.worker._worker").setLevel(logging.CRITICAL)


def start_runtime(settings: Settings) -> Runtime:
    """Temporal's core, serving /metrics on WORKER_METRICS_ADDRESS for as long as it is referenced; one per process.

    Its warnings go to the logger `temporalio.core`. Raises SettingsError where the address cannot be listened at.
    """
    address = settings.worker_metrics_address
    telemetry = TelemetryConfig(
        metrics=PrometheusConfig(bind_address=resolved(METRICS_SETTING, address)),
        logging=LoggingConfig(
            # While the server is away its retries would be a line a second; that it is away, /readyz says and logs.
            filter=f"{Levels('WARN', 'ERROR').formatted()},temporalio_client::retry=ERROR",
            forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core"), append_target_to_name=False),
        ),
    )
    try:
        return Runtime(telemetry=telemetry)
    except ValueError as error:
        raise cannot_listen(METRICS_SETTING, address, str(error)) from error
