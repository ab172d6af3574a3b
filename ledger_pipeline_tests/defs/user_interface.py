"""Dagster's UI and daemon on a deployment: the GraphQL that its pages send, answered in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster_graphql.test.utils import execute_dagster_graphql

from ledger_pipeline.dagster_contract import CODE_LOCATION
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    PAYOUT_STATEMENT,
    POOL_COMPONENTS,
    stream_key,
)
from ledger_pipeline_tests.defs.deployment import Deployment

COLLECTED = [*(stream_key(stream) for stream in ("pull_requests", "reviews", "issues")), ACTIVITY_EVENTS]

_PARTITIONS = """
    query ($key: AssetKeyInput!) {
      assetNodeOrError(assetKey: $key) {
        ... on AssetNode {
          partitionKeysByDimension { name partitionKeys }
          partitionStats { numPartitions numMaterialized numFailed }
        }
      }
    }
"""
_IN_STEP = """
    query ($key: AssetKeyInput!, $partition: String!) {
      assetNodeOrError(assetKey: $key) { ... on AssetNode { staleStatus(partition: $partition) } }
    }
"""
_BACKFILL = """
    mutation ($backfillParams: LaunchBackfillParams!) {
      launchPartitionBackfill(backfillParams: $backfillParams) {
        __typename
        ... on LaunchBackfillSuccess { backfillId }
        ... on PythonError { message }
      }
    }
"""
_LAUNCH = """
    mutation ($executionParams: ExecutionParams!) {
      launchRun(executionParams: $executionParams) {
        __typename
        ... on RunConfigValidationInvalid { errors { message } }
        ... on PythonError { message }
      }
    }
"""
# A file of its own for each deployment: Dagster keeps what it has loaded from one.
_CODE = """\
from ledger_pipeline_tests.defs.user_interface import shown

definitions = shown[-1].definitions()
"""
shown: list[Deployment] = []


class UserInterface:
    """What somebody sees of the assets, and does with them, at the deployment's time."""

    def __init__(self, deployment: Deployment, workspace: WorkspaceProcessContext) -> None:
        self._deployment = deployment
        self.workspace = workspace

    def grid(self) -> dict[str, list[str]]:
        """The partition keys of `activity_events`, by dimension."""
        dimensions = self._asset()["partitionKeysByDimension"]
        return {dimension["name"]: dimension["partitionKeys"] for dimension in dimensions}

    def materialized(self) -> int:
        """How many of the grid's partitions are green."""
        return int(self._asset()["partitionStats"]["numMaterialized"])

    def backfill(self, *partitions: str) -> list[dg.DagsterRun]:
        """Materialize the partitions of every asset, as the dialog does; the runs, all of which succeeded."""
        assets = [{"path": key.path} for key in COLLECTED]
        wanted = {"assetSelection": assets, "partitionNames": list(partitions)}
        launched = self._ask(_BACKFILL, backfillParams=wanted)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        instance = self._deployment.instance
        for _ in range(10):
            with freeze_time(self._deployment.clock):
                errors = execute_backfill_iteration(self.workspace, logging.getLogger("backfills"))
            assert [error for error in errors if error is not None] == []
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
                instance.launch_run(run.run_id, self.workspace.create_request_context())
            backfill = instance.get_backfill(launched["backfillId"])
            assert backfill is not None
            if backfill.status in BULK_ACTION_TERMINAL_STATUSES:
                break
        assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS, (backfill.status, backfill.error)
        return list(instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill.backfill_id})))

    def launch(self, job: str, partition: str, run_config: dict[str, Any]) -> tuple[str, list[str]]:
        """Launch a job from the launchpad: what the answer is, in Dagster's words, and the errors it names."""
        repository = {"repositoryName": "__repository__", "repositoryLocationName": CODE_LOCATION}
        wanted = {
            "selector": {**repository, "jobName": job},
            "runConfigData": run_config,
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        answer = self._ask(_LAUNCH, executionParams=wanted)["launchRun"]
        return answer["__typename"], [error["message"] for error in answer.get("errors", [])]

    def in_step(self, partition: str) -> dict[str, str]:
        """Of each asset whether its partition is FRESH, STALE (the UI says "Unsynced") or MISSING, by its last name."""
        return {
            key.path[-1]: self._ask(_IN_STEP, key={"path": key.path}, partition=partition)["assetNodeOrError"][
                "staleStatus"
            ]
            for key in [*COLLECTED, ACTIVITY_CURATION, EPOCH_ALLOCATIONS, POOL_COMPONENTS, EPOCH, PAYOUT_STATEMENT]
        }

    def _asset(self) -> dict[str, Any]:
        node: dict[str, Any] = self._ask(_PARTITIONS, key={"path": ACTIVITY_EVENTS.path})["assetNodeOrError"]
        return node

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        with freeze_time(self._deployment.clock):
            answer = execute_dagster_graphql(self.workspace.create_request_context(), query, variables=variables)
        assert not answer.errors
        return dict(answer.data)


@contextmanager
def user_interface(deployment: Deployment) -> Iterator[UserInterface]:
    """The UI over the deployment's definitions as they are now."""
    shown.append(deployment)
    code = deployment.folder / f"definitions_{len(shown)}.py"
    code.write_text(_CODE)
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(code)), location_name=CODE_LOCATION)
    with WorkspaceProcessContext(deployment.instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
        yield UserInterface(deployment, workspace)
