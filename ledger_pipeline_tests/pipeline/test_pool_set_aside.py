"""A pool's component that a stolen writer adds blocks no epoch, and the owner takes it out on record."""

import re
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, StoreError
from ledger_pipeline.core.pool import BASE_ISSUANCE, MAX_CREDITS, TOP_UP, NewPoolComponent
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.store.settlement import POOL, Books, collected, finalized, refused, reviewed

INSERT = """
    INSERT INTO epoch_pool_components
        (node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits, evidence_ref)
    VALUES (:node, :epoch, 'top_up', 'manual-v0', CAST(:inputs AS jsonb), :amount, 'https://nobody.example')
    RETURNING id
"""


def forge(engine: Engine, books: Books, amount: int = MAX_CREDITS) -> UUID:
    """A top-up as whoever may write to the ledger can add it."""
    given = {"node": NODE_ID, "epoch": books.epoch.id, "amount": amount, "inputs": "{}"}
    with engine.begin() as connection:
        made = connection.scalar(text(INSERT), given)
    assert isinstance(made, UUID)
    return made


def amounts(books: Books) -> dict[str, int]:
    return {row.component_id: row.amount_credits for row in books.ledger.pool.of(books.epoch)}


def test_no_component_keeps_an_epoch_from_closing(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)
    given = {"node": NODE_ID, "epoch": books.epoch.id, "amount": 2**63 - 1, "inputs": "{}"}
    assert "violates check constraint" in refused(ledger_engine, INSERT, **given)
    forge(ledger_engine, books)
    books.materialize()
    books.close()
    assert amounts(books) == {BASE_ISSUANCE: POOL, TOP_UP: MAX_CREDITS}


def test_a_component_is_taken_out_on_record_and_another_takes_its_place(
    ledger: PostgresLedger, ledger_engine: Engine, tmp_path: Path
) -> None:
    books = collected(ledger)
    forged = forge(ledger_engine, books)
    honest = NewPoolComponent(TOP_UP, 5, {}, "https://vote.example/7")
    with pytest.raises(EpochNotReady, match=f"has a top_up of {MAX_CREDITS} credits already"):
        ledger.pool.add(books.epoch, honest)
    set_aside(ledger, books.spec, forged, "nobody voted for it")
    assert ledger.pool.add(books.epoch, honest)
    assert not ledger.pool.add(books.epoch, honest)
    books.materialize()
    statement = books.close().finalize(books.signature())
    assert statement.pool_total_credits == POOL + 5
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert verify(facts) == []
    [row] = facts.pool_set_aside
    assert (row.component_id, row.amount_credits, row.reason) == (TOP_UP, MAX_CREDITS, "nobody voted for it")
    [shown] = ledger.statements.history(books.epoch).set_asides
    assert (shown.named, shown.reason) == (str(forged), "nobody voted for it")
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(facts))
    read = read_archive(file)
    assert (read.damages, archive_bytes(read.facts)) == ((), archive_bytes(facts))
    assert inputs_root(facts) != inputs_root(facts.model_copy(update={"pool_set_aside": ()}))
    with pytest.raises(EpochNotReady, match="set aside already"):
        set_aside(ledger, books.spec, forged, "again")


def test_in_review_a_component_is_taken_out_and_what_was_signed_before_is_stale(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = collected(ledger)
    forged = forge(ledger_engine, books, 7)
    books.materialize()
    books.close()
    before = books.draft()
    set_aside(ledger, books.spec, forged, "nobody voted for it")
    assert (before.pool_total_credits, books.draft().pool_total_credits) == (POOL + 7, POOL)
    assert books.finalize(books.signature()).pool_total_credits == POOL


def test_what_an_epoch_was_paid_by_stays(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [base] = ledger.pool.of(books.epoch)
    with pytest.raises(EpochNotReady, match="is the base_issuance of the pinned repo-spec: what verifies stays"):
        set_aside(ledger, books.spec, base.id, "why not")
    with pytest.raises(StoreError, match=rf"epoch {books.epoch.id} is finalized, and was paid by its pool"):
        ledger.statements.set_aside(books.epoch, base.id, "why not", lambda _: None)
    assert amounts(books) == {BASE_ISSUANCE: POOL}


def test_nothing_is_signed_of_a_pool_that_does_not_follow(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        forged = connection.scalar(
            text(INSERT.replace("'top_up'", "'gift'")),
            {"node": NODE_ID, "epoch": books.epoch.id, "amount": 7, "inputs": "{}"},
        )
    with pytest.raises(EpochNotReady, match=re.escape("gift: no component of that name is known")) as raised:
        books.draft()
    assert f"db set-aside {forged} " in str(raised.value)
    set_aside(ledger, books.spec, forged, "nobody knows it")
    assert books.finalize(books.signature()).pool_total_credits == POOL


def test_the_set_aside_of_one_epoch_takes_out_nothing_of_another(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger)
    forged = forge(ledger_engine, books)
    given = {"row": forged, "node": NODE_ID, "epoch": books.epoch.id}
    for columns, values in (("statement_id, pool_component_id", ":row, :row"), ("reason", "'x'")):
        refusal = refused(
            ledger_engine,
            f"INSERT INTO set_asides (node_id, epoch_id, {columns}) VALUES (:node, :epoch, {values})",
            **given,
        )
        assert "set_asides" in refusal
