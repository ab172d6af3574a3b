"""Nobody is lost: an account that nobody linked has its share reserved, and linking it moves nobody's credits."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.claimants import UserClaimant, claimant_of_key
from ledger_pipeline.core.errors import EpochNotReady, IdentityError
from ledger_pipeline.core.pins import CLAIMANTS
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import ADA, GRACE, pull_request, review
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    GRACE_USER,
    POOL,
    Books,
    collected,
    finalized,
    refused,
    reviewed,
)

GRACES_ACCOUNT = f"identity:github:{GRACE.user_id}"
ONLY_ADA = {ADA.user_id: ADA_USER}


def credits_of(books: Books) -> dict[str, str]:
    """Credits by claimant, of the statement in force."""
    return {line["userId"]: line["amountCredits"] for line in books.ledger.statements.of(books.epoch)[-1].payouts}


def closed_before_claimants(books: Books, engine: Engine) -> Books:
    """The epoch as a release closed it that knew none."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE epochs DISABLE TRIGGER USER"))
        connection.execute(text(f"UPDATE epochs SET pinned_spec = pinned_spec - '{CLAIMANTS}'"))
        connection.execute(text("ALTER TABLE epochs ENABLE TRIGGER USER"))
    return books


def test_an_epoch_of_which_a_third_is_unlinked_is_signed_archived_and_verified_with_that_reserved(
    ledger: PostgresLedger, tmp_path: Path
) -> None:
    # Ada's two pull requests, 2000; of an account that nobody linked one pull request, 1000: 33 % of all units.
    books = finalized(ledger, pull_request(1), pull_request(2), pull_request(3, author=GRACE), users=ONLY_ADA)
    assert credits_of(books) == {ADA_USER: "6667", GRACES_ACCOUNT: "3333"}
    [statement] = ledger.statements.of(books.epoch)
    units = [UserUnits(ADA_USER, 2000), UserUnits(GRACES_ACCOUNT, 1000)]
    assert statement.allocation_set_hash == allocation_set_hash(units)
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert facts.pinned_spec[CLAIMANTS] == 1
    write_archive(facts, tmp_path / "epoch.zip")
    archive = read_archive(tmp_path / "epoch.zip")
    assert (archive.damages, verify(archive.facts)) == ((), [])
    account = next(row for row in Examination(archive.facts).accounts() if row.user_id == GRACES_ACCOUNT)
    [weighed] = account.events
    assert (weighed.event_ids, weighed.weight_milli) == (("github:pr:cogni-dao/cogni:3",), 1000)


def test_linking_an_account_later_moves_nobodys_credits_and_no_signed_statement(ledger: PostgresLedger) -> None:
    books = finalized(ledger, users=ONLY_ADA)
    before, facts = credits_of(books), facts_of(ledger.statements.rows(books.epoch))
    books.bind({GRACE.user_id: GRACE_USER}).materialize()
    assert (credits_of(books), facts_of(ledger.statements.rows(books.epoch))) == (before, facts)
    ledger.identities.move(NewBinding("github", str(GRACE.user_id), ADA_USER))
    books.materialize()
    assert (credits_of(books), facts_of(ledger.statements.rows(books.epoch))) == (before, facts)


def test_whoever_links_or_moves_in_review_moves_nothing_that_is_to_be_signed(ledger: PostgresLedger) -> None:
    # By a tie the account has the credit that is left; as a user behind `a-user` it would be the other's.
    users = {ADA.user_id: "a-user"}
    books = reviewed(ledger, pull_request(1), pull_request(2, author=GRACE), users=users, base_issuance_credits=7)
    draft = books.draft()
    books.bind({GRACE.user_id: "b-user"}).materialize()
    assert books.draft() == draft
    ledger.identities.move(NewBinding("github", str(ADA.user_id), "z-user"))
    books.materialize()
    assert books.draft() == draft
    [unresolved] = ledger.identities.unresolved([books.epoch])
    assert unresolved.external_id == str(GRACE.user_id)
    assert {event.counts_for for event in ledger.what_if.judged_events(books.epoch)} == {"a-user", GRACES_ACCOUNT}
    books.finalize(books.signature())
    assert credits_of(books) == {GRACES_ACCOUNT: "4", "a-user": "3"}


def test_who_linked_before_an_epoch_closed_is_its_claimant_wherever_curated(
    ledger: PostgresLedger,
) -> None:
    books = collected(ledger, pull_request(1), pull_request(2, author=GRACE), users=ONLY_ADA)
    books.materialize()
    books.bind({GRACE.user_id: GRACE_USER}).close()
    ledger.identities.move(NewBinding("github", str(GRACE.user_id), "another"))
    assert {allocation.user_id for allocation in books.materialize()} == {ADA_USER, GRACE_USER}


