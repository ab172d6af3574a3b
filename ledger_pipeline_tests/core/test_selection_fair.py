"""`fair-v1`, rule by rule: each with its default, its setting, and what it does where the fact is unknown."""

from dataclasses import replace
from typing import Any

import pytest

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.facts import DELETED, Account, Facts, IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.selection import fair_settings
from ledger_pipeline.core.selection.fair_settings import DEFAULT_SETTINGS, DEFAULT_UNKNOWN
from ledger_pipeline.core.selection.policy import Candidate, ids_of_logins
from ledger_pipeline.core.selection.reasons import SENTENCES, Reason
from ledger_pipeline_tests.core.selecting import (
    ADA,
    BO,
    COMPLETED,
    CY,
    FAIR,
    INTO_DEFAULT,
    READ,
    decided,
    event,
    issue,
    merge,
    reasons,
    review,
)

STAGING = replace(INTO_DEFAULT, base_branch="staging", is_base_default=False)


def reason(candidate: Candidate, **settings: Any) -> str:
    return reasons(candidate, settings=settings)[candidate.event_id]


def test_what_breaks_no_rule_counts() -> None:
    assert reasons(merge(), review(), issue()) == {"p": "+included", "r": "+included", "i": "+included"}
    assert reason(event("x", "pushed", None)) == "+no_rule"


# Base branches.


@pytest.mark.parametrize(
    ("base_branches", "expected"),
    [("default", "other_branch"), ("any", "+included"), (["main"], "other_branch"), (["main", "staging"], "+included")],
)
def test_only_the_branches_that_are_asked_for_count(base_branches: Any, expected: str) -> None:
    review_of_it = replace(READ, base_branch="staging", is_base_default=False)
    assert reason(merge(facts=STAGING), base_branches=base_branches) == expected
    assert reason(review(facts=review_of_it), base_branches=base_branches) == expected


@pytest.mark.parametrize(
    ("base_branches", "facts"),
    [("default", replace(INTO_DEFAULT, is_base_default=None)), (["main"], replace(INTO_DEFAULT, base_branch=None))],
)
def test_an_unknown_base_branch_pays_and_says_so(base_branches: Any, facts: Facts) -> None:
    assert reason(merge(facts=facts), base_branches=base_branches) == "+base_branch_unknown"
    refuse = {"base_branch": "refuse"}
    assert reason(merge(facts=facts), base_branches=base_branches, unknown=refuse) == "base_branch_unknown"


# Reviews.


def test_a_review_of_ones_own_pull_request_does_not_count() -> None:
    assert reason(review(by=ADA)) == "own_pull_request"
    assert reason(review(by=ADA), own_reviews=True) == "+included"


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        (Account(id=BO, login="renamed"), "own_pull_request"),
        (Account(id=ADA, login="bo"), "+included"),  # the name has changed hands
        (Account(login="BO", type="User"), "own_pull_request"),
        (Account(login="ada", type="User"), "pull_request_author_unknown"),
        (Account(login="ada"), "pull_request_author_unknown"),
        (None, "pull_request_author_unknown"),
        (Account(type=DELETED), "+included"),
        (Account(login="bo", type="Bot"), "+included"),
    ],
)
def test_whose_pull_request_it_is_follows_from_the_id(author: Account | None, expected: str) -> None:
    facts = replace(READ, pull_request_author=author)
    assert reason(review(facts=facts)) == expected
    pays = "+included" if expected == "+included" else "own_pull_request"
    pays = "+pull_request_author_unknown" if expected == "pull_request_author_unknown" else pays
    assert reason(review(facts=facts), unknown={"pull_request_author": "pay"}) == pays


def test_one_review_of_a_reviewer_and_a_pull_request_counts_the_strongest_first() -> None:
    reviews = (
        review("a", state="COMMENTED"),
        review("b", state="CHANGES_REQUESTED", hours=1),
        review("d", state="APPROVED", hours=3),
        review("c", state="APPROVED", hours=3),
        review("e", state="DISMISSED"),
        review("f", state="SOMETHING_NEW"),
    )
    repeated = dict.fromkeys("abdef", "repeated_review")
    assert reasons(*reviews) == {**repeated, "c": "+included"}
    assert reasons(*reviews[:2]) == {"a": "repeated_review", "b": "+included"}
    assert reasons(*reviews[4:]) == {"e": "+included", "f": "repeated_review"}
    two = reasons(*reviews, settings={"reviews_per_pull_request": 2})
    assert two == {**repeated, "c": "+included", "d": "+included"}
    assert set(reasons(*reviews, settings={"reviews_per_pull_request": None}).values()) == {"+included"}


def test_the_earliest_of_equally_strong_reviews_counts() -> None:
    assert reasons(review("a", hours=1), review("z")) == {"a": "repeated_review", "z": "+included"}


def test_other_reviewers_pull_requests_and_repositories_are_others() -> None:
    reviews = (review("a"), review("b", by=CY), review("c", number=2), review("d", repository="x/other"))
    assert set(reasons(*reviews).values()) == {"+included"}


