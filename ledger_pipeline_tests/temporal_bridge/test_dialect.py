"""The schedule payload of a scope in the dialect of the system we join: sent, taken, and held against the spec."""

import asyncio
import json
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ledger_pipeline.core.spec import Dialect, RepoSpec, Scope
from ledger_pipeline.core.windows import iso_millis
from ledger_pipeline.settings import Settings
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import CollectEpochInput, parse
from ledger_pipeline.temporal_bridge.ledger_activities.activities import PIECE_LIMITS, LedgerActivities
from ledger_pipeline.temporal_bridge.ledger_activities.spec_agreement import drift
from ledger_pipeline.temporal_bridge.schedules.plan import Action
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.temporal_bridge.workflows import CollectEpochWorkflow
from ledger_pipeline_tests.builders import NODE_ID, REPO, SCOPE_ID, instant, scope, window
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.temporal_bridge.temporal_schedules import Schedules, repo_spec, scheduled, website

APPROVER = "0x52908400098527886E0F7030069857D2E4169EE7"
NOW = instant("2026-02-18T12:00")
THEIRS = replace(scope(approvers=(APPROVER,), base_issuance_credits=10_000), dialect=Dialect.ATTRIBUTION_PIPELINE)
INPUT = {
    "version": 1,
    "scopeId": str(SCOPE_ID),
    "scopeKey": "default",
    "epochLengthDays": 7,
    "activitySources": {"github": {"attributionPipeline": "cogni-v0.0", "sourceRefs": [REPO]}},
    "baseIssuanceCredits": "10000",
    "approvers": [APPROVER],
}


def test_schedules_of_both_dialects_are_synced_each_with_its_payload(temporal_namespace: Settings) -> None:
    schedules = Schedules(temporal_namespace)
    spec = repo_spec(scheduled(THEIRS), scheduled(website()))
    assert set(schedules.sync(spec).values()) == {Action.CREATED}
    assert schedules.found().contents.payload == {
        "scheduleId": "governance:ledger_ingest",
        "temporalScheduleId": "governance:ledger_ingest",
        "graphId": "ledger:ingest",
        "input": INPUT,
    }
    of_ours = schedules.found("governance:ledger_ingest:website").contents.payload
    assert "creditEstimateAlgo" in json.dumps(of_ours)
    assert set(schedules.sync(spec).values()) == {Action.IN_SYNC}
    # Where the file changes its dialect, so does the payload.
    assert set(schedules.sync(repo_spec(scheduled(), scheduled(website()))).values()) == {
        Action.UPDATED,
        Action.IN_SYNC,
    }


def test_the_workflow_on_a_worker_takes_that_payload(
    temporal_namespace: Settings, ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    result = asyncio.run(collected(temporal_namespace, ledger, {**INPUT, "asOf": iso_millis(NOW)}))
    # Not open: the epoch is found, the payload is held against the spec, and Dagster is not asked.
    assert (result["status"], result["drift"], result["dagsterRunId"]) == ("review", [], None)
    assert (result["scopeId"], result["periodStart"]) == (str(SCOPE_ID), iso_millis(window().start))


async def collected(settings: Settings, ledger: PostgresLedger, asked: dict[str, Any]) -> dict[str, Any]:
    client = await connect(settings)
    queue = f"dialect-{uuid4()}"
    with closing(WorkerThreads()) as threads:
        spec = RepoSpec(NODE_ID, (THEIRS,), "repo-spec.yaml")
        activities = LedgerActivities(spec, ledger, lambda *_: nullcontext(), lambda: NOW, threads, PIECE_LIMITS)
        async with Worker(
            client,
            task_queue=queue,
            workflows=[CollectEpochWorkflow],
            activities=activities.activities,
            workflow_runner=SandboxedWorkflowRunner(),
        ):
            result: dict[str, Any] = await client.execute_workflow(
                "CollectEpochWorkflow", {"input": asked}, id=queue, task_queue=queue, result_type=dict
            )
    return result


@pytest.mark.parametrize(
    ("of_spec", "source", "drifted"),
    [
        (THEIRS, {"attributionPipeline": "cogni-v0.0"}, []),
        (THEIRS, {"attributionPipeline": "cogni-v0.1"}, ["attributionPipeline"]),
        (THEIRS, {"creditEstimateAlgo": "cogni-v0.0", "sourceRefs": [REPO]}, ["creditEstimateAlgo"]),
        (scope(), {"attributionPipeline": "cogni-v0.0", "sourceRefs": ["x/y"]}, ["attributionPipeline", "sourceRefs"]),
        (scope(), {"creditEstimateAlgo": "cogni-v0.0"}, []),
    ],
)
def test_the_same_name_under_the_other_key_is_told_as_drift(
    of_spec: Scope, source: dict[str, Any], drifted: list[str]
) -> None:
    asked = {key: value for key, value in INPUT.items() if key not in {"approvers", "baseIssuanceCredits"}}
    requested = parse(CollectEpochInput, {**asked, "activitySources": {"github": source}})
    assert drift(of_spec, requested) == tuple(f"input.activitySources.github.{field}" for field in drifted)
