"""An adversary with the writer's login, between the steps of an honest pipeline: no row of theirs takes a place that
another one needs, and none stops an epoch for ever.

Each of these has a ledger of its own, for rows are written; what is refused outright is in `test_attacks.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, LedgerError, StaleSignature, StoreError
from ledger_pipeline.core.events import payload_hash
from ledger_pipeline.core.owners import ListedSourceScope, OwnerRules
from ledger_pipeline.core.pins import approver_set_hash, epoch_pins, weight_config_hash
from ledger_pipeline.core.pool import ALGORITHM_VERSIONS
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.core.weights import MAX_WEIGHT_MILLI
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.next_step import spec_differences
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store.database_condition import rights_of
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, Epoch, EpochStatus
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import (
    DEFAULT_WEIGHTS_MILLI,
    GRACE,
    NODE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    checkpoint,
    cursor,
    instant,
    note_unread,
    pull_request,
    receipt,
    save_checkpoint,
    scope,
    unread,
    window,
)
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    EVENTS,
    GRACE_USER,
    POOL,
    SECOND_APPROVER,
    STRANGER,
    USERS,
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
    "signing_requests": "'allocation_set_hash', repeat('{n}', 64), "
    "'supersedes_statement_id', (SELECT id FROM payout_statements)",
}


def test_the_number_of_a_row_is_the_ledgers_whatever_the_writer_says(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = finalized(books_of_writer)
    books.correct(ADA_USER, 1, "counted again")
    books_of_writer.events.append(SCOPE_ID, [pull_request(9)], PRODUCER, NOW)
    books_of_writer.scans.finish(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])
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
    books_of_writer.scans.finish(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])
    for ahead in range(1, 6):
        written(writer, copied("scan_receipts", f"'id', id + {ahead}"))
    for day in range(19, 23):
        scan = cursor(f"2026-02-{day}")
        assert books_of_writer.scans.finish(SCOPE_ID, [scan], NOW, [receipt(f"2026-02-{day}", "2026-01-05")])


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
    books_of_writer.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    late = pull_request(9)
    books_of_writer.events.append(SCOPE_ID, [pull_request(8)], PRODUCER, NOW)
    of_late = f"'event_id', '{late.id}', 'payload_hash', '{late.payload_hash}'"
    written(writer, copied("rejected_events", f"{of_late}, {changes}"))
    for _ in range(2):
        books_of_writer.events.append(SCOPE_ID, [late], PRODUCER, NOW)
    kept = [row for row in books_of_writer.events.rejected(SCOPE_ID, window()) if row.event_id == late.id]
    assert [row.artifact_url for row in kept if row.event_type == late.event_type][-1:] == [late.artifact_url]
    assert written(writer, f"SELECT count(*) FROM rejected_events WHERE event_id = '{late.id}'") == 2


def test_no_rejection_is_of_an_epoch_that_does_not_hold_it(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books_of_writer.epochs.ensure(SCOPE_ID, [window()], {})
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    books_of_writer.events.append(SCOPE_ID, [pull_request(9)], PRODUCER, NOW)
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
    "claimants": 2,
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
    for field in ("source_refs", "streams"):  # nothing of which was to be read
        sources = {name: {**source, field: []} for name, source in spec["activity_sources"].items()}
        yield {**honest, "pinned_spec": {**spec, "activity_sources": sources}}
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


def test_an_epoch_closes_with_no_chain_that_is_none(writer: Engine, books_of_writer: PostgresLedger) -> None:
    books = collected(books_of_writer, chain_id=84532).read()
    books.materialize()
    honest = asdict(epoch_pins(books.scope, books.epoch.weights_milli))
    assert honest["pinned_spec"]["chain_id"] == "84532"
    for chain_id in (84532, "", "0", "0x1", "084532", str(2**53), "9" * 30, None, ["1"]):
        spec = {**honest["pinned_spec"], "chain_id": chain_id}
        refusal = refused(writer, CLOSE, **{**honest, "pinned_spec": json.dumps(spec)})
        assert "the chain_id of pinned_spec is " in refusal
    books.close()
    assert books.epoch.status is EpochStatus.REVIEW


def test_claims_of_scopes_close_with_an_epoch_as_what_they_are(writer: Engine, books_of_writer: PostgresLedger) -> None:
    claimed = ClaimedRepository(REPO, (Claim("docs", labels=("documentation",)),), "default")
    selection = replace(installed_policy("include-all-v0").choice({}, ()), routing=Routing("default", (claimed,)))
    books = collected(books_of_writer).with_scope(selection=selection).read()
    books.materialize()
    honest = asdict(epoch_pins(books.scope, books.epoch.weights_milli))
    for name, value in (("routing", "none"), ("routed", {})):
        spec = {**honest["pinned_spec"], "selection": {**honest["pinned_spec"]["selection"], name: value}}
        refusal = refused(writer, CLOSE, **{**honest, "pinned_spec": json.dumps(spec)})
        assert "the selection of pinned_spec has other members than a policy has" in refusal
    books.close()
    assert books.epoch.status is EpochStatus.REVIEW


def test_no_epoch_closes_where_an_owner_was_not_listed_since_its_end(books_of_writer: PostgresLedger) -> None:
    books = collected(books_of_writer).read()
    books.materialize()
    [source] = books.scope.sources
    of_owner = replace(books.scope, sources=(replace(source, owners=OwnerRules(("cogni-dao/*",))),))
    end = books.epoch.window.end
    for listed_at in (None, end - timedelta(seconds=1)):
        if listed_at is not None:
            books_of_writer.listings.keep(SCOPE_ID, GITHUB, "cogni-dao/*", [ListedSourceScope(REPO, "1")], listed_at)
        with pytest.raises(StoreError, match=r"cogni-dao/\* was not listed since its end"):
            close(books_of_writer, of_owner, books.epoch)
    books_of_writer.listings.keep(SCOPE_ID, GITHUB, "cogni-dao/*", [ListedSourceScope(REPO, "1")], end)
    assert close(books_of_writer, of_owner, books.epoch)


def test_no_epoch_closes_before_its_end_or_unread(writer: Engine, books_of_writer: PostgresLedger) -> None:
    unread = collected(books_of_writer)
    with pytest.raises(StoreError, match=f"pull_requests of {REPO} was not read to its end"):
        close(books_of_writer, unread.scope, unread.epoch)
    running = unread.scope.calendar.window_at(datetime.now(UTC))
    of_today = Books(books_of_writer, unread.scope, running)
    with pytest.raises(StoreError, match="refused: it runs until "):
        close(books_of_writer, of_today.scope, of_today.epoch)
    # Elsewhere, or up to less than its end, is not read; nor is what has no stream.
    for reach in (cursor("2026-02-22", "2026-02-16"), cursor("2026-03-01", "2026-02-16", source_scope="other/one")):
        books_of_writer.scans.finish(
            SCOPE_ID, [reach], NOW, [receipt(reach.watermark, "2026-02-16", source_scope=reach.source_scope)]
        )
        with pytest.raises(StoreError, match="was not read to its end"):
            close(books_of_writer, unread.scope, unread.epoch)
    assert [epoch.status for epoch in books_of_writer.epochs.still_open(SCOPE_ID)] == [EpochStatus.OPEN] * 2


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
    change = "UPDATE activity_curation SET note = 'large', weight_override_milli = {}"
    for weight in (-1, MAX_WEIGHT_MILLI + 1):
        assert "activity_curation_weight_override_milli_check" in refused(writer, change.format(weight))
    written(writer, f"{change.format(MAX_WEIGHT_MILLI)} RETURNING 1")


def forged_finalization(writer: Engine, epoch: Epoch) -> UUID:
    """What the writer's login can finalize `epoch` with: a statement that nobody signed; its id."""
    statement_id = written(
        writer,
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
        "VALUES (:node_id, :epoch_id, :hash, 77, '[]') RETURNING id",
        node_id=NODE_ID,
        epoch_id=epoch.id,
        hash=NO_HASH,
    )
    assert isinstance(statement_id, UUID)
    written(
        writer,
        "INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature) "
        "VALUES (:node_id, :statement_id, :wallet, :signature) RETURNING 1",
        node_id=NODE_ID,
        statement_id=statement_id,
        wallet=APPROVER.address,
        signature=STRANGER.sign("nothing of this"),
    )
    written(writer, "UPDATE epochs SET status = 'finalized', pool_total_credits = 77 RETURNING 1")
    return statement_id


