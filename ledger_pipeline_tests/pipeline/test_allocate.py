"""From events to allocations and a pool: by the weights the epoch was created with, repeatable until it is final."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0
from ledger_pipeline.core.errors import AllocationError, ConfigurationError, EpochNotReady
from ledger_pipeline.core.pool import BASE_ISSUANCE, TOP_UP, NewPoolComponent, base_issuance
from ledger_pipeline.pipeline.allocate import add_to_pool, algo_of, allocate, curate, fill_pool
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import Allocation, Judgement, Resolution
from ledger_pipeline_tests.builders import ADA, GRACE, issue, pull_request, review
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    GRACE_USER,
    POOL,
    Books,
    collected,
    finalized,
    reviewed,
    rows_of,
)

TOPPED_UP = NewPoolComponent(TOP_UP, 500, {"proposal": "7"}, "https://vote/7")


def allocated(books: Books) -> list[Allocation]:
    curate(books.ledger, books.scope, books.epoch)
    return allocate(books.ledger, books.scope, books.epoch)


def test_events_become_units_by_the_pinned_weights_and_what_a_person_said(ledger: PostgresLedger) -> None:
    books = collected(ledger, pull_request(1), pull_request(2), pull_request(3), review(1), issue(1))
    assert allocated(books) == [Allocation(ADA_USER, 3300, None, None, 4), Allocation(GRACE_USER, 500, None, None, 1)]
    for event, judgement in (
        (pull_request(1), Judgement("a revert", included=False)),
        (pull_request(2), Judgement("large", weight_override_milli=8000)),
        (review(1), Judgement("not a review", included=False)),
    ):
        ledger.curation.judge(books.epoch, event.id, judgement)
    changed = books.with_scope(weights_milli={"github:pr_merged": 1})
    assert allocated(changed) == [Allocation(ADA_USER, 9300, None, None, 3)]
    assert changed.materialize() == allocated(books)


def test_of_each_source_the_curation_is_counted_and_then_left(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    done, summary = curate(ledger, books.scope, books.epoch)
    assert (done, summary.events, summary.users) == (Resolution(3, 0), 3, 2)
    assert curate(ledger, books.scope, books.epoch) == (Resolution(0, 0), summary)


def test_a_closed_epoch_keeps_its_algorithm_and_an_open_one_has_the_specs(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    [source] = books.scope.sources
    unknown = books.with_scope(sources=(type(source)(source.source, "cogni-v9", source.source_scopes, source.streams),))
    assert algo_of(books.scope, books.epoch) == WEIGHT_SUM_V0
    with pytest.raises(ConfigurationError, match="credit_estimate_algo 'cogni-v9' is not known"):
        allocate(ledger, unknown.scope, unknown.epoch)
    with pytest.raises(ConfigurationError):
        unknown.close()
    assert books.epoch.status is EpochStatus.OPEN
    books.close()
    assert algo_of(unknown.scope, unknown.epoch) == WEIGHT_SUM_V0


def test_units_that_cannot_be_leave_the_allocations_as_they_were(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)
    before = allocated(books)
    with ledger_engine.begin() as connection:  # as it was before there were rules
        for rule in ("check", "sign_check"):
            connection.exec_driver_sql(
                f"ALTER TABLE activity_curation DROP CONSTRAINT activity_curation_weight_override_milli_{rule}"
            )
    ledger.curation.judge(books.epoch, review(1).id, Judgement("no", weight_override_milli=-1))
    with pytest.raises(AllocationError, match=f"user {GRACE_USER}.*negative"):
        allocated(books)
    assert ledger.allocations.of(books.epoch) == before


def test_a_pool_gets_its_base_issuance_once_and_keeps_it(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger, base_issuance_credits=None)
    assert fill_pool(ledger, books.epoch) == []
    assert add_to_pool(ledger, books.epoch, TOPPED_UP)
    books.close()
    # What it did not close with is the owner's to add, once.
    assert [component.component_id for component in fill_pool(ledger, books.epoch)] == [TOP_UP]
    assert [add_to_pool(ledger, books.epoch, base_issuance(POOL)) for _ in range(2)] == [True, False]
    filled = fill_pool(ledger, books.epoch)
    assert [component.component_id for component in filled] == [BASE_ISSUANCE, TOP_UP]
    assert rows_of(ledger_engine, "epoch_pool_components") == {"epoch_pool_components": 2}


def test_a_base_issuance_that_the_epoch_closed_with_joins_where_it_is_missing(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    books.close()
    set_aside_all = "INSERT INTO set_asides (node_id, epoch_id, pool_component_id, reason) "
    with ledger_engine.begin() as connection:
        connection.execute(text(f"{set_aside_all} SELECT node_id, epoch_id, id, 'lost' FROM epoch_pool_components"))
    assert [component.amount_credits for component in fill_pool(ledger, books.epoch)] == [POOL]


def test_what_a_person_brings_comes_while_the_epoch_is_open(ledger: PostgresLedger) -> None:
    books = collected(ledger, base_issuance_credits=None)
    assert [add_to_pool(ledger, books.epoch, TOPPED_UP) for _ in range(2)] == [True, False]
    books.materialize()
    books.close()
    with pytest.raises(EpochNotReady, match="the pool of epoch 2026-02-16 is locked: it is in review"):
        add_to_pool(ledger, books.epoch, TOPPED_UP)
    assert add_to_pool(ledger, books.epoch, base_issuance(POOL))
    draft = draft_statement(ledger, books.scope, books.epoch, accept_pinned_spec=True)
    finalize(ledger, books.spec, books.epoch, APPROVER.sign(draft.message), accept_pinned_spec=True)
    with pytest.raises(EpochNotReady, match="it is in finalized"):
        add_to_pool(ledger, books.epoch, base_issuance(POOL))


@pytest.mark.parametrize("start", [collected, reviewed, finalized])
def test_every_step_repeated_changes_nothing(
    ledger: PostgresLedger, ledger_engine: Engine, start: Callable[..., Books]
) -> None:
    books = start(ledger)
    first = books.materialize()
    before = ledger.statements.rows(books.epoch)
    assert books.materialize() == first
    assert ledger.statements.rows(books.epoch) == before


def test_of_a_finalized_epoch_nothing_is_written_whatever_the_spec_says_by_then(ledger: PostgresLedger) -> None:
    books = finalized(ledger, users={ADA.user_id: ADA_USER})
    before = ledger.statements.rows(books.epoch)
    changed = books.bind().with_scope(base_issuance_credits=POOL * 2, weights_milli={})
    allocated = [allocation.user_id for allocation in changed.materialize()]
    assert allocated == [f"identity:github:{GRACE.user_id}", ADA_USER]
    assert ledger.statements.rows(books.epoch) == before
