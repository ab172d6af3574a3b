"""A pull request is of its author and its co-authors where the policy says so: by pinned facts, archived, verified."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.facts import CoAuthor, PullRequestFacts
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.pipeline.what_if import Supposition, what_if
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import CoAuthorRecord, EpochFacts
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import GRACE, pull_request, review
from ledger_pipeline_tests.pipeline.test_selection import INTO_DEFAULT, choice, observe
from ledger_pipeline_tests.store.settlement import ADA_USER, GRACE_USER, Books, collected, refused, rows_of

SHARED, ALONE, REVIEWED = pull_request(1), pull_request(2), review(2)
EMAIL = sha256(b"katherine@example.org").hexdigest()
ANNIE, KATHERINE = "identity:github:77", f"identity:email:{EMAIL}"
WITH_THREE = PullRequestFacts(
    **{
        **vars(INTO_DEFAULT),
        "co_authors": (CoAuthor(id=str(GRACE.user_id)), CoAuthor(id="77"), CoAuthor(email_hash=EMAIL)),
    }
)


def shares(**settings: object) -> SelectionChoice:
    return choice("fair-v1", {"co_authors": "share", "own_reviews": True, **settings})


def shared(ledger: PostgresLedger, selection: SelectionChoice | None = None) -> Books:
    """An open epoch with a pull request of Ada's that three have a part of, one of hers alone, and Grace's review."""
    books = collected(ledger, SHARED, ALONE, REVIEWED).with_scope(selection=selection or shares())
    observe(books, {SHARED: WITH_THREE, ALONE: INTO_DEFAULT})
    return books


def units(books: Books) -> dict[str, tuple[int, int]]:
    return {row.user_id: (row.proposed_units, row.activity_count) for row in books.materialize()}


def facts(books: Books) -> EpochFacts:
    return facts_of(books.ledger.statements.rows(books.epoch))


def credits_of(books: Books) -> Mapping[str, str]:
    return {line["userId"]: line["amountCredits"] for line in books.ledger.statements.of(books.epoch)[-1].payouts}


def test_units_are_shared_equally_and_no_thousandth_is_lost(ledger: PostgresLedger) -> None:
    books = shared(ledger, shares(reviews_per_pull_request=0))
    assert units(books) == {ADA_USER: (1250, 2), GRACE_USER: (250, 1), ANNIE: (250, 1), KATHERINE: (250, 1)}
    # Three of them: what is left of 1000 is of the first key, and accounts come before users.
    without_annie = shares(reviews_per_pull_request=0, not_co_authors=["77"])
    assert units(books.with_scope(selection=without_annie)) == {
        ADA_USER: (1333, 2),
        GRACE_USER: (333, 1),
        KATHERINE: (334, 1),
    }


def test_without_the_setting_the_author_alone_has_it_and_nothing_more_is_pinned(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = shared(ledger, choice("fair-v1", {"own_reviews": True, "co_authors": "author"}))
    assert units(books)[ADA_USER] == (2000, 2)
    assert rows_of(ledger_engine, "activity_co_authors") == {"activity_co_authors": 0}
    books.close()
    assert books.epoch.pins is not None
    assert "co_authors" not in str(books.epoch.pins.pinned_spec)
    assert facts(books).co_authors == []


def test_what_was_shared_is_signed_archived_and_verified_from_the_archive_alone(
    ledger: PostgresLedger, tmp_path: Path
) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    assert sum(map(int, credits_of(books).values())) == 10_000
    assert credits_of(books).keys() == {ADA_USER, GRACE_USER, ANNIE, KATHERINE}
    write_archive(facts(books), tmp_path / "epoch.zip")
    archive = read_archive(tmp_path / "epoch.zip")
    assert (archive.damages, verify(archive.facts)) == ((), [])
    account = next(row for row in Examination(archive.facts).accounts() if row.user_id == KATHERINE)
    [weighed] = account.events
    assert (weighed.event_ids, weighed.weight_milli) == ((SHARED.id,), 250)


def forged(epoch: EpochFacts, *rows: CoAuthorRecord) -> list[str]:
    return [str(difference) for difference in verify(epoch.model_copy(update={"co_authors": rows}))]


def test_whoever_adds_or_takes_out_a_co_author_is_found(ledger: PostgresLedger) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    epoch = facts(books)
    mallory = CoAuthorRecord(event_id=ALONE.id, provider="github", external_id="666", user_id=None)
    added = forged(epoch, *epoch.co_authors, mallory)
    assert "shared with identity:github:666), but counts (included) follows" in added[0]
    assert any(problem.startswith("allocations identity:github:666: missing: 500 units") for problem in added)
    assert "but counts (included, shared with" in forged(epoch, *epoch.co_authors[1:])[0]
    twice = forged(epoch, *epoch.co_authors, epoch.co_authors[0])
    assert twice[0].startswith(f"selection {SHARED.id}: stated")
    moved = epoch.co_authors[0].model_copy(update={"user_id": "mallory"})
    assert any("mallory: missing: 250 units" in problem for problem in forged(epoch, moved, *epoch.co_authors[1:]))
    stray = CoAuthorRecord(event_id="github:pr:x/y:1", provider="email", external_id="x@y", user_id=None)
    assert [problem.partition(": ")[2] for problem in forged(epoch, *epoch.co_authors, stray)] == [
        "email account is not the SHA-256 of an e-mail, 64 hex digits in lower case (everybody reads what is bound)",
        "no policy decided that the event is shared",
    ]


def test_an_e_mail_is_linked_by_its_hash_and_a_user_who_is_there_twice_counts_once(ledger: PostgresLedger) -> None:
    books = shared(ledger, shares(reviews_per_pull_request=0))
    books.materialize()
    with pytest.raises(IdentityError, match="is not the SHA-256 of an e-mail"):
        ledger.identities.bind([NewBinding("email", "katherine@example.org", "user-katherine")])
    ledger.identities.bind([NewBinding("email", EMAIL, GRACE_USER)])
    assert units(books) == {ADA_USER: (1333, 2), GRACE_USER: (333, 1), ANNIE: (334, 1)}
    ledger.identities.move(NewBinding("email", EMAIL, ADA_USER))
    assert units(books) == {ADA_USER: (1333, 2), GRACE_USER: (333, 1), ANNIE: (334, 1)}
    ledger.identities.move(NewBinding("email", EMAIL, "user-katherine"))
    assert units(books)["user-katherine"] == (250, 1)


def test_linking_a_co_author_after_signing_moves_nobodys_credits(ledger: PostgresLedger) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    before = credits_of(books), facts(books)
    ledger.identities.bind([NewBinding("email", EMAIL, "user-katherine")])
    books.materialize()
    ledger.identities.move(NewBinding("email", EMAIL, GRACE_USER))
    books.materialize()
    assert (credits_of(books), facts(books)) == before


def test_a_person_who_reweighs_an_event_leaves_it_to_the_same_claimants(ledger: PostgresLedger) -> None:
    books = shared(ledger, shares(reviews_per_pull_request=0))
    books.materialize()
    ledger.curation.judge(books.epoch, SHARED.id, Judgement("it was a week of work", weight_override_milli=8002))
    assert units(books) == {ADA_USER: (3000, 2), GRACE_USER: (2000, 1), ANNIE: (2001, 1), KATHERINE: (2001, 1)}


def test_whoever_is_excluded_has_no_part(ledger: PostgresLedger) -> None:
    selection = choice("fair-v1", {"co_authors": "share"}, GRACE.login)
    books = shared(ledger, selection)
    assert units(books) == {ADA_USER: (1333, 2), ANNIE: (333, 1), KATHERINE: (334, 1)}


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM activity_co_authors",
        "UPDATE activity_co_authors SET user_id = 'mallory'",
        "INSERT INTO activity_co_authors SELECT node_id, epoch_id, event_id, 'github', '666' FROM activity_co_authors "
        "LIMIT 1",
        "TRUNCATE activity_co_authors",
    ],
)
def test_nobody_changes_with_whom_an_event_of_a_finalized_epoch_is_shared(
    ledger: PostgresLedger, ledger_engine: Engine, change: str
) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    assert f"{change.split()[0]} of activity_co_authors refused" in refused(ledger_engine, change)


@pytest.mark.parametrize(
    ("change", "blocked"),
    [
        ("DELETE FROM activity_co_authors WHERE provider = 'email'", "1 event are not decided on as its policy does"),
        ("UPDATE activity_co_authors SET user_id = 'mallory'", "its allocations do not follow from its curation"),
    ],
)
def test_what_somebody_else_changed_of_it_blocks_the_signing(
    ledger: PostgresLedger, ledger_engine: Engine, change: str, blocked: str
) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(Exception, match=blocked):
        books.draft()


def test_accounts_that_nobody_linked_are_listed_with_their_parts(ledger: PostgresLedger) -> None:
    books = shared(ledger, shares(reviews_per_pull_request=0)).bind({GRACE.user_id: GRACE_USER})
    units(books)
    listed = ledger.identities.unresolved([books.epoch])
    assert [(row.provider, row.external_id, row.login, row.events, row.units) for row in listed] == [
        ("email", EMAIL, "", 1, 250),
        ("github", "77", "", 1, 250),
    ]


def test_what_sharing_would_change_is_shown_before_anybody_votes_on_it(ledger: PostgresLedger) -> None:
    books = shared(ledger, choice("fair-v1", {"reviews_per_pull_request": 0}))
    books.materialize()
    ledger.identities.bind([NewBinding("email", EMAIL, "user-katherine")])
    change = what_if(ledger, books.scope, books.epoch, Supposition(shares(reviews_per_pull_request=0), {}))
    assert {row.user_id: (row.units_milli, row.would_be_units_milli) for row in change.changed} == {
        ADA_USER: (2000, 1250),
        GRACE_USER: (0, 250),
        ANNIE: (0, 250),
        "user-katherine": (0, 250),
    }
    assert {moved.reason for row in change.changed for moved in row.moved} == {"shares"}
    sharing = books.with_scope(selection=shares(reviews_per_pull_request=0))
    sharing.materialize()
    supposed = Supposition(choice("fair-v1", {"reviews_per_pull_request": 0}), {})
    back = what_if(ledger, sharing.scope, sharing.epoch, supposed)
    assert {row.user_id: (row.units_milli, row.would_be_units_milli) for row in back.changed} == {
        row.user_id: (row.would_be_units_milli, row.units_milli) for row in change.changed
    }


def test_readers_see_every_claimant_of_a_receipt_and_the_receipts_of_each(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = shared(ledger).bind({GRACE.user_id: GRACE_USER})
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    with ledger_engine.connect() as connection:
        receipts = {row.receipt_id: row for row in connection.execute(text("SELECT * FROM epoch_receipt_claimants"))}
        lines = connection.scalar(text("SELECT statement_lines_json FROM epoch_statements"))
    keys = [KATHERINE, ANNIE, f"user:{ADA_USER}", f"user:{GRACE_USER}"]
    assert receipts[SHARED.id].claimants_json == keys
    hashed = "".join(f"{line}\n" for line in (SHARED.id, *keys))
    assert receipts[SHARED.id].inputs_hash == sha256(hashed.encode()).hexdigest()
    assert (receipts[SHARED.id].resolver_ref, receipts[ALONE.id].resolver_ref) == (
        "fair-v1.co-authors",
        "cogni.default-author.v0",
    )
    assert {line["claimant_key"]: line["receipt_ids"] for line in lines} == {
        KATHERINE: [SHARED.id],
        ANNIE: [SHARED.id],
        f"user:{ADA_USER}": [SHARED.id, ALONE.id],
        f"user:{GRACE_USER}": [SHARED.id, REVIEWED.id],
    }
    # A login is of the account itself, and nobody saw one of a co-author's.
    assert {line["claimant"].get("providerLogin") for line in lines} == {None}
