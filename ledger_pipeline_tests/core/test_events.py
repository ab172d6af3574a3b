"""Activity events carry the ids and hashes that other systems recompute, from the very strings GitHub sent."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import EventError
from ledger_pipeline.core.events import ActivityEvent, Actor, parse_instant, payload_hash
from ledger_pipeline.core.sources import GITHUB_STREAMS, source_kind, streams_by_event_type, streams_by_name
from ledger_pipeline_tests.builders import ADA, instant, issue, pull_request, review, window

MakeEvent = Callable[..., ActivityEvent]
CONSTRUCTORS = pytest.mark.parametrize("make", [pull_request, review, issue])
TYPE_OF_KIND = {"pr": "pr_merged", "review": "review_submitted", "issue": "issue_closed"}

repositories = st.from_regex(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", fullmatch=True)
numbers = st.integers(1, 2**53)


def golden_rows(shared: Path) -> list[dict[str, Any]]:
    rows = json.loads((shared / "golden" / "events.json").read_text())
    assert {row["kind"] for row in rows} == set(TYPE_OF_KIND)
    return list(rows)


def from_golden(row: dict[str, Any]) -> ActivityEvent:
    fields = row["fields"]
    author = Actor(int(fields["authorId"]), "somebody")
    if row["kind"] == "pr":
        return pull_request(row["number"], repo=row["repo"], author=author, at=fields["mergedAt"])
    if row["kind"] == "issue":
        return issue(row["number"], repo=row["repo"], author=author, at=fields["closedAt"])
    return review(
        row["number"],
        repo=row["repo"],
        author=author,
        at=fields["submittedAt"],
        state=fields["state"],
        object_id=str(row["reviewId"]),
    )


def hash_of(**fields: str) -> str:
    """SHA-256 of compact JSON with sorted keys, as another system would write it."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# The contract.


def test_events_have_the_ids_and_hashes_of_the_system_we_join(shared: Path) -> None:
    for row in golden_rows(shared):
        event = from_golden(row)
        assert (event.id, event.payload_hash) == (row["id"], row["payloadHash"]), row
        assert event.event_type == TYPE_OF_KIND[row["kind"]]
        assert event.platform_user_id == row["fields"]["authorId"]


def test_the_hash_of_the_system_we_join_is_recomputed_from_what_the_ledger_stores(shared: Path) -> None:
    for row in golden_rows(shared):
        hashed = {key: value for key, value in row["fields"].items() if key not in {"id", "authorId"}}
        stored: dict[str, Any] = {**hashed, "title": "not hashed", "number": row["number"]}
        author_id = row["fields"]["authorId"]
        assert payload_hash(row["id"], TYPE_OF_KIND[row["kind"]], author_id, stored) == row["payloadHash"], row


@given(repositories, numbers, numbers)
def test_ids_hold_repository_and_number_and_a_reviews_own_id(repo: str, number: int, review_id: int) -> None:
    assert pull_request(number, repo=repo).id == f"github:pr:{repo}:{number}"
    assert issue(number, repo=repo).id == f"github:issue:{repo}:{number}"
    assert review(number, repo=repo, object_id=str(review_id)).id == f"github:review:{repo}:{number}:{review_id}"


@given(st.integers(0, 2**63 - 1), st.sampled_from(["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED"]))
def test_each_type_hashes_its_own_fields_and_the_author_as_a_decimal_string(user_id: int, state: str) -> None:
    author, at = Actor(user_id, "anybody"), "2026-02-17T12:00:00Z"
    merged, closed = pull_request(7, author=author, at=at), issue(7, author=author, at=at)
    submitted = review(7, author=author, at=at, state=state)
    assert merged.payload_hash == hash_of(authorId=str(user_id), id=merged.id, mergedAt=at)
    assert closed.payload_hash == hash_of(authorId=str(user_id), id=closed.id, closedAt=at)
    assert submitted.payload_hash == hash_of(authorId=str(user_id), id=submitted.id, state=state, submittedAt=at)


