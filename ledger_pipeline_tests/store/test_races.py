"""Two connections at once, each really waiting for the other: what both then say is true."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, NullPool, make_url, text
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import EpochNotReady, EpochOverlap
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.core.sources import ISSUE, PULL_REQUEST
from ledger_pipeline.store import facts, observations
from ledger_pipeline.store import unread as unread_rows
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import (
    AppendOutcome,
    EnsuredEpochs,
    Epoch,
    EpochStatus,
)
from ledger_pipeline_tests.builders import (
    GITHUB,
    NODE_ID,
    OTHER_SCOPE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    cursor,
    instant,
    note_unread,
    pull_request,
    unread,
    weeks,
    window,
)
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import rows_of

NEW, DUPLICATE, RENAMED, REPLACED, CONFLICT, LATE = AppendOutcome
NOW = instant("2026-02-18")
CLOSE = text("UPDATE epochs SET status = 'review', closed_at = now() WHERE id = :id")


def until_someone_waits(engine: Engine, waiting: Future[object] | None = None) -> None:
    """Return once a connection of this database waits for a lock; fail if the one expected to ends instead."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(
            text("""
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
            """)
        ):
            if waiting is not None and waiting.done():
                pytest.fail(f"did not wait: {waiting.result()}")


def append(ledger: PostgresLedger, *events: ActivityEvent) -> dict[str, AppendOutcome]:
    return ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)


def while_open(engine: Engine, hold: Callable[[Connection], object], then: Callable[[], object]) -> object:
    """What `then` answers on a thread of its own, when it has to wait for the transaction `hold` runs in."""
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            hold(connection)
            answer = pool.submit(then)
            until_someone_waits(engine, answer)
        return answer.result()