def test_an_epoch_that_was_finalized_behind_a_forged_statement_is_settled_once_that_is_set_aside(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(books_of_writer)
    books.materialize()
    books.close()
    hush = f"UPDATE activity_curation SET included = false, note = 'hush' WHERE event_id = '{EVENTS[0].id}' RETURNING 1"
    written(writer, hush)
    written(writer, "UPDATE epoch_allocations SET final_units = 1, override_reason = 'so be it' RETURNING 1")
    forged = forged_finalization(writer, books.epoch)
    assert "is finalized" in refused(writer, "UPDATE activity_curation SET included = true")
    assert "status only moves forward" in refused(writer, "UPDATE epochs SET status = 'review'")

    set_aside(PostgresLedger(ledger_engine, NODE_ID), books.spec, forged, "nobody of ours wrote it")
    assert (books.epoch.status, books.epoch.pool_total_credits) == (EpochStatus.REVIEW, None)
    books_of_writer.curation.judge(books.epoch, EVENTS[0].id, Judgement("it counts", included=True))
    for user in (ADA_USER, GRACE_USER):
        books_of_writer.allocations.decide(books.epoch, user, None, None)
    books.materialize()
    statement = books.finalize(books.signature())
    assert {line["userId"]: line["totalUnits"] for line in statement.payouts} == {ADA_USER: "2000", GRACE_USER: "500"}
    assert (books.epoch.status, books.epoch.pool_total_credits) == (EpochStatus.FINALIZED, POOL)
    assert verify(facts_of(books_of_writer.statements.rows(books.epoch))) == []


def test_an_epoch_stays_finalized_while_a_statement_of_it_stands(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(books_of_writer)
    original = books_of_writer.statements.of(books.epoch)[0]
    forged = written(
        writer,
        copied(
            "payout_statements",
            f"'id', gen_random_uuid(), 'supersedes_statement_id', '{original.id}', 'pool_total_credits', 1",
        ),
    )
    assert isinstance(forged, UUID)
    set_aside(PostgresLedger(ledger_engine, NODE_ID), books.spec, forged, "nobody of ours wrote it")
    assert (books.epoch.status, books.epoch.pool_total_credits) == (EpochStatus.FINALIZED, POOL)
    for change in ("status = 'review'", "pool_total_credits = 1", "pool_total_credits = NULL"):
        assert " refused: " in refused(writer, f"UPDATE epochs SET {change}")


def test_an_epoch_in_review_has_no_total_yet(writer: Engine, books_of_writer: PostgresLedger) -> None:
    reviewed(books_of_writer)
    assert "its pool has a total once it is finalized" in refused(writer, "UPDATE epochs SET pool_total_credits = 1")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("final_units = -5, override_reason = 'because'", "final_units_sign"),
        ("proposed_units = -5", "proposed_units_sign"),
        ("activity_count = -5", "activity_count_sign"),
    ],
)
def test_no_units_are_below_nothing(
    writer: Engine, books_of_writer: PostgresLedger, change: str, constraint: str
) -> None:
    reviewed(books_of_writer)
    assert f"epoch_allocations_{constraint}_check" in refused(writer, f"UPDATE epoch_allocations SET {change}")


