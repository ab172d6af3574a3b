"""Activity that counts for nobody: kept whole, once, and per scope."""

from collections.abc import Sequence

from sqlalchemy import Engine, event, text

from ledger_pipeline.core.events import SkippedActivity
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import (
    NODE_ID,
    OTHER_SCOPE_ID,
    SCOPE_ID,
    instant,
    issue,
    pull_request,
    review,
    skipped,
)

NOW = instant("2026-02-18T09:30:00.123456")
MICROSECONDS = "2026-02-17T12:00:00.000001Z"


def record(ledger: PostgresLedger, items: Sequence[SkippedActivity]) -> int:
    return ledger.scans.record_skipped(SCOPE_ID, items, NOW)


def test_what_is_kept_is_what_was_handed_over(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    item = skipped(review(7, at=MICROSECONDS), "ünïcödé 🎉 \\ 'quotes\" {braces}", source_scope="Ünï/cödé")
    assert record(ledger, [item]) == 1
    with ledger_engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM skipped_activity")).mappings()
    assert {name: row[name] for name in vars(item)} == vars(item)
    assert (row["node_id"], row["scope_id"], row["retrieved_at"]) == (NODE_ID, SCOPE_ID, NOW)
    assert row["recorded_at"].tzname() == "UTC"


def test_only_what_is_new_is_counted_and_the_first_word_stays(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    assert record(ledger, []) == 0
    assert record(ledger, [skipped(issue(1)), skipped(issue(2))]) == 2
    assert record(ledger, [skipped(issue(2), "mannequin"), skipped(issue(3))]) == 1
    assert record(ledger, [skipped(issue(4)), skipped(issue(4), "mannequin")]) == 1
    with ledger_engine.connect() as connection:
        assert list(connection.scalars(text("SELECT reason FROM skipped_activity"))) == ["bot"] * 4


def test_scopes_and_nodes_keep_their_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    assert record(ledger, [skipped()]) == 1
    assert ledger.scans.record_skipped(OTHER_SCOPE_ID, [skipped()], NOW) == 1
    assert PostgresLedger(ledger_engine, OTHER_SCOPE_ID).scans.record_skipped(SCOPE_ID, [skipped()], NOW) == 1


def test_thousands_are_one_statement(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    statements: list[str] = []

    def note(conn: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(ledger_engine, "before_cursor_execute", note)
    assert record(ledger, [skipped(pull_request(number)) for number in range(5000)]) == 5000
    assert len(statements) == 1
