"""GitHub's GraphQL API over PyGithub: who asks, and when. No domain here.

PyGithub signs, sends and reads; budgets, waits and tries are decided here, because GraphQL says half of it behind
status 200.
"""

import logging
import time
from collections.abc import Callable, Container, Mapping
from http import HTTPStatus
from typing import Any

from github.Requester import Requester

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.settings_credentials import GitHubApp, GitHubTokens
from ledger_pipeline.settings_variables import CLOCK_TOLERANCE_SECONDS
from ledger_pipeline.sources.github.answer import (
    Answer,
    QueryRefusedError,
    QueryTooHeavyError,
    ServerFailedError,
    is_missing,
    json_or_text,
    no_error,
    read_answer,
)
from ledger_pipeline.sources.github.app import AppInstallations
from ledger_pipeline.sources.github.budget import Budget
from ledger_pipeline.sources.github.clock import Clock
from ledger_pipeline.sources.github.credentials import Credential, Credentials, Endpoint, TokenCredentials
from ledger_pipeline.sources.github.envelope import GraphQLError, read_envelope, read_json
from ledger_pipeline.sources.github.failed_tries import (
    FailedTry,
    Kind,
    of_status,
    understood,
)
from ledger_pipeline.sources.github.headers import LONGEST_WINDOW, AnswerHeaders, read_headers
from ledger_pipeline.sources.github.patience import Patience, refused
from ledger_pipeline.sources.stopping import StopSignal

_log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 8.0

PAUSED = "GitHub's secondary rate limit, too much at once, which another question met"


