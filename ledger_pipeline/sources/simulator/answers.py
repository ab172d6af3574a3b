"""The answers GitHub gives instead of data: status, headers and body, worded as GitHub words them."""

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from ledger_pipeline.sources.simulator.budget import Standing
from ledger_pipeline.sources.simulator.faults import FailedAnswer, SecondaryLimit

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

_DOCS = "https://docs.github.com"
_LIMITS_DOCS = f"{_DOCS}/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api"
_SPENT = "API rate limit exceeded for user ID 9000001."
_SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID {request_id}."
)
_TIMEOUT = (
    "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub "
    "bug. Please include `{request_id}` when reporting this issue."
)
_AUTHOR = ["repository", "pullRequests", "nodes", 0, "author"]
_HTML = "<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>"


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    media_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, body: object, headers: dict[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, text.encode(), headers=headers or {})


def message(status: int, text: str, documentation: str = f"{_DOCS}/rest") -> Answer:
    """GitHub's usual form of an error outside GraphQL."""
    return json_answer(status, {"message": text, "documentation_url": documentation, "status": str(status)})


def unauthenticated() -> Answer:
    """No Authorization header."""
    where = "/graphql/guides/forming-calls-with-graphql#authenticating-with-graphql"
    return message(401, "This endpoint requires you to be authenticated.", _DOCS + where)


def bad_credentials() -> Answer:
    """A token that GitHub does not know, or no more."""
    return message(401, "Bad credentials")


def not_found() -> Answer:
    """Nothing there, or nothing for you."""
    return message(404, "Not Found")


def malformed() -> Answer:
    """The request's body is no JSON object."""
    return message(400, "Problems parsing JSON", f"{_DOCS}/graphql")


def budget_spent(standing: Standing, type_: str = "RATE_LIMITED") -> Answer:
    """The primary limit as GraphQL tells it: 200, an error, and nothing left."""
    error = {"type": type_, "message": _SPENT}
    if type_ == "RATE_LIMIT":
        error = {"type": type_, "code": "graphql_rate_limit", "message": _SPENT}
    return json_answer(200, {"errors": [error]}, _nothing_left(standing))


def secondary_limit(fault: SecondaryLimit, request_id: str) -> Answer:
    """Too much at once."""
    plain = message(fault.status, _SECONDARY.format(request_id=request_id), f"{_LIMITS_DOCS}#secondary-rate-limits")
    retry = {} if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
    return Answer(plain.status, plain.body, headers=retry)


def bad_gateway() -> Answer:
    """What the proxy in front answers."""
    return gave_up(502)


def gave_up(status: int) -> Answer:
    """A page of HTML with the name of the status."""
    return _page(status, f"{status} {HTTPStatus(status).phrase}")


def failure(kind: FailedAnswer, standing: Standing, request_id: str) -> Answer:
    """The answer that stands for a failure."""
    match kind:
        case FailedAnswer.BAD_GATEWAY:
            return bad_gateway()
        case FailedAnswer.SERVER_ERROR:
            return gave_up(500)
        case FailedAnswer.MAINTENANCE:
            return gave_up(503)
        case FailedAnswer.MAINTENANCE_FOR_A_WHILE:
            return replace(gave_up(503), headers={"Retry-After": "60"})
        case FailedAnswer.HTML_PAGE:
            return _page(200, "Sign in")
        case FailedAnswer.NO_DATA:
            return json_answer(200, {"data": None})
        case FailedAnswer.INTERNAL | FailedAnswer.SERVICE_UNAVAILABLE:
            return _with_error(None, {"type": kind.name, "message": "We could not serve you"})
        case FailedAnswer.UNTYPED:
            return _with_error(None, {"message": "We could not serve you"})
        case FailedAnswer.NULL_CONNECTION:
            error = {"message": "We could not serve you", "path": ["repository", "pullRequests"]}
            return _with_error({"repository": None}, error)
        case FailedAnswer.NULL_BELOW_A_NODE:
            return _with_error({"repository": None}, {"message": "We could not serve you", "path": _AUTHOR})
        case FailedAnswer.FORBIDDEN_BELOW_A_NODE:
            refusal = {"type": "FORBIDDEN", "message": "We may not serve you", "path": _AUTHOR}
            return _with_error({"repository": None}, refusal)
        case FailedAnswer.GATEWAY_TIMEOUT:
            return _page(504, "504 Gateway Time-out")
        case FailedAnswer.QUERY_TIMEOUT:
            return _timed_out(200, request_id)
        case FailedAnswer.QUERY_TIMEOUT_502:
            return _timed_out(502, request_id)
        case FailedAnswer.RATE_LIMITED | FailedAnswer.RATE_LIMIT:
            return budget_spent(standing, kind.name)
        case FailedAnswer.PRIMARY_LIMIT_403 | FailedAnswer.PRIMARY_LIMIT_429:
            status = 403 if kind is FailedAnswer.PRIMARY_LIMIT_403 else 429
            plain = message(status, _SPENT, f"{_LIMITS_DOCS}#primary-rate-limit")
            return Answer(plain.status, plain.body, headers=_nothing_left(standing))
        case FailedAnswer.BAD_CREDENTIALS:
            return bad_credentials()
        case FailedAnswer.NOT_FOUND:
            return not_found()
        case FailedAnswer.BLOCKED:
            block = {
                "reason": "dmca",
                "created_at": "2026-01-05T00:00:00Z",
                "html_url": "https://github.com/github/dmca",
            }
            return json_answer(451, {"message": "Repository access blocked", "block": block})


def _timed_out(status: int, request_id: str) -> Answer:
    body: dict[str, Any] = {"data": None, "errors": [{"message": _TIMEOUT.format(request_id=request_id)}]}
    return json_answer(status, body)


def _with_error(data: object, error: dict[str, Any]) -> Answer:
    return json_answer(200, {"data": data, "errors": [error]})


def _page(status: int, title: str) -> Answer:
    return Answer(status, _HTML.format(title=title).encode(), HTML_TYPE)


def _nothing_left(standing: Standing) -> dict[str, str]:
    spent = Standing(standing.resource, standing.limit, max(standing.used, standing.limit), standing.resets_at)
    return spent.headers()
