"""What a scan tells beside its events: facts as GitHub has them, unknown where it does not say, and never at a cost."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.facts import (
    COMMIT,
    DELETED,
    PERSON,
    Account,
    Closer,
    CoAuthor,
    Facts,
    IssueFacts,
    PullRequestFacts,
    ReviewFacts,
    facts_from_json,
    facts_json,
)
from ledger_pipeline.core.sources import GITHUB_STREAMS, REVIEWS
from ledger_pipeline.sources.github.fact_fields import FACT_FIELDS
from ledger_pipeline.sources.github.facts import (
    default_branch,
    facts_of_reviews,
    issue_facts,
    pull_request_facts,
    review_facts,
)
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.faults import ForbiddenField, NullNode, OddField
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, Review, World
from ledger_pipeline_tests.sources.github.github_source import event_ids, github_source, scan, scan_on
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    pull_request,
    repository,
    review,
    world,
)

BO, CY = Actor("bo", 8), Actor("cy", 9)
ONE, TWO = "a" * 40, "b" * 40
ANAS = Account("7", "ana", "User")


def by(author: Actor, number: int, body: str = "") -> Review:
    """A review of somebody's."""
    return replace(review(number), author=author, body=body)


ITEMS = (
    replace(
        merged(1),
        merged_by=BO,
        merge_commit=ONE,
        merge_message="Change 1\n\nCo-authored-by: Cy <9+cy@users.noreply.github.com>\nCo-authored-by: Di <di@x.org>",
        commits=(TWO, ONE),
        closes=(3,),
        labels=("fix", "bug"),
        head_ref_name="fix/1",
        reviews=(by(BO, 1, "Good."), by(CY, 2, " \n")),
    ),
    replace(pull_request(2, base_ref_name="next", reviews=(by(BO, 3),)), author=None, is_draft=True),
    issue(3, closures=(Closure(NOON, closed_by=BO, pull_request=1),), labels=("bug",)),
    issue(4, closures=(Closure(NOON, closed_by=BO),)),
    issue(5, closures=(Closure(MONDAY, closed_by=CY, reopened_at=MONDAY), Closure(NOON, closed_by=BO, commit=TWO))),
)


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    github.replace_world(world(*ITEMS))
    return github


def facts_by_id(*pages: ScanPage) -> dict[str, Facts]:
    """The facts of each event by what is left of its id, once each of them has been seen to be one."""
    ids = [observed.event_id for page in pages for observed in page.facts]
    assert sorted(ids) == sorted(event.id for page in pages for event in page.events)
    return {
        observed.event_id.removeprefix("github:").replace(f":{NAME}", ""): observed.facts
        for page in pages
        for observed in page.facts
    }


MERGED = PullRequestFacts(
    author=ANAS,
    base_branch="main",
    head_branch="fix/1",
    is_base_default=True,
    merge_commit_sha=ONE,
    commit_shas=(ONE, TWO),
    labels=("bug", "fix"),
    is_draft=False,
    merged_by=Account("8", "bo", "User"),
    co_authors=(CoAuthor(id="9"), CoAuthor(email_hash=sha256(b"di@x.org").hexdigest())),
    closes=(f"{NAME}#3",),
)
OF_REVIEWS = ReviewFacts(ANAS, "main", True, True, ("bug", "fix"))
BOS = Account("8", "bo", "User")


@pytest.mark.parametrize("page_size", [100, 1])
def test_a_scan_tells_the_facts_of_its_events_in_its_own_requests(github: Simulator, page_size: int) -> None:
    pages = scan(github.url, MONDAY, page_size=page_size)
    assert facts_by_id(*pages) == {
        "pr:1": MERGED,
        "review:1:4000000001": replace(OF_REVIEWS, has_body=True),
        "review:1:4000000002": replace(OF_REVIEWS, has_body=False),
        "review:2:4000000003": ReviewFacts(Account(type=DELETED), "next", False, False, (), False),
        "issue:3": IssueFacts(BOS, Closer("pull_request", f"{NAME}#1"), "COMPLETED", ("bug",)),
        "issue:4": IssueFacts(BOS, Closer(PERSON), "COMPLETED", ()),
        "issue:5": IssueFacts(BOS, Closer(COMMIT, TWO), "COMPLETED", ()),
    }
    assert len(github.requests) == len(pages) == (1 if page_size == 100 else 3)


def test_reviews_that_come_by_themselves_have_the_facts_of_their_pull_request(github: Simulator) -> None:
    reviews = tuple(by(BO, n, "x") for n in range(150))
    github.replace_world(world(replace(ITEMS[0], reviews=reviews)))
    facts = facts_by_id(*scan(github.url, MONDAY, streams=[REVIEWS]))
    assert len(facts) == 150
    assert set(facts.values()) == {replace(OF_REVIEWS, has_body=True)}


