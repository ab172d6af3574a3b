"""An adversary with the writer's login, between the steps of an honest pipeline: no row of theirs takes a place that
another one needs, and none stops an epoch for ever.

Each of these has a ledger of its own, for rows are written; what is refused outright is in `test_attacks.py`.
"""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.port import EpochStatus
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, PRODUCER, SCOPE_ID, cursor, instant, pull_request, receipt, window
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import ADA_USER, finalized, refused
from ledger_pipeline_tests.store.test_roles import urls

NOW = instant("2026-02-24")


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Engine]:
    """The adversary's engine, and the honest pipeline's: their login is one."""
    ensure_logins(ledger_url, urls(ledger_url))
    engine = make_engine(urls(ledger_url)[WRITER])
    yield engine
    engine.dispose()


@pytest.fixture
def books_of_writer(writer: Engine) -> PostgresLedger:
    """The ledger as the honest pipeline has it."""
    return PostgresLedger(writer, NODE_ID)


def written(engine: Engine, statement: str, **parameters: object) -> object:
    """What the adversary's statement returns, once it is committed."""
    with engine.begin() as connection:
        return connection.execute(text(statement), parameters).scalar()


def copied(table: str, changes: str) -> str:
    """A statement that writes a row of `table` again with `changes`: names and values for jsonb_build_object."""
    return f"""
        INSERT INTO {table} SELECT (jsonb_populate_record(row, jsonb_build_object({changes}))).*
        FROM {table} AS row LIMIT 1 RETURNING id
    """


# Of each table the columns that make a copy of a row another one.
COPIES: Mapping[str, str] = {
    "rejected_events": "'event_id', 'another {n}'",
    "scan_receipts": "'pages', 2",
    "statement_corrections": "'units', 2",
    "signing_requests": "'allocation_set_hash', repeat('{n}', 64)",
}


def test_the_number_of_a_row_is_the_ledgers_whatever_the_writer_says(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = finalized(books_of_writer)
    books.correct(ADA_USER, 1, "counted again")
    books_of_writer.append_events(SCOPE_ID, [pull_request(9)], PRODUCER, NOW)
    books_of_writer.advance_cursors(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])
    for table, changes in COPIES.items():
        taken = {written(writer, f"SELECT max(id) FROM {table}")}
        for number in (2**63 - 1, 1, -1):
            # Each another row than the last, where the table holds no two alike.
            given = written(writer, copied(table, f"'id', {number}, {changes.format(n=len(taken))}"))
            assert given not in {number, *taken}
            taken.add(given)


def test_no_correction_is_the_last_word_for_ever(writer: Engine, books_of_writer: PostgresLedger) -> None:
    books = finalized(books_of_writer)
    books.correct(ADA_USER, 1, "counted again")
    written(writer, copied("statement_corrections", "'id', 9223372036854775807, 'units', 777"))
    books.correct(ADA_USER, 500, "put right")
    assert [row.units for row in books_of_writer.statements.settlement(books.epoch).corrections] == [500]


def test_numbers_taken_ahead_stop_no_cursor(writer: Engine, books_of_writer: PostgresLedger) -> None:
    books_of_writer.advance_cursors(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])
    for ahead in range(1, 6):
        written(writer, copied("scan_receipts", f"'id', id + {ahead}"))
    for day in range(19, 23):
        scan = cursor(f"2026-02-{day}")
        assert books_of_writer.advance_cursors(SCOPE_ID, [scan], NOW, [receipt(f"2026-02-{day}", "2026-01-05")])


SQUATS: Mapping[str, str] = {
    "in another year": "'event_time', timestamptz '1999-01-01Z', 'epoch_id', null",
    "from elsewhere": "'source', 'elsewhere'",
    "of another kind": "'event_type', 'another'",
    "of another repository": "'metadata', '{}'::jsonb",
}


@pytest.mark.parametrize("changes", SQUATS.values(), ids=SQUATS)
def test_a_rejection_is_kept_whatever_was_put_in_its_place(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine, changes: str
) -> None:
    books_of_writer.ensure_epochs(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    late = pull_request(9)
    books_of_writer.append_events(SCOPE_ID, [pull_request(8)], PRODUCER, NOW)
    of_late = f"'event_id', '{late.id}', 'payload_hash', '{late.payload_hash}'"
    written(writer, copied("rejected_events", f"{of_late}, {changes}"))
    for _ in range(2):
        books_of_writer.append_events(SCOPE_ID, [late], PRODUCER, NOW)
    kept = [row for row in books_of_writer.rejected(SCOPE_ID, window()) if row.event_id == late.id]
    assert [row.artifact_url for row in kept if row.event_type == late.event_type][-1:] == [late.artifact_url]
    assert written(writer, f"SELECT count(*) FROM rejected_events WHERE event_id = '{late.id}'") == 2


def test_no_rejection_is_of_an_epoch_that_does_not_hold_it(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books_of_writer.ensure_epochs(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    books_of_writer.append_events(SCOPE_ID, [pull_request(9)], PRODUCER, NOW)
    for changes in ("'event_time', timestamptz '1999-01-01Z'", "'node_id', gen_random_uuid()"):
        assert " does not hold " in refused(writer, copied("rejected_events", changes))
