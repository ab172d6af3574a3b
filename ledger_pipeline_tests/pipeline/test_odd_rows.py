"""Whatever rows the database takes from the writer's login, no reader ends in anything but an error of ours.

Every column of every table that the writer may add to is given odd values, one at a time; then everything is read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Boolean, Column, Engine, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.identifiers import case_twins, lookalikes
from ledger_pipeline.core.pool import TOP_UP, NewPoolComponent
from ledger_pipeline.pipeline.allocate import allocate, curate
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.review import review
from ledger_pipeline.store import columns, distribution_schema
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.epochs import EVER
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.statement_records import StatedNumbers
from ledger_pipeline.verification.archive import archive_bytes
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import (
    PRODUCER,
    REPO,
    checkpoint,
    cursor,
    instant,
    issue,
    note_unread,
    pull_request,
    receipt,
    save_checkpoint,
    skipped,
    unread,
    weeks,
)
from ledger_pipeline_tests.store.settlement import Books, collected, finalized, reviewed
from ledger_pipeline_tests.store.test_roles import urls

TEXTS = ("", " ", "x" * 1000, "\u202e\u0007\x1b[2J", "a:b\nc", "0", "-1", "9" * 100, "\ufdd0", "NaN", "[/x]", "'\"`")
NUMBERS = (0, 1, 2**31 - 1, 2**53, 2**63 - 1)
INSTANTS = ("1970-01-01Z", "2999-12-31Z", "2026-02-10Z")
JSON = (
    {},
    [],
    {"": None},
    [None],
    [[]],
    [7],
    {"base_issuance_credits": 7},
    {"number": "x", "title": {"a": []}, "repository": 7},
    {"mergedAt": 5, "approvers": "x"},
)
# What makes a copy of a row a row of its own, where the ledger does not number them; {} is a number.
OWN: Mapping[str, tuple[str, str]] = {
    "activity_events": ("id", "odd {}"),
    "rejected_events": ("event_id", "odd {}"),
    "skipped_activity": ("event_id", "odd {}"),
    "scan_checkpoints": ("source_scope", "odd {}"),
    "unread_items": ("number", "{}"),
    "epoch_allocations": ("user_id", "odd {}"),
    "activity_curation": ("event_id", "github:pr:cogni-dao/cogni:{}"),
    "signing_requests": ("allocation_set_hash", "odd {}"),
    "account_links": ("external_id", "{}"),
    "opt_outs": ("claimant", "odd {}"),
    "payout_statements": ("allocation_set_hash", "odd {}"),
    "statement_signatures": ("signature", "0x{:0128x}1b"),
    "source_cursors": ("stream", "odd {}"),
    "listed_source_scopes": ("source_scope", "odd {}"),
}
FIRST, SECOND, THIRD = weeks(3, "2026-02-02")


def odd_values(column: Column[object]) -> Sequence[object]:
    if isinstance(column.type, Text):
        return TEXTS
    if isinstance(column.type, Integer):
        return NUMBERS
    if isinstance(column.type, JSONB):
        return JSON
    if isinstance(column.type, Boolean):
        return (False, True)
    return INSTANTS if column.type is columns.INSTANT else ()


def odd_rows(table: str, row: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Copies of `row`, each with one odd value."""
    number = 1000
    for column in distribution_schema.metadata.tables[table].columns:
        for value in odd_values(column):
            number += 1
            copy = {name: kept for name, kept in row.items() if name != "id" or table == "activity_events"}
            if table in OWN:
                name, own = OWN[table]
                copy[name] = own.format(number)
            if table == "activity_events":
                copy["source_object_id"] = str(number)
            yield {**copy, column.name: value}


