"""Statements: corrected, superseded and never edited; finalized once by however many, whatever happens meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text

from ledger_pipeline.core.errors import EpochNotReady, StaleSignature, StoreError, StoreUnavailable
from ledger_pipeline.core.pool import base_issuance
from ledger_pipeline.core.statements import allocation_set_hash
from ledger_pipeline.pipeline.chain import stated_units
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import NewBinding, valued
from ledger_pipeline.store.statement_records import Finalization
from ledger_pipeline_tests.builders import ADA, NODE_ID, pull_request, weeks
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    GRACE_USER,
    POOL,
    SECOND_APPROVER,
    Books,
    collected,
    finalized,
    refused,
    reviewed,
    rows_of,
)
from ledger_pipeline_tests.store.test_races import until_someone_waits, while_open
from ledger_pipeline_tests.store.test_roles import url_of
from ledger_pipeline_tests.waiting import eventually

FIRST, SECOND = weeks(2, "2026-02-16")
WRITTEN = ("payout_statements", "statement_signatures")
NOTHING = dict.fromkeys(WRITTEN, 0)
ALL = dict.fromkeys(WRITTEN, 1)

# The transaction that states this epoch has done all but its commit while somebody holds the lock 77.
WAIT_AT_COMMIT = """
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END
    $$;
    CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON payout_statements DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.epoch_id = {epoch_id}) EXECUTE FUNCTION wait_at_commit()
"""
WAITING = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")


def until_waiting(engine: Engine, transactions: int, unless: Future[Any] | None = None) -> None:
    """Return once so many transactions wait for a lock, or once `unless` is done."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        eventually(lambda: (unless is not None and unless.done()) or connection.scalar(WAITING) == transactions, 20)


def assert_consistent(books: Books) -> None:
    """The epoch's only statement is of the allocations and the pool as they are."""
    [statement] = books.ledger.statements.of(books.epoch)
    units = valued(books.ledger.allocations.of(books.epoch))
    assert statement.allocation_set_hash == allocation_set_hash(units)
    assert stated_units(statement) == units
    pool = sum(component.amount_credits for component in books.ledger.pool.of(books.epoch))
    assert statement.pool_total_credits == books.epoch.pool_total_credits == pool
    assert sum(int(line["amountCredits"]) for line in statement.payouts) == pool


@pytest.fixture
def own_engine(ledger_url: str) -> Iterator[Engine]:
    """Connections that nobody else uses, to be killed."""
    engine = make_engine(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Engine]:
    login = url_of(ledger_url, "roles_settling", "secret")
    ensure_logins(ledger_url, {WRITER: login})
    engine = make_engine(login)
    yield engine
    engine.dispose()


# Reading.


def test_statements_come_along_their_chain_and_those_since_in_the_order_they_were_made(ledger: PostgresLedger) -> None:
    first_books, second_books = finalized(ledger, of=FIRST), finalized(ledger, of=SECOND)
    second = first_books.amend(ADA_USER, 1000)
    third = first_books.amend(ADA_USER, 3000)
    first, *rest = ledger.statements.of(first_books.epoch)
    assert rest == [second, third]
    assert [statement.supersedes_statement_id for statement in (first, *rest)] == [None, first.id, second.id]
    [of_other] = ledger.statements.of(second_books.epoch)

    everything = ledger.statements.stated_since(FIRST.start, first.id)
    assert [statement.statement_id for statement in everything] == [first.id, of_other.id, second.id, third.id]
    assert [statement.period_start for statement in everything[:2]] == [FIRST.start, SECOND.start]
    assert {statement.scope_id for statement in everything} == {first_books.scope.scope_id}
    since = ledger.statements.stated_since(second.created_at, second.id)
    assert [statement.statement_id for statement in since] == [third.id]
    assert ledger.statements.stated_since(third.created_at, third.id) == []


