"""What a source says of an event beside its contract row: observations, of which the latest before closing is pinned.

A field that is None is unknown, which is not the same as false, zero or nobody: an old server does not tell it, or
nobody asked. An empty tuple is known to be empty. What is a set (labels, commits, authors) is kept sorted and without
repeats, so that two observations of the same facts are equal, and have one hash.

As JSON the fields have camelCase names, and an unknown one is left out: a field that is added later changes no hash of
before. Nothing else has a second spelling: JSON that is read and written again is the same, or it is refused. Of what
the source has no more, all that is known is that it `is_gone`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, TypeAlias

from ledger_pipeline.core.errors import FactsError
from ledger_pipeline.core.fact_values import (
    Reader,
    camel_case,
    read_count,
    read_email_hash,
    read_flag,
    read_gone,
    read_item_name,
    read_object,
    read_sha,
    read_text,
    read_user_id,
    set_of,
)
from ledger_pipeline.core.hashing import Json, canonical_json, event_set_hash, sha256_hex
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.sources import ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED

DELETED = "Deleted"
"""The type of an account that is known to be gone; whose it was, nobody can say any more."""
USER = "User"
PULL_REQUEST = "pull_request"
COMMIT = "commit"
PERSON = "person"
CLOSER_KINDS = (PULL_REQUEST, COMMIT, PERSON)

_EVENT_TYPE = "eventType"


@dataclass(frozen=True)
class Account:
    """An account: GitHub's numeric id as a decimal string, the login of the moment, and GitHub's type of it."""

    id: str | None = None
    login: str | None = None
    type: str | None = None


@dataclass(frozen=True)
class CoAuthor:
    """Who wrote a part of a change: an account's numeric id, else the SHA-256 of an e-mail. One of them is set."""

    id: str | None = None
    email_hash: str | None = None


@dataclass(frozen=True)
class Closer:
    """What closed an issue: one of CLOSER_KINDS.

    `name` is a pull request's `owner/repo#12` or a commit's id; None for a person, or where it is unknown.
    """

    kind: str
    name: str | None = None


def _account(value: object, place: str) -> Account:
    members = read_object(value, place, ("id", "login", "type"))
    return Account(
        read_user_id(members["id"], f"{place}.id") if "id" in members else None,
        read_text(members["login"], f"{place}.login") if "login" in members else None,
        read_text(members["type"], f"{place}.type") if "type" in members else None,
    )


def _co_author(value: object, place: str) -> CoAuthor:
    members = read_object(value, place, ("id", "emailHash"))
    if len(members) != 1:
        raise FactsError(place, "has either an id or an emailHash")
    if "id" in members:
        return CoAuthor(id=read_user_id(members["id"], f"{place}.id"))
    return CoAuthor(email_hash=read_email_hash(members["emailHash"], f"{place}.emailHash"))


def _closer(value: object, place: str) -> Closer:
    members = read_object(value, place, ("kind", "name"))
    kind, name = members.get("kind"), members.get("name")
    if kind not in CLOSER_KINDS:
        raise FactsError(f"{place}.kind", f"is one of {', '.join(CLOSER_KINDS)}, not {quoted(str(kind))}")
    if "name" not in members:
        return Closer(str(kind))
    if kind == PERSON:
        raise FactsError(f"{place}.name", "is of a pull request or a commit: a person is in closedBy")
    return Closer(str(kind), (read_item_name if kind == PULL_REQUEST else read_sha)(name, f"{place}.name"))


@dataclass(frozen=True)
class _Facts:
    is_gone: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and len(value) > 1:
                object.__setattr__(self, name, tuple(sorted(set(value), key=_order)))


@dataclass(frozen=True)
class PullRequestFacts(_Facts):
    """Of a pull request that was merged.

    `commit_shas` are as many of its commits as the source gives; `closes` are the issues that it closes, as
    `owner/repo#12`; `changed_paths` are known only where a scope's rules ask for them. `co_authors` has neither its
    author nor whoever merged it.
    """

    author: Account | None = None
    base_branch: str | None = None
    head_branch: str | None = None
    is_base_default: bool | None = None
    merge_commit_sha: str | None = None
    commit_shas: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    is_draft: bool | None = None
    merged_by: Account | None = None
    co_authors: tuple[CoAuthor, ...] | None = None
    closes: tuple[str, ...] | None = None
    changed_paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ReviewFacts(_Facts):
    """Of a review: what its pull request was when this was observed, which may be merged or edited afterwards.

    `labels` and `changed_paths` are the pull request's; `comment_count` counts the review's comments on lines.
    """

    pull_request_author: Account | None = None
    base_branch: str | None = None
    is_base_default: bool | None = None
    is_merged: bool | None = None
    labels: tuple[str, ...] | None = None
    has_body: bool | None = None
    comment_count: int | None = None
    changed_paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class IssueFacts(_Facts):
    """Of an issue that was closed: by whom, by what, and as what (`COMPLETED`, `NOT_PLANNED`, `DUPLICATE`)."""

    closed_by: Account | None = None
    closer: Closer | None = None
    state_reason: str | None = None
    labels: tuple[str, ...] | None = None


Facts: TypeAlias = PullRequestFacts | ReviewFacts | IssueFacts


@dataclass(frozen=True)
class Observation:
    """What a source says of one event, by the event's id."""

    event_id: str
    facts: Facts


