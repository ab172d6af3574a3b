"""The worker's log: JSON in a pipe, and every line of an activity names its workflow and its partition."""

import asyncio
import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.logs import JsonFormatter
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.worker.interceptors import LogContext, partition_of
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.temporal_bridge.running_worker import running_worker, worker_environment

PAYLOAD = {
    "scopeId": str(SCOPE_ID),
    "scopeKey": "default",
    "periodStart": "2026-02-16T00:00:00Z",
    "periodEnd": "2026-02-23T00:00:00Z",
}
LOGGER = "ledger_pipeline.test_log_context"


@activity.defn(name="sayInThread")
def say_in_thread(_: Any) -> None:
    logging.getLogger(LOGGER).warning("deep inside")
    activity.logger.warning("by Temporal's logger")
    raise ValueError("it broke")


@workflow.defn(name="SayingWorkflow")
class SayingWorkflow:
    @workflow.run
    async def run(self, payload: Any) -> None:
        await workflow.execute_activity(
            "sayInThread",
            payload,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


def test_lines_of_an_activity_name_its_workflow_and_partition_to_the_last(temporal_server: TemporalServer) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in (LOGGER, "temporalio.activity")]
    for logger in loggers:
        logger.addHandler(handler)
    workflow_id = f"saying-{uuid4()}"

    async def run() -> None:
        client = await connect(read_settings({"temporal_address": temporal_server.address}))
        with ThreadPoolExecutor(1) as executor:
            async with Worker(
                client,
                task_queue=workflow_id,
                workflows=[SayingWorkflow],
                activities=[say_in_thread],
                activity_executor=executor,
                workflow_runner=UnsandboxedWorkflowRunner(),
                interceptors=[LogContext()],
            ):
                with pytest.raises(Exception, match="failed"):
                    await client.execute_workflow("SayingWorkflow", PAYLOAD, id=workflow_id, task_queue=workflow_id)

    try:
        asyncio.run(run())
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert len(lines) == 3  # the last is Temporal's own, that the activity failed
    assert lines[-1]["exception"].endswith("ValueError: it broke")
    for entry in lines:
        assert (entry["workflow_id"], entry["partition"]) == (workflow_id, "2026-02-16|default")
        assert entry["workflow_run_id"]


@pytest.mark.parametrize(
    ("payload", "partition"),
    [
        (PAYLOAD, "2026-02-16|default"),
        ({**PAYLOAD, "scopeKey": None, "requested": {}}, None),
        ({key: value for key, value in PAYLOAD.items() if key != "scopeKey"}, None),
        (
            {**{key: PAYLOAD[key] for key in ("periodStart", "periodEnd", "scopeId")}, "requested": {"scopeKey": "w"}},
            "2026-02-16|w",
        ),
        ("a string", None),
        (None, None),
    ],
)
def test_a_partition_is_read_from_what_names_one(payload: object, partition: str | None) -> None:
    assert partition_of(payload) == partition


def test_a_workers_output_is_json_line_by_line(
    ledger_url: str, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    identity = {"NODE_ID": str(NODE_ID), "SCOPE_ID": str(SCOPE_ID), "WORKER_GRACE_SECONDS": "1"}
    environment = worker_environment(ledger_url, write_repo_spec(tmp_path, "a/b"), temporal_server.address)
    with running_worker(environment | identity, tmp_path) as worker:
        worker.wait_ready()
        worker.process.terminate()
        assert worker.wait_end() == 0
        lines = [json.loads(line) for line in worker.output.splitlines()]
    assert {"drained", "SIGTERM: stopping"} <= {line["message"] for line in lines}
    assert {line["logger"].split(".")[0] for line in lines} == {"ledger_pipeline"}
    assert all(line["time"].endswith("Z") for line in lines)
