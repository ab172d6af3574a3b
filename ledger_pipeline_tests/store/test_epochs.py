"""Epochs of a scope: made once, with the weights of that moment, never overlapping."""

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.errors import EpochOverlap
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, OTHER_SCOPE_ID, SCOPE_ID, instant, weeks, window
from ledger_pipeline_tests.postgres import set_status

EVER = EpochWindow(instant("2000-01-01"), instant("2100-01-01"))


def test_missing_epochs_are_created_open_with_the_given_weights_oldest_first(ledger: PostgresLedger) -> None:
    first, second, third = weeks(3)
    created = ledger.epochs.ensure(SCOPE_ID, [third, first, second, first], DEFAULT_WEIGHTS_MILLI).epochs
    assert [epoch.window for epoch in created] == [first, second, third]
    assert {epoch.status for epoch in created} == {EpochStatus.OPEN}
    assert created[0].weights_milli == DEFAULT_WEIGHTS_MILLI
    assert created[0].scope_id == SCOPE_ID
    assert ledger.epochs.within(SCOPE_ID, EVER) == created


def test_an_epoch_keeps_the_weights_and_the_status_it_has(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    (before,) = ledger.epochs.ensure(SCOPE_ID, [window()], {"github:pr_merged": 1000}).epochs
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    (after,) = ledger.epochs.ensure(SCOPE_ID, [window()], {"github:pr_merged": 1}).epochs
    assert (after.id, after.weights_milli) == (before.id, {"github:pr_merged": 1000})
    assert after.status is EpochStatus.REVIEW


def test_it_is_said_which_epochs_the_call_has_created(ledger: PostgresLedger) -> None:
    first, second, third = weeks(3)
    made = ledger.epochs.ensure(SCOPE_ID, [second], {})
    assert made.created == {made.epochs[0].id}
    both = ledger.epochs.ensure(SCOPE_ID, [first, second, third], {})
    assert both.created == {both.epochs[0].id, both.epochs[2].id}
    assert ledger.epochs.ensure(SCOPE_ID, [first, second, third], {}).created == frozenset()


def test_no_windows_make_no_epochs(ledger: PostgresLedger) -> None:
    assert ledger.epochs.ensure(SCOPE_ID, [], {}).epochs == []
    assert ledger.epochs.within(SCOPE_ID, EVER) == []


def test_an_overlap_names_the_epoch_in_the_way_and_creates_none(ledger: PostgresLedger) -> None:
    (fortnight,) = ledger.epochs.ensure(SCOPE_ID, [window("2026-02-16", days=14)], {}).epochs
    with pytest.raises(
        EpochOverlap, match=rf"2026-02-23 to 2026-03-02: epoch {fortnight.id} .*2026-02-16 to 2026-03-02"
    ):
        ledger.epochs.ensure(SCOPE_ID, [window("2026-02-09"), window("2026-02-23"), window("2026-03-02")], {})
    assert ledger.epochs.within(SCOPE_ID, EVER) == [fortnight]


def test_the_way_out_of_an_overlap_does_not_count_epochs_of_the_call_that_was_refused(ledger: PostgresLedger) -> None:
    ledger.epochs.ensure(SCOPE_ID, weeks(1), {})
    with pytest.raises(EpochOverlap, match=r"Put epoch_length_days back to 7; .*first_epoch to 2026-03-02"):
        ledger.epochs.ensure(SCOPE_ID, [window("2026-02-16", days=14), window("2026-03-02", days=14)], {})
    assert [epoch.window for epoch in ledger.epochs.within(SCOPE_ID, EVER)] == weeks(1)


def test_windows_that_overlap_each_other_create_none(ledger: PostgresLedger) -> None:
    with pytest.raises(EpochOverlap):
        ledger.epochs.ensure(SCOPE_ID, [window("2026-02-16"), window("2026-02-16", days=14)], {})
    assert ledger.epochs.within(SCOPE_ID, EVER) == []


def test_windows_that_touch_do_not_overlap_and_a_week_in_review_does_not_block_the_next(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    first, second = weeks(2)
    ledger.epochs.ensure(SCOPE_ID, [first], {})
    set_status(ledger_engine, SCOPE_ID, first, EpochStatus.REVIEW)
    ledger.epochs.ensure(SCOPE_ID, [second], {})
    assert [epoch.status for epoch in ledger.epochs.within(SCOPE_ID, EVER)] == [EpochStatus.REVIEW, EpochStatus.OPEN]


def test_scopes_and_nodes_have_epochs_of_their_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    other_node = PostgresLedger(ledger_engine, OTHER_SCOPE_ID)
    ids = {
        ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs[0].id,
        ledger.epochs.ensure(OTHER_SCOPE_ID, [window(days=14)], {}).epochs[0].id,
        other_node.epochs.ensure(SCOPE_ID, [window(days=1)], {}).epochs[0].id,
    }
    assert len(ids) == 3
    assert [epoch.window for epoch in ledger.epochs.within(SCOPE_ID, EVER)] == [window()]


def test_epochs_within_a_window_are_those_that_overlap_it(ledger: PostgresLedger) -> None:
    first, second, third = weeks(3)
    ledger.epochs.ensure(SCOPE_ID, [first, second, third], {})
    assert [epoch.window for epoch in ledger.epochs.within(SCOPE_ID, second)] == [second]
    straddling = EpochWindow(instant("2026-02-22"), instant("2026-02-24"))
    assert [epoch.window for epoch in ledger.epochs.within(SCOPE_ID, straddling)] == [first, second]


def test_a_thousand_windows_take_one_statement(ledger: PostgresLedger) -> None:
    many = weeks(1000, "2014-01-06")
    assert [epoch.window for epoch in ledger.epochs.ensure(SCOPE_ID, many, {}).epochs] == many
