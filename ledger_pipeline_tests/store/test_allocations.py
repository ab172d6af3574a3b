"""Allocations: proposals replaced by newer ones, a person's decision that outlives them, and none once finalized."""

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.allocations import ProposedAllocation
from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Allocation
from ledger_pipeline_tests.builders import weeks
from ledger_pipeline_tests.store.settlement import ADA_USER, Books, collected, finalized, refused

FIRST, SECOND = weeks(2, "2026-02-16")


@pytest.fixture
def books(ledger: PostgresLedger) -> Books:
    return collected(ledger)


def propose(books: Books, **units: int) -> list[Allocation]:
    """Units by user, each of one event."""
    return books.ledger.allocations.propose(
        books.epoch, [ProposedAllocation(user, proposed, 1) for user, proposed in units.items()]
    )


def test_proposals_replace_the_earlier_ones_in_code_point_order(books: Books) -> None:
    assert propose(books) == []
    assert [(allocation.user_id, allocation.units) for allocation in propose(books, b=1, a=2**63 - 1, B=3)] == [
        ("B", 3),
        ("a", 2**63 - 1),
        ("b", 1),
    ]
    after = propose(books, a=5, c=0)
    assert after == [Allocation("a", 5, None, None, 1), Allocation("c", 0, None, None, 1)]
    assert books.ledger.allocations.of(books.epoch) == after
    assert propose(books) == []


def test_an_epochs_proposals_leave_those_of_another(ledger: PostgresLedger, books: Books) -> None:
    second_books = collected(ledger, of=SECOND)
    propose(books, a=1)
    propose(second_books, b=2)
    propose(books)
    assert [allocation.user_id for allocation in ledger.allocations.of(second_books.epoch)] == ["b"]


def test_a_persons_decision_survives_proposals_and_the_loss_of_its_events(books: Books) -> None:
    decide = books.ledger.allocations.decide
    propose(books, ada=1000, grace=500)
    decide(books.epoch, "ada", 0, "paid elsewhere")
    decide(books.epoch, "lin", 700, "organised the meetup")
    assert propose(books, ada=2000, grace=600) == [
        Allocation("ada", 2000, 0, "paid elsewhere", 1),
        Allocation("grace", 600, None, None, 1),
        Allocation("lin", 0, 700, "organised the meetup", 0),
    ]
    assert [allocation.units for allocation in books.ledger.allocations.of(books.epoch)] == [0, 600, 700]
    decide(books.epoch, "ada", 1, "a token")
    assert propose(books) == [
        Allocation("ada", 0, 1, "a token", 0),
        Allocation("lin", 0, 700, "organised the meetup", 0),
    ]


def test_a_decision_taken_back_leaves_the_proposal_and_no_row_that_it_alone_had_made(books: Books) -> None:
    decide = books.ledger.allocations.decide
    propose(books, ada=1000, nil=0)
    for user in ("ada", "nil", "lin"):
        decide(books.epoch, user, 7, "for now")
    for user in ("ada", "nil", "lin", "nobody"):
        decide(books.epoch, user, None, None)
    # A row of nobody's would be signed, and paid nothing, as if it followed from something.
    assert books.ledger.allocations.of(books.epoch) == [
        Allocation("ada", 1000, None, None, 1),
        Allocation("nil", 0, None, None, 1),
    ]


def test_once_finalized_nothing_of_it_changes_whoever_asks(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    epoch, before = books.epoch, ledger.allocations.of(books.epoch)
    for change in (
        lambda: propose(books, **{ADA_USER: 1}),
        lambda: propose(books),
        lambda: ledger.allocations.decide(epoch, ADA_USER, 1, "too late"),
        lambda: ledger.allocations.decide(epoch, ADA_USER, None, None),
        lambda: ledger.allocations.decide(epoch, "somebody new", 1, "too late"),
    ):
        with pytest.raises(StoreError, match=f"epoch_allocations refused: epoch {epoch.id} is finalized"):
            change()
    for statement in (
        "UPDATE epoch_allocations SET final_units = 1",
        "DELETE FROM epoch_allocations",
        "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count) "
        f"VALUES ('{ledger.node_id}', {epoch.id}, 'new', 1, 1)",
        "TRUNCATE epoch_allocations",
    ):
        assert f"{statement.split()[0]} of epoch_allocations refused" in refused(ledger_engine, statement)
    assert ledger.allocations.of(epoch) == before
