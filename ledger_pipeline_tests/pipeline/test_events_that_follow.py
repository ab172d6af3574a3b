"""No event that nobody can recompute is paid by: whoever may write adds none, and of before none is signed over."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, EventError, StoreError
from ledger_pipeline.core.events import event_problems, payload_hash
from ledger_pipeline.core.sources import streams_by_event_type
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination
from ledger_pipeline_tests.builders import NODE_ID, NOON, PRODUCER, SCOPE_ID, instant, issue, pull_request, review
from ledger_pipeline_tests.store.settlement import POOL, collected, refused
from ledger_pipeline_tests.store.test_roles import urls

WRITE = """
    INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
        artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
    VALUES (:node, :scope, :id, 'github', :event_type, :user, 'eve', 'https://example.org', CAST(:metadata AS jsonb),
        :hash, 'eve', '1', :at, now())
"""
IS_EVENT = "SELECT ledger_is_event(:id, :event_type, :user, CAST(:metadata AS jsonb), :hash, :at)"
EVENT: dict[str, Any] = {
    "id": "github:pr:a/b:7",
    "event_type": "pr_merged",
    "user": "583231",
    "metadata": {"mergedAt": NOON},
    "at": instant("2026-02-17T12:00"),
}
JUNK: dict[str, dict[str, Any]] = {
    "nothing that follows": {"id": "zz", "metadata": {}, "hash": "x"},
    "nothing to hash": {"metadata": {}, "hash": "x"},
    "another hash": {"hash": "0" * 64},
    "a hash in upper case": {"hash": payload_hash("github:pr:a/b:7", "pr_merged", "583231", EVENT["metadata"]).upper()},
    "an id that is none": {"id": "zz"},
    "an id of another kind": {"id": "github:issue:a/b:7"},
    "an id with a line feed": {"id": "github:pr:a/b:7\n"},
    "an id that shows nothing": {"id": "github:pr:a/\u200bb:7"},
    "a number that begins with 0": {"id": "github:pr:a/b:07"},
    "a kind that nobody knows": {"event_type": "pr_opened"},
    "another time": {"at": instant("2026-02-17T12:01")},
    "a number for the time": {"metadata": {"mergedAt": 7}},
    "a list for the time": {"metadata": {"mergedAt": [NOON]}},
    "no instant": {"metadata": {"mergedAt": "yesterday"}},
    "a day that there is not": {"metadata": {"mergedAt": "2026-02-30T12:00:00Z"}},
    "hour 24": {"metadata": {"mergedAt": "2026-02-16T24:00:00Z"}, "at": instant("2026-02-17")},
    "second 60": {"metadata": {"mergedAt": "2026-02-17T11:59:60Z"}},
    "an offset of a day": {"metadata": {"mergedAt": "2026-02-17T12:00:00+23:59"}, "at": instant("2026-02-16T12:01")},
    "other digits": {"metadata": {"mergedAt": "٢٠٢٦-02-17T12:00:00Z"}},
    "a time without its zone": {"metadata": {"mergedAt": "2026-02-17T12:00:00"}},
}
HONEST = (
    pull_request(1),
    pull_request(2, repo="A-b.c/_d-9"),
    pull_request(3, at="2026-02-17T12:00:00.123456+05:30"),
    review(1),
    review(2, state='"\\\b\x7f\u2028é😀'),
    issue(1, at="2024-02-29T23:59:59-11:00"),
)


def parameters(junk: dict[str, Any]) -> dict[str, Any]:
    """Of an insert; the hash follows, where it is not given and anything does."""
    event = {**EVENT, **junk}
    if "hash" not in event:
        stream = streams_by_event_type().get(event["event_type"])
        event["hash"] = (
            "x" if stream is None else payload_hash(*(event[key] for key in ("id", "event_type", "user", "metadata")))
        )
    return {**event, "metadata": json.dumps(event["metadata"]), "node": NODE_ID, "scope": SCOPE_ID}


def follows(event: dict[str, Any]) -> bool:
    try:
        values = (event["event_type"], event["user"], json.loads(event["metadata"]), event["hash"], event["at"])
        return not list(event_problems(event["id"], *values))
    except (EventError, TypeError):
        return False


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Engine]:
    """The adversary's engine, and the honest pipeline's: their login is one."""
    ensure_logins(ledger_url, urls(ledger_url))
    engine = make_engine(urls(ledger_url)[WRITER])
    yield engine
    engine.dispose()


def test_whoever_may_write_writes_no_event_that_nobody_can_recompute(writer: Engine) -> None:
    for name, junk in JUNK.items():
        assert "INSERT into activity_events refused" in refused(writer, WRITE, **parameters(junk)), name
    with writer.begin() as connection:
        connection.execute(text(WRITE), parameters({}))
    honest = PostgresLedger(writer, NODE_ID)
    outcomes = honest.events.append(SCOPE_ID, HONEST, PRODUCER, instant("2026-02-24"))
    assert set(outcomes.values()) == {AppendOutcome.NEW}


def test_what_the_database_takes_for_an_event_verify_does(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        for name, junk in {"as it is": {}, **JUNK}.items():
            given = parameters(junk)
            taken = connection.scalar(text(IS_EVENT), {key: given[key] for key in (*EVENT, "hash")})
            assert taken is (name == "as it is")
            assert follows(given) or not taken
        # And the other way round: honest events of every kind.
        for event in HONEST:
            stored = {"id": event.id, "event_type": event.event_type, "user": event.platform_user_id}
            stated = {"metadata": json.dumps(event.metadata), "hash": event.payload_hash, "at": event.event_time}
            assert connection.scalar(text(IS_EVENT), {**stored, **stated})
            assert follows({**stored, **stated})


@pytest.mark.parametrize("name", ["nothing that follows", "another hash", "another time"])
def test_an_event_of_before_that_nobody_can_recompute_is_named_before_anybody_signs_and_left_out_on_record(
    ledger: PostgresLedger, ledger_engine: Engine, name: str
) -> None:
    books = collected(ledger)
    junk = parameters(JUNK[name])
    with ledger_engine.begin() as connection:  # as an earlier release let it in, and the owner may
        connection.execute(text(WRITE), junk)
    books.materialize()
    books.close()
    books.materialize()
    with pytest.raises(EpochNotReady, match=f"nobody can recompute its event '{junk['id']}': .* --exclude --note"):
        books.draft()
    assert ledger.curation.judge(books.epoch, junk["id"], Judgement("nobody of ours wrote it", included=False))
    books.materialize()
    assert books.finalize(books.signature()).pool_total_credits == POOL
    examination = Examination(facts_of(ledger.statements.rows(books.epoch)))
    assert examination.differences() == []
    [warning] = examination.warnings()
    assert warning.startswith(f"events {junk['id']}")
    assert warning.endswith("a person left it out, and it counts for nobody")


def test_what_was_left_out_without_a_reason_and_does_not_follow_stays_a_difference(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    junk = parameters(JUNK["another hash"])
    with ledger_engine.begin() as connection:
        connection.execute(text(WRITE), junk)
    books.materialize()
    with pytest.raises(StoreError, match="note says why"):
        ledger.curation.judge(books.epoch, junk["id"], Judgement("\n", included=False))
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE activity_curation SET included = false WHERE event_id = :id"), {"id": junk["id"]}
        )
    books.close()
    with pytest.raises(EpochNotReady, match="nobody can recompute its event"):
        books.draft()
    examination = Examination(facts_of(ledger.statements.rows(books.epoch)))
    assert any(str(difference).startswith(f"events {junk['id']}") for difference in examination.differences())