_CLASS_OF: Mapping[str, type[PullRequestFacts] | type[ReviewFacts] | type[IssueFacts]] = {
    PR_MERGED: PullRequestFacts,
    REVIEW_SUBMITTED: ReviewFacts,
    ISSUE_CLOSED: IssueFacts,
}
_READERS: Mapping[type, Mapping[str, Reader[Any]]] = {
    PullRequestFacts: {
        "author": _account,
        "base_branch": read_text,
        "head_branch": read_text,
        "is_base_default": read_flag,
        "merge_commit_sha": read_sha,
        "commit_shas": set_of(read_sha),
        "labels": set_of(read_text),
        "is_draft": read_flag,
        "merged_by": _account,
        "co_authors": set_of(_co_author),
        "closes": set_of(read_item_name),
        "changed_paths": set_of(read_text),
    },
    ReviewFacts: {
        "pull_request_author": _account,
        "base_branch": read_text,
        "is_base_default": read_flag,
        "is_merged": read_flag,
        "labels": set_of(read_text),
        "has_body": read_flag,
        "comment_count": read_count,
        "changed_paths": set_of(read_text),
    },
    IssueFacts: {
        "closed_by": _account,
        "closer": _closer,
        "state_reason": read_text,
        "labels": set_of(read_text),
    },
}
_BY_KEY: Mapping[type, Mapping[str, tuple[str, Reader[Any]]]] = {
    class_: {camel_case(name): (name, reader) for name, reader in readers.items()}
    | {_EVENT_TYPE: ("", read_text), "isGone": ("is_gone", read_gone)}
    for class_, readers in _READERS.items()
}
_NAMES: Mapping[type, Mapping[str, str]] = {
    class_: {member.name: camel_case(member.name) for member in fields(class_)}
    for class_ in (PullRequestFacts, ReviewFacts, IssueFacts, Account, CoAuthor, Closer)
}
_EVENT_TYPE_OF = {class_: event_type for event_type, class_ in _CLASS_OF.items()}


def gone(event_type: str) -> Facts:
    """The facts of an event of that type whose object the source has no more."""
    return _CLASS_OF[event_type](is_gone=True)


def facts_json(facts: Facts) -> dict[str, Json]:
    """The facts as JSON, with the type of the event that they are of; what is unknown is left out."""
    return {_EVENT_TYPE: _EVENT_TYPE_OF[type(facts)], **_members(facts)}


def facts_text(facts: Facts) -> str:
    """The facts in canonical JSON: the bytes that `facts_hash` is of."""
    return canonical_json(facts_json(facts))


def facts_hash(facts: Facts) -> str:
    """SHA-256 hex of the facts in canonical JSON: the same for the same facts, in whatever order they were told."""
    return sha256_hex(facts_json(facts))


def facts_set_hash(observations: Iterable[tuple[str, str]]) -> str:
    """The hash of an epoch's pinned observations, `(event id, facts hash)` each; their order never matters.

    An event that nobody observed anything of is not among them. Raises ValueError where an event has two.
    """
    pairs = sorted(observations)
    for (before, _), (event_id, _) in pairwise(pairs):
        if before == event_id:
            raise ValueError(f"{short_message(event_id)} has two pinned observations")
    return event_set_hash(pairs)


def completed(facts: Facts, earlier: Facts) -> Facts:
    """`facts`, with what `earlier` ones knew and these leave unknown; of what is gone there is nothing to complete."""
    if facts.is_gone or earlier.is_gone:
        return facts
    return replace(facts, **{name: value for name, value in vars(earlier).items() if getattr(facts, name) is None})


def facts_from_json(event_type: str, stored: object) -> Facts:
    """Facts of an event of `event_type`, as `facts_json` wrote them. Raises FactsError naming the field that is wrong.

    A field of a later version is refused as well: what does not understand all of it must not decide by it.
    """
    class_ = _CLASS_OF.get(event_type)
    if class_ is None:
        raise FactsError(_EVENT_TYPE, f"there are no facts of event type {quoted(event_type)}")
    readers = _BY_KEY[class_]
    members = read_object(stored, "facts", readers)
    if members.get(_EVENT_TYPE) != event_type:
        raise FactsError(_EVENT_TYPE, f"is {quoted(str(members.get(_EVENT_TYPE)))} for an event of type {event_type}")
    facts = class_(
        **{readers[key][0]: readers[key][1](value, key) for key, value in members.items() if readers[key][0]}
    )
    if facts.is_gone and len(members) > 2:
        raise FactsError("isGone", "leaves nothing else to say of the event")
    # Everything else is as it was written, or was refused where it was read.
    for key, value in members.items():
        if isinstance(value, list) and len(value) > 1 and value != _json(getattr(facts, readers[key][0])):
            raise FactsError(key, "is not sorted, or holds something twice")
    return facts


def _members(value: Any) -> dict[str, Json]:
    keys_and_values = ((key, getattr(value, name)) for name, key in _NAMES[type(value)].items())
    return {key: _json(member) for key, member in keys_and_values if member is not None}


def _json(value: Any) -> Json:
    if isinstance(value, tuple):
        return [_json(member) for member in value]
    return _members(value) if isinstance(value, Account | CoAuthor | Closer) else value


def _order(value: Any) -> tuple[str, ...]:
    return (value.id or "", value.email_hash or "") if isinstance(value, CoAuthor) else (value,)
