"""What an approver signs beside the contract's message: the events and decisions that the numbers follow from."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, WrongSignature
from ledger_pipeline.core.statements import inputs_message
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.pipeline.signed_inputs import SignedInputs
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.store.statement_records import Finalization, Outcome
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, pull_request
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    SECOND_APPROVER,
    STRANGER,
    Books,
    Wallet,
    refused,
    reviewed,
)
from ledger_pipeline_tests.verification.facts import changed
from ledger_pipeline_tests.verification.test_archive import members_of, rehashed

GOLDEN = """Ledger Pipeline Statement Inputs v1
Node: 4ff8eac1-4eba-4ed0-931b-b1fe4f64713d
Scope: 4ff8eac1-0000-0000-0000-000000000001
Epoch: 7
Inputs Root: ab
Statement: 315f5bdb76d078c43b8ac0064e4a0164612b1fce77c869345bfc94c75894edd3"""


def test_the_message_is_this_one_for_ever() -> None:
    message = inputs_message(
        node_id=NODE_ID, scope_id=SCOPE_ID, epoch_id=7, inputs_root="ab", statement_message="Hello, world!"
    )
    assert message == GOLDEN


def facts(books: Books) -> EpochFacts:
    return facts_of(books.ledger.statements.rows(books.epoch))


def about_inputs(books: Books, statement_message: str, root: str | None = None) -> str:
    """What `epoch sign-data --inputs` prints."""
    return inputs_message(
        node_id=NODE_ID,
        scope_id=books.scope.scope_id,
        epoch_id=books.epoch.id,
        inputs_root=root or inputs_root(facts(books)),
        statement_message=statement_message,
    )


def signed_by(
    books: Books, message: str, wallet: Wallet = APPROVER, inputs_by: Wallet | None = None, root: str | None = None
) -> Finalization:
    """Finalized with both signatures."""
    inputs = SignedInputs(
        (inputs_by or wallet).sign(about_inputs(books, message, root)), lambda rows: inputs_root(facts_of(rows))
    )
    return finalize(books.ledger, books.spec, books.epoch, wallet.sign(message), None, inputs)


def test_both_signatures_are_kept_at_once_and_verified(ledger: PostgresLedger, tmp_path: Path) -> None:
    books = reviewed(ledger)
    made = signed_by(books, books.draft().message)
    assert made.outcome is Outcome.STATED
    stored = facts(books)
    assert (verify(stored), Examination(stored).inputs_signers()) == ([], [APPROVER.address])
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(stored))
    read = read_archive(file)
    assert (read.damages, verify(read.facts), Examination(read.facts).inputs_signers()) == ((), [], [APPROVER.address])


def test_without_one_all_is_as_it_was(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    books.finalize(books.signature())
    stored = facts(books)
    assert (verify(stored), Examination(stored).inputs_signers()) == ([], [])
    assert b"inputs_signatures" not in archive_bytes(stored)


def test_it_may_come_later_and_from_another_approver(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    message = books.draft().message
    books.finalize(APPROVER.sign(message))
    for wallet in (APPROVER, SECOND_APPROVER):
        assert signed_by(books, message, wallet).outcome is Outcome.SIGNED
    stored = facts(books)
    assert Examination(stored).inputs_signers() == sorted([APPROVER.address, SECOND_APPROVER.address])
    signed_by(books, message)
    assert len(facts(books).inputs_signatures) == 2
    assert verify(stored) == []


def test_an_amendment_has_one_of_its_own(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    signed_by(books, books.draft().message)
    books.correct(ADA_USER, 7, "looked again")
    signed_by(books, books.draft().message)
    stored = facts(books)
    assert (verify(stored), Examination(stored).inputs_signers()) == ([], [APPROVER.address])
    assert len({row.statement_id for row in stored.inputs_signatures}) == 2


@pytest.mark.parametrize(
    ("inputs_by", "root"),
    [(STRANGER, None), (SECOND_APPROVER, None), (None, "0" * 64)],
    ids=["stranger", "other", "root"],
)
def test_one_of_another_root_or_somebody_else_is_refused_and_nothing_is_written(
    ledger: PostgresLedger, inputs_by: Wallet | None, root: str | None
) -> None:
    books = reviewed(ledger)
    with pytest.raises(WrongSignature, match="the signature of the inputs is not"):
        signed_by(books, books.draft().message, APPROVER, inputs_by, root)
    assert facts(books).statements == []


def test_what_changed_since_it_was_signed_is_refused(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    message = books.draft().message
    signature = APPROVER.sign(about_inputs(books, message))
    ledger.curation.judge(books.epoch, pull_request(1).id, Judgement("looked at it", included=True))
    inputs = SignedInputs(signature, lambda rows: inputs_root(facts_of(rows)))
    with pytest.raises(WrongSignature, match="sign what `ledger-pipeline epoch sign-data --inputs` prints now"):
        finalize(ledger, books.spec, books.epoch, APPROVER.sign(message), None, inputs)


REPLACED: dict[str, Callable[[EpochFacts], EpochFacts]] = {
    "an event": lambda stored: changed(stored, "events", 0, artifact_url="https://github.com/acme/other/pull/1"),
    "a note": lambda stored: changed(stored, "curation", 0, note="as agreed"),
    "an evidence": lambda stored: changed(stored, "pool", 0, evidence_ref="https://vote.example/43"),
}


@pytest.mark.parametrize("name", REPLACED)
def test_what_the_contracts_signature_does_not_cover_is_found_replaced(ledger: PostgresLedger, name: str) -> None:
    books = reviewed(ledger)
    signed_by(books, books.draft().message)
    replaced = REPLACED[name](facts(books))
    [difference] = verify(replaced)
    assert difference.where.startswith(f"inputs_signatures {APPROVER.address} of ")
    assert "signed were events and decisions of root" in difference.problem
    assert Examination(replaced).inputs_signers() == []


def test_a_row_that_is_no_such_signature_counts_for_nothing_and_blocks_nothing(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    signed_by(books, books.draft().message)
    copy = """
        INSERT INTO statement_inputs_signatures (node_id, epoch_id, statement_id, signer_wallet, inputs_root, signature)
        SELECT node_id, epoch_id, statement_id, {wallet}, {root}, {signature} FROM statement_inputs_signatures LIMIT 1
    """
    garbage = [
        copy.format(wallet="signer_wallet", root="repeat('0', 64)", signature="signature"),
        copy.format(wallet="signer_wallet", root="inputs_root", signature=f"'0x{'00' * 64}1b'"),
    ]
    with ledger_engine.begin() as connection:
        for statement in garbage:
            connection.execute(text(statement))
    of_stranger = copy.format(wallet=f"'{STRANGER.address}'", root="inputs_root", signature="signature")
    assert f"{STRANGER.address} is not among the approvers that the epoch pinned" in refused(ledger_engine, of_stranger)
    stored = facts(books)
    assert (len(stored.inputs_signatures), len(Examination(stored).inputs_signatures())) == (3, 1)
    assert (verify(stored), Examination(stored).inputs_signers()) == ([], [APPROVER.address])
    # The owner takes out what is none, and what is one stays.
    rows = ledger.statements.inputs_signatures(books.epoch)
    [good] = Examination(stored).inputs_signatures()
    for row in rows:
        if (row.signature, row.inputs_root) == (good.signature, good.inputs_root):
            with pytest.raises(EpochNotReady, match=f"{row.id} verifies: what verifies stays"):
                set_aside(ledger, books.spec, row.id, "why not")
        else:
            set_aside(ledger, books.spec, row.id, "it is none")
    assert [row.inputs_root for row in facts(books).inputs_signatures] == [good.inputs_root]


def test_they_are_kept_for_ever(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    signed_by(books, books.draft().message)
    for change in ("UPDATE {} SET inputs_root = inputs_root", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
        assert "statement_inputs_signatures" in refused(ledger_engine, change.format("statement_inputs_signatures"))


def test_an_archive_has_no_empty_list_of_them(ledger: PostgresLedger, tmp_path: Path) -> None:
    books = reviewed(ledger)
    signed_by(books, books.draft().message)
    members = members_of(archive_bytes(facts(books)))
    file = tmp_path / "epoch.zip"
    file.write_bytes(rehashed({**members, "inputs_signatures.jsonl": b""}))
    [damage] = read_archive(file).damages
    assert str(damage) == "inputs_signatures.jsonl: it is empty, and no archive of ours has it then"
    file.write_bytes(rehashed(members))
    assert read_archive(file).damages == ()
