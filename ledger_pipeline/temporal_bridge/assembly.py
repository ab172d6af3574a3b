"""The worker as it is deployed: the real workflows, the real activities, and what they are made of. Decides nothing."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github.source import open_github
from ledger_pipeline.temporal_bridge.activities import PAGE_SIZE, LedgerActivities
from ledger_pipeline.temporal_bridge.connection import workflow_url
from ledger_pipeline.temporal_bridge.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.finalize_activity import FinalizeActivities
from ledger_pipeline.temporal_bridge.finalize_workflow import FinalizeEpochWorkflow
from ledger_pipeline.temporal_bridge.materialize import PartitionActivities
from ledger_pipeline.temporal_bridge.worker import WorkerParts, run_worker
from ledger_pipeline.temporal_bridge.workflows import CollectEpochWorkflow


def run_ledger_worker(settings: Settings) -> None:
    """Work on `ledger-tasks` until told to stop. Raises as `run_worker` does."""
    dagster = dagster_client(settings)
    asyncio.run(
        run_worker(
            settings,
            workflows=[CollectEpochWorkflow, FinalizeEpochWorkflow],
            activities=partial(_activities, dagster),
            dagster_check=dagster.check,
        )
    )


def dagster_client(settings: Settings) -> DagsterClient:
    """Dagster's API as the settings name it. Raises DagsterError for an address that is none, SettingsError."""
    return DagsterClient(
        settings.dagster_url,
        location=settings.dagster_code_location,
        ui_url=settings.dagster_ui_url,
        headers=settings.dagster_request_headers(),
    )


def _activities(dagster: DagsterClient, parts: WorkerParts) -> Sequence[Callable[..., Any]]:
    settings = parts.settings
    ledger = LedgerActivities(
        parts.spec, parts.ledger, lambda: open_github(settings, PAGE_SIZE), lambda: datetime.now(UTC)
    )
    partition = PartitionActivities(dagster, parts.client, partial(workflow_url, settings))
    settling = FinalizeActivities(parts.spec, parts.ledger)
    return [
        *ledger.activities,
        partition.materialize_partition,
        partition.cancel_partition_run,
        settling.finalize_epoch,
    ]