def test_an_item_that_is_asked_for_by_number_has_the_same_facts(github: Simulator) -> None:
    expected = facts_by_id(*scan(github.url, MONDAY))
    github.faults.when(lambda asked: asked.number == 2, NullNode("pullRequests"))
    github.faults.on_request(2, NullNode("issues"))
    assert facts_by_id(*scan(github.url, MONDAY)) == expected
    assert len(github.requests) > 2


def test_what_is_no_event_has_no_facts(github: Simulator) -> None:
    bot = Actor("helper", 99, ActorKind.BOT)
    github.replace_world(world(replace(ITEMS[0], author=bot), pull_request(6)))
    facts = facts_by_id(*scan(github.url, MONDAY))
    assert set(facts) == {"review:1:4000000001", "review:1:4000000002"}
    [of] = {of.pull_request_author for of in facts.values() if isinstance(of, ReviewFacts)}
    assert of == Account("99", "helper", "Bot")


@pytest.mark.parametrize("default", ["trunk", None])
def test_the_default_branch_is_the_repositorys_own(github: Simulator, default: str | None) -> None:
    github.replace_world(World((repository(ITEMS[0], default_branch=default),)))
    [facts] = [of for of in facts_by_id(*scan(github.url, MONDAY)).values() if isinstance(of, PullRequestFacts)]
    assert facts == replace(MERGED, is_base_default=None if default is None else False, closes=())


@pytest.mark.parametrize(("tells_paths", "files", "known"), [(True, 2, 2), (True, 101, None), (False, 2, None)])
def test_changed_paths_are_asked_for_where_somebody_goes_by_them_and_all_of_them_are_told(
    github: Simulator, tells_paths: bool, files: int, known: int | None
) -> None:
    paths = tuple(f"docs/{n:03}.md" for n in range(files))
    github.replace_world(world(merged(1, files=paths, reviews=(review(1),))))
    request = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY), tells_paths=tells_paths)
    facts = facts_by_id(*scan_on(github.url, request))
    assert len(facts) == 2
    for of_event in facts.values():
        assert isinstance(of_event, PullRequestFacts | ReviewFacts)
        assert of_event.changed_paths == (None if known is None else paths)


# What the credentials may not read.


FIELDS = sorted({field.key for field in FACT_FIELDS if field.key})


@pytest.mark.parametrize("type_", ["FORBIDDEN", None])
@pytest.mark.parametrize("bubbles", [False, True])
@pytest.mark.parametrize("field", FIELDS)
def test_a_fact_that_fails_takes_no_event_with_it(
    github: Simulator, field: str, bubbles: bool, type_: str | None
) -> None:
    request = ScanRequest(NAME, dict.fromkeys(GITHUB_STREAMS, MONDAY), tells_paths=True)
    expected = scan_on(github.url, request)
    github.clear_requests()
    github.faults.when(lambda _: True, ForbiddenField(field, bubbles, type_))
    with github_source(github.url) as source:
        pages = list(source.scan(request))
        assert len(github.requests) == 2
        list(source.scan(request))
        # What is forbidden is not asked for again; what only failed is.
        assert len(github.requests) == (3 if type_ else 4)
    assert event_ids(pages) == event_ids(expected)
    assert not any(page.unread for page in pages)
    fact_names, all_known = (
        {(key, name) for key, of in facts_by_id(*scan_pages).items() for name in facts_json(of)}
        for scan_pages in (pages, expected)
    )
    assert fact_names < all_known


def test_facts_that_fail_one_after_the_other_are_left_out_together(github: Simulator) -> None:
    expected = event_ids(scan(github.url, MONDAY))
    github.clear_requests()
    for number, field in enumerate(("labels", "commits", "mergeCommit"), start=1):
        github.faults.on_request(number, ForbiddenField(field))
    pages = scan(github.url, MONDAY)
    assert event_ids(pages) == expected
    assert len(github.requests) == 3
    [merge] = [of for of in facts_by_id(*pages).values() if isinstance(of, PullRequestFacts)]
    assert merge == PullRequestFacts(author=ANAS, base_branch="main")


# What GitHub may answer instead of a fact.