def test_the_rows_of_an_epoch_are_all_that_its_statements_follow_from(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    books.amend(ADA_USER, 1000)
    collected(ledger, of=SECOND)
    rows = ledger.statements.rows(books.epoch)
    assert (rows.epoch["epoch_id"], rows.epoch["status"]) == (books.epoch.id, "finalized")
    assert len(rows.events) == len(rows.curation) == 3
    assert [row["user_id"] for row in rows.allocations] == [ADA_USER, GRACE_USER]
    assert [row["amount_credits"] for row in rows.pool] == [POOL]
    assert [row["units"] for row in rows.corrections] == [1000]
    assert [row["statement_id"] for row in rows.statements] == list(books.signers)
    assert [row["signer_wallet"] for row in rows.signatures] == [APPROVER.address] * 2


def test_what_was_handed_out_is_remembered_once_latest_first(ledger: PostgresLedger) -> None:
    first_books, second_books = reviewed(ledger, of=FIRST), reviewed(ledger, of=SECOND)
    drafts = [first_books.draft(), first_books.draft(), second_books.draft()]
    ledger.allocations.decide(first_books.epoch, ADA_USER, 1, "less")
    drafts.append(first_books.draft())
    signing_requests = ledger.statements.recent_requests()
    assert [signing_request.epoch_id for signing_request in signing_requests] == [
        first_books.epoch.id,
        second_books.epoch.id,
        first_books.epoch.id,
    ]
    assert [signing_request.allocation_set_hash for signing_request in reversed(signing_requests)] == [
        draft.allocation_set_hash for draft in (drafts[0], drafts[2], drafts[3])
    ]


# Correcting.


def test_the_latest_word_on_each_user_counts(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    for user, units, reason in ((ADA_USER, 1, "first"), ("lin", 5, "forgotten"), (ADA_USER, 3000, "second")):
        books.correct(user, units, reason)
    corrections = ledger.statements.settlement(books.epoch).corrections
    assert [(correction.user_id, correction.units, correction.reason) for correction in corrections] == [
        ("lin", 5, "forgotten"),
        (ADA_USER, 3000, "second"),
    ]
    with pytest.raises(StoreError, match="statement_corrections_units_check"):
        books.correct(ADA_USER, -1, "less than nothing")


def test_what_has_no_statement_has_none_to_correct(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    with pytest.raises(EpochNotReady, match="no statement to correct: while it is in review, `allocations set`"):
        books.correct(ADA_USER, 1, "too early")


def test_a_superseded_statement_takes_no_corrections_not_even_one_under_way(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    books.correct(ADA_USER, 1000, "counted again")
    signature = books.signature()
    with paused(ledger_engine, "INSERT INTO statement_signatures") as (reached, go_on), ThreadPoolExecutor(2) as pool:
        amending = pool.submit(books.finalize, signature)
        reached(amending)
        # It has read the original as the one in force, and must not add to it what the amendment does not have.
        late: Future[object] = pool.submit(
            ledger.statements.correct, books.epoch, original.id, GRACE_USER, 9, "too late"
        )
        until_someone_waits(ledger_engine, late)
        go_on()
        with pytest.raises(StoreError, match=f"statement {original.id} is superseded already"):
            late.result()
    assert amending.result().supersedes_statement_id == original.id
    assert rows_of(ledger_engine, "statement_corrections") == {"statement_corrections": 1}
    assert "is superseded already" in refused(
        ledger_engine,
        "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
        "SELECT node_id, epoch_id, id, 'x', 1, 'y' FROM payout_statements WHERE supersedes_statement_id IS NULL",
    )


def test_a_correction_under_way_is_in_the_amendment_or_its_signature_is_stale(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 1000, "counted again")
    signature = books.signature()
    second_insert = (
        "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
        "SELECT node_id, epoch_id, id, 'lin', 7, 'forgotten' FROM payout_statements"
    )
    answer = while_open(
        ledger_engine, lambda connection: connection.execute(text(second_insert)), lambda: stale(books, signature)
    )
    assert answer == "stale"
    assert len(ledger.statements.of(books.epoch)) == 1


# At once.


def stale(books: Books, signature: str) -> str:
    try:
        books.finalize(signature)
    except StaleSignature:
        return "stale"
    except EpochNotReady as error:
        return "stale" if "do not follow from its curation any more" in str(error) else str(error)
    return "finalized"


@contextmanager
def paused(engine: Engine, at: str) -> Iterator[tuple[Callable[[Future[Any]], None], Callable[[], None]]]:
    """The first connection about to execute what starts with `at` waits: yields how to await that, and to let it go."""
    here, go_on = Event(), Event()

    def wait(*seen: object) -> None:
        if str(seen[2]).strip().startswith(at) and not here.is_set():
            here.set()
            assert go_on.wait(30)

    def reached(by: Future[Any]) -> None:
        while not here.wait(0.05):
            if by.done():
                pytest.fail(f"never got to {at}: {by.result()}")

    event.listen(engine, "before_cursor_execute", wait)
    try:
        yield reached, go_on.set
    finally:
        go_on.set()
        event.remove(engine, "before_cursor_execute", wait)


def test_eight_at_once_make_one_statement_and_all_get_it(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    barrier = Barrier(8)

    def at_once(_: int) -> object:
        barrier.wait()
        return books.finalize(signature)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(at_once, range(8)))
    assert answers == ledger.statements.of(books.epoch) * 8
    assert rows_of(ledger_engine, *WRITTEN) == ALL
    assert_consistent(books)


def test_two_approvers_at_once_sign_one_statement(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    message = books.draft().message
    barrier = Barrier(2)

    def at_once(signature: str) -> object:
        barrier.wait()
        return books.finalize(signature)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(at_once, (APPROVER.sign(message), SECOND_APPROVER.sign(message)))
    assert [first, second] == ledger.statements.of(books.epoch) * 2
    assert list(books.signers.values()) == [sorted((APPROVER.address, SECOND_APPROVER.address))]


def test_eight_at_once_amend_once(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 1000, "counted again")
    signature = books.signature()
    barrier = Barrier(8)

    def at_once(_: int) -> object:
        barrier.wait()
        return books.finalize(signature)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(at_once, range(8)))
    assert answers == ledger.statements.of(books.epoch)[1:] * 8


CHANGES: dict[str, tuple[str, Callable[[Books], object]]] = {
    "a decision": (
        "UPDATE epoch_allocations SET final_units = 1, override_reason = 'less' WHERE user_id = 'user-ada'",
        lambda books: books.ledger.allocations.decide(books.epoch, ADA_USER, 1, "less"),
    ),
    "a new allocation": (
        "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count) "
        "SELECT node_id, id, 'lin', 7, 1 FROM epochs",
        lambda books: books.ledger.allocations.decide(books.epoch, "lin", 7, "forgotten"),
    ),
    "one removed": (
        "DELETE FROM epoch_allocations WHERE user_id = 'user-grace'",
        lambda books: books.ledger.allocations.propose(books.epoch, []),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_statement_never_differs_from_allocations_that_change_meanwhile(
    ledger: PostgresLedger, ledger_engine: Engine, change: str
) -> None:
    statement, verb = CHANGES[change]
    books = reviewed(ledger)
    signature = books.signature()
    # The change came first: finalizing waits for it, and sees that the signature is of what was before.
    answer = while_open(
        ledger_engine, lambda connection: connection.execute(text(statement)), lambda: stale(books, signature)
    )
    assert answer == "stale"
    assert rows_of(ledger_engine, *WRITTEN) == NOTHING
    # Finalizing came first: the change waits for it, and is refused.
    books.materialize()
    signature = books.signature()
    with paused(ledger_engine, "INSERT INTO payout_statements") as (reached, go_on), ThreadPoolExecutor(2) as pool:
        finalizing = pool.submit(books.finalize, signature)
        reached(finalizing)
        late: Future[object] = pool.submit(verb, books)
        until_someone_waits(ledger_engine, late)
        go_on()
        with pytest.raises(StoreError, match=f"refused: epoch {books.epoch.id} is finalized"):
            late.result()
    assert finalizing.result().allocation_set_hash
    assert_consistent(books)


def test_a_statement_never_differs_from_a_pool_that_is_filled_meanwhile(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger, base_issuance_credits=None)
    books.materialize()
    books.close()

    def add(connection: Connection) -> None:
        connection.execute(
            text("""
                INSERT INTO epoch_pool_components
                    (node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits)
                VALUES (:node, :epoch, 'base_issuance', 'config-constant-v0', CAST(:inputs AS jsonb), 70)
            """),
            {"node": NODE_ID, "epoch": books.epoch.id, "inputs": '{"base_issuance_credits": "70"}'},
        )

    # What would be signed if the pool were what it becomes: it must be judged by that.
    message = (
        f"Cogni Payout Statement v1\nNode: {NODE_ID}\nScope: {books.scope.scope_id}\nEpoch: {books.epoch.id}\n"
        f"Allocation Hash: {allocation_set_hash(valued(ledger.allocations.of(books.epoch)))}\nPool Total: 70"
    )
    signature = APPROVER.sign(message)
    finalization = while_open(
        ledger_engine,
        add,
        lambda: finalize(ledger, books.spec, books.epoch, signature, accept_pinned_spec=True),
    )
    assert isinstance(finalization, Finalization)
    assert [finalization.statement] == ledger.statements.of(books.epoch)
    assert_consistent(books)
    with pytest.raises(EpochNotReady, match="components never change"):
        ledger.pool.add(books.epoch, base_issuance(71))


# Interrupted.


@contextmanager
def killed_at(engine: Engine, watcher: Engine, nth: int, when: str) -> Iterator[Callable[[], int]]:
    """The backend of `engine`'s nth statement is gone `when` (before or after) it is executed; yields how many were.

    Statements of one finalization: a commit counts as one, since that is where a transaction may be lost last.
    """
    seen = 0

    def kill(connection: Connection) -> None:
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        with watcher.connect() as second_connection:
            assert second_connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    def count(connection: Connection) -> None:
        nonlocal seen
        seen += 1
        if seen == nth:
            kill(connection)

    def executing(*given: object) -> None:
        count(given[0])  # type: ignore[arg-type]

    event.listen(engine, f"{when}_cursor_execute", executing)
    event.listen(engine, "commit", count)
    try:
        yield lambda: seen
    finally:
        event.remove(engine, f"{when}_cursor_execute", executing)
        event.remove(engine, "commit", count)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_statement_finalizing_leaves_all_or_nothing_and_can_be_repeated(
    ledger: PostgresLedger, ledger_engine: Engine, own_engine: Engine, when: str
) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    mine, epoch = books.seen_by(own_engine), books.epoch
    nth = 0
    while True:
        nth += 1
        with killed_at(own_engine, ledger_engine, nth, when) as executed:
            try:
                made = finalize(mine.ledger, mine.spec, epoch, signature).statement
            except StoreUnavailable:
                made = None
        if made is not None:
            break
        assert rows_of(ledger_engine, *WRITTEN) == NOTHING, f"killed {when} statement {nth}"
        assert (books.epoch.status, books.epoch.pool_total_credits) == (EpochStatus.REVIEW, None)
    # It was killed at each of its statements before it got through.
    assert nth == executed() + 1 >= 10
    assert rows_of(ledger_engine, *WRITTEN) == ALL
    assert_consistent(books)
    assert books.finalize(signature) == made


@pytest.mark.parametrize("nth", [6, 9])
def test_killed_while_amending_the_original_stays_in_force_until_it_is_repeated(
    ledger: PostgresLedger, ledger_engine: Engine, own_engine: Engine, nth: int
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    books.correct(ADA_USER, 1000, "counted again")
    signature = books.signature()
    mine, epoch = books.seen_by(own_engine), books.epoch
    with killed_at(own_engine, ledger_engine, nth, "after"), pytest.raises(StoreUnavailable):
        finalize(mine.ledger, mine.spec, epoch, signature)
    assert ledger.statements.of(books.epoch) == [original]
    assert rows_of(ledger_engine, *WRITTEN) == ALL
    assert mine.finalize(signature).supersedes_statement_id == original.id


# As the writer.


def test_the_writer_goes_the_whole_way_and_changes_nothing_that_was_signed(
    writer: Engine,
) -> None:
    books = finalized(PostgresLedger(writer, NODE_ID), pull_request(1), pull_request(2))
    books.ledger.identities.move(NewBinding("github", str(ADA.user_id), "countess"))
    books.ledger.identities.unresolved([books.epoch])
    books.amend("lin", 1000, by=SECOND_APPROVER)
    open_ = collected(books.ledger, users={}, of=SECOND)
    open_.materialize()
    books.ledger.allocations.decide(open_.epoch, "lin", 1, "for now")
    books.ledger.allocations.decide(open_.epoch, "lin", None, None)
    assert list(books.signers.values()) == [[APPROVER.address], [SECOND_APPROVER.address]]
    for table in ("statement_corrections", "signing_requests", "payout_statements", "statement_signatures"):
        for change in ("UPDATE {} SET node_id = node_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
            assert refused(writer, change.format(table)) == f"permission denied for table {table}"


def test_whoever_asks_for_statements_since_the_last_misses_none_that_is_committed_late(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    first_books, second_books = reviewed(ledger, of=FIRST), reviewed(ledger, of=SECOND)
    late, early = first_books.signature(), second_books.signature()
    seen: list[UUID] = []

    def ask() -> None:
        """As the sensor does: after the last that was seen."""
        since = (FIRST.start, UUID(int=0)) if not seen else (stamps[seen[-1]], seen[-1])
        for stated in ledger.statements.stated_since(*since):
            stamps[stated.statement_id] = stated.created_at
            seen.append(stated.statement_id)

    stamps: dict[UUID, datetime] = {}
    with ledger_engine.begin() as connection:
        connection.execute(text(WAIT_AT_COMMIT.format(epoch_id=first_books.epoch.id)))
    with ThreadPoolExecutor(2) as pool:
        with ledger_engine.begin() as gate:
            gate.execute(text("SELECT pg_advisory_xact_lock(77)"))
            committing_late = pool.submit(first_books.finalize, late)
            until_waiting(ledger_engine, 1)
            committing_early = pool.submit(second_books.finalize, early)
            until_waiting(ledger_engine, 2, unless=committing_early)
            ask()
        committing_late.result()
        committing_early.result()
    ask()
    assert seen == [ledger.statements.of(books.epoch)[0].id for books in (first_books, second_books)]
