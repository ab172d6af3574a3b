"""What an epoch is paid by never changes once it is fixed, and statements only follow each other: whoever asks."""

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import weeks
from ledger_pipeline_tests.store.settlement import ADA_USER, collected, finalized, refused, reviewed, rows_of

FIRST, SECOND = weeks(2, "2026-02-16")
PINS = ["allocation_algo_ref", "weight_config_hash", "approver_set_hash"]
PINNED_LATER = [
    *(f"{pin} = 'another'" for pin in PINS),
    *(f"{pin} = NULL" for pin in (*PINS, "pinned_spec", "closed_at")),
    """pinned_spec = pinned_spec || '{"approvers": []}'""",
    "closed_at = closed_at + interval '1 second'",
]


def update(engine: Engine, change: str) -> int:
    with engine.begin() as connection:
        return connection.execute(text(f"UPDATE epochs SET {change}")).rowcount


def test_an_open_epochs_weights_are_fixed_and_its_pins_are_not_yet(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    collected(ledger)
    for change in ("weight_config = '{}'", """weight_config = weight_config || '{"github:pr_merged": 1001}'"""):
        assert "its weights were pinned when it was created" in refused(ledger_engine, f"UPDATE epochs SET {change}")
    assert update(ledger_engine, "weight_config = weight_config, approver_set_hash = 'early'") == 1


def test_a_closed_epochs_pins_are_fixed_and_its_pool_once_it_is_finalized(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    in_review = books.epoch
    for change in PINNED_LATER:
        assert "was pinned when it closed" in refused(ledger_engine, f"UPDATE epochs SET {change}")
    assert "pinned when it was created" in refused(ledger_engine, "UPDATE epochs SET weight_config = '{}'")
    assert "not from review to open" in refused(ledger_engine, "UPDATE epochs SET status = 'open'")
    assert books.epoch == in_review

    books.finalize(books.signature())
    done = books.epoch
    for change in PINNED_LATER:
        assert "was pinned when it closed" in refused(ledger_engine, f"UPDATE epochs SET {change}")
    for change in ("pool_total_credits = pool_total_credits + 1", "pool_total_credits = NULL"):
        assert "it is finalized, with its pool" in refused(ledger_engine, f"UPDATE epochs SET {change}")
    for status in ("open", "review"):
        assert f"not from finalized to {status}" in refused(ledger_engine, f"UPDATE epochs SET status = '{status}'")
    assert "it is in finalized" in refused(ledger_engine, "DELETE FROM epochs")
    assert books.epoch == done
    assert (done.status, done.pins) == (EpochStatus.FINALIZED, in_review.pins)


def test_statements_form_one_chain_an_epoch(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    first_books, second_books = finalized(ledger, of=FIRST), finalized(ledger, of=SECOND)
    [original], [of_other] = ledger.statements.of(first_books.epoch), ledger.statements.of(second_books.epoch)
    copied = """
        INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json,
            supersedes_statement_id)
        SELECT node_id, epoch_id, gen_random_uuid(), pool_total_credits, payouts_json, CAST(:supersedes AS uuid)
        FROM payout_statements WHERE id = :id
    """
    assert "payout_statements_one_original" in refused(ledger_engine, copied, supersedes=None, id=original.id)
    assert "epoch_id_fkey" in refused(ledger_engine, copied, supersedes=of_other.id, id=original.id)
    amended = first_books.amend(ADA_USER, 1)
    assert amended.supersedes_statement_id == original.id
    assert "supersedes_statement_id_attempt_key" in refused(
        ledger_engine, copied, supersedes=original.id, id=original.id
    )


@pytest.mark.parametrize("change", ["UPDATE {} SET node_id = node_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_what_was_stated_signed_corrected_and_asked_for_never_changes(
    ledger: PostgresLedger, ledger_engine: Engine, change: str
) -> None:
    tables = ("payout_statements", "statement_signatures", "statement_corrections", "signing_requests")
    finalized(ledger).amend(ADA_USER, 1)
    before = rows_of(ledger_engine, *tables)
    for table in tables:
        message = refused(ledger_engine, change.format(table))
        # A cascade meets the table's own trigger, or first that of one that refers to it.
        assert f"{change.split()[0]} of " in message
        assert "refused: the ledger is append-only" in message
    assert rows_of(ledger_engine, *tables) == before


def test_a_correction_names_a_statement_of_its_epoch_and_no_less_than_nothing(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    first_books, second_books = finalized(ledger, of=FIRST), finalized(ledger, of=SECOND)
    [of_other] = ledger.statements.of(second_books.epoch)
    insert = """
        INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason)
        VALUES (:node, :epoch, :supersedes, 'ada', :units, 'why')
    """
    given = {"node": ledger.node_id, "supersedes": of_other.id}
    assert "epoch_id_fkey" in refused(ledger_engine, insert, **given, epoch=first_books.epoch.id, units=1)
    assert "units_check" in refused(ledger_engine, insert, **given, epoch=second_books.epoch.id, units=-1)
