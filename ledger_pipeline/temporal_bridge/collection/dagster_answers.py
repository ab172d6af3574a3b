"""What the bridge asks Dagster's GraphQL API beyond its client library's methods, and what the answers say."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import as_markdown, plain_message
from ledger_pipeline.dagster_contract import (
    ACTIVITY_EVENTS_ASSET,
    PARENT_RUN_TAG,
    RETRY_AT_TAG,
    RETRY_NUMBER_TAG,
    RETRY_OF_TAG,
    RETRYABLE,
    WILL_RETRY_TAG,
)
from ledger_pipeline.pipeline.epoch_checks import CheckResult

UNFINISHED = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
CANCELED = "CANCELED"

# Why a step failed whose process was told to stop, as when its container is.
_INTERRUPTED = "INTERRUPT"
_RUN_FIELDS = """
    runId jobName status creationTime
    tags { key value }
    assetSelection { path }
    stepStats { stepKey status }
"""
RUNS = (
    "query Runs($filter: RunsFilter!, $limit: Int!) { runsOrError(filter: $filter, limit: $limit) {"
    "__typename ... on Runs { results {" + _RUN_FIELDS + "} } ... on Error { message } } }"
)
RUN = (
    "query Run($runId: ID!) { runOrError(runId: $runId) {"
    "__typename ... on Run {" + _RUN_FIELDS + "} ... on Error { message } } }"
)
EVENTS = """
query Events($runId: ID!, $after: String, $limit: Int!) {
  logsForRun(runId: $runId, afterCursor: $after, limit: $limit) {
    __typename
    ... on EventConnection {
      cursor hasMore
      events {
        __typename
        ... on ExecutionStepFailureEvent {
          stepKey errorSource
          error { message causes { message } }
          failureMetadata { description metadataEntries { label ... on BoolMetadataEntry { boolValue } } }
        }
        ... on EngineEvent { error { message } }
        ... on RunFailureEvent { message error { message } }
      }
    }
    ... on Error { message }
  }
}
"""
MATERIALIZATIONS = """
query Materializations($runId: ID!) {
  runOrError(runId: $runId) {
    __typename
    ... on Run {
      assetMaterializations {
        assetKey { path }
        partition
        metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } }
      }
    }
    ... on Error { message }
  }
}
"""
LOCATION = """
query Location($selector: RepositorySelector!) {
  version
  repositoryOrError(repositorySelector: $selector) {
    __typename
    ... on Repository {
      jobs { name }
      assetNodes { assetKey { path } metadataEntries { label ... on TextMetadataEntry { text } } }
    }
    ... on Error { message }
  }
}
"""
CHECK_REPORT = """
mutation CheckReport($check: ReportAssetCheckEvaluationsParams!) {
  reportAssetCheckEvaluations(eventParams: $check) { __typename ... on Error { message } }
}
"""
DAEMONS = """
query Daemons {
  instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime lastHeartbeatErrors { message }
  } } }
}
"""


@dataclass(frozen=True)
class DagsterRun:
    """A run as its API answers it. `steps` are those begun, in order, with their status; `created_at` a timestamp."""

    run_id: str
    job_name: str
    status: str
    created_at: float
    tags: Mapping[str, str]
    assets: frozenset[tuple[str, ...]] | None
    steps: tuple[tuple[str, str], ...]

    @property
    def is_unfinished(self) -> bool:
        """Whether the run waits, works or is being canceled."""
        return self.status in UNFINISHED

    @property
    def will_be_retried(self) -> bool:
        """Whether Dagster said, as the run failed, that it launches another in its place (`run_retries`)."""
        return self.status == FAILURE and self.tags.get(WILL_RETRY_TAG) == "true"

    @property
    def retries(self) -> str | None:
        """The run that this one was launched in place of, by Dagster or once a limit had passed; None where of none."""
        if RETRY_OF_TAG in self.tags:
            return self.tags[RETRY_OF_TAG]
        return self.tags.get(PARENT_RUN_TAG) if RETRY_NUMBER_TAG in self.tags else None

    @property
    def retry_at(self) -> datetime | None:
        """The time from which another run may be launched in its place, where a limit of the source ended it."""
        at = self.tags.get(RETRY_AT_TAG) if self.status == FAILURE else None
        return None if at is None else datetime.fromisoformat(at)

    @property
    def step(self) -> str | None:
        """The step the run is in, the last begun; None before the first."""
        return self.steps[-1][0] if self.steps else None


@dataclass(frozen=True)
class RunFailure:
    """Why a run failed, in one line, and whether a later run may succeed with nothing changed."""

    message: str
    retryable: bool


@dataclass(frozen=True)
class Materialization:
    """What a run recorded of one partition of one asset; `metadata` holds its numbers and texts."""

    asset: tuple[str, ...]
    partition: str | None
    metadata: Mapping[str, int | str]


@dataclass(frozen=True)
class DaemonStatus:
    """One of Dagster's daemons; `last_heartbeat` is a timestamp, None where there never was one."""

    kind: str
    required: bool
    healthy: bool
    last_heartbeat: float | None
    problem: str | None


