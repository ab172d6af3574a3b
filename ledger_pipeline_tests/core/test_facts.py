"""Facts beside events: one spelling, one hash, and nothing that is wrong is read."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import FactsError
from ledger_pipeline.core.facts import (
    CLOSER_KINDS,
    DELETED,
    PERSON,
    Account,
    Closer,
    CoAuthor,
    Facts,
    IssueFacts,
    PullRequestFacts,
    ReviewFacts,
    completed,
    facts_from_json,
    facts_hash,
    facts_json,
    facts_set_hash,
    facts_text,
    gone,
)
from ledger_pipeline.core.sources import ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED

ONE, TWO = "a" * 40, "b" * 40

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
shas = st.sampled_from([ONE, TWO, "c" * 64])
ids = st.integers(1, 10**9).map(str)
items = st.sampled_from(["cogni-dao/ledger#1", "x/y#22"])
accounts = st.builds(Account, id=ids, login=st.none() | texts, type=st.none() | texts)
co_authors = st.builds(CoAuthor, id=ids) | st.builds(CoAuthor, email_hash=st.just("0" * 64))
closers = (
    st.sampled_from(CLOSER_KINDS).map(Closer)
    | items.map(lambda name: Closer("pull_request", name))
    | shas.map(lambda name: Closer("commit", name))
)


def sets(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(values, max_size=4).map(tuple)


labels = sets(texts)
flags = st.none() | st.booleans()
pull_request_facts = st.builds(
    PullRequestFacts,
    author=st.none() | accounts,
    base_branch=st.none() | texts,
    head_branch=st.none() | texts,
    is_base_default=flags,
    merge_commit_sha=st.none() | shas,
    commit_shas=sets(shas),
    labels=labels,
    is_draft=flags,
    merged_by=st.none() | accounts,
    co_authors=sets(co_authors),
    closes=sets(items),
    changed_paths=sets(texts),
)
review_facts = st.builds(
    ReviewFacts,
    pull_request_author=st.none() | accounts,
    base_branch=st.none() | texts,
    is_base_default=flags,
    is_merged=flags,
    labels=labels,
    has_body=flags,
    comment_count=st.none() | st.integers(0, 9),
)
issue_facts = st.builds(
    IssueFacts,
    closed_by=st.none() | accounts,
    closer=st.none() | closers,
    state_reason=st.none() | texts,
    labels=labels,
)
any_facts = (
    st.sampled_from([PR_MERGED, REVIEW_SUBMITTED, ISSUE_CLOSED]).map(gone)
    | pull_request_facts
    | review_facts
    | issue_facts
)

EVENT_TYPE = {PullRequestFacts: PR_MERGED, ReviewFacts: REVIEW_SUBMITTED, IssueFacts: ISSUE_CLOSED}


def test_what_is_unknown_is_left_out_and_what_is_empty_is_not() -> None:
    facts = PullRequestFacts(labels=(), is_draft=False, author=Account(type=DELETED))
    assert facts_text(facts) == ('{"author":{"type":"Deleted"},"eventType":"pr_merged","isDraft":false,"labels":[]}')
    assert facts_hash(facts) != facts_hash(PullRequestFacts(is_draft=False, author=Account(type=DELETED)))
    assert facts_hash(PullRequestFacts()) != facts_hash(ReviewFacts())


@pytest.mark.parametrize("some_facts", [pull_request_facts, review_facts, issue_facts])
@given(data=st.data())
def test_facts_are_completed_by_what_was_known_and_lose_nothing_of_their_own(
    some_facts: st.SearchStrategy[Facts], data: st.DataObject
) -> None:
    earlier, facts = data.draw(some_facts), data.draw(some_facts)
    assert facts_json(completed(facts, earlier)) == {**facts_json(earlier), **facts_json(facts)}
    event_type = EVENT_TYPE[type(facts)]
    assert completed(facts, gone(event_type)) == facts
    assert completed(gone(event_type), facts) == gone(event_type)


def test_of_what_is_gone_nothing_else_is_said() -> None:
    assert facts_text(gone(REVIEW_SUBMITTED)) == '{"eventType":"review_submitted","isGone":true}'


def test_a_hash_is_of_canonical_json() -> None:
    facts = ReviewFacts(Account("583231", "ada", "User"), "main", True, True, ("bug",), False, 3)
    text = (
        '{"baseBranch":"main","commentCount":3,"eventType":"review_submitted","hasBody":false,"isBaseDefault":true,'
        '"isMerged":true,"labels":["bug"],"pullRequestAuthor":{"id":"583231","login":"ada","type":"User"}}'
    )
    assert facts_hash(facts) == sha256(text.encode()).hexdigest()


@given(any_facts)
def test_facts_are_read_as_they_were_written(facts: Facts) -> None:
    assert facts_from_json(EVENT_TYPE[type(facts)], facts_json(facts)) == facts


@given(labels=st.lists(texts), shas=st.lists(shas), closes=st.lists(items), random=st.randoms())
def test_the_order_in_which_a_source_tells_a_set_never_matters(
    labels: list[str], shas: list[str], closes: list[str], random: Any
) -> None:
    authors = [CoAuthor(id="7"), CoAuthor(id="12"), CoAuthor(email_hash="f" * 64)]
    facts = PullRequestFacts(
        labels=tuple(labels), commit_shas=tuple(shas), closes=tuple(closes), co_authors=tuple(authors)
    )
    for values in (labels, shas, closes, authors):
        random.shuffle(values)
    again = PullRequestFacts(
        labels=tuple(labels * 2), commit_shas=tuple(shas), closes=tuple(closes), co_authors=tuple(authors)
    )
    assert facts == again
    assert facts_hash(facts) == facts_hash(again)


@given(st.dictionaries(texts, st.sampled_from([ONE, TWO])), st.randoms())
def test_the_hash_of_a_set_is_of_the_set(pinned: dict[str, str], random: Any) -> None:
    pairs = list(pinned.items())
    expected = facts_set_hash(pairs)
    random.shuffle(pairs)
    assert facts_set_hash(iter(pairs)) == expected
    assert facts_set_hash([*pairs, ("another", ONE)]) != expected or "another" in pinned


def test_an_event_has_one_pinned_observation() -> None:
    with pytest.raises(ValueError, match="github:pr:x/y:1 has two pinned observations"):
        facts_set_hash([("github:pr:x/y:1", ONE), ("github:pr:x/y:1", TWO)])


@pytest.mark.parametrize(
    ("event_type", "members", "message"),
    [
        (PR_MERGED, {"labels": "bug"}, "labels is a list"),
        (PR_MERGED, {"labels": ["b", "a"]}, "labels is not sorted, or holds something twice"),
        (PR_MERGED, {"labels": ["a", "a"]}, "labels is not sorted, or holds something twice"),
        (PR_MERGED, {"labels": ["a", 7]}, r"labels\[1\] is text of 1 to 2000 characters, not '7'"),
        (PR_MERGED, {"labels": None}, "labels is a list"),
        (PR_MERGED, {"labels": ["x"] * 3001}, "labels is a list of at most 3000"),
        (PR_MERGED, {"baseBranch": ""}, "baseBranch is text"),
        (PR_MERGED, {"baseBranch": "x" * 2001}, "baseBranch is text"),
        (PR_MERGED, {"baseBranch": "a\0b"}, "baseBranch holds characters that no ledger can store"),
        (PR_MERGED, {"isDraft": 1}, "isDraft is true or false, not '1'"),
        (PR_MERGED, {"mergeCommitSha": "xyz"}, "mergeCommitSha is a commit's id in hex, not 'xyz'"),
        (PR_MERGED, {"commitShas": [ONE.upper()]}, r"commitShas\[0\] is a commit's id"),
        (PR_MERGED, {"author": {"id": 583231}}, "author.id is a numeric id, as a string of digits"),
        (PR_MERGED, {"author": {"id": "0583231"}}, "author.id is a numeric id"),
        (PR_MERGED, {"author": {}}, "author is an object with something in it"),
        (PR_MERGED, {"author": {"name": "Ada"}}, "author.name is no field of these facts"),
        (PR_MERGED, {"closes": ["#12"]}, r"closes\[0\] is an item as owner/repo#12"),
        (PR_MERGED, {"coAuthors": [{"id": "1", "emailHash": "0" * 64}]}, r"coAuthors\[0\] has either"),
        (PR_MERGED, {"coAuthors": [{"emailHash": "ada@example.org"}]}, r"coAuthors\[0\].emailHash is a SHA-256"),
        (PR_MERGED, {"hasBody": True}, "hasBody is no field of these facts"),
        (REVIEW_SUBMITTED, {"commentCount": -1}, "commentCount is a number from 0"),
        (REVIEW_SUBMITTED, {"commentCount": True}, "commentCount is a number from 0"),
        (ISSUE_CLOSED, {"closer": {"kind": "cat"}}, "closer.kind is one of pull_request, commit, person, not 'cat'"),
        (ISSUE_CLOSED, {"closer": {"kind": PERSON, "name": "ada"}}, "closer.name is of a pull request or a commit"),
        (ISSUE_CLOSED, {"closer": {"kind": "commit", "name": "x/y#1"}}, "closer.name is a commit's id"),
        (ISSUE_CLOSED, {"eventType": PR_MERGED}, "eventType is 'pr_merged' for an event of type issue_closed"),
        (PR_MERGED, {"isGone": False}, "isGone is true or left out, not 'False'"),
        (ISSUE_CLOSED, {"isGone": True, "labels": []}, "isGone leaves nothing else to say of the event"),
        ("pushed", {}, "eventType there are no facts of event type 'pushed'"),
    ],
)
def test_what_is_wrong_is_named(event_type: str, members: dict[str, Any], message: str) -> None:
    with pytest.raises(FactsError, match=f"^{message}"):
        facts_from_json(event_type, {"eventType": event_type, **members})


@pytest.mark.parametrize("stored", [None, [], "facts", 7, {}])
def test_what_is_no_object_is_refused(stored: object) -> None:
    with pytest.raises(FactsError, match=r"^facts is an object"):
        facts_from_json(PR_MERGED, stored)
