"""GitHub's payloads as typed values. Each node is validated by itself, so that one that cannot be used fails alone.

Strict is what an event's id, hash or columns are made of. What people are only shown is taken as it comes: text that
nothing can store is mended, text without an end is cut, and what is no text is left out.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.sources.github.node_ids import database_id
from ledger_pipeline.sources.github.payload_fields import (
    AHEAD,
    Column,
    Count,
    Cursor,
    EnumValue,
    Flag,
    Instant,
    Moment,
    Number,
    ObjectId,
    Shown,
    Total,
    UserId,
    id_or_none,
    number_or_none,
)

REASON_CHARACTERS = 300

_Model = TypeVar("_Model", bound=BaseModel)


class UnusablePayload(ValueError):
    """A payload that cannot be used; the message names the field, in at most REASON_CHARACTERS plain characters."""


def read(model: type[_Model], payload: object, answered_at: datetime) -> _Model:
    """`payload` of an answer that GitHub gave at `answered_at`. Raises UnusablePayload."""
    try:
        return model.model_validate(payload, context={"latest": answered_at + AHEAD})
    except ValidationError as error:
        raise UnusablePayload(_reason(error)) from None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == _CONTRADICTION:
        return plain_message(first["msg"], REASON_CHARACTERS)
    field = ".".join(str(step) for step in first["loc"] if step not in (_USER, _OTHER))
    value = first["input"]
    what = first["msg"].removeprefix("Value error, ")
    problem = "is missing" if first["type"] == "missing" else "is null" if value is None else f"cannot be used: {what}"
    return plain_message(f"{field or 'what stands in place of the item'} {problem}", REASON_CHARACTERS)


_CONTRADICTION = "contradiction"
_PENDING = "PENDING"
_USER, _OTHER = "a user", "another author"


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class _Numbered(_Payload):
    """An object with a number; a server without `fullDatabaseId` tells it as one of 32 bits, or only in the id."""

    full_database_id: ObjectId

    @model_validator(mode="before")
    @classmethod
    def _number_of_an_old_server(cls, payload: object) -> object:
        if not isinstance(payload, dict) or "fullDatabaseId" in payload or not isinstance(payload.get("id"), str):
            return payload
        number = payload.get("databaseId")
        return {**payload, "fullDatabaseId": database_id(payload["id"]) if number is None else number}


class User(_Payload):
    """An author who counts."""

    kind: Literal["User"] = Field(alias="__typename")
    database_id: UserId
    login: Column


class OtherAuthor(_Payload):
    """A bot, a mannequin, or a kind of account that came after this was written."""

    kind: Annotated[str, Field(alias="__typename", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


def _kind_of_author(value: object) -> str:
    kind = value.get("__typename") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return _USER if kind == "User" else _OTHER


Author = Annotated[Annotated[User, Tag(_USER)] | Annotated[OtherAuthor, Tag(_OTHER)], Discriminator(_kind_of_author)]


class Listed(_Payload):
    """What even the lightest page tells of an item, or as much of it as can be used; None for the rest."""

    number: Annotated[int | None, BeforeValidator(number_or_none)] = None
    created: Moment = Field(default=None, validation_alias=AliasChoices("createdAt"))
    updated: Moment = Field(default=None, validation_alias=AliasChoices("updatedAt"))


def _agreeing(payload: _Model, field: str, moment: str | None, stated: str, is_done: bool) -> _Model:
    """`payload`, whose `field` says when what is `stated` was done. Raises where one says it was and the other not."""
    if (moment is not None) is not is_done:
        raise PydanticCustomError(
            _CONTRADICTION,
            "{field} is {moment} although {told}",
            {"field": field, "moment": moment or "null", "told": stated},
        )
    return payload


class PullRequest(_Payload):
    """A pull request; what its merge is made of is validated only where it is merged (MergedPullRequest)."""

    number: Number
    merged: Flag
    merged_at: Instant | None

    @model_validator(mode="after")
    def _says_when_it_was_merged(self) -> "PullRequest":
        return _agreeing(self, "mergedAt", self.merged_at, f"merged is {str(self.merged).lower()}", self.merged)


class MergedPullRequest(_Numbered):
    """A pull request that is an event."""

    number: Number
    merged_at: Instant
    author: Author | None
    base_ref_name: Column
    url: Column
    title: Shown = None
    created_at: Shown = None


class Issue(_Payload):
    """An issue; what its closing is made of is validated only where it is closed (ClosedIssue)."""

    number: Number
    closed: Flag
    closed_at: Instant | None

    @model_validator(mode="after")
    def _says_when_it_was_closed(self) -> "Issue":
        return _agreeing(self, "closedAt", self.closed_at, f"closed is {str(self.closed).lower()}", self.closed)


class ClosedIssue(_Numbered):
    """An issue that is an event."""

    number: Number
    closed_at: Instant
    author: Author | None
    url: Column
    title: Shown = None
    created_at: Shown = None
    state_reason: Shown = None


class Review(_Payload):
    """A review; what its event is made of is validated only where it is submitted (SubmittedReview)."""

    state: EnumValue
    submitted_at: Instant | None

    @model_validator(mode="after")
    def _says_when_it_was_submitted(self) -> "Review":
        return _agreeing(self, "submittedAt", self.submitted_at, f"state is {self.state}", self.state != _PENDING)


class SubmittedReview(_Numbered):
    """A review that is an event."""

    submitted_at: Instant
    author: Author | None
    state: EnumValue
    url: Column


class PageInfo(_Payload):
    """Whether there is more, and where: None where nobody needs to know. `is_empty`: the page has no item at all."""

    has_next_page: Annotated[bool, Field(strict=True)]
    end_cursor: Cursor | None = None
    is_empty: bool = False

    @model_validator(mode="before")
    @classmethod
    def _without_a_cursor_that_leads_nowhere(cls, payload: object) -> object:
        if not isinstance(payload, Mapping) or payload.get("hasNextPage") is not False:
            return payload
        # GitHub's own: the cursor of the last item, null where there is none.
        return {**payload, "endCursor": None, "isEmpty": payload.get("endCursor") is None}


class Page(_Payload):
    """A page of a connection, its nodes not validated. `total_count` is None where it is no count."""

    page_info: PageInfo
    nodes: list[Any]
    total_count: Count = None


class Reviews(_Payload):
    """A pull request's page of reviews, as it came."""

    reviews: Any = None