def test_an_event_that_meets_an_epoch_just_closing_is_late(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    outcome = while_open(
        ledger_engine,
        lambda connection: connection.execute(CLOSE, {"id": epoch.id}),
        lambda: append(ledger, pull_request()),
    )
    assert outcome == {pull_request().id: LATE}
    assert list(ledger.events.within(SCOPE_ID, window())) == []
    assert [kept.reason for kept in ledger.events.rejected(SCOPE_ID, window())] == [LATE]


def test_an_epoch_closes_only_after_the_append_under_way(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs

    def close() -> list[str]:
        with ledger_engine.begin() as connection:
            connection.execute(CLOSE, {"id": epoch.id})
            return list(connection.scalars(text("SELECT id FROM activity_events")))

    def start_appending(connection: Connection) -> None:
        assert Append(connection, NODE_ID, SCOPE_ID, PRODUCER, NOW).run([pull_request()])

    assert while_open(ledger_engine, start_appending, close) == [pull_request().id]


def test_an_epoch_is_made_only_after_the_append_that_is_under_way_in_its_scope(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    def start_appending(connection: Connection) -> None:
        Append(connection, NODE_ID, SCOPE_ID, PRODUCER, NOW).run([pull_request()])

    def make_and_close() -> list[str]:
        (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
        with ledger_engine.begin() as connection:
            connection.execute(CLOSE, {"id": epoch.id})
            return list(connection.scalars(text("SELECT id FROM activity_events")))

    assert while_open(ledger_engine, start_appending, make_and_close) == [pull_request().id]


def test_appends_of_other_scopes_keep_no_epoch_waiting(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    with ledger_engine.begin() as connection:
        Append(connection, NODE_ID, OTHER_SCOPE_ID, PRODUCER, NOW).run([pull_request()])
        assert ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs


def test_making_epochs_that_are_there_waits_for_nobody(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    made = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    with ledger_engine.begin() as connection:
        Append(connection, NODE_ID, SCOPE_ID, PRODUCER, NOW).run([pull_request()])
        assert ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs == made


LATE_ROWS = {
    "activity_events": """
        INSERT INTO activity_events (node_id, scope_id, id, source, event_type, platform_user_id, platform_login,
            artifact_url, metadata, payload_hash, producer, producer_version, event_time, retrieved_at)
        VALUES (:node, :scope, 'late', 'github', 'pr_merged', '7', 'eve', 'https://x', '{}', 'x', 'eve', '0',
            '2026-02-17Z', now())
    """,
    "activity_curation": "INSERT INTO activity_curation (node_id, epoch_id, event_id) VALUES (:node, :epoch, 'any')",
    "epoch_allocations": """
        INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count)
        VALUES (:node, :epoch, 'eve', 1, 1)
    """,
    "epoch_pool_components": """
        INSERT INTO epoch_pool_components (node_id, epoch_id, component_id, algorithm_version, inputs_json,
            amount_credits)
        VALUES (:node, :epoch, 'top_up', 'manual-v0', '{}', 1)
    """,
}


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("table", LATE_ROWS)
def test_nothing_joins_a_finalized_epoch_from_a_snapshot_in_which_it_was_not_there(
    ledger: PostgresLedger, ledger_engine: Engine, table: str, isolation: IsolationLevel
) -> None:
    with ledger_engine.connect().execution_options(isolation_level=isolation) as older:
        assert older.scalar(text("SELECT count(*) FROM epochs")) == 0
        (epoch,) = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
        set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.FINALIZED)
        values = {"node": NODE_ID, "scope": SCOPE_ID, "epoch": epoch.id}
        values = {name: value for name, value in values.items() if f":{name}" in LATE_ROWS[table]}
        with pytest.raises(DBAPIError, match=f"INSERT of {table} refused: under {isolation} it would not see"):
            older.execute(text(LATE_ROWS[table]), values)
        older.rollback()
    assert rows_of(ledger_engine, table) == {table: 0}


def test_the_ledgers_own_transactions_read_what_is_committed_whatever_the_databases_default(ledger_url: str) -> None:
    database = make_url(ledger_url).database
    engine = make_engine(ledger_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"))
    assert append(PostgresLedger(engine, NODE_ID), pull_request()) == {pull_request().id: NEW}


@pytest.mark.parametrize(
    ("second_event", "outcome"),
    [
        (pull_request(), DUPLICATE),
        (pull_request(at="2026-02-18T00:00:00Z"), CONFLICT),
        (pull_request(repo="new/name"), RENAMED),
    ],
)
def test_what_another_append_is_just_storing_is_recognised(
    ledger: PostgresLedger, ledger_engine: Engine, second_event: ActivityEvent, outcome: AppendOutcome
) -> None:
    def start_appending(connection: Connection) -> None:
        Append(connection, NODE_ID, SCOPE_ID, PRODUCER, NOW).run([pull_request()])

    assert while_open(ledger_engine, start_appending, lambda: append(ledger, second_event)) == {
        second_event.id: outcome
    }
    assert [row.payload_hash for row in ledger.events.within(SCOPE_ID, window())] == [pull_request().payload_hash]


def test_two_appends_of_the_same_events_store_each_once(ledger: PostgresLedger) -> None:
    events = [pull_request(number) for number in range(2000)]
    barrier = Barrier(2)

    def both_at_once(mine: list[ActivityEvent]) -> dict[str, AppendOutcome]:
        barrier.wait()
        return append(ledger, *mine)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(both_at_once, (events, events[::-1]))
    assert {frozenset((first[event.id], second[event.id])) for event in events} == {frozenset((NEW, DUPLICATE))}
    assert ledger.events.digests(SCOPE_ID, [window()])[0].events == len(events)


def test_of_two_overlapping_epochs_made_at_once_one_is_refused(ledger: PostgresLedger) -> None:
    barrier = Barrier(2)

    def both_at_once(days: int) -> list[Epoch] | EpochOverlap:
        barrier.wait()
        try:
            return ledger.epochs.ensure(SCOPE_ID, [window(days=days)], {}).epochs
        except EpochOverlap as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(both_at_once, (7, 14)))
    assert [isinstance(answer, EpochOverlap) for answer in answers].count(True) == 1
    assert len(ledger.epochs.within(SCOPE_ID, window(days=14))) == 1


def test_an_epoch_waits_for_the_one_being_made_and_then_answers_it_as_not_its_own(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    def make(connection: Connection) -> None:
        connection.execute(
            text("""
                INSERT INTO epochs (node_id, scope_id, period_start, period_end, weight_config)
                VALUES (:node, :scope, :start, :end, '{"pinned": 7}')
            """),
            {"node": NODE_ID, "scope": SCOPE_ID, "start": window().start, "end": window().end},
        )

    ensured = while_open(ledger_engine, make, lambda: ledger.epochs.ensure(SCOPE_ID, [window()], {}))
    assert isinstance(ensured, EnsuredEpochs)
    assert [epoch.weights_milli for epoch in ensured.epochs] == [{"pinned": 7}]
    assert ensured.created == frozenset()


def test_two_finished_scans_at_once_both_count(ledger: PostgresLedger) -> None:
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-10", "2026-02-01")], NOW)
    barrier = Barrier(2)

    def both_at_once(bounds: tuple[str, str]) -> None:
        barrier.wait()
        ledger.scans.finish(SCOPE_ID, [cursor(*bounds)], NOW)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(both_at_once, (("2026-02-20", "2026-02-10"), ("2026-02-01", "2026-01-05"))))
    assert list(ledger.scans.cursors(SCOPE_ID, "github").values()) == [cursor("2026-02-20", "2026-01-05")]


PINS = EpochPins("weight-sum-v0", "a", "b", {"scope_key": "x"})
WHERE = {"node_id": NODE_ID, "scope_id": SCOPE_ID, "source": GITHUB, "source_scope": REPO}


def test_an_epoch_is_not_closed_over_an_item_that_is_being_noted_as_unread(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window("2026-02-16")], {}).epochs

    def note(connection: Connection) -> None:
        unread_rows.lock(connection, WHERE)
        unread_rows.note(connection, WHERE, [unread(12)], [], NOW, NOW)

    with pytest.raises(EpochNotReady, match=rf"still open: 1 became unread meanwhile, such as {REPO}#12"):
        while_open(ledger_engine, note, lambda: ledger.epochs.close(epoch.id, PINS))
    [still] = ledger.epochs.within(SCOPE_ID, window("2026-02-16"))
    assert still.status is EpochStatus.OPEN


def test_whoever_notes_an_unread_item_waits_for_the_closing(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    while_open(
        ledger_engine, lambda connection: unread_rows.lock(connection, WHERE), lambda: note_unread(ledger, unread(12))
    )
    [row] = ledger.unread.items(SCOPE_ID)
    assert row.item == unread(12)


def test_whoever_forgets_unread_items_waits_for_who_notes_them(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    note_unread(ledger, unread(0))
    floors, later = {unread(0).key.kind: instant("2026-02-15")}, instant("2026-02-19")
    while_open(
        ledger_engine,
        lambda connection: unread_rows.lock(connection, WHERE),
        lambda: ledger.unread.forget_passed(SCOPE_ID, "github", REPO, floors, later),
    )
    assert ledger.unread.items(SCOPE_ID) == []


def test_only_what_is_collected_and_may_be_the_epochs_keeps_it_open(ledger: PostgresLedger) -> None:
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window("2026-02-16")], {}).epochs
    note_unread(ledger, unread(12), unread(13, kind=ISSUE, earliest="2026-02-23", latest="2026-02-24"))
    with pytest.raises(EpochNotReady, match="1 became unread"):
        ledger.epochs.close(epoch.id, PINS, collected={(GITHUB, REPO, PULL_REQUEST)})
    assert ledger.epochs.close(epoch.id, PINS, collected={(GITHUB, REPO, ISSUE)})


OF_MAIN, OF_NEXT = PullRequestFacts(base_branch="main"), PullRequestFacts(base_branch="next")


def record(ledger: PostgresLedger, facts: PullRequestFacts) -> frozenset[str]:
    return ledger.facts.record(SCOPE_ID, [Observation(pull_request().id, facts)], NOW, PRODUCER)


def base_branches(ledger: PostgresLedger, epoch: Epoch) -> list[object]:
    return [row.facts["baseBranch"] for row in ledger.facts.pinned(epoch.id)]


def test_facts_that_meet_an_epoch_just_closing_are_of_after_it(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    append(ledger, pull_request())
    record(ledger, OF_MAIN)
    kept = while_open(
        ledger_engine,
        lambda connection: connection.execute(CLOSE, {"id": epoch.id}),
        lambda: record(ledger, OF_NEXT),
    )
    assert kept == {pull_request().id}
    assert base_branches(ledger, epoch) == ["main"]


def test_whoever_closes_an_epoch_sees_the_facts_that_were_recorded_by_its_time_and_no_others(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    """The transaction that closes begins before, or after, the facts that it then waits for are written."""
    first, second = ledger.epochs.ensure(SCOPE_ID, weeks(2), {}).epochs
    for epoch, event in ((first, pull_request()), (second, pull_request(2, at="2026-02-25T12:00:00Z"))):
        append(ledger, event)
        ledger.facts.record(SCOPE_ID, [Observation(event.id, OF_MAIN)], NOW, PRODUCER)
        begins_before = epoch is first
        with ThreadPoolExecutor(1) as pool, ledger_engine.connect() as closing, ledger_engine.connect() as writing:
            if begins_before:
                closing.execute(text("SELECT now()"))
            scope = {"node_id": NODE_ID, "scope_id": SCOPE_ID}
            observations.record(writing, scope, [Observation(event.id, OF_NEXT)], NOW, PRODUCER)
            answer = pool.submit(lambda: closing.execute(CLOSE, {"id": epoch.id}))  # noqa: B023
            until_someone_waits(ledger_engine, answer)
            writing.commit()
            answer.result()
            seen = facts.pinned_set_hash(closing, NODE_ID, epoch.id)
            closing.commit()
        assert base_branches(ledger, epoch) == (["main"] if begins_before else ["next"])
        assert ledger.facts.pinned_set_hash(epoch.id) == seen


def test_of_two_that_observe_the_same_change_at_once_one_writes_it(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    append(ledger, pull_request())
    kept = while_open(
        ledger_engine,
        lambda connection: observations.record(
            connection,
            {"node_id": NODE_ID, "scope_id": SCOPE_ID},
            [Observation(pull_request().id, OF_MAIN)],
            NOW,
            PRODUCER,
        ),
        lambda: record(ledger, OF_MAIN),
    )
    assert kept == frozenset()
    assert len(ledger.facts.of_event([SCOPE_ID], pull_request().id)) == 1