# What is unique, and what a trigger looks up, is so within a node: rows of another one are anybody's to make.

STRANGERS_NODE = UUID(int=1)


def test_an_account_that_is_bound_at_another_node_is_free_at_ours(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    for account in USERS:
        written(
            writer,
            "INSERT INTO account_links (node_id, provider, external_id, place, user_id, rests_on, reason) "
            "VALUES (:node, 'github', :account, 1, 'x', 'operator', 'x') RETURNING 1",
            node=STRANGERS_NODE,
            account=str(account),
        )
    books = reviewed(books_of_writer)
    assert {allocation.user_id for allocation in books_of_writer.allocations.of(books.epoch)} == {ADA_USER, GRACE_USER}
    assert [binding.user_id for binding in books_of_writer.identities.bindings()] == [ADA_USER, GRACE_USER]


def test_a_signature_under_a_strangers_statement_keeps_no_place(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = reviewed(books_of_writer)
    signature = books.signature()
    starts, ends = "ARRAY[timestamptz '2026-03-02Z']", "ARRAY[timestamptz '2026-03-09Z']"
    made = f"SELECT ledger_make_epochs(:node, :scope, {starts}, {ends}, '{{}}')"
    epoch_id = written(writer, made, node=STRANGERS_NODE, scope=SCOPE_ID)
    statement_id = written(
        writer,
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
        "VALUES (:node, :epoch_id, :hash, 77, '[]') RETURNING id",
        node=STRANGERS_NODE,
        epoch_id=epoch_id,
        hash=NO_HASH,
    )
    stolen = {"node": STRANGERS_NODE, "statement_id": statement_id, "wallet": APPROVER.address, "signature": signature}
    written(writer, SIGN, **stolen)
    statement = books.finalize(signature)
    assert books.signers == {statement.id: [APPROVER.address]}
    # Nor does a stranger's row under ours, in which an approver's own would be thought to be.
    second = {**stolen, "statement_id": statement.id, "wallet": SECOND_APPROVER.address, "signature": "0x" + "1" * 130}
    assert f"is of node {NODE_ID}, not of" in refused(writer, SIGN, **second)


SIGN = """
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature)
    VALUES (:node, :statement_id, :wallet, :signature) RETURNING 1
"""


@pytest.mark.parametrize(
    "change", ["node_id = gen_random_uuid()", "epoch_id = epoch_id + 1", "user_id = 'other'", "id = gen_random_uuid()"]
)
def test_no_allocation_is_moved_to_where_it_is_in_the_way(
    writer: Engine, books_of_writer: PostgresLedger, change: str
) -> None:
    reviewed(books_of_writer)
    message = refused(writer, f"UPDATE epoch_allocations SET {change} WHERE user_id = '{ADA_USER}'")
    assert "UPDATE of epoch_allocations refused: the row is of epoch " in message


# The triggers that hold a row to the node of the epoch, or of the statement, that it names.
HELD_BY = (
    "ledger_refuse_other_node",
    "ledger_refuse_other_nodes_statement",
    "ledger_lock_pool",
    "ledger_refuse_left_out_later",
)


def test_nothing_is_unique_across_nodes(ledger_engine: Engine) -> None:
    uniques = text("""
        SELECT index.indrelid::regclass::text AS of_table, pg_get_indexdef(index.indexrelid) AS definition,
            ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = index.indrelid AND attnum = ANY (indkey))
                AS columns,
            EXISTS (
                SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                WHERE tgrelid = index.indrelid AND proname = ANY (:held_by) AND tgqual IS NULL
                    AND pg_get_triggerdef(pg_trigger.oid) LIKE '% BEFORE INSERT ON %'
            ) AS is_held
        FROM pg_index AS index JOIN pg_class ON pg_class.oid = index.indrelid
        WHERE indisunique AND relnamespace = 'public'::regnamespace AND relname <> 'ledger_migrations'
    """)
    with ledger_engine.connect() as connection:
        rows = connection.execute(uniques, {"held_by": list(HELD_BY)}).all()
    across = [
        row.definition
        for row in rows
        if "node_id" not in row.columns
        and row.columns != ["id"]  # the ledger's own, or random
        and not (row.is_held and {"epoch_id", "statement_id", "supersedes_statement_id"} & set(row.columns))
        and row.of_table != "set_asides"  # the owner's alone
    ]
    assert len(rows) > 20
    assert across == []


def test_an_epoch_that_the_writer_closed_with_another_issuance_is_drafted_by_nobody_who_does_not_say_so(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = collected(books_of_writer).read()
    books.materialize()
    theirs = books.with_scope(base_issuance_credits=2 * POOL)
    pins = asdict(epoch_pins(theirs.scope, books.epoch.weights_milli))
    written(writer, f"{CLOSE} RETURNING 1", **{**pins, "pinned_spec": json.dumps(pins["pinned_spec"])})
    theirs.materialize()
    says = f'base_issuance_credits was pinned as "{2 * POOL}", and the repo-spec says "{POOL}"'
    with pytest.raises(EpochNotReady, match=re.escape(says)):
        books.draft()
    [difference] = spec_differences(books.scope, books.epoch, books.ledger.selection.known_names)
    assert (str(difference), difference.pays) == (says, True)
    # Whoever signs what it closed with all the same does so with open eyes, twice.
    draft = draft_statement(books_of_writer, books.scope, books.epoch, accept_pinned_spec=True)
    assert draft.pool_total_credits == 2 * POOL
    signature = APPROVER.sign(draft.message)
    with pytest.raises(EpochNotReady, match="give --accept-pinned-spec"):
        books.finalize(signature)
    finalize(books_of_writer, books.spec, books.epoch, signature, accept_pinned_spec=True)
    assert books.epoch.pool_total_credits == 2 * POOL
    # What is in force is amended, and signed by others, without: its pool is what was signed.
    assert books.amend(ADA_USER, 1).pool_total_credits == 2 * POOL


@pytest.mark.parametrize(
    ("changes", "names", "refuses"),
    [
        ({"base_issuance_credits": POOL + 1}, ["base_issuance_credits"], True),
        ({"weights_milli": {"github:pr_merged": 1}}, ["weights_milli"], True),
        ({"approvers": APPROVERS[:1]}, ["approvers"], True),
        ({"sources": scope(REPO, streams=("issues",)).sources}, ["activity_sources"], False),
        ({"sources": scope(REPO.upper()).sources}, ["activity_sources"], False),
        ({"sources": scope(REPO, "cogni-dao/other").sources}, ["activity_sources"], True),
        ({"sources": scope("cogni-dao/other").sources}, ["activity_sources"], True),
        ({"auto_close_grace_hours": 48, "scope_key": "other"}, ["auto_close_grace_hours", "scope_key"], False),
    ],
)
def test_a_repo_spec_that_was_edited_after_the_closing_is_named_and_what_pays_is_asked_for(
    ledger: PostgresLedger, changes: dict[str, Any], names: list[str], refuses: bool
) -> None:
    edited = reviewed(ledger).with_scope(**changes)
    assert [
        difference.name
        for difference in spec_differences(edited.scope, edited.epoch, edited.ledger.selection.known_names)
    ] == names
    if refuses:
        with pytest.raises(LedgerError):
            edited.draft()
    else:
        assert edited.draft().pool_total_credits == POOL


EVENT = """
    INSERT INTO activity_events (id, source, event_type, event_time, node_id, scope_id, platform_user_id,
        platform_login, artifact_url, metadata, payload_hash, source_object_id, producer, producer_version,
        retrieved_at)
    SELECT :id, source, event_type, :event_time, node_id, scope_id, :user, platform_login, artifact_url, metadata,
        :payload_hash, :object_id, producer, producer_version, retrieved_at
    FROM activity_events LIMIT 1 RETURNING 1
"""


@pytest.mark.parametrize("renamed", [False, True], ids=["under its id", "under another name"])
@pytest.mark.parametrize(
    "forgery", [{"event_time": instant("1999-01-01")}, {"user": str(GRACE.user_id)}], ids=["in 1999", "for another"]
)
def test_no_event_is_taken_for_the_one_whose_hash_it_has(
    writer: Engine,
    books_of_writer: PostgresLedger,
    ledger_engine: Engine,
    forgery: dict[str, object],
    renamed: bool,
) -> None:
    books_of_writer.events.append(SCOPE_ID, [pull_request(8)], PRODUCER, NOW)
    honest = pull_request(9)
    stored_id = honest.id.replace("cogni-dao/", "elsewhere/") if renamed else honest.id
    true = {
        "id": stored_id,
        "event_time": honest.event_time,
        "user": honest.platform_user_id,
        "payload_hash": payload_hash(stored_id, honest.event_type, honest.platform_user_id, dict(honest.metadata)),
        "object_id": honest.source_object_id,
    }
    assert "nobody could recompute it" in refused(writer, EVENT, **{**true, **forgery})
    written(ledger_engine, EVENT, **{**true, **forgery})  # as an earlier release let it in
    assert list(books_of_writer.events.append(SCOPE_ID, [honest], PRODUCER, NOW).values()) == [AppendOutcome.CONFLICT]
    [kept] = books_of_writer.events.rejected(SCOPE_ID, window())
    assert (kept.event_id, kept.event_time) == (honest.id, honest.event_time)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("scan_receipts", "'covered_to', timestamptz '2999-01-01Z'"),
        ("source_cursors", "'source_scope', 'other', 'cursor_value', timestamptz '2999-01-01Z'"),
        ("scan_checkpoints", "'source_scope', 'other', 'watermark', timestamptz '2999-01-01Z'"),
        ("unread_items", "'source_scope', 'other', 'last_tried_at', timestamptz '2999-01-01Z'"),
        ("listed_source_scopes", "'source_scope', 'other', 'listed_at', timestamptz '2999-01-01Z'"),
    ],
)
def test_nothing_was_read_up_to_a_time_that_is_to_come(
    writer: Engine, books_of_writer: PostgresLedger, table: str, change: str
) -> None:
    books_of_writer.scans.finish(SCOPE_ID, [cursor("2026-02-18")], NOW, [receipt("2026-02-18", "2026-01-05")])
    save_checkpoint(books_of_writer, SCOPE_ID, checkpoint())
    note_unread(books_of_writer, unread(12))
    books_of_writer.listings.keep(SCOPE_ID, GITHUB, "cogni-dao/*", [ListedSourceScope(REPO, "1")], NOW)
    message = refused(writer, copied(table, change).replace("RETURNING id", ""))
    assert "is more than a day to come, and nothing was read up to then" in message


def test_nothing_is_pinned_before_an_epoch_closes(writer: Engine, books_of_writer: PostgresLedger) -> None:
    collected(books_of_writer)
    for change in ("closed_at = now()", "pinned_spec = '{}'", "allocation_algo_ref = 'x'", "approver_set_hash = 'x'"):
        assert "what it is paid by is pinned when it closes" in refused(writer, f"UPDATE epochs SET {change}")


# Text that says nothing, in whatever characters.
NO_REASONS: Mapping[str, str] = {
    "nothing": "",
    "spaces": "  ",
    "line feeds": "\n\r\t",
    "a space that does not break": "\xa0",
    "no width": "\u200b\u2060\ufeff",
    "an empty braille pattern": "\u2800",
    "fillers": "\u3164\u115f\U000e0100",
}
# Of each table the statement that needs a reason; `user` and `event` are Ada's.
REASONED: Mapping[str, str] = {
    "a weight": "UPDATE activity_curation SET weight_override_milli = 1, note = :reason",
    "an exclusion": "UPDATE activity_curation SET included = false, note = :reason",
    "units": "UPDATE epoch_allocations SET final_units = 1, override_reason = :reason",
    "units of somebody new": "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, final_units, "
    "override_reason, activity_count) SELECT node_id, id, 'lin', 0, 1, :reason, 0 FROM epochs",
    "a top-up": "INSERT INTO epoch_pool_components (node_id, epoch_id, component_id, algorithm_version, inputs_json, "
    "amount_credits, evidence_ref) SELECT node_id, id, 'top_up', 'manual-v0', '{}', 1, :reason FROM epochs",
    "a bonus": "INSERT INTO epoch_pool_components (node_id, epoch_id, component_id, algorithm_version, inputs_json, "
    "amount_credits, evidence_ref) SELECT node_id, id, 'kpi_bonus_v0', 'kpi-bonus-v0', '{\"users\": 1}', 1, :reason "
    "FROM epochs",
}


@pytest.mark.parametrize("statement", REASONED.values(), ids=REASONED)
def test_nothing_that_a_person_decides_goes_without_a_reason(
    writer: Engine, books_of_writer: PostgresLedger, statement: str
) -> None:
    collected(books_of_writer).materialize()
    for reason in (None, *NO_REASONS.values()):
        refusal = refused(writer, statement, reason=reason)
        assert "in characters that can be seen" in refusal, repr(reason)
    written(writer, f"{statement} RETURNING 1", reason=" \u200bso be it\n")


def test_no_decision_is_taken_back_or_its_reason_wiped_without_one(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = collected(books_of_writer)
    books.materialize()
    books_of_writer.curation.judge(books.epoch, EVENTS[0].id, Judgement("a copy", included=False))
    books_of_writer.allocations.decide(books.epoch, ADA_USER, 7, "she led it")
    for wipe in (
        "UPDATE activity_curation SET note = NULL WHERE note = 'a copy'",
        "UPDATE activity_curation SET included = true, note = NULL WHERE note = 'a copy'",
        "UPDATE epoch_allocations SET override_reason = E'\\n' WHERE final_units = 7",
    ):
        assert "in characters that can be seen" in refused(writer, wipe)


def test_no_decision_is_deleted_and_one_that_is_taken_back_makes_what_was_signed_stale(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = reviewed(books_of_writer)
    books_of_writer.allocations.decide(books.epoch, ADA_USER, 7, "she led it")
    signature = books.signature()
    assert f"a person decided the units of user {ADA_USER}" in refused(writer, "DELETE FROM epoch_allocations")
    written(writer, "UPDATE epoch_allocations SET final_units = NULL WHERE final_units = 7 RETURNING 1")
    with pytest.raises(StaleSignature):
        books.finalize(signature)
    books_of_writer.allocations.decide(books.epoch, ADA_USER, 7, "she led it")
    assert books.finalize(signature).pool_total_credits == POOL


def test_no_correction_and_no_set_aside_goes_without_a_reason(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    finalized(books_of_writer)
    correction = (
        "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
        "SELECT node_id, epoch_id, id, 'lin', 1, :reason FROM payout_statements"
    )
    aside = (
        "INSERT INTO set_asides (node_id, epoch_id, statement_id, reason) "
        "SELECT node_id, epoch_id, id, :reason FROM payout_statements"
    )
    for reason in NO_REASONS.values():
        assert "statement_corrections_reason_check" in refused(writer, correction, reason=reason)
        assert "set_asides_reason_check" in refused(ledger_engine, aside, reason=reason)


def test_the_database_and_the_program_take_the_same_for_a_reason(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        database = connection.execute(
            text(
                "SELECT number, ledger_is_reason(chr(number)) FROM generate_series(1, 1114111) AS number "
                "WHERE number NOT BETWEEN 55296 AND 57343"
            )
        ).all()
        assert connection.scalar(text("SELECT ledger_is_reason(NULL)")) is False
    assert [number for number, is_one in database if is_one != is_reason(chr(number))] == []
    assert not any(map(is_reason, (None, *NO_REASONS.values())))


def insert_component(component: str, algorithm: str, amount: int, inputs: str, evidence: str = "null") -> str:
    return (
        "INSERT INTO epoch_pool_components (node_id, epoch_id, component_id, algorithm_version, inputs_json, "
        f"amount_credits, evidence_ref) SELECT node_id, id, '{component}', '{algorithm}', '{inputs}', {amount}, "
        f"{evidence} FROM epochs RETURNING 1"
    )


def test_no_base_issuance_joins_that_was_not_pinned_but_by_the_owner(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(books_of_writer, base_issuance_credits=None)
    books.materialize()
    books.close()
    inputs = '{"base_issuance_credits": "99999"}'
    forged = insert_component("base_issuance", "config-constant-v0", 99_999, inputs)
    assert "closed with none" in refused(writer, forged)
    # The pipeline leaves it to the owner, whatever the repo-spec says by now.
    later = books.with_scope(base_issuance_credits=POOL)
    later.materialize()
    with pytest.raises(EpochNotReady, match="it closed with none, so the owner of the ledger adds it"):
        later.draft()
    written(ledger_engine, forged)
    shown = re.escape("its base_issuance of 99999 credits joined after it had closed with none")
    for seen in (books, later):
        with pytest.raises(EpochNotReady, match=f"{shown}.*--accept-pinned-spec"):
            seen.draft()
    finalize(
        books_of_writer,
        books.spec,
        books.epoch,
        APPROVER.sign(draft_statement(books_of_writer, books.scope, books.epoch, accept_pinned_spec=True).message),
        accept_pinned_spec=True,
    )
    looked = Examination(facts_of(books_of_writer.statements.rows(books.epoch)))
    assert looked.differences() == []
    assert looked.warnings() == ["pool base_issuance: 99999 credits joined after the epoch had closed with none"]


@pytest.mark.parametrize(
    "inputs", ["{}", '{"base_issuance_credits": null}', '{"base_issuance_credits": 10000}', '{"other": "10000"}']
)
def test_no_base_issuance_has_other_inputs_than_its_amount(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine, inputs: str
) -> None:
    books = collected(books_of_writer, base_issuance_credits=None)
    books.close()
    forged = insert_component("base_issuance", "config-constant-v0", POOL, inputs)
    assert "do not follow from inputs" in refused(ledger_engine, forged)


@pytest.mark.parametrize(
    ("component", "inputs", "evidence"),
    [("top_up", "{}", "null"), ("kpi_bonus_v0", '{"x": "1"}', "null"), ("kpi_bonus_v0", "{}", "'https://vote/7'")],
)
def test_a_component_without_what_it_rests_on_is_refused_and_of_before_named(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine, component: str, inputs: str, evidence: str
) -> None:
    books = collected(books_of_writer)
    forged = insert_component(component, ALGORITHM_VERSIONS[component], 7, inputs, evidence)
    assert f"a {component} needs " in refused(writer, forged)
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(forged))
    books.materialize()
    books.close()
    with pytest.raises(EpochNotReady, match=f"{component}: (say where the evidence is|say what it was computed from)"):
        books.draft()


# What the writer may set for its own sessions, which are the honest pipeline's too.
SESSION_SETTINGS: Mapping[str, str] = {
    "role": "ledger_writer",
    "search_path": "pg_catalog",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "client_encoding": "SQL_ASCII",
    "timezone": "Asia/Tokyo",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "bytea_output": "escape",
    "exit_on_error": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "transaction_timeout": "1ms",
    "local_preload_libraries": "nobody_has_it",
    "temp_buffers": "8191GB",
}


def test_no_setting_of_the_writers_login_keeps_the_honest_writer_out(
    writer: Engine, books_of_writer: PostgresLedger, ledger_url: str
) -> None:
    with writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        has = {name.lower() for name in connection.scalars(text("SELECT name FROM pg_settings"))}
        name = connection.scalar(text("SELECT current_database()"))
        set_ = {key: value for key, value in SESSION_SETTINGS.items() if key in has or key == "role"}
        for key, value in set_.items():
            written_as = value if key == "datestyle" else f"'{value}'"
            connection.exec_driver_sql(f"ALTER ROLE roles_writer IN DATABASE {name} SET {key} = {written_as}")
    writer.dispose()
    books = finalized(books_of_writer)
    books.amend(ADA_USER, 1)
    with writer.connect() as connection:
        kept = {key for key, value in set_.items() if connection.scalar(text(f'SHOW "{key}"')) == value}
        assert kept == set()
        assert connection.scalar(text("SELECT current_user")) == "roles_writer"
    [named] = rights_of(urls(ledger_url)[WRITER]).settings
    assert named.startswith("roles_writer: role=ledger_writer, search_path=")


def test_a_spec_that_was_pinned_with_other_weights_than_count_is_named(
    writer: Engine, books_of_writer: PostgresLedger
) -> None:
    books = collected(books_of_writer).read()
    books.materialize()
    pins = asdict(epoch_pins(books.scope, books.epoch.weights_milli))
    spec = {**pins["pinned_spec"], "weights_milli": {"github:pr_merged": 7}}
    written(writer, f"{CLOSE} RETURNING 1", **{**pins, "pinned_spec": json.dumps(spec)})
    [difference] = spec_differences(books.scope, books.epoch, books.ledger.selection.known_names)
    assert str(difference).startswith('pinned_spec.weights_milli was pinned as {"github:pr_merged": 7}, and the repo')
    books.materialize()
    books.finalize(books.signature())
    looked = Examination(facts_of(books_of_writer.statements.rows(books.epoch)))
    assert (looked.differences(), looked.warnings()) == (
        [],
        ['repo-spec weights_milli: it closed with {"github:pr_merged": 7}, and counts by those of its creation'],
    )


def test_a_login_lends_itself_to_nobody_or_that_is_named(
    writer: Engine, ledger_engine: Engine, ledger_url: str
) -> None:
    lend = "GRANT roles_writer TO roles_reader"
    with ledger_engine.connect() as connection:
        version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if version >= 150000:
        assert "roles_writer" in refused(writer, lend)
        return
    # Up to Postgres 14, nobody can keep a login from it.
    with writer.begin() as connection:
        connection.execute(text(lend))
    lent = rights_of(urls(ledger_url)[WRITER]).lent
    with ledger_engine.begin() as connection:
        connection.execute(text("REVOKE roles_writer FROM roles_reader"))
    assert lent == ("roles_reader may act as roles_writer",)
    assert rights_of(urls(ledger_url)[WRITER]).lent == ()


def test_a_login_may_change_its_password_and_an_administrator_gives_it_another(
    writer: Engine, ledger_engine: Engine
) -> None:
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'roles_writer'"
    before = written(ledger_engine, stored)
    with writer.begin() as connection:
        connection.execute(text("ALTER ROLE roles_writer PASSWORD 'nobody else knows it'"))
    assert written(ledger_engine, stored) != before
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER ROLE roles_writer PASSWORD '{before}'")
    assert written(ledger_engine, stored) == before


def test_an_epoch_that_the_writer_closed_with_approvers_of_theirs_is_opened_again_by_the_owner(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(books_of_writer).read()
    books.materialize()
    theirs = books.with_scope(approvers=(STRANGER.address,), base_issuance_credits=2 * POOL)
    pins = asdict(epoch_pins(theirs.scope, books.epoch.weights_milli))
    written(writer, f"{CLOSE} RETURNING 1", **{**pins, "pinned_spec": json.dumps(pins["pinned_spec"])})
    theirs.materialize()
    with pytest.raises(LedgerError, match="its approvers were pinned as"):
        draft_statement(books_of_writer, books.scope, books.epoch, accept_pinned_spec=True)
    assert "permission denied" in refused(
        writer, f"INSERT INTO reopenings (node_id, epoch_id, reason) VALUES ('{NODE_ID}', {books.epoch.id}, 'mine')"
    )
    owner = PostgresLedger(ledger_engine, NODE_ID)
    owner.statements.reopen(books.epoch, "nobody of ours closed it")
    assert (books.epoch.status, books.epoch.pins, books_of_writer.pool.of(books.epoch)) == (EpochStatus.OPEN, None, [])
    [reopening] = books_of_writer.statements.reopenings(books.epoch)
    assert (reopening.reason, reopening.actor) == ("nobody of ours closed it", "postgres")
    kept = written(ledger_engine, "SELECT pinned #>> '{pinned_spec,approvers,0}' FROM reopenings")
    assert kept == STRANGER.address
    # It takes events, closes and is settled as any other; and is opened by nobody once it is stated, or without a row.
    books.append(pull_request(7)).close()
    assert "status only moves forward" in refused(writer, "UPDATE epochs SET status = 'open', closed_at = NULL")
    books.materialize()
    assert books.finalize(books.signature()).pool_total_credits == POOL
    assert verify(facts_of(books_of_writer.statements.rows(books.epoch))) == []
    with pytest.raises(StoreError, match="is not in review, or a statement of it stands"):
        owner.statements.reopen(books.epoch, "not to our liking")


NIL = UUID(int=0)
FORGE = """
    INSERT INTO payout_statements (id, node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json)
    VALUES (:id, :node, :epoch_id, :hash, 10000, '[]') RETURNING id
"""
REQUEST = """
    INSERT INTO signing_requests (node_id, epoch_id, allocation_set_hash, pool_total_credits, supersedes_statement_id)
    VALUES (:node, :epoch_id, :hash, 10000, :supersedes) RETURNING id
"""


def test_no_row_has_the_id_of_nothing(writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(books_of_writer)
    forged = {"id": NIL, "node": NODE_ID, "epoch_id": books.epoch.id, "hash": NO_HASH}
    assert "payout_statements_id_check" in refused(writer, FORGE, **forged)
    with ledger_engine.connect() as connection:
        chosen = connection.scalars(
            text("""
                SELECT table_name::text FROM information_schema.columns
                JOIN pg_tables ON (schemaname, tablename) = (table_schema, table_name)
                WHERE table_schema = 'public' AND column_name = 'id' AND data_type = 'uuid'
            """)
        ).all()
        ruled = connection.scalars(
            text("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = conrelid::regclass || '_id_check'")
        ).all()
    assert sorted(chosen) == sorted(ruled)


def test_numbers_that_were_handed_out_are_remembered_whatever_stands_in_their_place(
    writer: Engine, books_of_writer: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(books_of_writer)
    hash_ = books.draft().allocation_set_hash
    with ledger_engine.begin() as connection:  # a ledger of before the rule, and a draft of after the forgery
        connection.execute(text("ALTER TABLE payout_statements DROP CONSTRAINT payout_statements_id_check"))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("DELETE FROM signing_requests"))
    numbers = {"node": NODE_ID, "epoch_id": books.epoch.id, "hash": hash_}
    written(writer, FORGE, id=NIL, **{**numbers, "hash": NO_HASH})
    written(writer, REQUEST, supersedes=NIL, **numbers)
    set_aside(PostgresLedger(ledger_engine, NODE_ID), books.spec, NIL, "nobody of ours wrote it")
    old_signature = books.signature()
    books_of_writer.allocations.decide(books.epoch, ADA_USER, 100, "counted twice")
    first = books.finalize(books.signature())
    correct = """
        INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason)
        VALUES (:node, :epoch_id, :first, :user, 2000, 'because') RETURNING id
    """
    written(writer, correct, node=NODE_ID, epoch_id=books.epoch.id, first=first.id, user=ADA_USER)
    with pytest.raises(EpochNotReady, match="those of a draft that was handed out before"):
        books.finalize(old_signature)
    assert list(books.signers) == [first.id]


def test_what_is_not_remembered_is_not_handed_out(books_of_writer: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(books_of_writer)
    with ledger_engine.begin() as connection:
        connection.execute(text("CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"))
        connection.execute(
            text("CREATE TRIGGER lost BEFORE INSERT ON signing_requests FOR EACH ROW EXECUTE FUNCTION lost()")
        )
    with pytest.raises(StoreError, match="did not keep what was to be signed"):
        books.draft()