class Counted(_Payload):
    """A connection of which only the count was asked for."""

    total_count: Count = None


class Searched(_Payload):
    """How many items a search finds."""

    issue_count: Total


class _Newest(_Payload):
    updated_at: Instant


class _HeadOfConnection(_Payload):
    total_count: Total
    nodes: Annotated[list[_Newest], Field(max_length=2)]

    @model_validator(mode="after")
    def _has_a_newest_item_where_it_has_any(self) -> "_HeadOfConnection":
        if bool(self.total_count) != bool(self.nodes):
            raise ValueError(f"it shows {len(self.nodes)} of {self.total_count} items")
        return self

    @property
    def newest(self) -> datetime | None:
        """When the newest of its items was updated; None where it has none.

        Of the two at the front, so that one with a stale update hides no other.
        """
        return max((parse_instant(node.updated_at) for node in self.nodes), default=None)


class RepositoryHead(_Payload):
    """The newest update of a repository's pull requests and issues, and how many there are: all of it, or nothing."""

    database_id: Annotated[str | None, BeforeValidator(id_or_none)] = None
    pull_requests: _HeadOfConnection
    issues: _HeadOfConnection


class RepositoryAnswer(_Payload):
    """A repository as it is named now, and by GitHub's own id, None where it tells none; connections as they came."""

    name_with_owner: Annotated[str, Field(max_length=200, pattern=r"^[^/\s\x00-\x1f]+/[^/\s\x00-\x1f]+$")]
    database_id: Annotated[str | None, BeforeValidator(id_or_none)] = None
    pull_requests: Any = None
    issues: Any = None
    all_issues: Any = None
    pull_request: Any = None
    issue: Any = None


def listed(payload: object, answered_at: datetime) -> Listed:
    """What can be used of an item's number and moments, whatever the payload is."""
    try:
        return read(Listed, payload, answered_at)
    except UnusablePayload:
        return Listed()
