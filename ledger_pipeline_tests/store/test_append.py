"""Appending events: each fact once, and a word on what became of each."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import (
    AppendOutcome,
    EpochStatus,
    Producer,
    StoredEvent,
)
from ledger_pipeline_tests.builders import (
    GRACE,
    NODE_ID,
    OTHER_SCOPE_ID,
    PRODUCER,
    SCOPE_ID,
    instant,
    issue,
    pull_request,
    review,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import set_status

NEW, DUPLICATE, RENAMED, REPLACED, CONFLICT, LATE = AppendOutcome
EVER = EpochWindow(instant("2000-01-01"), instant("2100-01-01"))
RETRIEVED_AT = instant("2026-02-18T09:30")


def append(ledger: PostgresLedger, *events: ActivityEvent) -> list[AppendOutcome]:
    """The outcomes, in the order of the first occurrence of each id."""
    outcomes = ledger.events.append(SCOPE_ID, events, PRODUCER, RETRIEVED_AT)
    assert set(outcomes) == {event.id for event in events}
    return [outcomes[event_id] for event_id in dict.fromkeys(event.id for event in events)]


def stored(ledger: PostgresLedger) -> list[StoredEvent]:
    return list(ledger.events.within(SCOPE_ID, EVER))


def test_what_is_stored_is_what_was_handed_over_with_its_provenance(ledger: PostgresLedger) -> None:
    event = pull_request(7, title="tab\there, \\ back\\slash\nline, ünïcödé 🎉, 'quotes\"", labels=["a", {"b": None}])
    assert append(ledger, event) == [NEW]
    (row,) = stored(ledger)
    for name in ("id", "source", "event_type", "platform_user_id", "platform_login", "artifact_url"):
        assert getattr(row, name) == getattr(event, name)
    assert (row.metadata, row.payload_hash, row.source_object_id) == (
        event.metadata,
        event.payload_hash,
        event.source_object_id,
    )
    assert (row.node_id, row.scope_id) == (NODE_ID, SCOPE_ID)
    assert Producer(row.producer, row.producer_version) == PRODUCER
    assert (row.event_time, row.retrieved_at) == (event.event_time, RETRIEVED_AT)
    assert {time.tzname() for time in (row.event_time, row.retrieved_at, row.ingested_at)} == {"UTC"}


def test_appending_again_stores_nothing_and_says_duplicate(ledger: PostgresLedger) -> None:
    events = (pull_request(), review(), issue())
    assert append(ledger, *events) == [NEW, NEW, NEW]
    before = stored(ledger)
    assert append(ledger, *events, pull_request(2)) == [DUPLICATE, DUPLICATE, DUPLICATE, NEW]
    assert [row for row in stored(ledger) if row.id != pull_request(2).id] == before
    assert ledger.events.rejected(SCOPE_ID, EVER) == []


def test_no_events_are_no_work(ledger: PostgresLedger) -> None:
    assert ledger.events.append(SCOPE_ID, [], PRODUCER, RETRIEVED_AT) == {}


def test_the_same_event_twice_in_one_batch_is_stored_once(ledger: PostgresLedger) -> None:
    assert append(ledger, pull_request(1), pull_request(2), pull_request(1)) == [NEW, NEW]
    assert append(ledger, pull_request(1), pull_request(1)) == [DUPLICATE]
    assert len(stored(ledger)) == 2


def test_a_fact_told_differently_is_a_conflict_and_the_first_stays(ledger: PostgresLedger) -> None:
    first, again = issue(at="2026-02-17T12:00:00Z"), issue(at="2026-02-19T08:00:00Z")
    assert append(ledger, first) == [NEW]
    assert append(ledger, again) == [CONFLICT]
    assert append(ledger, again) == [CONFLICT]
    assert [row.payload_hash for row in stored(ledger)] == [first.payload_hash]
    (kept,) = ledger.events.rejected(SCOPE_ID, EVER)
    assert (kept.event_id, kept.reason, kept.payload_hash) == (again.id, CONFLICT, again.payload_hash)
    assert (kept.event_time, kept.platform_login) == (again.event_time, again.platform_login)


def test_one_id_told_in_two_ways_in_one_batch_keeps_the_first_and_reports_the_worst(ledger: PostgresLedger) -> None:
    first, again = issue(at="2026-02-17T12:00:00Z"), issue(at="2026-02-16T08:00:00Z")
    assert append(ledger, first, again, first, again) == [CONFLICT]
    assert [row.payload_hash for row in stored(ledger)] == [first.payload_hash]
    assert [kept.payload_hash for kept in ledger.events.rejected(SCOPE_ID, EVER)] == [again.payload_hash]


@pytest.mark.parametrize("one_batch", [True, False])
def test_an_object_known_under_another_name_is_renamed_and_paid_once(ledger: PostgresLedger, one_batch: bool) -> None:
    before, after = pull_request(1, repo="old/name"), pull_request(1, repo="new/name")
    if one_batch:
        assert append(ledger, before, after) == [NEW, RENAMED]
    else:
        assert append(ledger, before) == [NEW]
        assert append(ledger, after) == [RENAMED]
    assert [row.id for row in stored(ledger)] == [before.id]
    assert ledger.events.rejected(SCOPE_ID, EVER) == []


def test_one_object_id_may_be_a_pull_request_and_an_issue(ledger: PostgresLedger) -> None:
    assert append(ledger, pull_request(object_id="77"), issue(object_id="77")) == [NEW, NEW]


def test_one_event_may_count_for_two_scopes(ledger: PostgresLedger) -> None:
    assert append(ledger, pull_request()) == [NEW]
    assert ledger.events.append(OTHER_SCOPE_ID, [pull_request()], PRODUCER, RETRIEVED_AT) == {pull_request().id: NEW}


@pytest.mark.parametrize("status", [EpochStatus.REVIEW, EpochStatus.FINALIZED])
def test_a_new_event_of_a_closed_epoch_is_late_and_kept_with_its_epoch(
    ledger: PostgresLedger, ledger_engine: Engine, status: EpochStatus
) -> None:
    (closed,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    pull = pull_request(1)
    assert append(ledger, pull) == [NEW]
    set_status(ledger_engine, SCOPE_ID, window(), status)
    late = pull_request(2)
    told_differently = replace(pull, payload_hash="0" * 64)
    renamed = pull_request(1, repo="new/name")
    assert append(ledger, pull, late, renamed) == [DUPLICATE, LATE, RENAMED]
    assert append(ledger, told_differently, late) == [CONFLICT, LATE]
    assert [row.id for row in stored(ledger)] == [pull.id]
    assert [(kept.event_id, kept.reason) for kept in ledger.events.rejected(SCOPE_ID, window())] == [
        (pull.id, CONFLICT),
        (late.id, LATE),
    ]
    with ledger_engine.connect() as connection:
        kept = connection.execute(text("SELECT * FROM rejected_events WHERE reason = 'late'")).one()._asdict()
    assert (kept["epoch_id"], kept["metadata"], kept["producer"]) == (closed.id, late.metadata, PRODUCER.name)
    assert kept["source_object_id"] == late.source_object_id


def test_only_the_closed_epoch_itself_refuses_events_to_the_microsecond(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    before, closed, after = weeks(3, "2026-02-09")
    ledger.epochs.ensure(SCOPE_ID, [before, closed, after], {})
    set_status(ledger_engine, SCOPE_ID, closed, EpochStatus.REVIEW)
    assert append(
        ledger,
        pull_request(1, at="2026-02-15T23:59:59.999999Z"),
        pull_request(2, at="2026-02-16T00:00:00Z"),
        pull_request(3, at="2026-02-22T23:59:59.999999Z"),
        pull_request(4, at="2026-02-23T00:00:00Z"),
        pull_request(5, at="2030-01-01T00:00:00Z"),
    ) == [NEW, LATE, LATE, NEW, NEW]


def test_another_scopes_closed_epoch_is_no_obstacle(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.epochs.ensure(OTHER_SCOPE_ID, [window()], {})
    set_status(ledger_engine, OTHER_SCOPE_ID, window(), EpochStatus.REVIEW)
    assert append(ledger, pull_request()) == [NEW]


def test_an_id_that_comes_late_and_then_in_time_counts_as_late_and_is_shown(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    assert append(ledger, issue(at="2026-02-17T12:00:00Z"), issue(at="2026-02-24T12:00:00Z")) == [LATE]
    assert len(ledger.events.rejected(SCOPE_ID, EVER)) == 1
    assert len(stored(ledger)) == 1


def test_a_rejection_for_which_there_is_no_room_is_an_error_and_is_not_told_as_kept(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    assert append(ledger, pull_request(1)) == [LATE]
    with ledger_engine.begin() as connection:  # as somebody with the writer's login may: the next row's number is taken
        connection.execute(
            text("""
                INSERT INTO rejected_events
                SELECT (jsonb_populate_record(row, jsonb_build_object('id', row.id + 1, 'event_id', 'another'))).*
                FROM rejected_events AS row
            """)
        )
    with pytest.raises(StoreError, match="rejected_events_pkey"):
        append(ledger, pull_request(2))


def test_a_batch_that_fails_stores_nothing(ledger: PostgresLedger) -> None:
    with pytest.raises(StoreError) as raised:
        append(ledger, pull_request(1), replace(pull_request(2), platform_login="nul \x00 byte"))
    assert not raised.value.retryable
    assert stored(ledger) == []
    assert append(ledger, pull_request(1, author=GRACE)) == [NEW]


def test_ten_thousand_events_at_once_and_again(ledger: PostgresLedger) -> None:
    events = [pull_request(number) for number in range(10_000)]
    assert set(append(ledger, *events)) == {NEW}
    assert set(append(ledger, *events)) == {DUPLICATE}