def stated_labels(assets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What a code location says of itself, by label: `dagster_contract.deployment_labels` has them."""
    return {
        entry["label"]: entry["text"]
        for asset in assets
        if tuple(asset["assetKey"]["path"]) == ACTIVITY_EVENTS_ASSET
        for entry in asset["metadataEntries"]
        if "text" in entry
    }


def run_of(answer: Mapping[str, Any]) -> DagsterRun:
    """A run as the queries RUN and RUNS ask for it."""
    assets = answer["assetSelection"]
    return DagsterRun(
        run_id=answer["runId"],
        job_name=answer["jobName"],
        status=answer["status"],
        created_at=answer["creationTime"],
        tags={tag["key"]: tag["value"] for tag in answer["tags"]},
        assets=None if assets is None else frozenset(tuple(key["path"]) for key in assets),
        steps=tuple((step["stepKey"], step["status"] or "") for step in answer["stepStats"]),
    )


def materialization_of(event: Mapping[str, Any]) -> Materialization:
    """What one event of the query MATERIALIZATIONS says."""
    return Materialization(
        tuple(event["assetKey"]["path"]),
        event["partition"],
        {
            entry["label"]: entry["intValue"] if "intValue" in entry else entry["text"]
            for entry in event["metadataEntries"]
            if "intValue" in entry or "text" in entry
        },
    )


def daemon_status(answer: Mapping[str, Any]) -> DaemonStatus:
    """A daemon as the query DAEMONS asks for it."""
    return DaemonStatus(
        kind=answer["daemonType"],
        required=bool(answer["required"]),
        healthy=bool(answer["healthy"]),
        last_heartbeat=answer["lastHeartbeatTime"],
        problem=next((error["message"].strip() for error in answer["lastHeartbeatErrors"] or []), None),
    )


def run_failure(events: Iterable[Mapping[str, Any]]) -> RunFailure:
    """Why a run with these events failed: its steps' words; a run that died without a step's may do better again."""
    problems: list[tuple[str, bool]] = []
    died, engine = "the run failed: see its log in Dagster", ""
    for event in events:
        if event["__typename"] == "ExecutionStepFailureEvent":
            problems.append(_step_problem(event))
        elif event["__typename"] == "EngineEvent" and event["error"]:
            engine = event["error"]["message"].strip()
        elif event["__typename"] == "RunFailureEvent":
            died = ((event["error"] or {}).get("message") or event["message"] or died).strip()
    if not problems:
        # Marked as failed from outside, it says no more than that; what happened stands before.
        return RunFailure(f"{engine}: {died}" if engine else died, retryable=True)
    return RunFailure("; ".join(message for message, _ in problems), all(retryable for _, retryable in problems))


def _step_problem(event: Mapping[str, Any]) -> tuple[str, bool]:
    """A failed step's own words, and whether it says that a retry may help; one that says neither is a bug."""
    if event["errorSource"] == _INTERRUPTED:
        return f"step {event['stepKey']} was interrupted: its process was told to stop", True
    failure_metadata = event["failureMetadata"] or {}
    retryable = any(
        entry["label"] == RETRYABLE and entry.get("boolValue") is True
        for entry in failure_metadata.get("metadataEntries", ())
    )
    if failure_metadata.get("description"):
        return str(failure_metadata["description"]), retryable
    error = event["error"] or {}
    causes = error.get("causes") or [error]
    return f"step {event['stepKey']}: {(causes[-1].get('message') or 'no message').strip()}", retryable


def check_evaluation(asset: tuple[str, ...], partition: str, result: CheckResult) -> dict[str, Json]:
    """A check of a partition as CHECK_REPORT takes it; what it says is plain, and never markup."""
    metadata = {"partition": partition, **result.metadata}
    return {
        "assetKey": {"path": [*asset]},
        "checkName": result.check,
        "passed": result.passed,
        "severity": "ERROR" if result.is_error else "WARN",
        "partitionKeys": [partition],
        "description": as_markdown(f"{partition}: {result.message}"),
        "serializedMetadata": json.dumps({label: _plain(value) for label, value in metadata.items()}),
    }


def _plain(value: Json) -> Json:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return plain_message(value) if isinstance(value, str) else value
