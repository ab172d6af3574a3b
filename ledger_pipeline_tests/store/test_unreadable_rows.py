"""JSON from before the database refused it: named where it counts, in the way of nobody who takes it out."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, text

from ledger_pipeline.core.errors import VerificationFailed
from ledger_pipeline.core.stored_json import MAX_STORED_DEPTH, UnreadableJson, read_json
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, checkpoint, save_checkpoint
from ledger_pipeline_tests.store.settlement import finalized, reviewed

UNREADABLE = {
    "5,000 digits": "9" * 5000,
    "130,001 digits": "1e130000",
    "a fraction": "1.5",
    "3,000 brackets": "[" * 3000 + "]" * 3000,
}

VALUE = "CAST(:value AS jsonb)"


@contextmanager
def as_before(engine: Engine, table: str, column: str) -> Iterator[Connection]:
    """A connection for which neither triggers nor the column's rule are there."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_{column}_json_check")
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        yield connection


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(
    ("table", "column", "named"),
    [
        ("activity_events", "metadata", "metadata of events github:"),
        ("epoch_pool_components", "inputs_json", "inputs of pool base_issuance"),
        ("payout_statements", "payouts_json", "payouts of statements"),
        ("epochs", "pinned_spec", "pinned_spec of epoch"),
    ],
    ids=["metadata", "inputs", "payouts", "pinned spec"],
)
def test_what_nobody_can_read_is_named_and_not_verified(
    ledger: PostgresLedger, ledger_engine: Engine, table: str, column: str, named: str, value: str
) -> None:
    books = finalized(ledger)
    with as_before(ledger_engine, table, column) as connection:
        is_list = column == "payouts_json"
        within = f"jsonb_build_array({VALUE})" if is_list else f"jsonb_build_object('x', {VALUE})"
        connection.execute(text(f"UPDATE {table} SET {column} = {column} || {within}"), {"value": value})
    with pytest.raises(VerificationFailed, match=rf"nothing of ours wrote: {named}.* is JSON that nobody can read"):
        facts_of(ledger.statements.rows(books.epoch))
    chain = statement_chain(NODE_ID, books.scope, books.epoch, ledger.statements.history(books.epoch))
    assert bool(chain.broken) == (column == "payouts_json")


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_a_statement_that_nobody_can_read_is_taken_out_and_another_made(
    ledger: PostgresLedger, ledger_engine: Engine, value: str
) -> None:
    books = reviewed(ledger)
    with as_before(ledger_engine, "payout_statements", "payouts_json") as connection:
        forged = connection.scalar(
            text("""
                INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json)
                VALUES (:node, :epoch, 'x', 1, jsonb_build_array(CAST(:value AS jsonb))) RETURNING id
            """),
            {"node": NODE_ID, "epoch": books.epoch.id, "value": value},
        )
    set_aside(ledger, books.spec, forged, "nobody can read it")
    statement = books.finalize(books.signature())
    assert [row.id for row in ledger.statements.of(books.epoch)] == [statement.id]
    assert len(inputs_root(facts_of(ledger.statements.rows(books.epoch)))) == 64


@pytest.mark.parametrize("state", ["[7]", '{"version": 1}', "[" * 40 + "]" * 40, "{}", '{"coverage": 1.5}'])
def test_a_checkpoint_that_nothing_of_ours_wrote_can_be_read(
    ledger: PostgresLedger, ledger_engine: Engine, state: str
) -> None:
    save_checkpoint(ledger, SCOPE_ID, checkpoint())
    with as_before(ledger_engine, "scan_checkpoints", "state") as connection:
        connection.execute(text("UPDATE scan_checkpoints SET state = CAST(:value AS jsonb)"), {"value": state})
    kept = ledger.scans.checkpoint(SCOPE_ID, "github", checkpoint().source_scope)
    assert kept is not None
    assert "pages" not in kept.state


def test_json_of_ours_is_read_as_it_is() -> None:
    deep = "[" * MAX_STORED_DEPTH + "]" * MAX_STORED_DEPTH
    assert read_json(deep.encode()) != UnreadableJson()
    assert isinstance(read_json(f"[{deep}]"), UnreadableJson)
    assert read_json(r'{"x": "[[[\"[{", "y": [-7]}') == {"x": '[[["[{', "y": [-7]}
    many = f"[{','.join(['{}'] * 1000)}]"
    assert read_json(many) == [{}] * 1000