def read_everything(finished: Books, waiting: Books, running: Books) -> list[str]:
    """What anything that reads the ledger raises, but for errors of ours."""
    ledger, scope = running.ledger, running.scope
    windows = [FIRST, SECOND, THIRD]

    def facts() -> None:
        facts = facts_of(ledger.statements.rows(finished.epoch))
        looked = Examination(facts)
        for look in (looked.accounts, looked.warnings, looked.inputs_signers, looked.statement_signatures):
            look()
        for look_at in (verify, inputs_root, archive_bytes):
            look_at(facts)

    def seen(books: Books) -> None:
        read = window_completeness(ledger, books.scope, [books.of])[books.of]
        review(ledger, books.scope, books.epoch, read, datetime.now(UTC))

    def people() -> None:
        users = [binding.user_id for binding in ledger.identities.bindings()]
        lookalikes(users), case_twins(users)
        ledger.identities.unresolved([waiting.epoch, running.epoch])

    def of_window() -> None:
        for window in windows:
            list(ledger.events.within(scope.scope_id, window))
            ledger.events.rejected(scope.scope_id, window)
            ledger.events.per_day(scope.scope_id, window)
            ledger.events.per_person(scope.scope_id, window)

    readers = {
        "facts": facts,
        "facts in review": lambda: inputs_root(facts_of(ledger.statements.rows(waiting.epoch))),
        "review of the finished": lambda: seen(finished),
        "review of the waiting": lambda: seen(waiting),
        "review of the running": lambda: seen(running),
        "draft": waiting.draft,
        "amendment": finished.draft,
        "curate": lambda: curate(ledger, scope, running.epoch),
        "allocate": lambda: allocate(ledger, scope, running.epoch),
        "receipts": lambda: ledger.scans.receipts(scope.scope_id, "github", windows),
        "rejections": lambda: ledger.events.unsettled_rejections(scope.scope_id, windows),
        "digests": lambda: ledger.events.digests(scope.scope_id, windows),
        "closable": lambda: open_epochs(ledger, scope).closable(),
        "people": people,
        "windows": of_window,
        "cursors": lambda: ledger.scans.cursors(scope.scope_id, "github"),
        "checkpoint": lambda: ledger.scans.checkpoint(scope.scope_id, "github", REPO),
        "left out": lambda: ledger.unread.left_out(scope.scope_id, windows),
        "epochs": lambda: ledger.epochs.within(scope.scope_id, EVER),
        "requests": ledger.statements.recent_requests,
    }
    broken = []
    for name, reader in readers.items():
        try:
            reader()
        except LedgerError:
            continue
        except Exception as error:  # noqa: BLE001 (that there is none is what is tested)
            broken.append(f"{name}: {type(error).__name__}: {error}"[:300])
    return broken


def test_whatever_rows_the_database_takes_no_reader_breaks(
    ledger: PostgresLedger, ledger_url: str, ledger_engine: Engine
) -> None:
    finished, waiting = finalized(ledger, of=FIRST), reviewed(ledger, of=SECOND)
    running = collected(ledger, of=THIRD)
    scope_id, now = running.scope.scope_id, instant("2026-02-24")
    ledger.events.append(scope_id, [issue(at="2026-02-18T00:00:00Z"), pull_request(900)], PRODUCER, now)
    ledger.events.append(scope_id, [issue(at="2026-02-19T00:00:00Z")], PRODUCER, now)
    ledger.scans.record_skipped(scope_id, [skipped()], now)
    ledger.scans.finish(scope_id, [cursor("2026-02-18")], now, [receipt("2026-02-18", "2026-01-05")])
    save_checkpoint(ledger, scope_id, checkpoint())
    note_unread(ledger, unread(12))
    ledger.pool.add(running.epoch, NewPoolComponent(TOP_UP, 5, {}, "https://vote/7"))
    curate(ledger, running.scope, running.epoch)
    ledger.statements.remember_request(waiting.epoch, StatedNumbers("x", 1, None))
    finished.correct("user-ada", 77, "counted again")
    ensure_logins(ledger_url, urls(ledger_url))
    writer = make_engine(urls(ledger_url)[WRITER])
    ledger.opt_outs.choose("somebody", is_opted_out=True, reason="they said so")
    assert read_everything(finished, waiting, running) == []
    taken = {}
    for table in distribution_schema.metadata.tables:
        with ledger_engine.connect() as connection:
            rows = connection.scalars(text(f"SELECT to_jsonb(row) FROM {table} AS row")).all()
        # One of each epoch, for what one refuses another may take.
        of_epochs = {row.get("epoch_id"): row for row in rows}
        taken[table] = 0
        if table == "activity_curation":
            uncurated = [
                pull_request(number, at=THIRD.start.strftime("%Y-%m-%dT12:00:00Z")) for number in range(1001, 1200)
            ]
            ledger.events.append(scope_id, uncurated, PRODUCER, now)
        for row in [odd for template in of_epochs.values() for odd in odd_rows(table, template)]:
            names = ", ".join(row)
            insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{table}, :row)"
            try:
                # Of events those, too, that an earlier release let in.
                with (ledger_engine if table == "activity_events" else writer).begin() as connection:
                    connection.execute(text(insert.replace(":row", "CAST(:row AS jsonb)")), {"row": json.dumps(row)})
            except DBAPIError:
                continue
            taken[table] += 1
        if taken[table]:
            assert read_everything(finished, waiting, running) == [], table
    writer.dispose()
    assert {table for table, number in taken.items() if number > 10} >= {
        *("activity_events", "rejected_events", "skipped_activity", "scan_receipts", "scan_checkpoints"),
        *("unread_items", "activity_curation", "epoch_allocations", "statement_corrections", "signing_requests"),
        *("account_links", "opt_outs"),
    }


@pytest.mark.parametrize("table", OWN)
def test_what_makes_a_row_its_own_is_a_column_of_it(table: str) -> None:
    assert OWN[table][0] in distribution_schema.metadata.tables[table].columns
