"""The body of a GraphQL answer as typed values: `data`, `errors` and `rateLimit`, whatever shape they came in.

What is inside `data` is the asker's to judge.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from ledger_pipeline.core.json_text import json_of

# Errors beyond these say nothing more, and a hundred repositories in one query have no more either.
MOST_ERRORS = 1000

_MOST_POINTS = 2**31 - 1


class UnreadableBody(ValueError):
    """A body that is no JSON, or more deeply nested than any answer is."""


# JSON can hold half a surrogate pair, which no encoding takes.
_SURROGATES = re.compile("[\ud800-\udfff]")


def _whole(text: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(value: object) -> str:
    return _whole(value) if isinstance(value, str) else "no message"


def _text_or_none(value: object) -> str | None:
    return _whole(value) if isinstance(value, str) else None


def _path(value: object) -> tuple[str | int, ...]:
    steps = value if isinstance(value, list | tuple) else []
    return tuple(_whole(step) if isinstance(step, str) else step for step in steps if isinstance(step, str | int))


def _points(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_POINTS
    return value if is_count else None  # type: ignore[return-value]


def _error(value: object) -> object:
    if isinstance(value, Mapping | GraphQLError):
        return value
    return {"message": value}


def _errors(value: object) -> object:
    if not value:
        return []
    return [_error(error) for error in (value if isinstance(value, list) else [value])[:MOST_ERRORS]]


def _mapping(value: object) -> object:
    return value if isinstance(value, dict) else None


class GraphQLError(BaseModel):
    """One error of an answer: GitHub's `type` (None where it has none), its message, and where in `data` it is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    message: Annotated[str, BeforeValidator(_text)] = "no message"
    path: Annotated[tuple[str | int, ...], BeforeValidator(_path)] = ()
    """As `("repository", "issues")`; empty for an error of the whole query."""


class PointsTold(BaseModel):
    """What the query's own `rateLimit` says; None: not asked, or unusable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cost: Annotated[int | None, BeforeValidator(_points)] = None
    remaining: Annotated[int | None, BeforeValidator(_points)] = None


class Envelope(BaseModel):
    """An answer. `data` None: none, null, or no object; `message`: what stands in place of both data and errors."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Not validated further: a key with half a surrogate pair would fail the whole answer.
    data: Annotated[Any, BeforeValidator(_mapping)] = None
    errors: Annotated[tuple[GraphQLError, ...], BeforeValidator(_errors)] = ()
    message: Annotated[str | None, BeforeValidator(_text_or_none)] = None
    has_data: bool = False
    """Whether it has the key `data` at all, be it null: without, GitHub did not even begin."""

    @property
    def points(self) -> PointsTold:
        """What the answer says of the budget."""
        rate_limit = (self.data or {}).get("rateLimit")
        return PointsTold.model_validate(rate_limit if isinstance(rate_limit, dict) else {})


def read_json(text: str) -> Any:
    """The JSON of a body. Raises UnreadableBody."""
    try:
        return json_of(text)
    except ValueError as error:
        raise UnreadableBody(f"the body is no JSON: {error}") from None


def read_envelope(body: object) -> Envelope:
    """A body of any shape. Raises nothing."""
    if not isinstance(body, dict):
        return Envelope()
    members = {key: body[key] for key in ("data", "errors", "message") if key in body}
    return Envelope.model_validate({**members, "has_data": "data" in body})
