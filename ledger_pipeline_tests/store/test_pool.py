"""The pool: components that never change, closed to all but the base issuance once its epoch is in review."""

from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, text

from ledger_pipeline.core.errors import AllocationError, EpochNotReady, StoreError
from ledger_pipeline.core.pool import BASE_ISSUANCE, KPI_BONUS_V0, MAX_CREDITS, TOP_UP, NewPoolComponent, base_issuance
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.store.settlement import POOL, Books, collected, finalized, refused, rows_of
from ledger_pipeline_tests.store.test_races import CLOSE, while_open

TOPPED_UP = NewPoolComponent(TOP_UP, 500, {"proposal": "7"}, "https://vote/7")
BONUS = NewPoolComponent(KPI_BONUS_V0, 90, {"users": 9, "factor": "10"}, "https://report")


def amounts(books: Books) -> dict[str, int]:
    return {component.component_id: component.amount_credits for component in books.ledger.pool.of(books.epoch)}


def test_a_component_is_added_once_and_another_of_its_name_is_refused(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    assert [ledger.pool.add(books.epoch, component) for component in (TOPPED_UP, BONUS, BONUS)] == [True, True, False]
    for changed in (
        NewPoolComponent(TOP_UP, 501, {"proposal": "7"}, "https://vote/7"),
        NewPoolComponent(TOP_UP, 500, {"proposal": "8"}, "https://vote/7"),
        NewPoolComponent(TOP_UP, 500, {"proposal": "7"}, "https://vote/8"),
    ):
        with pytest.raises(EpochNotReady, match="has a top_up of 500 credits already, and components never change"):
            ledger.pool.add(books.epoch, changed)
    bonus, topped_up = ledger.pool.of(books.epoch)
    assert (bonus.component_id, bonus.inputs, bonus.algorithm_version) == (KPI_BONUS_V0, BONUS.inputs, "kpi-bonus-v0")
    assert (topped_up.amount_credits, topped_up.evidence_ref) == (500, "https://vote/7")
    assert bonus.computed_at.tzinfo is not None


def test_no_component_is_changed_removed_or_negative_whoever_asks(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    ledger.pool.add(books.epoch, TOPPED_UP)
    for change in (
        "UPDATE epoch_pool_components SET amount_credits = 1",
        "DELETE FROM epoch_pool_components",
        "TRUNCATE epoch_pool_components CASCADE",
    ):
        assert f"{change.split()[0]} of epoch_pool_components refused" in refused(ledger_engine, change)
    negative = (
        "INSERT INTO epoch_pool_components "
        "(node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits) "
        f"VALUES ('{ledger.node_id}', {books.epoch.id}, 'top_up', '1', '{{}}', -1)"
    )
    assert "-1 credits are negative" in refused(ledger_engine, negative)
    assert amounts(books) == {TOP_UP: 500}


def test_in_review_only_a_base_issuance_comes_late(ledger: PostgresLedger) -> None:
    books = collected(ledger, base_issuance_credits=None)
    assert ledger.pool.add(books.epoch, TOPPED_UP)
    books.close()
    assert amounts(books) == {TOP_UP: 500}
    with pytest.raises(StoreError, match=f"the pool of epoch {books.epoch.id} is locked, it is in review"):
        ledger.pool.add(books.epoch, BONUS)
    assert not ledger.pool.add(books.epoch, TOPPED_UP)  # the very same is no change
    assert ledger.pool.add(books.epoch, base_issuance(POOL))
    assert not ledger.pool.add(books.epoch, base_issuance(POOL))
    with pytest.raises(EpochNotReady, match="components never change"):
        ledger.pool.add(books.epoch, base_issuance(POOL + 1))
    assert amounts(books) == {BASE_ISSUANCE: POOL, TOP_UP: 500}


def test_once_finalized_the_pool_takes_nothing(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    assert books.epoch.pool_total_credits == POOL
    with pytest.raises(StoreError, match="is locked, it is in finalized"):
        ledger.pool.add(books.epoch, BONUS)
    assert not ledger.pool.add(books.epoch, base_issuance(POOL))
    assert amounts(books) == {BASE_ISSUANCE: POOL}


def test_an_epoch_closes_with_its_base_issuance_or_not_at_all(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)

    def fail(*seen: object) -> None:
        if "INSERT INTO epoch_pool_components" in str(seen[2]):
            raise OSError("the machine stops here")

    event.listen(ledger_engine, "before_cursor_execute", fail)
    with pytest.raises(OSError, match="stops here"):
        books.close()
    event.remove(ledger_engine, "before_cursor_execute", fail)
    assert (books.epoch.status, books.epoch.pins, amounts(books)) == (EpochStatus.OPEN, None, {})

    books.close()
    assert (books.epoch.status, amounts(books)) == (EpochStatus.REVIEW, {BASE_ISSUANCE: POOL})
    with pytest.raises(AssertionError):
        books.close()  # it was not open any more
    assert rows_of(ledger_engine, "epoch_pool_components") == {"epoch_pool_components": 1}


def insert(books: Books, component: str, algorithm: str, amount: int, inputs: str = "{}", node: object = None) -> str:
    return (
        "INSERT INTO epoch_pool_components "
        "(node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits, evidence_ref) "
        f"VALUES ('{node or books.ledger.node_id}', {books.epoch.id}, "
        f"'{component}', '{algorithm}', '{inputs}', {amount}, 'https://vote/7')"
    )


def test_a_base_issuance_joins_when_the_epoch_closes_and_not_before(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    early = insert(books, "base_issuance", "config-constant-v0", POOL)
    assert f"base_issuance joins when epoch {books.epoch.id} closes" in refused(ledger_engine, early)
    books.with_scope(base_issuance_credits=POOL * 2).close()
    assert amounts(books) == {BASE_ISSUANCE: POOL * 2}


@pytest.mark.parametrize(
    ("component", "algorithm", "amount", "inputs", "problem"),
    [
        ("gift", "manual-v0", 1, "{}", "no component gift is computed by manual-v0"),
        ("top_up", "manual-v1", 1, "{}", "no component top_up is computed by manual-v1"),
        ("base_issuance", "config-constant-v0", 7, '{"base_issuance_credits": "8"}', "do not follow from inputs of 8"),
    ],
)
def test_a_component_that_does_not_follow_is_refused_whoever_asks(
    ledger: PostgresLedger,
    ledger_engine: Engine,
    component: str,
    algorithm: str,
    amount: int,
    inputs: str,
    problem: str,
) -> None:
    books = collected(ledger, base_issuance_credits=None)
    if component == BASE_ISSUANCE:
        books.close()
    assert problem in refused(ledger_engine, insert(books, component, algorithm, amount, inputs))
    assert amounts(books) == {}


def test_a_base_issuance_other_than_the_pinned_one_is_refused_whoever_asks(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    invented = insert(books, "base_issuance", "config-constant-v0", 99_999, '{"base_issuance_credits": "99999"}')
    with ledger_engine.begin() as connection:
        # What an old release left behind, when it could join before the epoch closed.
        connection.execute(text("ALTER TABLE epoch_pool_components DISABLE TRIGGER epoch_pool_components_locked"))
        connection.execute(text(invented))
        connection.execute(text("ALTER TABLE epoch_pool_components ENABLE TRIGGER epoch_pool_components_locked"))
    with pytest.raises(StoreError, match=f"has a base_issuance of 99999 already, and the repo-spec says {POOL}: put"):
        books.close()
    assert books.epoch.status is EpochStatus.OPEN
    books.with_scope(base_issuance_credits=99_999).close()
    assert amounts(books) == {BASE_ISSUANCE: 99_999}


def test_a_pool_beyond_a_bigint_and_one_of_another_node_are_refused(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    most = insert(books, "kpi_bonus_v0", "kpi-bonus-v0", MAX_CREDITS + 1, '{"x": "1"}')
    assert "violates check constraint" in refused(ledger_engine, most)
    assert ledger.pool.add(books.epoch, NewPoolComponent(TOP_UP, MAX_CREDITS, {}, "https://vote/1"))
    with pytest.raises(AllocationError, match=f"credits are not 0 to {MAX_CREDITS}"):
        NewPoolComponent(TOP_UP, MAX_CREDITS + 1, {}, "https://vote/1")
    foreign = insert(books, "kpi_bonus_v0", "kpi-bonus-v0", 0, '{"x": "1"}', uuid4())
    assert f"epoch {books.epoch.id} is of node {ledger.node_id}" in refused(ledger_engine, foreign)


def test_a_component_that_meets_an_epoch_just_closing_is_refused(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)
    epoch = books.epoch

    def add() -> str:
        with pytest.raises(StoreError) as raised:
            ledger.pool.add(epoch, TOPPED_UP)
        return str(raised.value)

    answer = while_open(ledger_engine, lambda connection: connection.execute(CLOSE, {"id": epoch.id}), add)
    assert f"the pool of epoch {epoch.id} is locked, it is in review" in str(answer)
    assert amounts(books) == {}
