"""GitHub's GraphQL API over PyGithub: authentication, waiting, and what each failure means. No domain here.

PyGithub retries what HTTP says is worth it (5xx, rate limits with their waits); GraphQL's own errors come with
status 200 and are understood here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from github import Auth, Github, GithubException, GithubRetry
from github.GithubException import BadCredentialsException, RateLimitExceededException, UnknownObjectException

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.events import GITHUB

# GitHub asks for a minute's pause after a secondary limit that names no Retry-After.
SECONDARY_LIMIT_WAIT_SECONDS = 60

# GraphQL error types that pass by themselves; GitHub has sent both spellings of the limit.
_PASSING_ERROR_TYPES = frozenset(
    {"RATE_LIMITED", "RATE_LIMIT", "SERVICE_UNAVAILABLE", "TIMEOUT", "LOADING", "INTERNAL"}
)


@dataclass(frozen=True)
class Answer:
    """What GitHub answered: the query's `data`, its own time (aware, UTC), and the budget where asked for."""

    data: dict[str, Any]
    server_time: datetime
    points: int
    points_left: int | None


class GitHubClient:
    """Sends queries for a source_scope; safe to use from several threads.

    `retries` counts further tries of a request; `max_wait_seconds` bounds each wait for a rate limit.
    """

    def __init__(
        self, *, api_url: str, token: str, timeout_seconds: int, max_wait_seconds: int, retries: int = 4
    ) -> None:
        self._api_url = api_url
        self._github = Github(
            auth=Auth.Token(token),
            base_url=api_url.rstrip("/"),
            timeout=timeout_seconds,
            user_agent="ledger-pipeline",
            retry=GithubRetry(
                total=retries,
                backoff_factor=1,
                secondary_rate_wait=SECONDARY_LIMIT_WAIT_SECONDS,
                max_rate_limit_wait=max_wait_seconds,
            ),
            # PyGithub counts a GraphQL POST as a write and would wait a second between two; ours only read.
            seconds_between_requests=0,
            seconds_between_writes=0,
        )

    def query(self, source_scope: str, query: str, variables: Mapping[str, Any]) -> Answer:
        """Send one query. Raises SourceUnavailable or SourceRefused, naming `source_scope` and what to do."""
        try:
            headers, body = self._github.requester.graphql_query(query, dict(variables))
        except GithubException as error:
            raise _understood(source_scope, error) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            # ValueError is a body that breaks off mid-JSON.
            raise SourceUnavailable(
                GITHUB, source_scope, f"no whole answer from {self._api_url}: {_root_cause(error)}"
            ) from error
        data = body.get("data")
        if not isinstance(data, dict):
            raise SourceUnavailable(GITHUB, source_scope, "GitHub answered without data")
        limit = data.get("rateLimit") or {}
        return Answer(data, _server_time(source_scope, headers), limit.get("cost", 0), limit.get("remaining"))

    def close(self) -> None:
        """Give the connections back."""
        self._github.close()


def _root_cause(error: BaseException) -> BaseException:
    # requests wraps urllib3's error, which wraps the socket's; only the last says what happened in a few words.
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _server_time(source_scope: str, headers: Mapping[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceUnavailable(
            GITHUB,
            source_scope,
            "an answer without a Date header, so the scan has no watermark; is a proxy between?",
        ) from error


def _understood(source_scope: str, error: GithubException) -> SourceError:
    if isinstance(error, BadCredentialsException):
        return SourceRefused(GITHUB, source_scope, "GitHub rejects the credentials (401): renew GITHUB_TOKEN")
    if isinstance(error, RateLimitExceededException):
        return SourceUnavailable(GITHUB, source_scope, f"GitHub's rate limit is spent: {error.message}")
    if isinstance(error, UnknownObjectException):
        return SourceRefused(
            GITHUB, source_scope, "no such repository, or the credentials may not read it: check source_refs"
        )
    graphql_errors = error.data.get("errors") if isinstance(error.data, dict) else None
    if graphql_errors:
        return _understood_graphql(source_scope, graphql_errors)
    message = error.message or (error.data.get("message") if isinstance(error.data, dict) else None) or "no message"
    if error.status == 429 or error.status >= 500:
        return SourceUnavailable(GITHUB, source_scope, f"GitHub answers {error.status}: {message}")
    if error.status == 401:
        return SourceRefused(GITHUB, source_scope, f"GitHub wants credentials (401): set GITHUB_TOKEN ({message})")
    return SourceRefused(GITHUB, source_scope, f"GitHub answers {error.status}: {message}")


def _understood_graphql(source_scope: str, errors: list[dict[str, Any]]) -> SourceError:
    types = {error.get("type") for error in errors}
    text = "; ".join(str(error.get("message")) for error in errors)
    if "NOT_FOUND" in types:
        return SourceRefused(GITHUB, source_scope, f"GitHub does not find it: {text}")
    # An execution that took too long has a message and no type at all.
    if types & _PASSING_ERROR_TYPES or None in types:
        return SourceUnavailable(GITHUB, source_scope, f"GitHub could not finish the query: {text}")
    return SourceRefused(GITHUB, source_scope, f"GitHub refuses the query: {text}")
