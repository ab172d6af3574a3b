"""Who is who: bindings that contradict nothing, a move that leaves what is paid, and whose work counts for nobody."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, event

from ledger_pipeline.core.errors import IdentityError, StoreError, UsedNonce
from ledger_pipeline.core.events import Actor
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.store import migrations
from ledger_pipeline.store.link_records import BEFORE_EVIDENCE, Evidence, RestsOn, SignedMessage
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement, NewBinding, UnresolvedAccount
from ledger_pipeline_tests.builders import ADA, GRACE, issue, pull_request, review, weeks
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    GRACE_USER,
    Books,
    bound,
    collected,
    finalized,
    refused,
    reviewed,
)

LIN = Actor(user_id=5550001, login="lin")


def bindings(ledger: PostgresLedger) -> dict[str, str]:
    return {binding.external_id: binding.user_id for binding in ledger.identities.bindings()}


def users(books: Books) -> set[str | None]:
    return {row["user_id"] for row in books.ledger.statements.rows(books.epoch).curation}


def test_bindings_are_new_once_and_listed_by_user(ledger: PostgresLedger) -> None:
    given = bound({GRACE.user_id: "b", ADA.user_id: "a", LIN.user_id: "B"})
    assert ledger.identities.bind(given) == 3
    assert ledger.identities.bind(given) == 0
    assert ledger.identities.bind([]) == 0
    assert ledger.identities.bind([*given, NewBinding(GITHUB, "1", "one"), NewBinding(GITHUB, "1", "one")]) == 1
    assert [binding.user_id for binding in ledger.identities.bindings()] == ["B", "a", "b", "one"]
    assert all(binding.created_at.tzinfo for binding in ledger.identities.bindings())


def test_a_user_may_have_several_accounts_and_a_provider_its_own_numbers(ledger: PostgresLedger) -> None:
    assert ledger.identities.bind([NewBinding(GITHUB, "1", "ada"), NewBinding(GITHUB, "2", "ada")]) == 2
    assert ledger.identities.bind([NewBinding("forgejo", "1", "grace")]) == 1


def test_one_contradiction_names_both_users_and_stores_none_of_the_list(ledger: PostgresLedger) -> None:
    ledger.identities.bind(bound({ADA.user_id: "ada"}))
    with pytest.raises(IdentityError, match=f"github {ADA.user_id} is ada, not grace") as raised:
        ledger.identities.bind(bound({LIN.user_id: "lin", ADA.user_id: "grace"}))
    assert "lin" not in str(raised.value)
    assert bindings(ledger) == {str(ADA.user_id): "ada"}


def test_a_list_that_contradicts_itself_stores_nothing(ledger: PostgresLedger) -> None:
    with pytest.raises(IdentityError, match="github 1 is ada, not grace"):
        ledger.identities.bind([NewBinding(GITHUB, "1", "ada"), NewBinding(GITHUB, "1", "grace")])
    assert bindings(ledger) == {}


def test_of_two_users_bound_to_one_account_at_once_the_second_is_told(ledger: PostgresLedger) -> None:
    barrier = Barrier(2)

    def both_at_once(user: str) -> int | str:
        barrier.wait()
        try:
            return ledger.identities.bind(bound({ADA.user_id: user}))
        except IdentityError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(both_at_once, ("ada", "grace")))
    [refusal] = [answer for answer in answers if answer != 1]
    assert "is ada, not grace" in str(refusal) or "is grace, not ada" in str(refusal)
    assert len(bindings(ledger)) == 1


def test_a_list_of_thousands_takes_two_statements(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    statements: list[str] = []
    event.listen(ledger_engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    assert ledger.identities.bind(bound({number: f"user {number}" for number in range(1, 5001)})) == 5000
    assert len(statements) == 2


def test_a_move_takes_along_the_curation_of_open_epochs_and_of_no_other(ledger: PostgresLedger) -> None:
    paid_week, review_week, open_week, later_week = weeks(4, "2026-02-09")
    paid = finalized(ledger, pull_request(1, at="2026-02-09T00:00:00Z"), of=paid_week)
    in_review = reviewed(ledger, pull_request(2, at="2026-02-16T00:00:00Z"), review(2), of=review_week)
    still_open = collected(ledger, pull_request(3, at="2026-02-24T00:00:00Z"), of=open_week)
    still_open.materialize()
    uncurated = collected(ledger, pull_request(4, at="2026-03-03T00:00:00Z"), of=later_week)

    assert ledger.identities.move(NewBinding(GITHUB, str(ADA.user_id), "countess")) == 1

    assert bindings(ledger) == {str(ADA.user_id): "countess", str(GRACE.user_id): GRACE_USER}
    assert (users(paid), users(in_review)) == ({ADA_USER}, {ADA_USER, GRACE_USER})
    assert (users(still_open), users(uncurated)) == ({"countess"}, set())
    uncurated.materialize()
    assert users(uncurated) == {"countess"}


def test_only_a_bound_account_can_move(ledger: PostgresLedger) -> None:
    with pytest.raises(IdentityError, match="github 5550001 is not bound: bind it without --move"):
        ledger.identities.move(NewBinding(GITHUB, str(LIN.user_id), "lin"))
    assert bindings(ledger) == {}


def test_unresolved_accounts_come_with_their_latest_login_and_what_is_at_stake_most_first(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    renamed = Actor(LIN.user_id, "lin-now")
    first, second = weeks(2, "2026-02-16")
    books = collected(
        ledger,
        *(pull_request(1), review(1, author=LIN, at="2026-02-17T00:00:00Z")),
        *(issue(3, author=renamed, at="2026-02-18T00:00:00Z"), pull_request(4, author=LIN, at="2026-02-16T00:00:00Z")),
        *(issue(5, author=Actor(77, "kay")), issue(6, author=Actor(66, "jay")), issue(7, author=Actor(99, "nil"))),
        users={ADA.user_id: ADA_USER},
        of=first,
        weights_milli={"github:pr_merged": 1000, "github:review_submitted": 0, "github:issue_closed": 7},
    )
    later = collected(ledger, pull_request(8, author=LIN, at="2026-02-24T00:00:00Z"), users={}, of=second)
    books.materialize()
    # What a person said of an event counts, although nobody is bound to it yet.
    books.ledger.curation.judge(books.epoch, pull_request(4).id, Judgement("none of ours", included=False))
    books.ledger.curation.judge(books.epoch, issue(6).id, Judgement("a big one", weight_override_milli=50))
    books.ledger.curation.judge(books.epoch, review(1).id, Judgement("thorough", weight_override_milli=40))

    statements: list[str] = []
    event.listen(ledger_engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    epochs = [books.epoch, later.epoch]
    statements.clear()
    unresolved = ledger.identities.unresolved(epochs)
    assert unresolved == [
        UnresolvedAccount(GITHUB, str(LIN.user_id), "lin", events=4, units=1000 + 40 + 7),
        UnresolvedAccount(GITHUB, "66", "jay", events=1, units=50),
        UnresolvedAccount(GITHUB, "77", "kay", events=1, units=7),
        UnresolvedAccount(GITHUB, "99", "nil", events=1, units=7),
    ]
    assert len(statements) == 2  # however many epochs there are
    assert ledger.identities.unresolved([books.epoch])[1].login == "lin-now"
    assert ledger.identities.unresolved([]) == []


def test_an_account_bound_since_is_resolved_by_the_next_materialization_and_not_listed(ledger: PostgresLedger) -> None:
    open_, paid = weeks(2, "2026-02-16")
    books = collected(ledger, pull_request(1, author=LIN), users={}, of=open_)
    books.materialize()
    done = finalized(
        ledger, *(pull_request(n, author=who, at="2026-02-24T00:00:00Z") for n, who in ((8, ADA), (9, LIN))), of=paid
    )
    assert [person.events for person in ledger.identities.unresolved([books.epoch, done.epoch])] == [2]
    ledger.identities.bind(bound({LIN.user_id: "lin"}))
    assert ledger.identities.unresolved([books.epoch]) == []
    # A finalized epoch resolves nobody any more: what Lin did there stays unpaid, and is not hidden.
    assert [person.login for person in ledger.identities.unresolved([done.epoch])] == ["lin"]


# What a binding rests on, and what a user's wallet is.

MESSAGE_OF = "a message that its wallet signed, number {}"
WALLET, OTHER_WALLET = "0x00000000000000000000000000000000000000A1", "0x00000000000000000000000000000000000000A2"


def signed(number: int, wallet: str = WALLET) -> SignedMessage:
    return SignedMessage(MESSAGE_OF.format(number), f"{number:032x}", wallet, f"0x{number:0128x}1b")


def proof(number: int, wallet: str = WALLET) -> Evidence:
    return Evidence(RestsOn.PROOF, signed=signed(number, wallet), proof_url=f"https://gist.github.com/x/{number}")


def vouched(number: int, wallet: str = WALLET) -> Evidence:
    return Evidence(
        RestsOn.APPROVER, signed=signed(number, wallet), approver=OTHER_WALLET, approver_signature=f"0x{7:0128x}1c"
    )


def account(number: int, user_id: str = "ada") -> NewBinding:
    return NewBinding(GITHUB, str(number), user_id)


def evidence_of(ledger: PostgresLedger) -> dict[str, Evidence]:
    return {binding.external_id: binding.evidence for binding in ledger.identities.bindings()}


def test_every_binding_that_an_account_had_is_kept_with_what_it_rested_on(ledger: PostgresLedger) -> None:
    ledger.identities.bind([account(1)], "in the list of members")
    ledger.identities.link(account(1), proof(1))
    ledger.identities.move(account(1, "grace"), "the account was sold")
    history = ledger.identities.history(GITHUB, "1")
    assert [(link.place, link.user_id, link.evidence) for link in history] == [
        (1, "ada", Evidence(RestsOn.OPERATOR, reason="in the list of members")),
        (2, "ada", proof(1)),
        (3, "grace", Evidence(RestsOn.OPERATOR, reason="the account was sold")),
    ]
    assert all(link.linked_at.tzinfo and link.actor for link in history)
    [present] = ledger.identities.bindings()
    assert (present.user_id, present.evidence, present.linked_at) == (
        "grace",
        history[2].evidence,
        history[2].linked_at,
    )
    assert ledger.identities.history(GITHUB, "2") == []


def test_a_binding_and_a_move_need_a_reason_that_says_something(ledger: PostgresLedger) -> None:
    with pytest.raises(IdentityError, match="needs a reason"):
        ledger.identities.bind([account(1)], " ")
    ledger.identities.bind([account(1)])
    with pytest.raises(IdentityError, match="needs a reason"):
        ledger.identities.move(account(1, "grace"), "\u200b")
    assert bindings(ledger) == {"1": "ada"}


def test_bindings_of_before_come_along_as_such_and_are_proven_later(
    ledger: PostgresLedger, ledger_url: str, ledger_engine: Engine
) -> None:
    ledger.identities.bind([account(1), account(2, "grace")], "a list")
    migrations.downgrade(ledger_url, "0075")
    migrations.upgrade(ledger_url)
    assert evidence_of(ledger) == {"1": BEFORE_EVIDENCE, "2": BEFORE_EVIDENCE}
    ledger.identities.link(account(1), proof(1))
    ledger.identities.move(account(2), "she is ada, too")
    assert bindings(ledger) == {"1": "ada", "2": "ada"}
    assert [link.place for link in ledger.identities.history(GITHUB, "2")] == [1, 2]
    with pytest.raises(StoreError, match="refused: 1 links with a wallet's signature are kept there"):
        migrations.downgrade(ledger_url, "0075")


def test_a_message_links_once_whatever_the_account(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.identities.link(account(1), proof(1))
    with pytest.raises(UsedNonce, match="a message links once"):
        ledger.identities.link(account(1), proof(1))
    with pytest.raises(UsedNonce):
        ledger.identities.link(account(2, "grace"), proof(1, OTHER_WALLET))
    copied = (
        "INSERT INTO account_links (node_id, provider, external_id, place, user_id, rests_on, wallet, message, "
        "signature, nonce, proof_url) SELECT node_id, provider, '2', 1, user_id, rests_on, wallet, message, signature, "
        "nonce, proof_url FROM account_links"
    )
    assert "account_links_node_id_nonce_key" in refused(ledger_engine, copied)


def test_of_two_links_by_one_message_at_once_one_is_stored(ledger: PostgresLedger) -> None:
    barrier = Barrier(2)

    def both_at_once(number: int) -> str:
        barrier.wait()
        try:
            ledger.identities.link(account(number), proof(1))
        except UsedNonce:
            return "used"
        return "linked"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(both_at_once, (1, 2))) == ["linked", "used"]
    assert len(bindings(ledger)) == 1


def test_a_proof_takes_no_account_from_another_user(ledger: PostgresLedger) -> None:
    ledger.identities.bind([account(1)])
    for evidence in (proof(1), vouched(2)):
        with pytest.raises(IdentityError, match="github 1 is ada, not grace: an operator corrects that"):
            ledger.identities.link(account(1, "grace"), evidence)
    assert bindings(ledger) == {"1": "ada"}


def test_nobody_links_an_account_of_theirs_to_a_user_whose_wallet_they_do_not_hold(ledger: PostgresLedger) -> None:
    ledger.identities.bind([account(1)])
    with pytest.raises(IdentityError, match=r"has accounts \(github 1\) and no wallet yet: link one of these first"):
        ledger.identities.link(account(2), proof(1))
    ledger.identities.link(account(1), proof(2))
    ledger.identities.link(account(2), proof(3, WALLET.lower()))
    with pytest.raises(IdentityError, match=f"has wallet {WALLET.lower()}, not {OTHER_WALLET}: sign with that one, or"):
        ledger.identities.link(account(3), proof(4, OTHER_WALLET))
    assert bindings(ledger) == {"1": "ada", "2": "ada"}


def test_a_wallet_that_was_lost_is_replaced_by_one_that_is_vouched_for(ledger: PostgresLedger) -> None:
    ledger.identities.link(account(1), proof(1))
    ledger.identities.link(account(1), vouched(2, OTHER_WALLET))
    ledger.identities.link(account(2), proof(3, OTHER_WALLET))
    with pytest.raises(IdentityError, match=f"has wallet {OTHER_WALLET}"):
        ledger.identities.link(account(3), proof(4))


def test_a_link_changes_nothing_that_was_finalized(ledger: PostgresLedger) -> None:
    books = finalized(ledger, pull_request(1), review(1))
    before = ledger.statements.rows(books.epoch)
    ledger.identities.link(NewBinding(GITHUB, str(ADA.user_id), ADA_USER), proof(1))
    ledger.identities.link(NewBinding(GITHUB, str(LIN.user_id), "lin"), proof(2, OTHER_WALLET))
    ledger.identities.move(NewBinding(GITHUB, str(ADA.user_id), "countess"), "she married")
    assert ledger.statements.rows(books.epoch) == before
