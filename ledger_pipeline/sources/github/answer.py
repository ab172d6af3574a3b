"""What GitHub's GraphQL API answers: data with its own time, or an error that says whether asking again can help."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.sources.github.envelope import Envelope, GraphQLError, UnreadableBody, read_json
from ledger_pipeline.sources.github.failed_tries import FailedTry, Kind, understood_errors, without_data
from ledger_pipeline.sources.github.headers import AnswerHeaders


class QueryTooHeavyError(SourceUnavailable):
    """GitHub gave up on the query (502, 504, a timeout): asked for fewer items it may answer."""


class ServerFailedError(SourceUnavailable):
    """GitHub gave no answer that can be used, again and again: it may be out of order, or an item that was asked for.

    It answered 500 or 503, without data, with a page of a proxy, in parts, too late, or not at all.
    """


class QueryRefusedError(SourceRefused):
    """GitHub refuses the query, or a part of it: `errors` are its own, with the path of what each of them refuses."""

    def __init__(self, source: str, source_scope: str, problem: str, errors: tuple[GraphQLError, ...]) -> None:
        self.errors = errors
        super().__init__(source, source_scope, problem)


@dataclass(frozen=True)
class Answer:
    """What GitHub answered: the query's `data`, its own time (aware, UTC), and the budget where it tells.

    `server_time` is no later than what `data` shows: it is `date`, which agrees with our clock, less the time that a
    cache has kept the answer.
    `errors` are those that the asker allows; for each of them something in `data` is null, which may be any parent of
    the error's path. Nothing inside `data` is checked.
    """

    data: dict[str, Any]
    server_time: datetime
    points: int
    points_left: int | None
    date: datetime
    errors: tuple[GraphQLError, ...] = ()


def is_missing(error: GraphQLError) -> bool:
    """Whether a top-level field of the query was not found."""
    return error.type == "NOT_FOUND" and len(error.path) == 1


def no_error(error: GraphQLError) -> bool:  # noqa: ARG001
    """Allow no error."""
    return False


def read_answer(
    headers: AnswerHeaders, envelope: Envelope, allowed: Callable[[GraphQLError], bool]
) -> Answer | FailedTry:
    """What a response of status 200 is: an answer, where it has no error but those `allowed`, or why it is none."""
    data, errors = envelope.data, [error for error in envelope.errors if not allowed(error)]
    if errors:
        return understood_errors(errors, headers, has_data=envelope.has_data)
    if data is None and not envelope.errors:
        return without_data(envelope, headers)
    date, answered_at = headers.date, headers.answered_at
    if date is None or answered_at is None:
        problem = "an answer without a Date header, so the scan has no watermark; is a proxy between?"
        return FailedTry(Kind.PASSING, problem)
    points = envelope.points
    points_left = headers.points_left if points.remaining is None else points.remaining
    return Answer(data or {}, answered_at, points.cost or 0, points_left, date, envelope.errors)


def json_or_text(text: str) -> object:
    """The body of an error as JSON; None where it is none, for a proxy's is a page of HTML."""
    try:
        return read_json(text)
    except UnreadableBody:
        return None
