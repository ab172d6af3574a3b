"""What an epoch was closed without is in its archive, under the root of its inputs, and said by verify."""

from pathlib import Path

from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Exclusion
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import REPO, SCOPE_ID, note_unread, unread
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.store.settlement import collected, finalized


def closed_without(ledger: PostgresLedger, *numbers: int) -> EpochFacts:
    books = collected(ledger)
    books.materialize()
    note_unread(ledger, *(unread(number) for number in numbers))
    exclusion = Exclusion(tuple(ledger.unread.items(SCOPE_ID)), "grace", "it never comes")
    assert close(ledger, books.scope, books.epoch, exclusion)
    books.finalize(books.signature())
    return facts_of(ledger.statements.rows(books.epoch))


def test_it_is_in_the_archive_and_under_the_root_and_said(
    ledger: PostgresLedger, command: Command, tmp_path: Path
) -> None:
    facts = closed_without(ledger, 12, 13)
    assert [(row.source_scope, row.number, row.actor) for row in facts.left_out] == [
        (REPO, 12, "grace"),
        (REPO, 13, "grace"),
    ]
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(facts))
    read = read_archive(file)
    assert (read.damages, verify(read.facts), read.facts.left_out) == ((), [], facts.left_out)
    assert inputs_root(read.facts) == inputs_root(facts) != inputs_root(facts.model_copy(update={"left_out": []}))
    text = command("verify", "--archive", str(file)).out
    assert f"closed without {REPO}#12, which nobody could read, by grace: it never comes" in text


def test_only_the_first_few_of_many_are_said(ledger: PostgresLedger, command: Command, tmp_path: Path) -> None:
    facts = closed_without(ledger, *range(1, 31))
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(facts))
    text = command("verify", "--archive", str(file)).out
    assert text.count("closed without") == 20
    assert "and without 10 more" in text


def test_an_epoch_that_lacks_nothing_has_the_archive_it_always_had(ledger: PostgresLedger) -> None:
    facts = facts_of(ledger.statements.rows(finalized(ledger).epoch))
    assert b"left_out" not in archive_bytes(facts)
