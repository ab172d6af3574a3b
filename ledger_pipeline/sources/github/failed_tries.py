"""What an answer that is no success means: refused for good, worth another try, or worth a wait and how long.

GitHub says it in many ways: statuses, headers, messages, and errors of GraphQL behind status 200.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from github import GithubException
from requests.exceptions import InvalidHeader, RequestException

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.sources.github.bounded_http import AnswerTooLarge
from ledger_pipeline.sources.github.envelope import Envelope, GraphQLError, UnreadableBody, read_envelope
from ledger_pipeline.sources.github.headers import AnswerHeaders, read_headers

# GitHub asks for a minute's pause after a limit that names no other.
LIMIT_WAIT_SECONDS = 60.0

# After a limit nobody is asked again at once, even where GitHub names a time that has passed.
SHORTEST_WAIT_SECONDS = 1.0

# How much of a message from outside is repeated: the rest of an error's room is for where it was and what to do.
QUOTED_CHARACTERS = 160

NO_REPOSITORY = "no such repository, or the credentials may not read it (404): check source_refs"
NO_INSTALLATION = "no such installation (404): check GITHUB_APP_INSTALLATION_ID"

# GitHub has sent both spellings.
_LIMIT_TYPES = frozenset({"RATE_LIMITED", "RATE_LIMIT"})
_HEAVY_TYPES = frozenset({"TIMEOUT", "RESOURCE_LIMITS_EXCEEDED"})
_PASSING_TYPES = frozenset({"SERVICE_UNAVAILABLE", "LOADING", "INTERNAL"})
_REFUSING_TYPES = frozenset(
    {
        "FORBIDDEN",
        "INSUFFICIENT_SCOPES",
        "INVALID_CURSOR_ARGUMENTS",
        "EXCESSIVE_PAGINATION",
        "MISSING_PAGINATION_BOUNDARIES",
    }
)
_HEAVY_WORDS = ("something went wrong while executing your query", "timeout", "timed out")

# How GitHub has worded its limits over the years, whatever status and type stood beside. Each holds a space, which
# no name of a repository or login does.
_PRIMARY_WORDS = ("api rate limit exceeded", "api rate limit already exceeded")
_SECONDARY_WORDS = (
    "secondary rate limit",
    "abuse detection mechanism",
    "abuse rate limit",
    "please retry your request again later",
    "please wait a few minutes before you try again",
    "submitted too quickly",
)


class Kind(Enum):
    """What is to be done about it."""

    REFUSED = auto()
    """Nothing: the same again gives the same."""
    REJECTED = auto()
    """Other credentials."""
    TOO_NEW = auto()
    """Wait, and use the same token again: GitHub does not know everywhere yet what it has just handed out."""
    TOO_HEAVY = auto()
    """Ask for less."""
    SPENT = auto()
    """Wait until the hourly budget is whole again, or use another."""
    PACED = auto()
    """Wait: too much at once (GitHub's secondary limit)."""
    PASSING = auto()
    """Try again soon; where that does not help, ask for less: one item may be the cause."""


@dataclass(frozen=True)
class FailedTry:
    """One failed try.

    `wait_seconds` is what GitHub asks for, None where it names no time; `is_garbled` where it does, and nobody can read
    it. `errors` are GraphQL's, where those failed
    the query. `problem` repeats at most QUOTED_CHARACTERS of what came from outside, all of them plain.
    """

    kind: Kind
    problem: str
    wait_seconds: float | None = None
    errors: tuple[GraphQLError, ...] = ()
    is_garbled: bool = False


def understood(error: Exception, api_url: str, missing: str = NO_REPOSITORY) -> FailedTry:
    """What an exception of a request means, `missing` being what a 404 says; its problem holds no secret.

    PyGithub reads answers without asking for their shape first: anything it raises is an answer that makes no sense.
    """
    if isinstance(error, GithubException):
        headers = read_headers(error.headers if isinstance(error.headers, Mapping) else {})
        return of_status(error.status, headers, error.data, missing)
    if isinstance(error, InvalidHeader | UnicodeEncodeError):
        return FailedTry(Kind.REFUSED, "the token holds characters that no header can")  # their text shows the token
    if isinstance(error, AnswerTooLarge):
        return FailedTry(Kind.TOO_HEAVY, str(error))
    if isinstance(error, RequestException | UnreadableBody | ValueError):
        return FailedTry(Kind.PASSING, f"no whole answer from {api_url}: {quoted(_root_cause(error))}")
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        return FailedTry(Kind.REFUSED, f"GITHUB_API_URL: {quoted(error)}")  # it redirects elsewhere
    return FailedTry(Kind.PASSING, f"{api_url} answers what is none of GitHub's answers ({type(error).__name__})")


def of_status(status: int, headers: AnswerHeaders, body: object, missing: str = NO_REPOSITORY) -> FailedTry:
    """What an answer that is no 200 means, `missing` being what a 404 says."""
    envelope = read_envelope(body)
    message = _message(envelope)
    if status == 404:
        return FailedTry(Kind.REFUSED, missing)
    if status == 401:
        return FailedTry(Kind.REJECTED, f"GitHub rejects the credentials (401): {quoted(message)}")
    asks_to_wait = status == 403 and (headers.has_retry_after or headers.points_left == 0)
    if status == 429 or asks_to_wait or _speaks_of_a_limit(message):
        return _limit(headers, message)
    problem = f"GitHub answers {status}: {quoted(message)}"
    if status in (502, 504):
        return FailedTry(Kind.TOO_HEAVY, problem)
    if status >= 500 or status < 400:  # below 400 it is a proxy's: a page to log in, nothing at all
        return FailedTry(Kind.PASSING, problem, _wait(headers))
    return FailedTry(Kind.REFUSED, problem)


def understood_errors(errors: Sequence[GraphQLError], headers: AnswerHeaders, *, has_data: bool) -> FailedTry:
    """What the errors of a GraphQL answer mean; `has_data` when it has the key at all, be it null."""
    types = {error.type for error in errors}
    text = "; ".join(error.message for error in errors)
    asks_to_wait = types == {None} and not has_data and headers.has_retry_after
    if asks_to_wait or any(is_limit(error) for error in errors):
        return _limit(headers, text)
    is_of_parts = all(len(error.path) > 1 and error.path[0] == "repository" for error in errors)
    kind, problem = _of_types(types, text, has_begun=has_data or is_of_parts, is_of_parts=is_of_parts)
    return FailedTry(kind, problem, errors=tuple(errors))


def is_limit(error: GraphQLError) -> bool:
    """Whether it is about how much was asked, not about what."""
    return error.type in _LIMIT_TYPES or _speaks_of_a_limit(error.message)


def without_data(envelope: Envelope, headers: AnswerHeaders) -> FailedTry:
    """What an answer means that has neither data nor errors."""
    if envelope.message is not None and _speaks_of_a_limit(envelope.message):
        return _limit(headers, envelope.message)
    repeated = "" if envelope.message is None else f": {quoted(envelope.message)}"
    return FailedTry(Kind.PASSING, f"GitHub answered without data{repeated}", _wait(headers))


def quoted(text: object) -> str:
    """A message from outside, as much of it as an error of ours repeats: on one line, all of it plain."""
    return plain_message(str(text), QUOTED_CHARACTERS)


def _of_types(types: set[str | None], text: str, *, has_begun: bool, is_of_parts: bool) -> tuple[Kind, str]:
    if "NOT_FOUND" in types:
        return Kind.REFUSED, f"GitHub does not find it: {quoted(text)}: check source_refs"
    # A type that nobody knows is the query's, unless it says which part of the answer failed.
    refusing = types & _REFUSING_TYPES if is_of_parts else types - _HEAVY_TYPES - _PASSING_TYPES - {None}
    if refusing:
        return Kind.REFUSED, f"GitHub refuses the query: {quoted(text)}"
    if types & _HEAVY_TYPES or any(words in text.lower() for words in _HEAVY_WORDS):
        return Kind.TOO_HEAVY, f"GitHub could not finish the query: {quoted(text)}"
    if types == {None} and not has_begun:  # it did not even begin: the query is wrong
        return Kind.REFUSED, f"GitHub refuses the query: {quoted(text)}"
    return Kind.PASSING, f"GitHub could not finish the query: {quoted(text)}"


def _limit(headers: AnswerHeaders, message: str) -> FailedTry:
    is_primary = headers.points_left == 0 or _says(message, _PRIMARY_WORDS)
    if headers.has_retry_after or _says(message, _SECONDARY_WORDS) or not is_primary:
        wait = _wait(headers)
        is_garbled = headers.has_retry_after and wait is None
        return FailedTry(Kind.PACED, "GitHub's secondary rate limit, too much at once", wait, is_garbled=is_garbled)
    reset = headers.resets_at
    if reset is None:
        return FailedTry(Kind.SPENT, "GitHub's rate limit is spent")
    # By GitHub's own clock, ours may differ; a second more, as the reset comes somewhere within its second.
    wait = (reset - (headers.date or datetime.now(UTC))).total_seconds() + 1
    problem = f"GitHub's rate limit is spent, until {reset:%Y-%m-%dT%H:%M:%SZ}"
    return FailedTry(Kind.SPENT, problem, max(wait, SHORTEST_WAIT_SECONDS))


def _wait(headers: AnswerHeaders) -> float | None:
    seconds = headers.retry_after_seconds
    return None if seconds is None else max(seconds, SHORTEST_WAIT_SECONDS)


def _speaks_of_a_limit(message: str) -> bool:
    return _says(message, _PRIMARY_WORDS) or _says(message, _SECONDARY_WORDS)


def _says(message: str, any_of: Sequence[str]) -> bool:
    lower = message.lower()
    return any(words in lower for words in any_of)


def _message(envelope: Envelope) -> str:
    if envelope.message is not None:
        return envelope.message
    return envelope.errors[0].message if envelope.errors else "no message"


def _root_cause(error: BaseException) -> BaseException:
    # requests wraps urllib3's error, which wraps the socket's; only the last says what happened in a few words. An
    # error of ours is no cause of it, but the failure that was being handled when this was asked.
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None or isinstance(inner, LedgerError):
            return error
        error = inner