def test_a_pull_request_and_an_issue_of_one_number_are_two_events() -> None:
    assert pull_request(7).id != issue(7).id


def test_the_repository_stays_in_the_spelling_the_source_answers() -> None:
    event = pull_request(1, repo="Cogni-DAO/Repo.name_X")
    assert event.id == "github:pr:Cogni-DAO/Repo.name_X:1"
    assert event.source_scope == event.metadata["repository"] == "Cogni-DAO/Repo.name_X"


@CONSTRUCTORS
def test_an_event_says_where_it_comes_from_and_whom_it_counts_for(make: MakeEvent) -> None:
    event = make(3, author=ADA, object_id="9007199254740993")
    assert event.source == "github"
    assert event.event_type == streams_by_name()[event.stream].event_type
    assert (event.platform_user_id, event.platform_login) == ("583231", "ada")
    assert event.source_object_id == "9007199254740993"
    assert event.metadata["number"] == 3
    assert event.artifact_url.startswith("https://github.com/cogni-dao/cogni/")


def test_streams_and_event_types_pair_up() -> None:
    assert GITHUB_STREAMS == ("pull_requests", "reviews", "issues")
    assert source_kind("github").stream_names == GITHUB_STREAMS
    assert {event_type: stream.name for event_type, stream in streams_by_event_type().items()} == {
        "pr_merged": "pull_requests",
        "review_submitted": "reviews",
        "issue_closed": "issues",
    }


# Hash and facts.


@CONSTRUCTORS
def test_the_hash_is_recomputed_from_the_stored_fields(make: MakeEvent) -> None:
    event = make(4, at="2026-02-17T12:00:00.000Z")
    stored = json.loads(json.dumps(event.metadata))
    assert payload_hash(event.id, event.event_type, event.platform_user_id, stored) == event.payload_hash


@CONSTRUCTORS
def test_titles_and_logins_do_not_change_the_hash_but_the_facts_do(make: MakeEvent) -> None:
    event = make(author=ADA)
    assert make(author=Actor(ADA.user_id, "renamed"), title="Another").payload_hash == event.payload_hash
    others = [
        make(2, author=ADA),
        make(author=ADA, at="2026-02-17T12:00:01Z"),
        make(author=Actor(ADA.user_id + 1, ADA.login)),
        make(author=ADA, repo="cogni-dao/other"),
    ]
    assert len({event.payload_hash, *(changed_event.payload_hash for changed_event in others)}) == 5


def test_a_reviews_state_is_part_of_its_hash() -> None:
    assert review(state="APPROVED").payload_hash != review(state="DISMISSED").payload_hash


@CONSTRUCTORS
def test_details_cannot_override_what_is_hashed_nor_number_and_repository(make: MakeEvent) -> None:
    forged = dict.fromkeys(
        ["mergedAt", "closedAt", "submittedAt", "repository", "authorId", "id"], "1999-01-01T00:00:00Z"
    )
    event, honest = make(5, **forged), make(5)
    assert event.payload_hash == honest.payload_hash
    for key in (*streams_by_event_type()[event.event_type].hashed_metadata, "number", "repository"):
        assert event.metadata[key] == honest.metadata[key]


@CONSTRUCTORS
def test_the_details_given_are_kept(make: MakeEvent) -> None:
    details = {"labels": ["bug", {"deep": [1, None]}], "additions": 10}
    event = make(1, **details)
    assert {key: event.metadata[key] for key in details} == details


def test_a_hash_of_an_unknown_event_type_is_refused() -> None:
    with pytest.raises(EventError, match=r"^github:pr:a/b:1: no 'pr_opened' to hash for event type 'pr_opened'"):
        payload_hash("github:pr:a/b:1", "pr_opened", "1", {"mergedAt": "2026-02-17T12:00:00Z"})


