"""Dagster as the bridge knows it: its GraphQL API, through its own client library. Blocking; ask from a thread.

What fails is understood here: no answer is worth retrying, a refusal is not.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from pydantic import SecretStr

from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.dagster_contract import (
    COLLECT_EPOCH_JOB,
    LEDGER_ID_LABEL,
    REPOSITORY,
    REPOSITORY_TAG,
    SAME_LEDGER,
    deployment_labels,
)
from ledger_pipeline.pipeline.epoch_checks import CheckResult
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.collection.dagster_answers import (
    CHECK_REPORT,
    DAEMONS,
    EVENTS,
    LOCATION,
    MATERIALIZATIONS,
    RUN,
    RUNS,
    UNFINISHED,
    DaemonStatus,
    DagsterRun,
    Materialization,
    RunFailure,
    check_evaluation,
    daemon_status,
    materialization_of,
    run_failure,
    run_of,
    stated_labels,
)
from ledger_pipeline.temporal_bridge.collection.request_headers import RequestHeaders

REQUEST_TIMEOUT_SECONDS = 15
REPORT_TIMEOUT_SECONDS = 5

_NO_SUCH_RUN = "RunNotFoundError"
# What Dagster answers for an exception of its own, as while its database or a code location is away: later it may do
# better.
_CRASH = "PythonError"

# Whose id it should have been, and what to do where it is not.
_OF_SPEC = ("the repo-spec's", "where the repo-spec has changed, reload the code location")
_OF_LEDGER = ("ours", SAME_LEDGER)

# Runs of one partition, or of one workflow: a handful. A deployment's unfinished runs: what its queue holds.
_RUNS_AT_MOST = 500
_EVENTS_PER_PAGE = 1000


class DagsterClient:
    """The API at `url`, for the code location called `location`; links lead to `ui_url`. Safe from several threads.

    `headers` go with every request, and into no message.

    Everything raises DagsterUnavailable where Dagster does not answer, DagsterError where it refuses.
    """

    def __init__(
        self, url: str, *, location: str, ui_url: str | None = None, headers: Mapping[str, SecretStr] | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._ui_url = (ui_url or url).rstrip("/")
        self._location = location
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise DagsterError(f"DAGSTER_URL {url!r} is no address such as http://127.0.0.1:3000")
        self._headers = RequestHeaders(headers or {})
        # One for each question: a client's session serves one request at a time, and making one costs nothing.
        self._client = partial(
            _Client,
            parts.hostname,
            parts.port,
            use_https=parts.scheme == "https",
            path_prefix=parts.path,
            timeout=REQUEST_TIMEOUT_SECONDS,
            auth=self._headers,
        )

    def run_url(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self._ui_url}/runs/{run_id}"

    def check(self, spec: RepoSpec | None, ledger_id: str | None = None) -> str:
        """Dagster's version, once it answers and has our job loaded; else raises, saying why.

        The job is of `spec`, and writes the ledger `ledger_id`, where these are given. A code location of an earlier
        release, or one that was loaded while its database was down, does not say so, and is believed.
        """
        selector = {"repositoryLocationName": self._location, "repositoryName": REPOSITORY}
        answer = self._ask(LOCATION, {"selector": selector})
        repository = answer["repositoryOrError"]
        if repository["__typename"] != "Repository":
            raise self._not_loaded(str(repository["message"]))
        if COLLECT_EPOCH_JOB not in {job["name"] for job in repository["jobs"]}:
            raise self._not_loaded(f"it has no job {COLLECT_EPOCH_JOB}")
        if spec is not None:
            self._refuse_stranger(spec, ledger_id, repository["assetNodes"])
        return f"Dagster {answer['version']}"

    def runs_tagged(self, tags: Mapping[str, str]) -> list[DagsterRun]:
        """All runs of our code location with these tags, oldest first."""
        return self._runs({"tags": self._tags(tags)})

    def unfinished_runs(self) -> list[DagsterRun]:
        """Our code location's runs that wait or work, oldest first; those being canceled are not among them."""
        statuses = [status for status in UNFINISHED if status != "CANCELING"]
        return self._runs({"tags": self._tags({}), "statuses": statuses})

    def run(self, run_id: str) -> DagsterRun:
        """The run as it is now. Raises DagsterError where it was deleted."""
        if (run := self.find_run(run_id)) is None:
            raise DagsterError(f"Dagster at {self.url} has no run {run_id}")
        return run

    def find_run(self, run_id: str) -> DagsterRun | None:
        """The run as it is now, None where it was deleted."""
        run_or_error = self._ask(RUN, {"runId": run_id})["runOrError"]
        if run_or_error["__typename"] == _NO_SUCH_RUN:
            return None
        return run_of(self._answered(run_or_error, "Run"))

    def launch(self, tags: Mapping[str, str]) -> str:
        """Launch the job `collect_epoch` with these tags: its run id. Not safe to repeat: look for a run first."""
        try:
            return self._client().submit_job_execution(
                COLLECT_EPOCH_JOB,
                repository_location_name=self._location,
                repository_name=REPOSITORY,
                tags=dict(tags),
            )
        except DagsterGraphQLClientError as error:
            if error.args[0] == "PipelineNotFoundError":
                # The code location may be loading, or have failed to: it is looked after in Dagster.
                raise self._not_loaded(str(error.args[-1])) from error
            raise self._meaning(error) from error
        except KeyError as error:
            # The client asks for the message of the answers it knows, and expects one of all.
            raise DagsterError(f"Dagster at {self.url} refuses to launch a run and gives no reason") from error

    def cancel(self, run_id: str) -> None:
        """Ask Dagster to cancel the run; no error where it is finished already, or deleted.

        Raises DagsterUnavailable where it cannot be canceled yet.
        """
        try:
            self._client().terminate_run(run_id)
        except DagsterGraphQLClientError as error:
            if error.args[0] in {"TerminateRunFailure", _NO_SUCH_RUN}:
                run = self.find_run(run_id)
                if run is not None and run.is_unfinished:
                    # One that is just starting cannot be, until it has.
                    raise DagsterUnavailable(
                        f"Dagster run {run_id} cannot be canceled yet: {error.args[-1]}"
                    ) from error
                return
            raise self._meaning(error) from error

    def failure(self, run_id: str) -> RunFailure:
        """Why the run failed: what its steps say; a run that died without a step saying why may do better again."""
        return run_failure(self._events(run_id))

    def materializations(self, run_id: str) -> list[Materialization]:
        """What the run materialized, each partition by itself."""
        run = self._answered(self._ask(MATERIALIZATIONS, {"runId": run_id})["runOrError"], "Run")
        return [materialization_of(event) for event in run["assetMaterializations"]]

    def daemons(self) -> list[DaemonStatus]:
        """Its daemons, by their heartbeats."""
        health = self._ask(DAEMONS, {})["instance"]["daemonHealth"]
        return [daemon_status(daemon) for daemon in health["allDaemonStatuses"]]

    def report(self, asset: tuple[str, ...], report: Mapping[str, Any]) -> None:
        """Have Dagster show a partition of an asset as materialized now, without a run, as `report` has it."""
        try:
            answer = requests.post(
                f"{self.url}/report_asset_materialization/{'/'.join(asset)}",
                json=dict(report),
                auth=self._headers,
                timeout=REPORT_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise DagsterUnavailable(
                f"Dagster at {self.url} (DAGSTER_URL) does not answer: {type(error).__name__}"
            ) from None
        if answer.status_code != HTTPStatus.OK:
            raise DagsterError(f"Dagster at {self.url} (DAGSTER_URL) takes no report: HTTP {answer.status_code}")

    def report_check(self, asset: tuple[str, ...], partition: str, result: CheckResult) -> None:
        """Have Dagster show a check of a partition as evaluated now, without a run."""
        check = check_evaluation(asset, partition, result)
        answer = self._ask(CHECK_REPORT, {"check": check})["reportAssetCheckEvaluations"]
        self._answered(answer, "ReportAssetCheckEvaluationsSuccess")

    def _runs(self, wanted: Mapping[str, Any]) -> list[DagsterRun]:
        runs = self._answered(self._ask(RUNS, {"filter": wanted, "limit": _RUNS_AT_MOST})["runsOrError"], "Runs")
        return sorted(map(run_of, runs["results"]), key=lambda run: (run.created_at, run.run_id))

    def _tags(self, tags: Mapping[str, str]) -> list[dict[str, str]]:
        ours = {REPOSITORY_TAG: f"{REPOSITORY}@{self._location}"}
        return [{"key": key, "value": value} for key, value in {**ours, **tags}.items()]

    def _events(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        events: list[Mapping[str, Any]] = []
        after: str | None = None
        while True:
            variables = {"runId": run_id, "after": after, "limit": _EVENTS_PER_PAGE}
            page = self._answered(self._ask(EVENTS, variables)["logsForRun"], "EventConnection")
            events += page["events"]
            if not page["hasMore"]:
                return events
            after = page["cursor"]

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._client().ask(query, variables)
        except DagsterGraphQLClientError as error:
            raise self._meaning(error) from error

    def _answered(self, payload: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
        """`payload` where it is what was asked for; else raises what it says instead."""
        if payload["__typename"] == wanted:
            return payload
        raise self._problem(payload["__typename"], payload["message"])

    def _problem(self, kind: str, message: str) -> DagsterError:
        line = next(iter(message.strip().splitlines()), "no reason given")
        if kind == _CRASH:
            return DagsterUnavailable(f"Dagster at {self.url} (DAGSTER_URL) is in trouble itself: {line}")
        return DagsterError(f"Dagster at {self.url} refuses: {kind}: {line}")

    def _refuse_stranger(self, spec: RepoSpec, ledger_id: str | None, assets: Sequence[Mapping[str, Any]]) -> None:
        stated_by_label = stated_labels(assets)
        for label, ours in deployment_labels(spec, ledger_id).items():
            if stated_by_label.get(label, ours) != ours:
                owner, remedy = _OF_LEDGER if label == LEDGER_ID_LABEL else _OF_SPEC
                raise DagsterError(
                    f"Dagster at {self.url} (DAGSTER_URL) is another deployment's: the {label} of its code location "
                    f"{self._location} is {stated_by_label[label]}, {owner} is {ours}; {remedy}"
                )

    def _not_loaded(self, problem: str) -> DagsterUnavailable:
        return DagsterUnavailable(
            f"Dagster at {self.url} has not loaded the code location {self._location} "
            f"(DAGSTER_CODE_LOCATION): {problem}"
        )

    def _meaning(self, error: DagsterGraphQLClientError) -> DagsterError:
        # The client's own text quotes query and variables; the cause says what happened.
        cause = error.__cause__
        status = getattr(cause, "code", None)
        if cause is None:
            if error.args[0] == _CRASH:
                return self._problem(_CRASH, str(error.args[-1]))
            return DagsterError(f"Dagster at {self.url} refuses: {': '.join(map(str, error.args))}")
        if status in {400, 401, 403}:
            return DagsterError(f"Dagster at {self.url} (DAGSTER_URL) refuses with HTTP {status}")
        if errors := getattr(cause, "errors", None):
            # A query that it does not understand fails as a whole; what has a path failed while it was worked on.
            kind = _CRASH if errors[0].get("path") else "the query"
            return self._problem(kind, errors[0].get("message") or "")
        reason = f"HTTP {status}" if status else type(cause).__name__
        return DagsterUnavailable(f"Dagster at {self.url} (DAGSTER_URL) does not answer: {reason}")


def dagster_client(settings: Settings) -> DagsterClient:
    """Dagster's API as the settings name it. Raises DagsterError for an address that is none, SettingsError."""
    return DagsterClient(
        settings.dagster_url,
        location=settings.dagster_code_location,
        ui_url=settings.dagster_ui_url,
        headers=settings.dagster_request_headers(),
    )


class _Client(DagsterGraphQLClient):
    """Dagster's own client, asked a question it has no method for."""

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute(query, dict(variables))
        return answer
