"""Items that nobody can read yet: kept once, with what is known of them, and gone once they are read."""

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.sources import ISSUE, PULL_REQUEST
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import StoredUnread
from ledger_pipeline_tests.builders import GITHUB, OTHER_SCOPE_ID, REPO, SCOPE_ID, instant, note_unread, unread

FIRST, LATER, LAST = (instant(f"2026-02-{day}") for day in (18, 19, 20))
UNNUMBERED = 0


def only(ledger: PostgresLedger) -> StoredUnread:
    [row] = ledger.unread.items(SCOPE_ID)
    return row


def test_an_unread_item_comes_back_with_since_when_it_is_unread(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(2**40), at=FIRST)
    assert only(ledger) == StoredUnread(GITHUB, REPO, unread(2**40), FIRST, FIRST)
    again = unread(2**40, reason="still", latest=LATER)
    note_unread(ledger, again, at=LATER)
    assert only(ledger) == StoredUnread(GITHUB, REPO, again, FIRST, LATER)


def test_what_is_known_of_when_an_item_was_made_stays_known(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(latest=LATER), at=FIRST)
    note_unread(ledger, unread(earliest=None, latest=FIRST), at=LATER)
    assert only(ledger).item == unread(latest=LATER)


def test_an_earlier_try_that_is_told_of_late_changes_neither_reason_nor_time(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(reason="new"), at=LATER)
    note_unread(ledger, unread(reason="old"), at=FIRST)
    assert (only(ledger).item.reason, only(ledger).last_tried_at) == ("new", LATER)


def test_items_without_a_number_share_a_row_that_holds_whatever_any_of_them_may(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(UNNUMBERED), unread(UNNUMBERED, earliest="2026-01-05", latest=LATER), read_from=FIRST)
    assert only(ledger).item == unread(UNNUMBERED, earliest="2026-01-05", latest=LATER)
    assert only(ledger).read_from == FIRST
    note_unread(ledger, unread(UNNUMBERED, earliest=None), read_from=instant("2026-02-01"))
    assert only(ledger).item == unread(UNNUMBERED, earliest=None, latest=LATER)
    assert only(ledger).read_from == instant("2026-02-01")


def test_settled_items_are_forgotten_and_no_others(ledger: PostgresLedger) -> None:
    for source_scope in (REPO, "cogni-dao/other"):
        note_unread(ledger, unread(1), unread(2), unread(1, kind=ISSUE), source_scope=source_scope)
    note_unread(ledger, settled=[unread(1).key, unread(9).key])
    left = [(row.source_scope, row.item.key.kind, row.item.key.number) for row in ledger.unread.items(SCOPE_ID)]
    assert left == [
        (REPO, ISSUE, 1),
        (REPO, PULL_REQUEST, 2),
        ("cogni-dao/other", ISSUE, 1),
        ("cogni-dao/other", PULL_REQUEST, 1),
        ("cogni-dao/other", PULL_REQUEST, 2),
    ]


def test_what_is_settled_and_unread_at_once_stays(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(12), settled=[unread(12).key])
    assert only(ledger).item == unread(12)


def test_an_item_that_somebody_could_not_read_later_than_it_was_read_stays(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(12), at=LATER)
    note_unread(ledger, settled=[unread(12).key], at=FIRST)
    assert only(ledger).item == unread(12)


@pytest.mark.parametrize(
    ("floor", "began_at", "is_kept"),
    [(FIRST, LAST, False), (LATER, LAST, True), (FIRST, LATER, True)],
    ids=["read past it", "not read so far back", "begun before it was met"],
)
def test_an_item_without_a_number_is_forgotten_by_a_scan_that_read_past_it(
    ledger: PostgresLedger, floor: object, began_at: object, is_kept: bool
) -> None:
    note_unread(ledger, unread(UNNUMBERED), unread(12), unread(UNNUMBERED, kind=ISSUE), at=LATER, read_from=FIRST)
    ledger.unread.forget_passed(SCOPE_ID, GITHUB, REPO, {PULL_REQUEST: floor}, began_at)  # type: ignore[dict-item, arg-type]
    left = [(row.item.key.kind, row.item.key.number) for row in ledger.unread.items(SCOPE_ID)]
    assert left == [(ISSUE, UNNUMBERED), *([(PULL_REQUEST, UNNUMBERED)] if is_kept else []), (PULL_REQUEST, 12)]


def test_the_longest_untried_come_first(ledger: PostgresLedger) -> None:
    note_unread(ledger, unread(1), at=LATER)
    note_unread(ledger, unread(2), at=FIRST)
    assert [row.item.key.number for row in ledger.unread.items(SCOPE_ID)] == [2, 1]


def test_scopes_and_nodes_have_unread_items_of_their_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    note_unread(ledger, unread())
    assert ledger.unread.items(OTHER_SCOPE_ID) == []
    assert PostgresLedger(ledger_engine, OTHER_SCOPE_ID).unread.items(SCOPE_ID) == []


def test_a_number_is_never_negative(ledger: PostgresLedger) -> None:
    with pytest.raises(StoreError, match="unread_items_number_check"):
        note_unread(ledger, unread(-1))