@pytest.mark.parametrize(
    ("event_type", "missing"),
    [(event_type, key) for event_type, stream in streams_by_event_type().items() for key in stream.hashed_metadata],
)
def test_a_hash_without_one_of_its_fields_is_refused_naming_the_field(event_type: str, missing: str) -> None:
    metadata: dict[str, Any] = {
        key: "x" for key in streams_by_event_type()[event_type].hashed_metadata if key != missing
    }
    with pytest.raises(EventError, match=f"^some:id: no '{missing}' to hash for event type '{event_type}'"):
        payload_hash("some:id", event_type, "1", metadata)


# Times.


@CONSTRUCTORS
@pytest.mark.parametrize(
    "text",
    ["2026-02-17T12:00:00Z", "2026-02-17T12:00:00.000Z", "2026-02-17T13:00:00+01:00", "2026-02-17T12:00:00+00:00"],
)
def test_the_time_is_kept_as_the_string_sent_and_read_as_one_utc_instant(make: MakeEvent, text: str) -> None:
    event = make(at=text)
    assert text in event.metadata.values()
    assert event.event_time == instant("2026-02-17T12:00")
    assert event.event_time.tzinfo is UTC


def test_two_spellings_of_one_instant_hash_differently() -> None:
    # Others hash the string GitHub sent, so a tidier spelling would be another fact.
    assert (
        pull_request(at="2026-02-17T12:00:00Z").payload_hash != pull_request(at="2026-02-17T12:00:00.000Z").payload_hash
    )


@pytest.mark.parametrize(
    ("text", "first_day"),
    [
        ("2026-02-16T00:00:00Z", "2026-02-16"),
        ("2026-02-22T23:59:59Z", "2026-02-16"),
        ("2026-02-22T23:59:59.999999Z", "2026-02-16"),
        ("2026-02-23T00:00:00Z", "2026-02-23"),
    ],
)
def test_an_event_at_monday_midnight_belongs_to_the_week_that_begins(text: str, first_day: str) -> None:
    assert pull_request(at=text).event_time in window(first_day)


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 (UTC is added)
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_an_instant_is_read_back_whatever_offset_it_was_written_with(when: datetime, offset_minutes: int) -> None:
    written = when.astimezone(timezone(timedelta(minutes=offset_minutes))).isoformat()
    assert parse_instant(written) == when
    assert parse_instant(written).tzinfo is UTC
    assert parse_instant(when.isoformat().replace("+00:00", "Z")) == when


MALFORMED = [
    "",
    "2026-02-17",
    "2026-02-17T12:00:00",  # no offset: nobody knows when that was
    "2026-02-17 12:00:00Z",
    "2026-02-17t12:00:00z",
    "2026-02-17T12:00Z",
    "20260217T120000Z",
    "2026-02-17T12:00:00,5Z",
    "2026-02-17T12:00:00.Z",
    "2026-02-17T12:00:00+0100",
    "2026-02-17T12:00:00Z\n",
    " 2026-02-17T12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-02-17T24:00:01Z",
    "2026-02-17T12:00:60Z",
    "2026-02-17T12:00:00+24:00",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",  # in UTC that is before the year 1
    "9999-12-31T23:59:59-00:01",
    "1771329600",
    "null",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_not_an_instant_with_an_offset_is_refused_naming_it(text: str) -> None:
    with pytest.raises(EventError) as refusal:
        parse_instant(text)
    assert repr(text) in str(refusal.value)


@CONSTRUCTORS
def test_an_event_without_a_proper_time_is_refused(make: MakeEvent) -> None:
    with pytest.raises(EventError, match="is not an instant"):
        make(at="yesterday")


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", fullmatch=True))
def test_any_text_is_an_aware_utc_instant_or_an_event_error(text: str) -> None:
    try:
        when = parse_instant(text)
    except EventError:
        return
    assert when.tzinfo is UTC


def test_events_with_the_same_facts_are_equal_and_can_be_in_a_set() -> None:
    assert len({pull_request(), pull_request(), pull_request(2)}) == 2