@pytest.mark.parametrize(
    ("field", "value", "unknown"),
    [
        ("labels", None, "labels"),
        ("labels.nodes", None, "labels"),
        ("labels.nodes.0", None, None),
        ("mergeCommit", None, "merge_commit_sha"),
        ("mergeCommit.oid", "main", "merge_commit_sha"),
        ("mergeCommit.message", 7, "co_authors"),
        ("commits.nodes", [None], "commit_shas"),
        ("commits.nodes", [{"commit": {"oid": ONE}}, {"commit": None}], "commit_shas"),
        ("closes.nodes", [{"issue": True, "repository": {"nameWithOwner": NAME}}], "closes"),
        ("closes.nodes", [{"issue": 3, "repository": {"nameWithOwner": "no owner"}}], "closes"),
        ("mergedBy", None, "merged_by"),
        ("mergedBy", "bo", "merged_by"),
        ("isDraft", "no", "is_draft"),
        ("headRefName", "", "head_branch"),
    ],
)
def test_a_fact_that_cannot_be_used_is_unknown(github: Simulator, field: str, value: Any, unknown: str | None) -> None:
    github.faults.when(lambda _: True, OddField(1, field, value))
    pages = scan(github.url, MONDAY)
    assert not any(page.unread for page in pages)
    facts = facts_by_id(*pages)["pr:1"]
    assert isinstance(facts, PullRequestFacts)
    if unknown is not None:
        assert getattr(facts, unknown) is None


def commit(message: str = "Change 1", **author: Any) -> dict[str, Any]:
    return {"oid": ONE, "message": message, "author": {"email": None, "user": None, **author}}


@pytest.mark.parametrize(
    ("merge_commit", "expected"),
    [
        (commit(), ()),
        (commit(user={"databaseId": 7}, email="ana@x.org"), ()),
        (commit(user={"databaseId": 8}, email="bo@x.org"), ()),  # a merge commit, whose author is who merged
        (commit(user={"databaseId": 9}, email="cy@x.org"), (CoAuthor(id="9"),)),
        (commit(email="9+cy@users.noreply.github.com"), (CoAuthor(id="9"),)),
        (commit(email=" CY@x.org "), (CoAuthor(email_hash=sha256(b"cy@x.org").hexdigest()),)),
        (commit("T\n\nCo-authored-by: A <7+ana@users.noreply.github.com>"), ()),
        (commit("T\n\nCo-authored-by: A <ana@x.org>", user={"databaseId": 7}, email="Ana@x.org"), ()),
        (commit("T\n\nCo-authored-by: C <9+c@users.noreply.github.com>", user={"databaseId": 9}), (CoAuthor(id="9"),)),
        ({"oid": ONE, "message": "T", "author": None}, ()),
        ({"oid": ONE}, None),
        (None, None),
    ],
)
def test_co_authors_are_neither_the_author_nor_who_merged(merge_commit: Any, expected: Any) -> None:
    node = {
        "author": {"__typename": "User", "login": "ana", "databaseId": 7},
        "mergedBy": {"__typename": "User", "login": "bo", "databaseId": 8},
        "mergeCommit": merge_commit,
    }
    assert pull_request_facts(node, None).co_authors == expected


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        (None, (None, None)),
        ({"nodes": []}, (None, None)),
        ({"nodes": [None]}, (None, None)),
        ({"nodes": [{"actor": None, "closer": None}]}, (None, None)),
        ({"nodes": [{"actor": None, "closer": {"__typename": "Commit", "oid": ONE}}]}, (None, Closer(COMMIT, ONE))),
        ({"nodes": [{"actor": None, "closer": {"__typename": "Commit"}}]}, (None, Closer(COMMIT))),
        ({"nodes": [{"actor": None, "closer": {"__typename": "ProjectV2"}}]}, (None, None)),
        ({"nodes": [{"actor": None}]}, (None, None)),
    ],
)
def test_what_closed_an_issue_may_be_unknown(timeline: Any, expected: Any) -> None:
    facts = issue_facts({"timelineItems": timeline})
    assert (facts.closed_by, facts.closer) == expected


NAMES = st.sampled_from(
    [
        *("author", "mergedBy", "mergeCommit", "oid", "message", "email", "user", "databaseId", "login", "__typename"),
        *("labels", "commits", "commit", "closes", "issue", "repository", "nameWithOwner", "nodes", "name", "body"),
        *("timelineItems", "actor", "closer", "pullRequest", "baseRefName", "headRefName", "isDraft", "stateReason"),
        "defaultBranchRef",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([ONE, "x/y", "User", "PullRequest"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=8), max_leaves=25
)
NODES = st.dictionaries(NAMES, JSON) | JSON


@given(NODES, NODES)
def test_whatever_github_answers_is_a_fact_that_can_be_stored_or_unknown(node: Any, repository_: Any) -> None:
    default = default_branch(repository_)
    observed: list[tuple[str, Facts]] = [
        ("pr_merged", pull_request_facts(node, default)),
        ("review_submitted", review_facts(node, facts_of_reviews(node, default))),
        ("issue_closed", issue_facts(node)),
    ]
    for event_type, facts in observed:
        assert facts_from_json(event_type, facts_json(facts)) == facts
