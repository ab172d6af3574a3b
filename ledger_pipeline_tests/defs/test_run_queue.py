"""The run queue as the local stack configures it: runs of one scope wait for each other, whoever launched them."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import yaml
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from sqlalchemy import make_url

from ledger_pipeline.dagster_contract import CODE_LOCATION, SCOPE_TAG
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.local.environment import DAGSTER_YAML
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import NAME

# Dagster's own code, making a backfill.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")

COLLECTED = [*(stream_key(stream) for stream in ("pull_requests", "reviews", "issues")), ACTIVITY_EVENTS]
SCOPES = ("default", "docs", "website")
SEVERAL = "several"


class Queue:
    """Dagster's daemons on an instance as the local stack has it; a run that leaves the queue goes nowhere."""

    def __init__(self, workspace: WorkspaceProcessContext) -> None:
        self._workspace = workspace
        self.instance = workspace.instance

    def backfill(self, backfill_id: str, *partitions: str) -> None:
        """As somebody who selects these partitions in the UI and materializes them."""
        self.instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id=backfill_id,
                asset_graph=self._workspace.create_request_context().asset_graph,
                partition_names=partitions,
                asset_selection=COLLECTED,
                backfill_timestamp=1_771_416_000.0,
                tags={},
                dynamic_partitions_store=self.instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )
        self._launch()

    def backfill_job(self, backfill_id: str, job: str, *partitions: str) -> None:
        """As somebody who launches these partitions from the job's own page."""
        [location] = self._workspace.create_request_context().code_locations
        partition_set = location.get_repository("__repository__").get_partition_set(f"{job}_partition_set")
        self.instance.add_backfill(
            PartitionBackfill(
                backfill_id=backfill_id,
                partition_set_origin=partition_set.get_remote_origin(),
                status=BulkActionStatus.REQUESTED,
                partition_names=list(partitions),
                from_failure=False,
                tags={},
                backfill_timestamp=1_771_416_000.0,
            )
        )
        self._launch()

    def _launch(self) -> None:
        errors = execute_backfill_iteration(self._workspace, logging.getLogger("backfills"))
        assert [error for error in errors if error is not None] == []

    def dequeue(self) -> list[str]:
        """One round of the daemon: the scopes whose runs it launches, SEVERAL for a run of more than one."""
        waiting = {run.run_id for run in self._runs(dg.DagsterRunStatus.QUEUED)}
        for _ in QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(self._workspace):
            pass
        still = {run.run_id for run in self._runs(dg.DagsterRunStatus.QUEUED)}
        return sorted(_scope(run) for run in self.instance.get_runs() if run.run_id in waiting - still)

    def finish(self, scope: str) -> None:
        """Let the run of a scope that was launched succeed."""
        [run] = [run for run in self._runs(dg.DagsterRunStatus.STARTING) if _scope(run) == scope]
        self.instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run_id=run.run_id
        )

    def _runs(self, status: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(statuses=[status])))


def _scope(run: dg.DagsterRun) -> str:
    return run.tags.get(SCOPE_TAG, SEVERAL)


@pytest.fixture(scope="module")
def workspace(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    folder = tmp_path_factory.mktemp("queue")
    spec = write_repo_spec(folder, NAME)
    for number, key in enumerate(SCOPES[1:]):
        write_project(folder, key, NAME, scope_id=UUID(int=number))
    config: dict[str, Any] = yaml.safe_load(DAGSTER_YAML)
    config["run_launcher"] = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    with fresh_database(postgres_server) as url, pytest.MonkeyPatch.context() as patch:
        storage = make_url(url).set(drivername="postgresql+psycopg2")
        patch.setenv("DAGSTER_POSTGRES_URL", storage.render_as_string(hide_password=False))
        patch.setenv("LEDGER_REPO_SPEC", str(spec))
        target = ModuleTarget("ledger_pipeline.definitions", None, str(folder), CODE_LOCATION)
        with (
            dg.DagsterInstance.from_config(str(folder)) as instance,
            create_test_daemon_workspace_context(target, instance) as running,
        ):
            yield running


@pytest.fixture
def queue(workspace: WorkspaceProcessContext) -> Iterator[Queue]:
    yield Queue(workspace)
    for backfill in workspace.instance.get_backfills():
        workspace.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    for run in workspace.instance.get_runs():
        workspace.instance.delete_run(run.run_id)


def test_a_backfill_from_the_ui_is_one_run_a_scope_and_each_says_which(queue: Queue) -> None:
    weeks = ("2026-02-02", "2026-02-09", "2026-02-16")
    queue.backfill("wide", *(f"{week}|{scope}" for week in weeks for scope in SCOPES[:2]))
    runs = queue.instance.get_runs()
    assert sorted(run.tags[SCOPE_TAG] for run in runs) == ["default", "docs"]
    assert {run.status for run in runs} == {dg.DagsterRunStatus.QUEUED}


def test_no_more_epochs_than_scopes_are_one_run_an_epoch_that_says_no_scope_and_waits_for_none(queue: Queue) -> None:
    queue.backfill("one scope", "2026-01-05|default", "2026-01-12|default")
    queue.backfill("two scopes", "2026-02-16|default", "2026-02-16|docs")
    [several] = [run for run in queue.instance.get_runs() if SCOPE_TAG not in run.tags]
    assert several.tags["dagster/asset_partition_range_start"] == "2026-02-16|default"
    assert several.tags["dagster/asset_partition_range_end"] == "2026-02-16|docs"
    assert queue.dequeue() == ["default", SEVERAL]


def test_the_job_backfill_is_one_run_for_a_range_and_reads_it_anew(queue: Queue) -> None:
    queue.backfill_job("again", "backfill", *(f"{week}|docs" for week in ("2026-02-02", "2026-02-09", "2026-02-16")))
    [run] = queue.instance.get_runs()
    assert run.tags["dagster/asset_partition_range_start"] == "2026-02-02|docs"
    assert run.tags["dagster/asset_partition_range_end"] == "2026-02-16|docs"
    assert run.tags[SCOPE_TAG] == "docs"
    assert run.job_name == "backfill"


def test_backfills_of_one_scope_wait_for_each_other(queue: Queue) -> None:
    queue.backfill("first", "2026-01-05|default", "2026-01-12|default")
    queue.backfill("second", "2026-02-02|default")
    assert queue.dequeue() == ["default"]
    assert queue.dequeue() == []
    queue.finish("default")
    assert queue.dequeue() == ["default"]


def test_of_different_scopes_two_ask_github_at_once_and_the_third_waits(queue: Queue) -> None:
    for scope in SCOPES:
        queue.backfill(f"of {scope}", f"2026-02-02|{scope}", f"2026-02-09|{scope}")
    assert queue.dequeue() == ["default", "docs"]
    assert queue.dequeue() == []
    queue.finish("default")
    assert queue.dequeue() == ["website"]


def test_a_run_by_partition_is_of_its_scope_too(queue: Queue) -> None:
    queue.backfill("range", "2026-01-05|docs", "2026-01-12|docs")
    assert queue.dequeue() == ["docs"]
    queue.backfill("single", "2026-02-02|docs")
    assert queue.dequeue() == []


def test_the_pool_is_the_assets_that_ask_github(workspace: WorkspaceProcessContext) -> None:
    graph = workspace.create_request_context().asset_graph
    pools = {key.to_user_string(): graph.get(key).pools for key in COLLECTED}
    assert pools == {
        "github/pull_requests": {"github"},
        "github/reviews": {"github"},
        "github/issues": {"github"},
        "activity_events": set(),
    }
