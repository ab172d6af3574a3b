"""Reading the ledger back: half-open windows, one order, one snapshot."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from sqlalchemy import Engine, event, text

from ledger_pipeline.core.hashing import event_set_hash
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.digests import ROWS_PER_FETCH
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus, WindowDigest
from ledger_pipeline_tests.builders import (
    OTHER_SCOPE_ID,
    PRODUCER,
    SCOPE_ID,
    cursor,
    instant,
    issue,
    pull_request,
    receipt,
    review,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import set_status

NOW = instant("2026-02-18")


@contextmanager
def traced_memory() -> Iterator[Callable[[], int]]:
    """Measure what Python allocates inside; what is yielded says the most bytes at once so far."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_event_at_a_windows_end_belongs_to_the_next(ledger: PostgresLedger) -> None:
    first, second = weeks(2)
    start = pull_request(1, at="2026-02-16T00:00:00Z")
    last = pull_request(2, at="2026-02-22T23:59:59.999999Z")
    end = pull_request(3, at="2026-02-23T00:00:00Z")
    ledger.events.append(SCOPE_ID, [end, last, start], PRODUCER, NOW)
    assert [row.id for row in ledger.events.within(SCOPE_ID, first)] == [start.id, last.id]
    assert [row.id for row in ledger.events.within(SCOPE_ID, second)] == [end.id]
    assert [digest.events for digest in ledger.events.digests(SCOPE_ID, [first, second])] == [2, 1]


def test_events_come_by_time_and_ties_by_id_of_one_scope_and_node(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    same_time = [pull_request(number) for number in (3, 1, 2)]
    earlier = issue(9, at="2026-02-16T08:00:00Z")
    ledger.events.append(SCOPE_ID, [*same_time, earlier], PRODUCER, NOW)
    ledger.events.append(OTHER_SCOPE_ID, [pull_request(5)], PRODUCER, NOW)
    PostgresLedger(ledger_engine, OTHER_SCOPE_ID).events.append(SCOPE_ID, [pull_request(6)], PRODUCER, NOW)
    expected = [earlier.id, *(pull_request(number).id for number in (1, 2, 3))]
    assert [row.id for row in ledger.events.within(SCOPE_ID, window())] == expected


def test_events_are_streamed(ledger: PostgresLedger) -> None:
    count = 20 * ROWS_PER_FETCH
    ledger.events.append(SCOPE_ID, [pull_request(n, at="2026-02-17T12:00:00Z") for n in range(count)], PRODUCER, NOW)
    seen = 0
    with traced_memory() as peak_bytes:
        for _ in ledger.events.within(SCOPE_ID, window()):
            seen += 1
        assert peak_bytes() < count * 1000  # one row weighs about 2,000 bytes; all of them at once would be 40 MB
    assert seen == count


def test_digests_and_receipts_hold_no_window_in_memory(ledger: PostgresLedger) -> None:
    count = 20 * ROWS_PER_FETCH
    events = [pull_request(n, at="2026-02-17T12:00:00Z") for n in range(count)]
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-24", "2026-02-16")], NOW, [receipt()])
    expected = event_set_hash((event.id, event.payload_hash) for event in events)
    del events
    with traced_memory() as peak_bytes:
        [digest] = ledger.events.digests(SCOPE_ID, [window()])
        [receipts] = ledger.scans.receipts(SCOPE_ID, "github", [window()])
        assert peak_bytes() < count * 100  # id and payload hash alone weigh more than 200 bytes
    assert (digest.events, digest.set_hash) == (receipts.kept, receipts.set_hash) == (count, expected)


def test_a_set_hash_is_by_code_point_whatever_order_the_ledger_has(ledger: PostgresLedger) -> None:
    names = ("zeta", "Zeta", "_", "Ünï", "e\u0301", "\U0001f680", "\uffee", "a-b", "a/b", "ab", '"\\\n')
    events = [pull_request(n, repo=f"cogni-dao/{name}") for n, name in enumerate(names)]
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)
    [digest] = ledger.events.digests(SCOPE_ID, [window()])
    assert digest.set_hash == event_set_hash((event.id, event.payload_hash) for event in events)


