"""Whoever takes no pay leaves the total before it is shared: pinned, stated, archived, recomputed; with a way back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.errors import EpochNotReady, IdentityError, StoreError, UnprovenLink, UsedNonce
from ledger_pipeline.core.opting import OPTED_OUT, make_opt_out_message
from ledger_pipeline.core.pins import epoch_pins
from ledger_pipeline.pipeline.opting import choose_by_wallet
from ledger_pipeline.pipeline.what_if import Supposition, what_if
from ledger_pipeline.store.link_records import Evidence, RestsOn, SignedMessage
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import ADA, GRACE, REPO, weeks
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVERS,
    GRACE_USER,
    POOL,
    SECOND_APPROVER,
    STRANGER,
    Books,
    Wallet,
    collected,
    finalized,
    refused,
    reviewed,
)

GRACES_ACCOUNT = f"identity:github:{GRACE.user_id}"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
ADAS_WALLET = STRANGER


def payouts(books: Books) -> dict[str, str]:
    return {line["userId"]: line["amountCredits"] for line in books.ledger.statements.of(books.epoch)[-1].payouts}


def opt_out(ledger: PostgresLedger, claimant: str, *, is_opted_out: bool = True) -> None:
    ledger.opt_outs.choose(claimant, is_opted_out=is_opted_out, reason="they said so in the call")


def link_adas_wallet(ledger: PostgresLedger, wallet: Wallet = ADAS_WALLET, number: int = 1) -> None:
    signed = SignedMessage(f"message {number}", f"{number:032x}", wallet.address, f"0x{number:0128x}1b")
    evidence = Evidence(RestsOn.OPERATOR, reason="she said so", signed=signed)
    ledger.identities.link(NewBinding("github", str(ADA.user_id), ADA_USER), evidence)


def message(ledger: PostgresLedger, *, is_opted_out: bool = True, nonce: int = 1, wallet: Wallet = ADAS_WALLET) -> str:
    return make_opt_out_message(
        node_id=ledger.node_id,
        user_id=ADA_USER,
        is_opted_out=is_opted_out,
        wallet=wallet.address,
        nonce=f"{nonce:032x}",
        until=NOW + timedelta(days=7),
    ).text()


def test_their_units_leave_the_total_and_the_others_share_the_pool_archived_and_recomputed(
    ledger: PostgresLedger, tmp_path: Path
) -> None:
    opt_out(ledger, GRACE_USER)
    books = finalized(ledger)
    assert payouts(books) == {ADA_USER: str(POOL)}
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert facts.pinned_spec[OPTED_OUT] == [GRACE_USER]
    write_archive(facts, tmp_path / "epoch.zip")
    archive = read_archive(tmp_path / "epoch.zip")
    assert (archive.damages, verify(archive.facts)) == ((), [])
    [left_out] = Examination(archive.facts).left_out_of(GRACE_USER)
    assert left_out.because == "they took no pay when the epoch closed"
    # Whoever puts them in, or somebody else out, makes a difference.
    for opted_out in ([], [ADA_USER], [GRACE_USER, ADA_USER], "all"):
        forged = facts.model_copy(update={"pinned_spec": {**facts.pinned_spec, OPTED_OUT: opted_out}})
        assert verify(forged), opted_out
    units = [facts.allocations[0].model_copy(update={"user_id": GRACE_USER, "final_units": 5, "proposed_units": 0})]
    wheres = [str(row) for row in verify(facts.model_copy(update={"allocations": [*facts.allocations, *units]}))]
    assert any(f"payout of {GRACE_USER}: they took no pay" in where for where in wheres)


def test_an_account_that_nobody_linked_may_take_no_pay_and_everybody_comes_back_for_what_closes_later(
    ledger: PostgresLedger,
) -> None:
    first, second, third = weeks(3, "2026-02-16")
    before = finalized(ledger, users={ADA.user_id: ADA_USER}, of=first)
    opt_out(ledger, GRACES_ACCOUNT)
    without = reviewed(ledger, users={}, of=second)
    opt_out(ledger, GRACES_ACCOUNT, is_opted_out=False)
    # What it closed with counts, whoever has chosen otherwise since, and whatever was signed stays.
    without.materialize()
    without.finalize(without.signature())
    again = finalized(ledger, users={}, of=third)
    assert [list(payouts(books)) for books in (before, without, again)] == [
        [GRACES_ACCOUNT, ADA_USER],
        [ADA_USER],
        [GRACES_ACCOUNT, ADA_USER],
    ]
    assert [choice.is_opted_out for choice in ledger.opt_outs.history(GRACES_ACCOUNT)] == [True, False]
    assert ledger.opt_outs.present() == []
    with pytest.raises(IdentityError, match="takes pay already"):
        opt_out(ledger, GRACES_ACCOUNT, is_opted_out=False)


def test_an_open_epoch_proposes_by_what_is_chosen_now_and_one_in_review_stays(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    opt_out(ledger, ADA_USER)
    assert [allocation.user_id for allocation in books.materialize()] == [GRACE_USER]
    supposed = what_if(ledger, books.scope, books.epoch, Supposition(None, {}))
    assert [contributor.user_id for contributor in supposed.contributors] == [GRACE_USER]
    opt_out(ledger, ADA_USER, is_opted_out=False)
    assert [allocation.user_id for allocation in books.materialize()] == [ADA_USER, GRACE_USER]
    books.close()
    draft = books.draft()
    opt_out(ledger, GRACE_USER)
    books.materialize()
    assert books.draft() == draft


def test_a_decision_for_somebody_who_takes_no_pay_is_in_the_way_of_signing_and_of_amending(
    ledger: PostgresLedger,
) -> None:
    opt_out(ledger, GRACE_USER)
    books = reviewed(ledger)
    ledger.allocations.decide(books.epoch, GRACE_USER, 500, "they earned it")
    with pytest.raises(EpochNotReady, match=f"{GRACE_USER}\\W takes no pay of this epoch, and has 500 milli-units"):
        books.draft()
    ledger.allocations.decide(books.epoch, GRACE_USER, None, None)
    books.finalize(books.signature())
    books.correct(GRACE_USER, 500, "they earned it")
    with pytest.raises(EpochNotReady, match="takes no pay of this epoch"):
        books.draft()
    assert payouts(books) == {ADA_USER: str(POOL)}


def test_their_own_wallet_signs_for_it_once_and_no_other_does(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    text = message(ledger)
    with pytest.raises(UnprovenLink, match="has shown a wallet"):
        choose_by_wallet(ledger, books.scope, text, ADAS_WALLET.sign(text), NOW)
    link_adas_wallet(ledger)
    with pytest.raises(UnprovenLink, match="recovers to"):
        choose_by_wallet(ledger, books.scope, text, SECOND_APPROVER.sign(text), NOW)
    others = message(ledger, wallet=SECOND_APPROVER)
    with pytest.raises(UnprovenLink, match=f"is {ADAS_WALLET.address}, and {SECOND_APPROVER.address} signed"):
        choose_by_wallet(ledger, books.scope, others, SECOND_APPROVER.sign(others), NOW)
    assert ledger.opt_outs.present() == []
    choose_by_wallet(ledger, books.scope, text, ADAS_WALLET.sign(text), NOW)
    [choice] = ledger.opt_outs.present()
    assert choice.signed is not None
    assert (choice.claimant, choice.signed.message, choice.why) == (
        ADA_USER,
        text,
        f"signed by wallet {ADAS_WALLET.address}",
    )
    back = message(ledger, is_opted_out=False, nonce=2)
    choose_by_wallet(ledger, books.scope, back, ADAS_WALLET.sign(back), NOW)
    with pytest.raises(UsedNonce):
        choose_by_wallet(ledger, books.scope, text, ADAS_WALLET.sign(text), NOW)
    assert ledger.opt_outs.names() == frozenset()


def test_a_choice_without_a_signature_needs_a_reason_that_says_something(ledger: PostgresLedger) -> None:
    with pytest.raises(IdentityError, match="needs a reason"):
        ledger.opt_outs.choose(ADA_USER, is_opted_out=True, reason="\u200b")
    with pytest.raises(IdentityError, match="names no claimant"):
        ledger.opt_outs.choose("identity:github", is_opted_out=True, reason="x")


@pytest.mark.parametrize("opted_out", [{ADA_USER}, {ADA_USER, GRACE_USER}, set()])
def test_the_database_closes_an_epoch_with_nobody_but_those_who_take_no_pay(
    ledger: PostgresLedger, ledger_engine: Engine, opted_out: set[str]
) -> None:
    books = collected(ledger).read()
    books.materialize()
    opt_out(ledger, GRACE_USER)
    pins = epoch_pins(books.scope, books.epoch.weights_milli, (), opted_out)
    with pytest.raises(StoreError, match="closes with others taking no pay than do so"):
        ledger.epochs.close(books.epoch.id, pins)
    for change in ("UPDATE opt_outs SET is_opted_out = false", "DELETE FROM opt_outs", "TRUNCATE opt_outs"):
        assert "opt_outs" in refused(ledger_engine, change)
    books.close()


def test_the_commands_print_the_message_keep_the_choice_and_show_it_to_approvers(
    ledger: PostgresLedger, command: Command, ledger_url: str, tmp_path: Path
) -> None:
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    books = collected(ledger)
    link_adas_wallet(ledger)
    printed = command("identities", "opt-out-message", "--user", ADA_USER, **given)
    file = tmp_path / "message.txt"
    file.write_text(printed.out)
    signed = ("--message", str(file), "--signature", ADAS_WALLET.sign(printed.out))
    assert "takes no pay, in epochs that close from now on" in command("identities", "opt-out", *signed, **given).out
    account = ("identities", "opt-out", "--claimant", "identity:github:7")
    assert command(*account, **given).code == 2
    assert command(*account, "--reason", "a bot of ours", **given).code == 0
    rows = {row["claimant"]: row["reason"] for row in command("identities", "opt-outs", "--json", **given).json}
    assert rows == {ADA_USER: None, "identity:github:7": "a bot of ours"}
    assert "2 claimants without pay" in command("identities", "opt-outs", **given).out
    books.materialize()
    books.close()
    shown = command("epoch", "show", "--epoch", books.of.key, **given).out
    assert f"takes no pay of it: {ADA_USER}, signed by wallet {ADAS_WALLET.address}" in shown
    page = tmp_path / "page.html"
    assert command("report", "--epoch", books.of.key, "--output", str(page), **given).code == 0
    assert f"{ADA_USER} takes no pay of it" in page.read_text()
    assert command(*account, "--back", "--reason", "it is a person", **given).code == 0
    assert ledger.opt_outs.names() == {ADA_USER}
