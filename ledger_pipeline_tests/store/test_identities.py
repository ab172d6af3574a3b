"""Who is who: bindings that contradict nothing, a move that leaves what is paid, and whose work counts for nobody."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, event

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.events import Actor
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement, NewBinding, UnresolvedAccount
from ledger_pipeline_tests.builders import ADA, GRACE, issue, pull_request, review, weeks
from ledger_pipeline_tests.store.settlement import ADA_USER, GRACE_USER, Books, bound, collected, finalized, reviewed

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


def test_a_move_takes_along_the_curation_of_epochs_not_finalized_and_of_no_other(ledger: PostgresLedger) -> None:
    paid_week, review_week, open_week, later_week = weeks(4, "2026-02-09")
    paid = finalized(ledger, pull_request(1, at="2026-02-09T00:00:00Z"), of=paid_week)
    in_review = reviewed(ledger, pull_request(2, at="2026-02-16T00:00:00Z"), review(2), of=review_week)
    still_open = collected(ledger, pull_request(3, at="2026-02-24T00:00:00Z"), of=open_week)
    still_open.materialize()
    uncurated = collected(ledger, pull_request(4, at="2026-03-03T00:00:00Z"), of=later_week)

    assert ledger.identities.move(NewBinding(GITHUB, str(ADA.user_id), "countess")) == 2

    assert bindings(ledger) == {str(ADA.user_id): "countess", str(GRACE.user_id): GRACE_USER}
    assert (users(paid), users(in_review)) == ({ADA_USER}, {"countess", GRACE_USER})
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
    assert len(statements) == 1
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