def test_a_reader_that_stops_early_gives_its_connection_back(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.events.append(SCOPE_ID, [pull_request(n) for n in range(3)], PRODUCER, NOW)
    rows = ledger.events.within(SCOPE_ID, window())
    assert len(list(islice(rows, 1))) == 1
    rows.close()  # type: ignore[attr-defined]
    assert ledger_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_digest_tells_what_a_window_holds(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    closed, running, empty = weeks(3)
    held = [pull_request(1), pull_request(2), review(1)]
    ledger.epochs.ensure(SCOPE_ID, [closed], {})
    ledger.events.append(SCOPE_ID, [*held, issue(1, at="2026-02-24T00:00:00Z")], PRODUCER, NOW)
    set_status(ledger_engine, SCOPE_ID, closed, EpochStatus.REVIEW)
    refused = [issue(2), issue(3), review(1, state="COMMENTED")]
    ledger.events.append(SCOPE_ID, refused, PRODUCER, NOW)

    assert ledger.events.digests(SCOPE_ID, [empty, closed, running]) == [
        WindowDigest(empty, {}, event_set_hash([]), {}),
        WindowDigest(
            closed,
            {"pr_merged": 2, "review_submitted": 1},
            event_set_hash((event.id, event.payload_hash) for event in held),
            {"late": 2, "conflict": 1},
        ),
        WindowDigest(
            running,
            {"issue_closed": 1},
            event_set_hash([(issue(1).id, issue(1, at="2026-02-24T00:00:00Z").payload_hash)]),
            {},
        ),
    ]


def test_digests_of_no_windows_are_none(ledger: PostgresLedger) -> None:
    assert ledger.events.digests(SCOPE_ID, []) == []


def test_six_hundred_windows_are_digested_in_two_queries(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    windows = weeks(650, "2014-01-06")
    events = [pull_request(n, at=f"{w.key}T12:00:00Z") for n, w in enumerate(windows)]
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)
    statements: list[str] = []

    def note(conn: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(ledger_engine, "before_cursor_execute", note)
    assert {digest.events for digest in ledger.events.digests(SCOPE_ID, windows)} == {1}
    assert len(statements) == 2


def test_digests_are_of_one_snapshot(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    """What another connection commits between the two queries is not seen by the second."""
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    late = [pull_request(1)]

    def write_meanwhile(conn: object, cursor: object, statement: str, *rest: object) -> None:
        if late and "WITH ORDINALITY" in statement:
            ledger.events.append(SCOPE_ID, [late.pop()], PRODUCER, NOW)

    event.listen(ledger_engine, "after_cursor_execute", write_meanwhile)
    assert ledger.events.digests(SCOPE_ID, [window()])[0].rejected_by_reason == {}
    assert ledger.events.digests(SCOPE_ID, [window()])[0].rejected_by_reason == {"late": 1}


def test_rejected_events_come_by_time_within_the_window(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    first, second = weeks(2)
    ledger.epochs.ensure(SCOPE_ID, [first, second], {})
    for closed in (first, second):
        set_status(ledger_engine, SCOPE_ID, closed, EpochStatus.FINALIZED)
    events = [
        pull_request(1, at="2026-02-23T00:00:00Z"),
        pull_request(3, at="2026-02-17T12:00:00Z"),
        pull_request(2, at="2026-02-17T12:00:00Z"),
    ]
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)
    rejected = ledger.events.rejected(SCOPE_ID, first)
    assert [kept.event_id for kept in rejected] == [pull_request(2).id, pull_request(3).id]
    assert rejected[0].reason is AppendOutcome.LATE
    assert rejected[0].rejected_at.tzname() == "UTC"
    assert ledger.events.rejected(OTHER_SCOPE_ID, EpochWindow(first.start, second.end)) == []


def test_an_event_without_an_object_id_is_read_back_as_such(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id,
                    platform_login, artifact_url, metadata, payload_hash, producer, producer_version,
                    event_time, retrieved_at)
                SELECT :node, :scope, 'inherited-' || n, 'github', 'pr_merged', '1', 'ada', 'https://x', '{}',
                    'hash', 'older', '0', '2026-02-17T12:00:00Z', now() FROM generate_series(1, 2) AS n
            """),
            {"node": ledger.node_id, "scope": SCOPE_ID},
        )
    assert [row.source_object_id for row in ledger.events.within(SCOPE_ID, window())] == [None, None]
