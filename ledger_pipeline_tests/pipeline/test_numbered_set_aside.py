"""Corrections and requests to sign that somebody with the writer's login made are few, or in nobody's way for long."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import EpochNotReady, StoreError
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash
from ledger_pipeline.pipeline.set_aside import set_numbered_aside
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.statement_records import Numbered, NumberedRows
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import NODE_ID, weeks
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    GRACE_USER,
    POOL,
    Books,
    finalized,
    refused,
    reviewed,
    rows_of,
)

FIRST, SECOND = weeks(2, "2026-02-16")
CORRECT = """
    INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason)
    SELECT node_id, epoch_id, id, 'mallory-' || number, 0, 'because'
    FROM payout_statements, generate_series(CAST(:first AS bigint), :last) AS number
    WHERE epoch_id = :epoch AND supersedes_statement_id IS NULL
    RETURNING id
"""
REQUEST = """
    INSERT INTO signing_requests (node_id, epoch_id, allocation_set_hash, pool_total_credits, supersedes_statement_id)
    VALUES (:node, :epoch, :hash, :pool, CAST(:supersedes AS uuid)) RETURNING id
"""


def corrected(engine: Engine, books: Books, first: int, last: int) -> list[int]:
    """The numbers of corrections as whoever may write can add them."""
    with engine.begin() as connection:
        given = {"epoch": books.epoch.id, "first": first, "last": last}
        return sorted(connection.scalars(text(CORRECT), given))


def guessed(engine: Engine, books: Books, units_of_ada: int) -> int:
    """The number of a request for numbers that an amendment may have some day."""
    numbers = [UserUnits(ADA_USER, units_of_ada), UserUnits(GRACE_USER, 500)]
    given = {"node": NODE_ID, "epoch": books.epoch.id, "hash": allocation_set_hash(numbers), "pool": POOL}
    with engine.begin() as connection:
        number = connection.scalar(text(REQUEST), {**given, "supersedes": None})
    assert isinstance(number, int)
    return number


def differences(books: Books) -> list[str]:
    return [str(difference) for difference in verify(facts_of(books.ledger.statements.rows(books.epoch)))]


def aside(books: Books) -> list[str]:
    return [row.named for row in books.ledger.statements.history(books.epoch).set_asides]


def test_corrections_have_so_many_places_and_give_them_back(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    given = {"epoch": books.epoch.id, "first": 1, "last": 1001}
    refusal = refused(ledger_engine, CORRECT, **given)
    assert "INSERT into statement_corrections refused: 1000 corrections of statement" in refusal
    numbers = corrected(ledger_engine, books, 1, 1000)
    with pytest.raises(StoreError, match=r"1000 corrections of statement .* set-aside"):
        books.correct(ADA_USER, 1000, "counted again")
    rows = NumberedRows(Numbered.CORRECTION, numbers[0], numbers[-1])
    assert set_numbered_aside(ledger, rows, "nobody of ours made them") == 1000
    with pytest.raises(EpochNotReady, match=f"{rows}: the node has no such correction, or it is set aside already"):
        set_numbered_aside(ledger, rows, "again")
    assert aside(books) == [str(rows)]
    amendment = books.amend(ADA_USER, 1000)
    assert [line["userId"] for line in amendment.payouts] == [ADA_USER, GRACE_USER]
    assert differences(books) == []


def test_the_places_of_corrections_are_not_raced_for(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    corrected(ledger_engine, books, 1, 997)
    barrier = Barrier(2)

    def correct(first: int) -> int:
        barrier.wait()
        taken = 0
        for number in range(first, first + 3):
            try:
                corrected(ledger_engine, books, number, number)
            except DBAPIError:
                continue
            taken += 1
        return taken

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(correct, (2000, 3000))) == 3
    assert rows_of(ledger_engine, "statement_corrections") == {"statement_corrections": 1000}


def test_the_word_before_counts_again_and_what_was_stated_stays(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 1000, "counted again")
    books.correct(ADA_USER, 7, "of somebody else's making")
    latest = ledger.statements.settlement(books.epoch).corrections[0].id
    rows = NumberedRows(Numbered.CORRECTION, latest, latest)
    assert set_numbered_aside(ledger, rows, "nobody of ours made it") == 1
    assert [row.units for row in ledger.statements.settlement(books.epoch).corrections] == [1000]
    books.finalize(books.signature())
    assert differences(books) == []
    stated = NumberedRows(Numbered.CORRECTION, latest - 1, latest - 1)
    with pytest.raises(StoreError, match=f"a statement rests on correction {latest - 1} of epoch {books.epoch.id}"):
        set_numbered_aside(ledger, stated, "not to our liking")
    assert differences(books) == []


def test_several_rows_are_of_one_epoch(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books, second_books = finalized(ledger, of=FIRST), finalized(ledger, of=SECOND)
    [theirs], [of_other] = corrected(ledger_engine, books, 1, 1), corrected(ledger_engine, second_books, 2, 2)
    rows = NumberedRows(Numbered.CORRECTION, theirs - 1, of_other)  # sequences have gaps
    assert set_numbered_aside(ledger, rows, "nobody of ours made it") == 1
    assert (aside(books), aside(second_books)) == ([f"correction:{theirs}"], [])
    assert set_numbered_aside(ledger, rows, "nor that") == 1
    assert (aside(books), aside(second_books)) == ([f"correction:{theirs}"], [f"correction:{of_other}"])
    [of_other] = corrected(ledger_engine, second_books, 3, 3)
    columns = "INSERT INTO set_asides (node_id, epoch_id, correction_id, reason) VALUES (:node, :epoch, :id, 'x')"
    refusal = refused(ledger_engine, columns, node=NODE_ID, epoch=books.epoch.id, id=of_other)
    assert f"it is of another epoch than {books.epoch.id}" in refusal


def test_numbers_that_somebody_guessed_are_stated_once_the_owner_has_looked_at_them(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    number, _ = guessed(ledger_engine, books, 1000), guessed(ledger_engine, books, 1001)
    books.finalize(books.signature())
    books.correct(ADA_USER, 1000, "counted again")
    with pytest.raises(EpochNotReady, match=f"handed out before, .* db set-aside request:{number} --reason"):
        books.draft()
    rows = NumberedRows(Numbered.REQUEST, number, number)
    assert set_numbered_aside(ledger, rows, "a guess of somebody's") == 1
    assert aside(books) == [f"request:{number}"]
    assert [int(line["totalUnits"]) for line in books.finalize(books.signature()).payouts] == [1000, 500]
    assert differences(books) == []


def test_what_is_handed_out_once_more_is_remembered_beside_what_was_set_aside(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 1000, "counted again")
    first = books.draft()
    with ledger_engine.connect() as connection:
        number = connection.scalar(text("SELECT max(id) FROM signing_requests"))
    assert isinstance(number, int)
    set_numbered_aside(ledger, NumberedRows(Numbered.REQUEST, number, number), "nobody signed it")
    signature = APPROVER.sign(books.draft().message)
    assert books.draft() == first
    books.amend(ADA_USER, 700)
    books.correct(ADA_USER, 1000, "as it was drafted")
    for step in (books.draft, lambda: books.finalize(signature)):
        with pytest.raises(EpochNotReady, match="those of a draft that was handed out before"):
            step()


def test_many_requests_of_somebodys_slow_nobody_down(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(
                "INSERT INTO signing_requests (node_id, epoch_id, allocation_set_hash, pool_total_credits) "
                "SELECT node_id, id, 'guess ' || number, 1 FROM epochs, generate_series(1, 20000) AS number"
            )
        )
        connection.execute(text("ANALYZE signing_requests"))
        plans = [
            "\n".join(connection.scalars(text(f"EXPLAIN {query}")))
            for query in (
                "SELECT FROM signing_requests WHERE epoch_id = 1 AND allocation_set_hash = 'guess 7' "
                "AND pool_total_credits = 1 AND supersedes_statement_id IS DISTINCT FROM gen_random_uuid()",
                f"SELECT FROM signing_requests WHERE node_id = '{NODE_ID}' ORDER BY id DESC LIMIT 200",
            )
        ]
    assert ["Seq Scan" in plan for plan in plans] == [False, False]
    assert books.finalize(books.signature()).pool_total_credits == POOL
