"""GitHub's GraphQL API over PyGithub: who asks, when, and what an answer is. No domain here.

PyGithub signs, sends and reads; budgets, waits and tries are decided here, because GraphQL says half of it behind
status 200.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from github import GithubException

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.events import GITHUB
from ledger_pipeline.settings import GitHubApp, GitHubTokens
from ledger_pipeline.sources.github.app import AppInstallations
from ledger_pipeline.sources.github.budget import Budget
from ledger_pipeline.sources.github.credentials import Connection, Credential, Credentials, TokenPool
from ledger_pipeline.sources.github.failures import (
    RAISED,
    Failure,
    Kind,
    points_left,
    resets_at,
    server_time,
    understood,
    understood_errors,
)
from ledger_pipeline.sources.github.patience import Patience, refused

_log = logging.getLogger(__name__)


class QueryTooHeavyError(SourceUnavailable):
    """GitHub gave up on the query (502, 504, a timeout): asked for fewer items it may answer."""


@dataclass(frozen=True)
class Answer:
    """What GitHub answered: the query's `data`, its own time (aware, UTC), and the budget where it tells."""

    data: dict[str, Any]
    server_time: datetime
    points: int
    points_left: int | None


class GitHubClient:
    """Sends queries for a source_scope; safe to use from several threads.

    `retries` counts further tries of a request that failed in passing; `max_wait_seconds` bounds each wait;
    `points_reserve` of the hourly budget is left to others. `sleep` and `now` (seconds of any one clock) are time's.
    """

    def __init__(
        self,
        *,
        api_url: str,
        credentials: GitHubTokens | GitHubApp,
        timeout_seconds: int,
        max_wait_seconds: int,
        retries: int = 4,
        points_reserve: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._api_url = api_url
        self._patience = Patience(max_wait_seconds, retries, sleep, now)
        connection = Connection(api_url, timeout_seconds)
        self._credentials: Credentials
        if isinstance(credentials, GitHubTokens):
            self._credentials = TokenPool(credentials.values(), connection, points_reserve)
        else:
            self._credentials = AppInstallations(
                credentials.app_id,
                credentials.private_key.get_secret_value(),
                credentials.installation_id,
                connection,
                self._patience,
                points_reserve,
            )

    def query(self, source_scope: str, query: str, variables: Mapping[str, Any]) -> Answer:
        """Send one query; any error GitHub mentions is a failure of the whole.

        Raises QueryTooHeavyError at once, SourceUnavailable when waiting did not help or would take too long,
        SourceRefused when it cannot; each names `source_scope` and what to do.
        """
        return self._ask(source_scope, query, variables, partially=False)

    def query_partially(self, source_scope: str, query: str, variables: Mapping[str, Any]) -> Answer:
        """Send one query whose top-level fields stand for themselves: one that is not found is null.

        Raises as `query` does.
        """
        return self._ask(source_scope, query, variables, partially=True)

    def group_key(self, source_scope: str) -> str:
        """The same for source_scopes that one query may ask for together: one of them finds the credentials of all."""
        return self._credentials.group_key(source_scope)

    def close(self) -> None:
        """Give the connections back."""
        self._credentials.close()

    def _ask(self, source_scope: str, query: str, variables: Mapping[str, Any], *, partially: bool) -> Answer:
        tried = 0
        while True:
            credential, points = self._take(source_scope, query)
            try:
                credential.prepare(source_scope)
                outcome = self._send(credential, query, variables, partially)
            finally:
                credential.budget.give_back(points)
            if isinstance(outcome, Answer):
                return outcome
            if outcome.kind is Kind.TOO_HEAVY:
                raise QueryTooHeavyError(GITHUB, source_scope, outcome.problem)
            if outcome.kind is Kind.REFUSED:
                raise refused(source_scope, outcome.problem)
            if not self._has_another(source_scope, credential, outcome):
                self._patience.wait(source_scope, outcome, tried)
                tried += 1

    def _take(self, source_scope: str, query: str) -> tuple[Credential, int]:
        """The credential with most points left, and the points set aside; waits where none has enough."""
        waited = 0
        while True:
            now = self._patience.now()
            usable = [each for each in self._credentials.of(source_scope) if not each.is_rejected]
            if not usable:
                raise refused(source_scope, f"GitHub rejects the credentials (401): {self._credentials.advice}")
            shortfalls = []
            for credential in sorted(usable, key=lambda each: each.budget.left(now), reverse=True):
                taken = credential.budget.take(query, now)
                if isinstance(taken, int):
                    return credential, taken
                shortfalls.append((taken.wait_seconds, taken.problem(credential.budget.reserve)))
            seconds, problem = min(shortfalls)
            if waited > self._patience.retries:
                raise SourceUnavailable(GITHUB, source_scope, problem)
            self._patience.sleep_at_most(source_scope, problem, seconds)
            waited += 1

    def _send(
        self, credential: Credential, query: str, variables: Mapping[str, Any], partially: bool
    ) -> Answer | Failure:
        with credential.requester() as requester:
            try:
                headers, body = requester.requestJsonAndCheck(
                    "POST", requester.graphql_url, input={"query": query, "variables": dict(variables)}
                )
            except RAISED as error:
                if isinstance(error, GithubException):
                    self._learn(credential.budget, error.headers or {})
                failure = understood(error, self._api_url)
                if failure.kind is Kind.REJECTED:
                    _log.warning("GitHub rejects %s (401)", credential.name)
                    credential.rejected(requester.auth)
                return failure
        credential.accepted()
        self._learn(credential.budget, headers)
        outcome = _read(headers, body, partially)
        if isinstance(outcome, Answer) and outcome.points:
            credential.budget.learn_cost(query, outcome.points)
        return outcome

    def _learn(self, budget: Budget, headers: Mapping[str, Any]) -> None:
        left, reset, answered_at = points_left(headers), resets_at(headers), server_time(headers)
        # An answer to nobody (401) tells of another budget.
        if headers.get("x-ratelimit-resource", "graphql") != "graphql":
            return
        if left is not None and reset is not None and answered_at is not None:
            budget.learn(left, reset, answered_at, self._patience.now())

    def _has_another(self, source_scope: str, credential: Credential, failure: Failure) -> bool:
        """Whether to go on at once: with what is left after a rejection, or with points that are another's."""
        if failure.kind is Kind.REJECTED:
            return True
        if failure.kind is not Kind.SPENT:
            return False
        now = self._patience.now()
        if credential.budget.left(now) > 0:  # it did not say until when: it would be chosen again
            return False
        others = (each for each in self._credentials.of(source_scope) if not each.is_rejected)
        return any(each.budget.left(now) > each.budget.reserve for each in others)


def _read(headers: Mapping[str, Any], body: object, partially: bool) -> Answer | Failure:
    if not isinstance(body, dict):
        return Failure(Kind.PASSING, "GitHub answered without data")
    data, errors = body.get("data"), body.get("errors") or []
    if partially and isinstance(data, dict):
        errors = [each for each in errors if each.get("type") != "NOT_FOUND" or len(each.get("path") or ()) != 1]
    if errors:
        return understood_errors(errors, headers, has_data="data" in body)
    if not isinstance(data, dict):
        return Failure(Kind.PASSING, "GitHub answered without data")
    answered_at = server_time(headers)
    if answered_at is None:
        problem = "an answer without a Date header, so the scan has no watermark; is a proxy between?"
        return Failure(Kind.PASSING, problem)
    limit = data.get("rateLimit") or {}
    return Answer(data, answered_at, limit.get("cost", 0), limit.get("remaining", points_left(headers)))
