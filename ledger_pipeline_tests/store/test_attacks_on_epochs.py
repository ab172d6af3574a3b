"""An adversary with the writer's login, between the steps of an honest pipeline: no row of theirs takes a place that
another one needs, and none stops an epoch for ever.

Each of these has a ledger of its own, for rows are written; what is refused outright is in `test_attacks.py`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.pins import approver_set_hash, epoch_pins, weight_config_hash
from ledger_pipeline.core.weights import DEFAULT_WEIGHTS_MILLI, MAX_WEIGHT_MILLI
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.port import EpochStatus
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline_tests.builders import (
    NODE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    cursor,
    instant,
    pull_request,
    receipt,
    window,
)
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVERS,
    POOL,
    Books,
    collected,
    finalized,
    refused,
    reviewed,
)
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


CLOSE = """
    UPDATE epochs SET status = 'review', closed_at = now(), allocation_algo_ref = :allocation_algo_ref,
        weight_config_hash = :weight_config_hash, approver_set_hash = :approver_set_hash,
        pinned_spec = CAST(:pinned_spec AS jsonb)
    WHERE status = 'open'
"""
NO_HASH = "0" * 64
JUNK_PINS: Mapping[str, Mapping[str, object]] = {
    "no algorithm": {"allocation_algo_ref": "x"},
    "no hash of weights": {"weight_config_hash": "x"},
    "a hash of other weights": {"weight_config_hash": NO_HASH},
    "no hash of approvers": {"approver_set_hash": "x"},
    "a hash of other approvers": {"approver_set_hash": NO_HASH},
    "a hash missing": {"approver_set_hash": None},
    "no spec": {"pinned_spec": {}},
    "a list": {"pinned_spec": []},
}
JUNK_SPECS: Mapping[str, object] = {
    "id_rule": "v0",
    "scope_id": str(NODE_ID),
    "scope_key": "Not A Key",
    "first_epoch": "tomorrow",
    "epoch_length_days": 7.5,
    "auto_close_grace_hours": 10**16,
    "base_issuance_credits": 10_000,
    "approvers": ["somebody"],
    "weights_milli": {"github:pr_merged": 2**53},
    "activity_sources": {},
}


def junk_pins(honest: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """`honest` with one thing wrong, each thing in turn."""
    spec = honest["pinned_spec"]
    assert isinstance(spec, dict)
    for changes in JUNK_PINS.values():
        yield {**honest, **changes}
    for key, value in JUNK_SPECS.items():
        yield {**honest, "pinned_spec": {**spec, key: value}}
        yield {**honest, "pinned_spec": {name: kept for name, kept in spec.items() if name != key}}
    yield {**honest, "pinned_spec": {**spec, "more": 1}}
    yield {**honest, "pinned_spec": {**spec, "base_issuance_credits": str(2**63)}}


def test_junk_at_closing_is_refused_and_the_honest_pins_are_taken(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = collected(books_of_writer).read()
    books.materialize()
    honest = asdict(epoch_pins(books.scope, books.epoch.weights_milli))
    assert set(JUNK_SPECS) == set(honest["pinned_spec"])
    for pins in junk_pins(honest):
        assert "it closes with all that it is paid by, and " in refused(
            writer, CLOSE, **{**pins, "pinned_spec": json.dumps(pins["pinned_spec"])}
        ), pins
    books.close()
    assert books.finalize(books.signature()).pool_total_credits == POOL


def test_no_epoch_closes_before_its_end_or_unread(writer: Engine, books_of_writer: PostgresLedger) -> None:
    unread = collected(books_of_writer)
    with pytest.raises(StoreError, match=f"pull_requests of {REPO} was not read to its end"):
        close(books_of_writer, unread.scope, unread.epoch)
    running = unread.scope.calendar.window_at(datetime.now(UTC))
    of_today = Books(books_of_writer, unread.scope, running).read()
    with pytest.raises(StoreError, match="refused: it runs until "):
        close(books_of_writer, of_today.scope, of_today.epoch)
    # Elsewhere, or up to less than its end, is not read; nor is what has no stream.
    for reach in (cursor("2026-02-22", "2026-02-16"), cursor("2026-03-01", "2026-02-16", source_scope="other/one")):
        books_of_writer.advance_cursors(
            SCOPE_ID, [reach], NOW, [receipt(reach.watermark, "2026-02-16", source_scope=reach.source_scope)]
        )
        with pytest.raises(StoreError, match="was not read to its end"):
            close(books_of_writer, unread.scope, unread.epoch)
    assert [epoch.status for epoch in books_of_writer.open_epochs(SCOPE_ID)] == [EpochStatus.OPEN] * 2


@pytest.mark.parametrize("change", ["'finalized'", "'finalized', pool_total_credits = 0"])
def test_no_epoch_is_finalized_from_open_or_with_another_total(
    writer: Engine, books_of_writer: PostgresLedger, change: str
) -> None:
    books = reviewed(books_of_writer)
    assert "it is finalized by a signed statement" in refused(writer, f"UPDATE epochs SET status = {change}")
    books.finalize(books.signature())
    collected(books_of_writer, of=window("2026-02-23"))
    message = refused(writer, f"UPDATE epochs SET status = {change} WHERE status = 'open'")
    assert "it is open, and goes to review first" in message


def test_the_database_hashes_weights_and_approvers_as_verifying_does(ledger_engine: Engine) -> None:
    many = {
        f"github:{name}": number
        for number, name in enumerate(("ä", "\x7f", "\x1f", '"', "\\", "\n", "z", "\U0001f600"))
    }
    for weights in ({}, DEFAULT_WEIGHTS_MILLI, {"a": 2**53 - 1}, many):
        query = "SELECT ledger_weights_hash(CAST(:weights AS jsonb))"
        assert written(ledger_engine, query, weights=json.dumps(dict(weights))) == weight_config_hash(weights)
    for approvers in ((), APPROVERS, APPROVERS[::-1]):
        query = "SELECT ledger_approvers_hash(CAST(:approvers AS jsonb))"
        assert written(ledger_engine, query, approvers=json.dumps(approvers)) == approver_set_hash(approvers)


def test_no_weight_of_an_event_is_more_than_json_keeps_exact(writer: Engine, books_of_writer: PostgresLedger) -> None:
    collected(books_of_writer).materialize()
    for weight in (-1, MAX_WEIGHT_MILLI + 1):
        assert "activity_curation_weight_override_milli_check" in refused(
            writer, f"UPDATE activity_curation SET weight_override_milli = {weight}"
        )
    written(writer, f"UPDATE activity_curation SET weight_override_milli = {MAX_WEIGHT_MILLI} RETURNING 1")