def test_a_review_that_does_not_count_takes_no_place() -> None:
    empty = replace(READ, has_body=False)
    assert reasons(review("a", empty, state="COMMENTED"), review("b", state="COMMENTED", hours=1)) == {
        "a": "comment_without_body",
        "b": "+included",
    }


def test_reviews_of_what_is_not_merged_count_unless_the_spec_says_otherwise() -> None:
    merged, unknown = replace(READ, is_merged=True), replace(READ, is_merged=None)
    assert reason(review()) == "+included"
    assert reason(review(), reviews_of="merged") == "not_merged"
    assert reason(review(facts=merged), reviews_of="merged") == "+included"
    assert reason(review(facts=unknown), reviews_of="merged") == "merge_unknown"
    assert reason(review(facts=unknown), reviews_of="merged", unknown={"merged": "pay"}) == "+merge_unknown"
    assert reason(review(facts=unknown)) == "+included"


@pytest.mark.parametrize(
    ("has_body", "comments", "setting", "expected"),
    [
        (True, 0, "never", "+included"),
        (False, 3, "never", "comment_without_body"),
        (None, 3, "never", "+body_unknown"),
        (False, 3, "with_line_comments", "+included"),
        (None, 3, "with_line_comments", "+included"),
        (False, 0, "with_line_comments", "comment_without_body"),
        (False, None, "with_line_comments", "+body_unknown"),
        (None, 0, "with_line_comments", "+body_unknown"),
        (False, 0, "always", "+included"),
    ],
)
def test_a_comment_without_a_body_pays_nothing(
    has_body: bool | None, comments: int | None, setting: str, expected: str
) -> None:
    facts = replace(READ, has_body=has_body, comment_count=comments)
    comment = review(facts=facts, state="COMMENTED")
    assert reason(comment, comments_without_body=setting) == expected
    refused = reason(comment, comments_without_body=setting, unknown={"body": "refuse"})
    assert refused == expected.replace("+body_unknown", "body_unknown")
    assert reason(review(facts=facts, state="APPROVED"), comments_without_body=setting) == "+included"


# Issues.


@pytest.mark.parametrize(
    ("state_reason", "expected"),
    [
        ("COMPLETED", "+included"),
        ("NOT_PLANNED", "not_completed"),
        ("DUPLICATE", "not_completed"),
        (None, "+state_reason_unknown"),
    ],
)
def test_issues_count_only_when_they_are_completed(state_reason: str | None, expected: str) -> None:
    closed = issue(facts=IssueFacts(state_reason=state_reason))
    assert reason(closed) == expected
    assert reason(closed, state_reasons="any") == "+included"
    assert reason(closed, state_reasons=["COMPLETED", "NOT_PLANNED", "DUPLICATE"]) == (
        "+included" if state_reason else expected
    )
    assert reason(closed, unknown={"state_reason": "refuse"}) == expected.removeprefix("+state_reason_").replace(
        "unknown", "state_reason_unknown"
    )


# Labels.


@pytest.mark.parametrize("make", [merge, review, issue])
def test_labels_include_exclude_and_weigh(make: Any) -> None:
    plain = make().facts
    fix, both = make(facts=replace(plain, labels=("Fix",))), make(facts=replace(plain, labels=("fix", "Spam")))
    assert reason(fix, include_labels=["fIX"]) == "+included"
    assert reason(make(), include_labels=["fix"]) == "label_missing"
    assert reason(both, include_labels=["fix"], exclude_labels=["spam"]) == "excluded_label"
    assert reason(fix, exclude_labels=["spam"]) == "+included"
    unknown = make(facts=replace(plain, labels=None))
    assert reason(unknown) == "+included"
    for settings in ({"include_labels": ["fix"]}, {"exclude_labels": ["fix"]}, {"label_weights_milli": {"fix": 2}}):
        assert reason(unknown, **settings) == "labels_unknown"
        assert reason(unknown, **settings, unknown={"labels": "pay"}) == "+labels_unknown"


def test_the_largest_factor_of_several_labels_holds() -> None:
    facts = replace(INTO_DEFAULT, labels=("large", "other", "small"))
    weights = {"Small": 500, "LARGE": 2000}
    decisions = decided(merge("1", facts), merge("2"), settings={"label_weights_milli": weights})
    assert (decisions["1"].reason, decisions["1"].weight_factor_milli) == ("label_weight", 2000)
    assert (decisions["2"].reason, decisions["2"].weight_factor_milli) == ("included", None)


# Accounts and repositories.


def test_an_excluded_account_counts_for_nothing_under_whatever_name() -> None:
    events = (merge("1"), merge("2", by=BO, number=2), merge("3", by=BO, number=3, login="bo-renamed"))
    by_login = reasons(*events, excluded_logins=("BO",))
    assert by_login == {"1": "+included", "2": "excluded_account", "3": "+included"}
    ids = ids_of_logins(((of.login, of.user_id) for of in events), ("BO", "nobody"))
    assert ids == (BO,)
    by_id = reasons(*events, excluded_logins=("BO",), excluded_ids=ids)
    assert by_id == {"1": "+included", "2": "excluded_account", "3": "excluded_account"}