def test_an_epoch_that_closed_before_claimants_takes_links_in_its_review_as_it_did(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = closed_before_claimants(reviewed(ledger, users=ONLY_ADA), ledger_engine)
    books.bind({GRACE.user_id: GRACE_USER})
    assert {allocation.user_id for allocation in books.materialize()} == {ADA_USER, GRACE_USER}
    assert ledger.identities.move(NewBinding("github", str(GRACE.user_id), "another")) == 1


def test_ties_are_by_the_claimants_key_so_an_account_comes_before_a_user(ledger: PostgresLedger) -> None:
    users = {ADA.user_id: "a-user"}
    books = finalized(ledger, pull_request(1), pull_request(2, author=GRACE), users=users, base_issuance_credits=7)
    assert credits_of(books) == {GRACES_ACCOUNT: "4", "a-user": "3"}
    assert [line["userId"] for line in ledger.statements.of(books.epoch)[0].payouts] == [GRACES_ACCOUNT, "a-user"]
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


def test_where_everybody_is_a_user_nothing_is_another_than_before_there_were_claimants(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    draft = books.draft()
    before = closed_before_claimants(books, ledger_engine).draft()
    assert (draft.message, draft.payouts) == (before.message, before.payouts)


def test_an_epoch_that_closed_before_shares_its_pool_among_users_alone_and_verifies(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = closed_before_claimants(reviewed(ledger, users=ONLY_ADA), ledger_engine)
    with pytest.raises(EpochNotReady, match="its allocations do not follow from its curation any more"):
        books.draft()
    books.materialize()
    books.finalize(books.signature())
    assert credits_of(books) == {ADA_USER: str(POOL)}
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []
    with pytest.raises(IdentityError, match="has a colon"):
        books.correct(GRACES_ACCOUNT, 500, "counted again")


def test_what_is_reserved_can_be_decided_and_put_right_by_a_person(ledger: PostgresLedger) -> None:
    books = reviewed(ledger, users=ONLY_ADA)
    ledger.allocations.decide(books.epoch, GRACES_ACCOUNT, 2000, "half of it is theirs")
    books.finalize(books.signature())
    assert credits_of(books) == {ADA_USER: "5000", GRACES_ACCOUNT: "5000"}
    books.amend(GRACES_ACCOUNT, 500)
    assert credits_of(books) == {ADA_USER: "8000", GRACES_ACCOUNT: "2000"}
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


@pytest.mark.parametrize("key", ["identity:github:alice", "identity:github", "identity:a:b:c", "user:ada", "a:b"])
def test_a_key_that_is_no_accounts_is_refused_by_the_code_and_by_the_database(
    ledger: PostgresLedger, ledger_engine: Engine, key: str
) -> None:
    books = reviewed(ledger)
    with pytest.raises(IdentityError):
        ledger.allocations.decide(books.epoch, key, 1, "because")
    statement = """
        INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count)
        VALUES (:node, :epoch, :key, 1, 1)
    """
    parameters = {"node": ledger.node_id, "epoch": books.epoch.id, "key": key}
    assert "is no id of a user" in refused(ledger_engine, statement, **parameters)


def test_no_user_can_be_taken_for_an_account(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger, users=ONLY_ADA)
    with pytest.raises(IdentityError, match="has a colon"):
        ledger.identities.bind([NewBinding("github", str(GRACE.user_id), GRACES_ACCOUNT)])
    for statement in (
        "UPDATE activity_curation SET user_id = :key",
        "UPDATE user_bindings SET user_id = :key",
    ):
        assert "is no id of a user" in refused(ledger_engine, statement, key=GRACES_ACCOUNT)
    assert isinstance(claimant_of_key(f"user:{ADA_USER}"), UserClaimant)
    assert books.draft()


def test_an_event_taken_from_its_user_is_a_difference(ledger: PostgresLedger) -> None:
    books = finalized(ledger, pull_request(1), review(1), users=ONLY_ADA)
    facts = facts_of(ledger.statements.rows(books.epoch))
    unlinked_curation = [row.model_copy(update={"user_id": None}) for row in facts.curation]
    wheres = [difference.where for difference in verify(facts.model_copy(update={"curation": unlinked_curation}))]
    assert f"allocations identity:github:{ADA.user_id}" in wheres
    misattributed_curation = [row.model_copy(update={"user_id": ADA_USER}) for row in facts.curation]
    wheres = [difference.where for difference in verify(facts.model_copy(update={"curation": misattributed_curation}))]
    assert f"allocations {GRACES_ACCOUNT}" in wheres
    spec_without_claimants = {name: value for name, value in facts.pinned_spec.items() if name != CLAIMANTS}
    assert verify(facts.model_copy(update={"pinned_spec": spec_without_claimants}))
    other_spec = {**facts.pinned_spec, CLAIMANTS: 2}
    wheres = [difference.where for difference in verify(facts.model_copy(update={"pinned_spec": other_spec}))]
    assert wheres == [f"repo-spec {CLAIMANTS}"]