class GitHubClient:
    """Sends queries for a source_scope; safe to use from several threads.

    `retries` counts further tries of a request that failed in passing; `max_wait_seconds` bounds each wait;
    `points_reserve` of the hourly budget is left to others. Once `stop` is told nothing more is sent, and every call
    raises Stopped, also while it waits. `sleep` and `now` (seconds since 1970, by our clock) are time's; an answer
    whose own time differs by more than `clock_tolerance_seconds` is no answer.
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
        stop: StopSignal | None = None,
        sleep: Callable[[float], None] | None = None,
        now: Callable[[], float] = time.time,
        clock_tolerance_seconds: float = CLOCK_TOLERANCE_SECONDS,
    ) -> None:
        self._api_url = api_url
        stop = stop or StopSignal()
        self._clock = Clock(clock_tolerance_seconds, now)
        self._patience = Patience(max_wait_seconds, retries, sleep or stop.sleep, now)
        endpoint = Endpoint(api_url, timeout_seconds, stop)
        self._credentials: Credentials
        if isinstance(credentials, GitHubTokens):
            self._credentials = TokenCredentials(credentials.values(), endpoint, points_reserve)
        else:
            self._credentials = AppInstallations(
                credentials.app_id,
                credentials.private_key.get_secret_value(),
                credentials.installation_id,
                endpoint,
                self._patience,
                points_reserve,
            )

    def query(self, source_scope: str, query: str, variables: Mapping[str, Any]) -> Answer:
        """Send one query; any error GitHub mentions is a failure of the whole.

        Raises QueryTooHeavyError at once, SourceUnavailable when waiting did not help or would take too long
        (ServerFailedError where the question itself may be the cause), SourceRefused when it cannot (QueryRefusedError
        where GraphQL's errors say so); each names `source_scope` and what to do. Whatever GitHub or a proxy answers,
        nothing else is raised.
        """
        return self._ask(source_scope, query, variables, no_error, is_patient=True)

    def query_partially(
        self,
        source_scope: str,
        query: str,
        variables: Mapping[str, Any],
        allowed: Callable[[GraphQLError], bool] = is_missing,
        *,
        is_patient: bool = True,
        is_optional: bool = False,
    ) -> Answer:
        """Send one query of which parts may fail: errors that are `allowed` come back on the answer.

        By default top-level fields stand for themselves: one that is not found is null. To learn which connection is
        forbidden, allow errors by their type and path. Raises as `query` does for every other error; without patience,
        ServerFailedError at once; what is optional raises SourceUnavailable at once for a wait that nobody can read.
        """
        return self._ask(source_scope, query, variables, allowed, is_patient=is_patient, is_optional=is_optional)

    def pause(self, paused: int) -> None:
        """Wait before more is asked, twice as long as the time before; `paused` counts the waits so far.

        Raises Stopped when it is told to.
        """
        longest_seconds = min(LONGEST_PAUSE_SECONDS, self._patience.max_wait_seconds)
        self._patience.sleep(min(2.0**paused, longest_seconds))

    def group_key(self, source_scope: str) -> str:
        """The same for source_scopes that one query may ask for together: one of them finds the credentials of all."""
        return self._credentials.group_key(source_scope)

    def close(self) -> None:
        """Give the connections back."""
        self._credentials.close()

    def _ask(
        self,
        source_scope: str,
        query: str,
        variables: Mapping[str, Any],
        allowed: Callable[[GraphQLError], bool],
        *,
        is_patient: bool,
        is_optional: bool = False,
    ) -> Answer:
        tried, rejected = 0, set[Credential]()
        while True:
            credential, points = self._take(source_scope, query, rejected)
            try:
                credential.prepare(source_scope)
                outcome = self._send(credential, query, variables, allowed)
            finally:
                credential.budget.give_back(points)
            if isinstance(outcome, Answer):
                self._clock.check(source_scope, outcome.date, (outcome.date - outcome.server_time).total_seconds())
                return outcome
            if outcome.kind is Kind.TOO_HEAVY:
                raise QueryTooHeavyError(GITHUB, source_scope, outcome.problem)
            if outcome.kind is Kind.REFUSED and outcome.errors:
                raise QueryRefusedError(GITHUB, source_scope, outcome.problem, outcome.errors)
            if outcome.kind is Kind.REFUSED:
                raise refused(source_scope, outcome.problem)
            if outcome.kind is Kind.TOO_NEW:
                # Not counted as a try: it ends by itself, with the token's first seconds.
                self._patience.sleep_at_most(source_scope, outcome.problem, outcome.wait_seconds or 0)
            elif outcome.kind is Kind.REJECTED:
                if credential.rejections:  # otherwise it has another token already
                    rejected.add(credential)
            elif outcome.kind is Kind.PASSING:
                self._wait_for_the_server(source_scope, outcome, tried if is_patient else None)
                tried += 1
            elif is_optional and outcome.is_garbled:
                raise SourceUnavailable(GITHUB, source_scope, outcome.problem)
            elif not self._has_another(source_scope, credential, outcome):
                self._remember(credential, outcome, tried)
                self._patience.wait(source_scope, outcome, tried)
                tried += 1

    def _wait_for_the_server(self, source_scope: str, failure: FailedTry, tried: int | None) -> None:
        """Wait before the next try, the first `tried` having failed too. Raises ServerFailedError; at once for None."""
        if tried is None:
            seconds = failure.wait_seconds
            raise ServerFailedError(GITHUB, source_scope, failure.problem, retry_after_seconds=seconds)
        try:
            self._patience.wait(source_scope, failure, tried)
        except SourceUnavailable as error:
            seconds = error.retry_after_seconds
            raise ServerFailedError(GITHUB, source_scope, error.problem, retry_after_seconds=seconds) from None

    def _take(self, source_scope: str, query: str, rejected: Container[Credential]) -> tuple[Credential, int]:
        """The credential with most points left, and the points set aside; waits where none has enough.

        None of those `rejected`, and one that GitHub has rejected since it last answered only after the others.
        """
        waited = 0
        while True:
            now = self._patience.now()
            credentials = self._credentials.of(source_scope)
            usable = [
                credential for credential in credentials if not credential.is_rejected and credential not in rejected
            ]
            if not usable:
                raise refused(source_scope, f"GitHub rejects the credentials (401): {self._credentials.advice}")
            paused_seconds = max(credential.budget.paused_seconds(now) for credential in usable)
            if paused_seconds > 0:
                # What one scan has met the others would meet as well: they wait too, and do not evade it.
                self._patience.sleep_at_most(source_scope, PAUSED, paused_seconds)
                continue
            shortfalls = []
            for credential in sorted(
                usable, key=lambda credential: (credential.rejections, -credential.budget.left(now))
            ):
                taken = credential.budget.take(query, now)
                if isinstance(taken, int):
                    return credential, taken
                shortfalls.append((taken.wait_seconds, taken.problem(credential.budget.reserve)))
            seconds, problem = min(shortfalls)
            if waited > self._patience.retries:
                raise SourceUnavailable(GITHUB, source_scope, problem, retry_after_seconds=seconds)
            self._patience.sleep_at_most(source_scope, problem, seconds)
            waited += 1

    def _send(
        self,
        credential: Credential,
        query: str,
        variables: Mapping[str, Any],
        allowed: Callable[[GraphQLError], bool],
    ) -> Answer | FailedTry:
        with credential.requester() as requester:
            outcome = self._outcome(credential, requester, query, variables, allowed)
            if isinstance(outcome, FailedTry):
                # An answer that is odd may have left something behind, and the next one would begin with it.
                requester.close()
        if isinstance(outcome, Answer) and outcome.points:
            credential.budget.learn_cost(query, outcome.points)
        return outcome

    def _outcome(
        self,
        credential: Credential,
        requester: Requester,
        query: str,
        variables: Mapping[str, Any],
        allowed: Callable[[GraphQLError], bool],
    ) -> Answer | FailedTry:
        try:
            status, values, text = requester.requestJson(
                "POST", requester.graphql_url, input={"query": query, "variables": dict(variables)}
            )
            headers = read_headers(values)
            self._learn(credential.budget, headers)
            if status != HTTPStatus.OK:
                failure = of_status(status, headers, json_or_text(text))
                if failure.kind is Kind.REJECTED:
                    return _rejection(credential, credential.rejected(requester.auth), failure)
                return failure
            envelope = read_envelope(read_json(text))
        except Exception as error:  # noqa: BLE001 (see `understood`: PyGithub may raise anything)
            return understood(error, self._api_url)
        credential.accepted()
        return read_answer(headers, envelope, allowed)

    def _learn(self, budget: Budget, headers: AnswerHeaders) -> None:
        left, reset, answered_at = headers.points_left, headers.window_ends_at, headers.date
        # An answer to nobody (401) tells of another budget.
        if headers.resource not in (None, "graphql"):
            return
        if left is not None and reset is not None and answered_at is not None:
            budget.learn(left, reset, answered_at, self._patience.now())

    def _remember(self, credential: Credential, failure: FailedTry, tried: int) -> None:
        """That too much was asked at once is everybody's; a time that no such limit lasts or nobody can read is not."""
        seconds = self._patience.seconds(failure, tried)
        if failure.kind is Kind.PACED and not failure.is_garbled and seconds <= LONGEST_WINDOW.total_seconds():
            credential.budget.pause(self._patience.now() + seconds)

    def _has_another(self, source_scope: str, credential: Credential, failure: FailedTry) -> bool:
        """Whether to go on at once with points that are another's."""
        if failure.kind is not Kind.SPENT:
            return False
        now = self._patience.now()
        if credential.budget.left(now) > 0:  # it did not say until when: it would be chosen again
            return False
        others = (alternative for alternative in self._credentials.of(source_scope) if not alternative.is_rejected)
        return any(alternative.budget.left(now) > alternative.budget.reserve for alternative in others)


def _rejection(credential: Credential, known_in_seconds: float | None, failure: FailedTry) -> FailedTry:
    if known_in_seconds is None:
        _log.warning("GitHub rejects %s (401)", credential.name)
        return failure
    problem = f"GitHub does not know yet the token that it handed out to {credential.name} (401)"
    return FailedTry(Kind.TOO_NEW, problem, known_in_seconds)