def test_only_repositories_that_the_spec_names_count() -> None:
    events = (merge("1"), merge("2", repository="x/other"))
    assert reasons(*events, source_refs=("COGNI-dao/cogni",)) == {"1": "+included", "2": "other_repository"}


# Limits.


def test_a_day_pays_for_so_many_events_of_a_contributor() -> None:
    events = (
        review("r", by=BO, hours=-3),
        issue("i", by=BO, hours=-2),
        merge("p", by=BO),
        merge("o", by=CY),
        merge("q", by=BO, number=2, hours=24),
    )
    assert reasons(*events, settings={"events_per_day": 2}) == {
        "r": "over_events_per_day",
        "i": "+included",
        "p": "+included",
        "o": "+included",
        "q": "+included",
    }


def test_an_epoch_pays_for_so_many_units_and_what_is_lighter_may_still_fit() -> None:
    events = (
        merge("1"),
        merge("2", number=2, hours=1),
        review("3", by=ADA, facts=replace(READ, pull_request_author=None)),
    )
    settings = {"units_milli_per_epoch": 1500, "unknown": {"pull_request_author": "pay"}}
    assert reasons(*events, settings=settings) == {
        "1": "+included",
        "2": "over_units_per_epoch",
        "3": "+pull_request_author_unknown",
    }


def test_a_limit_counts_the_weight_that_a_label_gives() -> None:
    small = replace(INTO_DEFAULT, labels=("small",))
    settings = {"label_weights_milli": {"small": 250}, "units_milli_per_epoch": 500}
    events = [merge(str(number), small, number=number, hours=number) for number in (1, 2, 3)]
    assert list(reasons(*events, settings=settings).values()) == ["+label_weight"] * 2 + ["over_units_per_epoch"]


def test_the_next_strongest_review_counts_where_the_strongest_has_no_place() -> None:
    events = (merge("p", by=BO, number=7), review("a"), review("c", state="COMMENTED", hours=24))
    assert reasons(*events, settings={"events_per_day": 1}) == {
        "p": "+included",
        "a": "over_events_per_day",
        "c": "+included",
    }


# Precedence, and settings.


def test_a_broken_rule_says_more_than_an_unknown_fact() -> None:
    own = ReviewFacts(pull_request_author=Account(id=BO))
    assert reason(review(facts=own), unknown={"base_branch": "refuse"}) == "own_pull_request"
    assert reason(review(facts=None)) == "pull_request_author_unknown"  # of the base branch it would be paid
    pays = dict.fromkeys(DEFAULT_UNKNOWN, "pay")
    assert reason(review(facts=None), unknown=pays) == "+base_branch_unknown"


def test_facts_of_another_kind_of_event_are_no_facts() -> None:
    assert reason(merge(facts=COMPLETED)) == "+base_branch_unknown"
    assert reason(review(facts=PullRequestFacts(is_base_default=True))) == "pull_request_author_unknown"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_branchs": "any"}, "selection policy fair-v1 has no setting 'base_branchs': it has base_branches, own"),
        ({"base_branches": "main"}, "base_branches .* is default or any or a list of names, not 'main'"),
        ({"base_branches": [1]}, "base_branches"),
        ({"own_reviews": 0}, "own_reviews .* is true or false, not '0'"),
        ({"reviews_of": "some"}, "reviews_of .* is one of all, merged"),
        ({"comments_without_body": True}, "comments_without_body .* is one of never, with_line_comments, always"),
        ({"state_reasons": "COMPLETED"}, "state_reasons .* is any or a list of names"),
        ({"include_labels": "fix"}, "include_labels .* is a list of names"),
        ({"label_weights_milli": ["fix"]}, "label_weights_milli .* is an object"),
        ({"label_weights_milli": {"fix": -1}}, "label_weights_milli.fix .* from 0 to 1000000"),
        ({"label_weights_milli": {"fix": 1.5}}, "label_weights_milli.fix"),
        ({"label_weights_milli": {"fix": 1, "Fix": 2}}, "label_weights_milli.Fix .* has two factors"),
        ({"events_per_day": -1}, "events_per_day .* or null, not '-1'"),
        ({"units_milli_per_epoch": True}, "units_milli_per_epoch"),
        ({"unknown": {"weather": "pay"}}, "unknown.weather .* is no rule: there are base_branch"),
        ({"unknown": {"body": "guess"}}, "unknown.body .* is one of pay, refuse"),
        ({"unknown": "pay"}, "unknown .* is an object"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        decided(merge(), settings=settings)


def test_every_setting_and_rule_has_its_reason_in_the_table() -> None:
    table = fair_settings.__doc__ or ""
    for name, default in (*DEFAULT_SETTINGS.items(), *DEFAULT_UNKNOWN.items()):
        [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        shown = {"None": "null", "False": "false"}.get(str(default), str(default).replace("'", '"'))
        assert name == "unknown" or f"| `{shown}` |" in row


def test_every_reason_is_one_sentence() -> None:
    assert SENTENCES.keys() == set(Reason)
    for sentence in SENTENCES.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert sentence.count(".") == 1
    assert len(set(SENTENCES.values())) == len(SENTENCES)
    assert FAIR.reasons.keys() <= set(Reason)
