"""Core has one entry of each source: names that are of it alone, hashes and weights that never change."""

import re
from dataclasses import replace
from threading import Thread

import pytest

from ledger_pipeline.core.errors import ConfigurationError, EventError
from ledger_pipeline.core.events import payload_hash
from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.core.identifiers import why_not_an_account
from ledger_pipeline.core.sources import (
    SourceKind,
    StreamKind,
    find_source_kind,
    registered,
    source_kind,
    source_kinds,
    source_of_stream,
    streams_by_event_type,
    streams_by_item_kind,
    streams_by_name,
)
from ledger_pipeline.core.weights import default_weights_milli

MESSAGES = StreamKind(
    "messages", "message_sent", ("room", "sentAt"), 20, "message", "^chat:message:[1-9][0-9]*$", "A row is a message."
)
CHAT = SourceKind(
    name="chat",
    title="Chat",
    streams=(MESSAGES,),
    source_ref=re.compile("#[a-z]+"),
    source_ref_form="a room, as #general",
    producer="tests/chat",
    opened_by="ledger_pipeline.sources.chat:open_chat",
)


def test_github_is_what_the_system_we_join_knows() -> None:
    github = source_kind("github")
    assert [(stream.name, stream.event_type, stream.hashed_metadata) for stream in github.streams] == [
        ("pull_requests", "pr_merged", ("mergedAt",)),
        ("reviews", "review_submitted", ("state", "submittedAt")),
        ("issues", "issue_closed", ("closedAt",)),
    ]
    assert default_weights_milli(["github"]) == {
        "github:pr_merged": 1000,
        "github:review_submitted": 500,
        "github:issue_closed": 300,
    }
    assert {kind: [stream.name for stream in streams] for kind, streams in streams_by_item_kind().items()} == {
        "pull_request": ["pull_requests", "reviews"],
        "issue": ["issues"],
    }


def test_a_source_is_known_while_it_is_registered_and_not_after() -> None:
    metadata = {"room": "#general", "sentAt": "2026-02-17T12:00:00Z"}
    with registered(CHAT):
        assert [kind.name for kind in source_kinds()] == ["github", "chat"]
        assert source_kind("chat") is CHAT
        assert streams_by_name()["messages"] is streams_by_event_type()["message_sent"] is MESSAGES
        assert streams_by_item_kind()["message"] == (MESSAGES,)
        assert source_of_stream("messages") == "chat"
        expected = sha256_hex({"authorId": "ada", "id": "chat:1", **metadata})
        assert payload_hash("chat:1", "message_sent", "ada", {**metadata, "text": "hi"}) == expected
    assert [kind.name for kind in source_kinds()] == ["github"]
    assert find_source_kind("chat") is None
    with pytest.raises(EventError, match="to hash for event type 'message_sent'"):
        payload_hash("chat:1", "message_sent", "ada", {**metadata})


def test_one_more_source_changes_the_weights_of_no_other() -> None:
    before = default_weights_milli(["github"])
    with registered(CHAT):
        assert default_weights_milli(["github"]) == before
        assert default_weights_milli(["github", "chat"]) == {**before, "chat:message_sent": 20}


def test_a_source_that_failed_within_is_taken_away_too() -> None:
    with pytest.raises(RuntimeError), registered(CHAT):
        raise RuntimeError
    assert find_source_kind("chat") is None


def test_other_threads_know_it_too() -> None:
    seen: list[SourceKind | None] = []
    with registered(CHAT):
        thread = Thread(target=lambda: seen.append(find_source_kind("chat")))
        thread.start()
        thread.join()
    assert seen == [CHAT]


@pytest.mark.parametrize(
    ("clash", "problem"),
    [
        (replace(CHAT, name="github"), "source 'github' is refused: another source has its name 'github'"),
        (
            replace(CHAT, streams=(replace(MESSAGES, name="issues"),)),
            "source 'chat' is refused: another source has its stream 'issues'",
        ),
        (
            replace(CHAT, streams=(replace(MESSAGES, event_type="pr_merged"),)),
            "source 'chat' is refused: another source has its event type 'pr_merged'",
        ),
        (
            replace(CHAT, streams=(replace(MESSAGES, item_kind="issue"),)),
            "source 'chat' is refused: another source has its kind of items 'issue'",
        ),
    ],
)
def test_a_name_that_another_source_has_is_refused(clash: SourceKind, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{re.escape(problem)}$"), registered(clash):
        pass
    assert [kind.name for kind in source_kinds()] == ["github"]


def test_who_asks_for_no_source_is_told_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"^'gitlab' is no source of this ledger: github$"):
        source_kind("gitlab")


def test_accounts_are_numbers_only_where_the_source_says_so() -> None:
    assert why_not_an_account("github", "ada") is not None
    with registered(CHAT):
        assert why_not_an_account("chat", "ada") is None
