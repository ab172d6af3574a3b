"""The worker as it is deployed: the real workflows, the real activities, and what they are made of. Decides nothing."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github.source import open_github
from ledger_pipeline.temporal_bridge.activities import PAGE_SIZE, LedgerActivities
from ledger_pipeline.temporal_bridge.connection import workflow_url
from ledger_pipeline.temporal_bridge.contract import CANCEL_QUEUE, FINALIZE_QUEUE, TASK_QUEUE
from ledger_pipeline.temporal_bridge.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.finalize_activity import FinalizeActivities
from ledger_pipeline.temporal_bridge.finalize_workflow import FinalizeEpochWorkflow
from ledger_pipeline.temporal_bridge.materialize import PartitionActivities
from ledger_pipeline.temporal_bridge.queue_workers import QueueWork
from ledger_pipeline.temporal_bridge.worker import WorkerParts, run_worker
from ledger_pipeline.temporal_bridge.workflows import CollectEpochWorkflow

# On a queue of its own an activity ends in seconds: as many as come at once, not as many as wait.
PROMPT_SLOTS = 100


def run_ledger_worker(settings: Settings) -> None:
    """Work on `ledger-tasks` and the queues beside it until told to stop. Raises as `run_worker` does."""
    dagster = dagster_client(settings)
    asyncio.run(run_worker(settings, work=partial(ledger_work, dagster), dagster_check=dagster.check))


def dagster_client(settings: Settings) -> DagsterClient:
    """Dagster's API as the settings name it. Raises DagsterError for an address that is none, SettingsError."""
    return DagsterClient(
        settings.dagster_url,
        location=settings.dagster_code_location,
        ui_url=settings.dagster_ui_url,
        headers=settings.dagster_request_headers(),
    )


def ledger_work(dagster: DagsterClient, parts: WorkerParts) -> Mapping[str, QueueWork]:
    """What a worker does, by task queue."""
    settings, threads = parts.settings, parts.threads
    ledger = LedgerActivities(
        parts.spec, parts.ledger, partial(open_github, settings, PAGE_SIZE), lambda: datetime.now(UTC), threads
    )
    partition = PartitionActivities(dagster, parts.client, partial(workflow_url, settings), threads)
    settling = FinalizeActivities(parts.spec, parts.ledger, threads.settling)
    prompt: dict[str, Callable[..., Any]] = {
        FINALIZE_QUEUE: settling.finalize_epoch,
        CANCEL_QUEUE: partition.cancel_partition_run,
    }
    # Those of the prompt queues also where workflows of earlier releases, and of other systems, ask for them.
    everything: list[Callable[..., Any]] = [*ledger.activities, partition.materialize_partition, *prompt.values()]
    workflows = [CollectEpochWorkflow, FinalizeEpochWorkflow]
    return {
        TASK_QUEUE: QueueWork(everything, settings.worker_activity_slots, workflows),
        **{queue: QueueWork([activity], PROMPT_SLOTS) for queue, activity in prompt.items()},
    }
