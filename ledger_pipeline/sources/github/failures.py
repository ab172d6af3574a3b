"""What an answer that is no success means: refused for good, worth another try, or worth a wait and how long.

GitHub says it in many ways: statuses, headers, messages, and errors of GraphQL behind status 200.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from github import GithubException
from github.Requester import Requester
from requests.exceptions import InvalidHeader, RequestException

# GitHub asks for a minute's pause after a limit that names no other.
LIMIT_WAIT_SECONDS = 60.0

# What a request may raise: an answer that is an error, no answer, a body that breaks off mid-JSON, a redirect.
RAISED = (GithubException, RequestException, ValueError, RuntimeError)

NO_REPOSITORY = "no such repository, or the credentials may not read it (404): check source_refs"
NO_INSTALLATION = "no such installation (404): check GITHUB_APP_INSTALLATION_ID"

# GitHub has sent both spellings.
_LIMIT_TYPES = frozenset({"RATE_LIMITED", "RATE_LIMIT"})
_HEAVY_TYPES = frozenset({"TIMEOUT", "RESOURCE_LIMITS_EXCEEDED"})
_PASSING_TYPES = frozenset({"SERVICE_UNAVAILABLE", "LOADING", "INTERNAL"})
_HEAVY_WORDS = ("something went wrong while executing your query", "timeout", "timed out")


class Kind(Enum):
    """What is to be done about it."""

    REFUSED = auto()
    """Nothing: the same again gives the same."""
    REJECTED = auto()
    """Other credentials."""
    TOO_HEAVY = auto()
    """Ask for less."""
    SPENT = auto()
    """Wait until the hourly budget is whole again, or use another."""
    PACED = auto()
    """Wait: too much at once (GitHub's secondary limit)."""
    PASSING = auto()
    """Try again soon."""


@dataclass(frozen=True)
class Failure:
    """One failed try. `wait_seconds` is what GitHub asks for, None where it names no time."""

    kind: Kind
    problem: str
    wait_seconds: float | None = None


def understood(error: Exception, api_url: str, missing: str = NO_REPOSITORY) -> Failure:
    """What one of RAISED means, `missing` being what a 404 says; its problem holds no secret."""
    if isinstance(error, GithubException):
        if error.status == 404:
            return Failure(Kind.REFUSED, missing)
        return _of_status(error.status, error.headers or {}, _message(error))
    if isinstance(error, InvalidHeader | UnicodeError):
        return Failure(Kind.REFUSED, "the token holds characters that no header can")  # their text shows the token
    if isinstance(error, RequestException | ValueError):
        return Failure(Kind.PASSING, f"no whole answer from {api_url}: {_root_cause(error)}")
    return Failure(Kind.REFUSED, f"GITHUB_API_URL: {error}")


def understood_errors(errors: Sequence[Mapping[str, Any]], headers: Mapping[str, Any], *, has_data: bool) -> Failure:
    """What the errors of a GraphQL answer mean; `has_data` when it has the key at all, be it null."""
    types = {error.get("type") for error in errors}
    text = "; ".join(str(error.get("message")) for error in errors)
    if types & _LIMIT_TYPES:
        return _limit(headers, text)
    if "NOT_FOUND" in types:
        return Failure(Kind.REFUSED, f"GitHub does not find it: {text}: check source_refs")
    if types - _HEAVY_TYPES - _PASSING_TYPES - {None}:
        return Failure(Kind.REFUSED, f"GitHub refuses the query: {text}")
    if types & _HEAVY_TYPES or any(words in text.lower() for words in _HEAVY_WORDS):
        return Failure(Kind.TOO_HEAVY, f"GitHub could not finish the query: {text}")
    if types == {None} and not has_data:  # it did not even begin: the query is wrong
        return Failure(Kind.REFUSED, f"GitHub refuses the query: {text}")
    return Failure(Kind.PASSING, f"GitHub could not finish the query: {text}")


def server_time(headers: Mapping[str, Any]) -> datetime | None:
    """The time GitHub answered at, by its own clock."""
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return None


def resets_at(headers: Mapping[str, Any]) -> datetime | None:
    """When the budget is whole again, by GitHub's clock."""
    seconds = _number(headers.get("x-ratelimit-reset"))
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def points_left(headers: Mapping[str, Any]) -> int | None:
    """What the headers say is left of the budget."""
    points = _number(headers.get("x-ratelimit-remaining"))
    return None if points is None else int(points)


def _of_status(status: int, headers: Mapping[str, Any], message: str) -> Failure:
    if status == 401:
        return Failure(Kind.REJECTED, f"GitHub rejects the credentials (401): {message}")
    if status == 429 or (status == 403 and _is_limit(headers, message)):
        return _limit(headers, message)
    problem = f"GitHub answers {status}: {message}"
    if status in (502, 504):
        return Failure(Kind.TOO_HEAVY, problem)
    if status >= 500:
        return Failure(Kind.PASSING, problem, _number(headers.get("retry-after")))
    return Failure(Kind.REFUSED, problem)


def _is_limit(headers: Mapping[str, Any], message: str) -> bool:
    return "retry-after" in headers or points_left(headers) == 0 or Requester.isRateLimitError(message)


def _limit(headers: Mapping[str, Any], message: str) -> Failure:
    retry_after, reset = _number(headers.get("retry-after")), resets_at(headers)
    is_secondary = Requester.isSecondaryRateLimitError(message)
    if retry_after is not None or is_secondary or not (points_left(headers) == 0 or _is_primary(message)):
        return Failure(Kind.PACED, "GitHub's secondary rate limit, too much at once", retry_after)
    if reset is None:
        return Failure(Kind.SPENT, "GitHub's rate limit is spent")
    # By GitHub's own clock, ours may differ; a second more, as the reset comes somewhere within its second.
    wait = (reset - (server_time(headers) or datetime.now(UTC))).total_seconds() + 1
    return Failure(Kind.SPENT, f"GitHub's rate limit is spent, until {reset:%Y-%m-%dT%H:%M:%SZ}", max(wait, 1.0))


def _is_primary(message: str) -> bool:
    return Requester.isPrimaryRateLimitError(message)


def _message(error: GithubException) -> str:
    said = error.data.get("message") if isinstance(error.data, dict) else None
    errors = error.data.get("errors") if isinstance(error.data, dict) else None
    if said is None and isinstance(errors, list) and errors and isinstance(errors[0], dict):
        said = errors[0].get("message")
    return str(error.message or said or "no message")


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _root_cause(error: BaseException) -> BaseException:
    # requests wraps urllib3's error, which wraps the socket's; only the last says what happened in a few words.
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
