"""Activity events: one immutable fact each, with the id and hash that other systems recompute.

The formats are a contract with the system we join and never change: ids are
`github:pr:{owner/repo}:{number}`, `github:review:{owner/repo}:{number}:{review id}`,
`github:issue:{owner/repo}:{number}`; a payload hash covers exactly the fields named beside each constructor,
with times as the very strings GitHub sent.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.hashing import Json, sha256_hex
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.sources import (
    ISSUE_CLOSED,
    PR_MERGED,
    REVIEW_SUBMITTED,
    source_of_stream,
    streams_by_event_type,
)

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")


@dataclass(frozen=True)
class Actor:
    """Whom an event counts for: the platform's numeric id (for ever) and the login of the moment."""

    user_id: int
    login: str


@dataclass(frozen=True)
class ActivityEvent:
    """One fact as a source states it. `event_time` is aware, UTC; `metadata` is JSON and holds the hashed strings.

    `source_scope` is `owner/repo` as the source spells it; `source_object_id` is the source's own id of the object,
    the same under every name the object's repository ever has.
    """

    id: str
    source: str
    stream: str
    source_scope: str
    event_type: str
    platform_user_id: str
    platform_login: str
    artifact_url: str
    event_time: datetime
    payload_hash: str
    source_object_id: str
    metadata: dict[str, Json] = field(hash=False)


@dataclass(frozen=True)
class SkippedActivity:
    """Activity that counts for nobody, and why: a bot's pull request, a deleted account's review.

    `event_id` is the id its event would have had; `event_time` is aware, UTC.
    """

    event_id: str
    source: str
    stream: str
    source_scope: str
    event_type: str
    reason: str
    event_time: datetime


def pull_request_merged(
    *,
    repo: str,
    number: int,
    author: Actor,
    merged_at: str,
    object_id: str,
    url: str,
    details: dict[str, Json],
) -> ActivityEvent:
    """A merged pull request, for its author. Hashes `{authorId, id, mergedAt}`."""
    return _event(
        event_id=f"github:pr:{repo}:{number}",
        event_type=PR_MERGED,
        repo=repo,
        author=author,
        object_id=object_id,
        url=url,
        metadata={**details, "number": number, "mergedAt": merged_at},
    )


def review_submitted(
    *,
    repo: str,
    number: int,
    author: Actor,
    state: str,
    submitted_at: str,
    object_id: str,
    url: str,
    details: dict[str, Json],
) -> ActivityEvent:
    """A review of pull request `number`, for the reviewer. Hashes `{authorId, id, state, submittedAt}`.

    `object_id` is the review's `fullDatabaseId`: it is part of the event's id (`databaseId` overflows 32 bits).
    """
    return _event(
        event_id=f"github:review:{repo}:{number}:{object_id}",
        event_type=REVIEW_SUBMITTED,
        repo=repo,
        author=author,
        object_id=object_id,
        url=url,
        metadata={**details, "number": number, "state": state, "submittedAt": submitted_at},
    )


def issue_closed(
    *,
    repo: str,
    number: int,
    author: Actor,
    closed_at: str,
    object_id: str,
    url: str,
    details: dict[str, Json],
) -> ActivityEvent:
    """A closed issue, for its author. Hashes `{authorId, closedAt, id}`."""
    return _event(
        event_id=f"github:issue:{repo}:{number}",
        event_type=ISSUE_CLOSED,
        repo=repo,
        author=author,
        object_id=object_id,
        url=url,
        metadata={**details, "number": number, "closedAt": closed_at},
    )


def payload_hash(event_id: str, event_type: str, platform_user_id: str, metadata: dict[str, Json]) -> str:
    """The contract's hash, recomputed from what the ledger stores of an event.

    Raises EventError when the event type is unknown or `metadata` lacks a hashed field.
    """
    try:
        fields = {key: metadata[key] for key in streams_by_event_type()[event_type].hashed_metadata}
    except KeyError as error:
        missing, of = quoted(str(error.args[0])), quoted(event_type)
        raise EventError(f"{short_message(event_id)}: no {missing} to hash for event type {of}") from None
    return sha256_hex({"authorId": platform_user_id, "id": event_id, **fields})


def event_problems(
    event_id: str,
    event_type: str,
    platform_user_id: str,
    metadata: Mapping[str, Json],
    stored_hash: str,
    event_time: datetime,
) -> Iterator[tuple[str, str, str]]:
    """What of a stored event does not follow from the rest of it: the column, what is stored, and what follows.

    Raises EventError or TypeError where nothing can follow from it. `event_time` is aware, UTC.
    """
    follows = payload_hash(event_id, event_type, platform_user_id, dict(metadata))
    if stored_hash != follows:
        yield "payload_hash", stored_hash, follows
    # The hashed instant is always the last of the hashed fields that holds one.
    stated = parse_instant(str(metadata[streams_by_event_type()[event_type].hashed_metadata[-1]]))
    if event_time != stated:
        yield "event_time", event_time.isoformat(), stated.isoformat()


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with its offset, as aware UTC. Raises EventError for anything else."""
    if not _INSTANT.fullmatch(text):
        raise EventError(f"{quoted(text)} is not an instant such as 2026-02-16T12:00:00Z")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise EventError(f"{quoted(text)} is not an instant: {error}") from error


def activity_event(
    *,
    event_id: str,
    event_type: str,
    source_scope: str,
    user_id: str,
    login: str,
    object_id: str,
    url: str,
    metadata: dict[str, Json],
) -> ActivityEvent:
    """An event of any source: source and stream are those of its type, hash and time follow from `metadata`.

    Raises EventError where `metadata` lacks what the type's hash is of, or its last part is no instant.
    """
    stream = streams_by_event_type()[event_type]
    return ActivityEvent(
        id=event_id,
        source=source_of_stream(stream.name),
        stream=stream.name,
        source_scope=source_scope,
        event_type=event_type,
        platform_user_id=user_id,
        platform_login=login,
        artifact_url=url,
        payload_hash=payload_hash(event_id, event_type, user_id, metadata),
        event_time=parse_instant(str(metadata[stream.hashed_metadata[-1]])),
        source_object_id=object_id,
        # By this key the ledger finds what it holds of a source_scope, whatever a source calls it.
        metadata={**metadata, "repository": source_scope},
    )


def _event(
    *,
    event_id: str,
    event_type: str,
    repo: str,
    author: Actor,
    object_id: str,
    url: str,
    metadata: dict[str, Json],
) -> ActivityEvent:
    return activity_event(
        event_id=event_id,
        event_type=event_type,
        source_scope=repo,
        user_id=str(author.user_id),
        login=author.login,
        object_id=object_id,
        url=url,
        metadata=metadata,
    )
