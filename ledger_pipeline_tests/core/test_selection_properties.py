"""What holds for every policy, and what `fair-v1` promises beyond it, over events that nobody thought of."""

import builtins
import copy
import socket
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.facts import Account, IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.selection.fair import Fair
from ledger_pipeline.core.selection.include_all import IncludeAll
from ledger_pipeline.core.selection.known import OWN_POLICIES
from ledger_pipeline.core.selection.policy import (
    Candidate,
    Decision,
    SelectionPolicy,
    SelectionSpec,
    candidate,
    select,
)
from ledger_pipeline.core.sources import ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED
from ledger_pipeline_tests import builders
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NOON
from ledger_pipeline_tests.core.selecting import READ, merge, review, units

NO_SETTINGS = SelectionSpec(DEFAULT_WEIGHTS_MILLI)
SHAS = ["a" * 40, "b" * 40, "c" * 40]

flags = st.none() | st.booleans()
branches = st.sampled_from([None, "main", "staging"])
labels = st.none() | st.lists(st.sampled_from(["fix", "spam", "docs"]), max_size=2).map(tuple)
people = st.sampled_from(["1", "2", "3"])
accounts = st.none() | st.builds(Account, id=st.none() | people, login=st.just("ada"), type=st.just("User"))
facts_of = {
    PR_MERGED: st.builds(
        PullRequestFacts,
        author=accounts,
        base_branch=branches,
        is_base_default=flags,
        merge_commit_sha=st.none() | st.sampled_from(SHAS),
        commit_shas=st.none() | st.lists(st.sampled_from(SHAS), max_size=2).map(tuple),
        labels=labels,
    ),
    REVIEW_SUBMITTED: st.builds(
        ReviewFacts,
        pull_request_author=accounts,
        base_branch=branches,
        is_base_default=flags,
        is_merged=flags,
        labels=labels,
        has_body=flags,
        comment_count=st.none() | st.integers(0, 1),
    ),
    ISSUE_CLOSED: st.builds(
        IssueFacts, state_reason=st.sampled_from([None, "COMPLETED", "NOT_PLANNED"]), labels=labels
    ),
    "pushed": st.none(),
}


@st.composite
def candidates(draw: Any) -> list[Candidate]:
    """Events of few people and pull requests, so that they meet."""
    events = []
    for n in range(draw(st.integers(0, 9))):
        event_type = draw(st.sampled_from(sorted(facts_of)))
        is_review = event_type == REVIEW_SUBMITTED
        events.append(
            Candidate(
                event_id=f"e{n}",
                source="github",
                event_type=event_type,
                repository=draw(st.sampled_from(["x/one", "x/two"])),
                number=draw(st.sampled_from([1, 2])),
                user_id=draw(people),
                login=draw(st.sampled_from(["ada", "bo"])),
                state=draw(st.sampled_from(["APPROVED", "COMMENTED", "DISMISSED"])) if is_review else None,
                event_time=parse_instant(NOON) + timedelta(hours=draw(st.sampled_from([0, 1, 24]))),
                facts=draw(st.none() | facts_of[event_type]),
            )
        )
    return events


@st.composite
def fair_specs(draw: Any) -> SelectionSpec:
    """Specs with any settings of `fair-v1`."""
    pays = st.sampled_from(["pay", "refuse"])
    limits = st.none() | st.integers(0, 3)
    settings = st.fixed_dictionaries(
        {},
        optional={
            "base_branches": st.sampled_from(["default", "any", ["main"]]),
            "own_reviews": st.booleans(),
            "reviews_per_pull_request": limits,
            "reviews_of": st.sampled_from(["all", "merged"]),
            "comments_without_body": st.sampled_from(["never", "with_line_comments", "always"]),
            "state_reasons": st.sampled_from(["any", ["COMPLETED"]]),
            "include_labels": st.sampled_from([[], ["fix"]]),
            "exclude_labels": st.sampled_from([[], ["spam"]]),
            "label_weights_milli": st.sampled_from([{}, {"fix": 1333, "docs": 0}]),
            "events_per_day": limits,
            "units_milli_per_epoch": st.none() | st.integers(0, 3000),
            "unknown": st.dictionaries(
                st.sampled_from(["base_branch", "pull_request_author", "merged", "body", "state_reason", "labels"]),
                pays,
            ),
        },
    )
    return SelectionSpec(
        DEFAULT_WEIGHTS_MILLI,
        draw(settings),
        excluded_logins=draw(st.sampled_from([(), ("bo",)])),
        excluded_ids=draw(st.sampled_from([(), ("3",)])),
        source_refs=draw(st.sampled_from([(), ("x/one",)])),
    )


policies_and_specs = st.one_of(
    *(
        st.tuples(st.just(policy), fair_specs() if name == "fair-v1" else st.just(NO_SETTINGS))
        for name, policy in OWN_POLICIES.items()
    )
)


@given(candidates(), policies_and_specs, st.randoms())
def test_the_order_of_events_never_matters(
    events: list[Candidate], by: tuple[SelectionPolicy, SelectionSpec], random: Any
) -> None:
    policy, spec = by
    decisions = select(policy, events, spec)
    random.shuffle(events)
    assert policy.decide(events, spec) == decisions
    assert select(policy, iter(events), spec) == decisions


@given(candidates(), policies_and_specs)
def test_deciding_again_decides_the_same_and_changes_no_argument(
    events: list[Candidate], by: tuple[SelectionPolicy, SelectionSpec]
) -> None:
    policy, spec = by
    before = copy.deepcopy((events, spec))
    decisions = select(policy, events, spec)
    assert select(policy, events, spec) == decisions
    assert (events, spec) == before


@given(candidates(), fair_specs() | st.just(NO_SETTINGS))
def test_what_counts_is_decided_the_same_without_what_does_not(events: list[Candidate], spec: SelectionSpec) -> None:
    decisions = select(Fair(), events, spec)
    counted = [of for of in events if decisions[of.event_id].included]
    again = select(Fair(), counted, spec)
    assert again == {of.event_id: decisions[of.event_id] for of in sorted(counted, key=lambda of: of.event_id)}


@given(candidates(), fair_specs(), st.data())
def test_an_event_that_does_not_count_changes_nobodys_units(
    events: list[Candidate], spec: SelectionSpec, data: st.DataObject
) -> None:
    decisions = select(Fair(), events, spec)
    excluded = [of for of in events if not decisions[of.event_id].included]
    if not excluded:
        return
    added = data.draw(st.sampled_from(excluded))
    others = [of for of in events if of is not added]
    without = select(Fair(), others, spec)
    assert without == {event_id: decision for event_id, decision in decisions.items() if event_id != added.event_id}
    before, after = (units(others, of, DEFAULT_WEIGHTS_MILLI) for of in (without, decisions))
    assert before == after


@given(candidates(), fair_specs())
def test_no_limit_is_ever_passed(events: list[Candidate], spec: SelectionSpec) -> None:
    decisions = select(Fair(), events, spec)
    per_epoch = spec.settings.get("units_milli_per_epoch")
    per_day = spec.settings.get("events_per_day")
    if isinstance(per_epoch, int):
        assert all(of <= per_epoch for of in units(events, decisions, DEFAULT_WEIGHTS_MILLI).values())
    if isinstance(per_day, int):
        days = [(of.user_id, of.event_time.date()) for of in events if decisions[of.event_id].included]
        assert all(days.count(day) <= per_day for day in days)


@pytest.mark.parametrize("policy", OWN_POLICIES.values(), ids=OWN_POLICIES)
def test_a_policy_looks_at_nothing_but_its_arguments(policy: SelectionPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [merge("1"), review("2"), review("3", state="COMMENTED"), merge("4", None, number=4)]
    expected = policy.decide(events, NO_SETTINGS)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a policy asks for something")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr("os.environ", {})
    monkeypatch.setattr("time.time", refuse)
    assert policy.decide(events, NO_SETTINGS) == expected


class Odd(IncludeAll):
    """A policy of somebody's that breaks its promise."""

    def __init__(self, decisions: dict[str, Decision]) -> None:
        self._decisions = decisions

    def decide(self, *_: object) -> dict[str, Decision]:
        return self._decisions


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({}, "does not decide on exactly the events"),
        ({"p": Decision(True, "included"), "q": Decision(True, "included")}, "does not decide on exactly the events"),
        ({"p": Decision(True, "because")}, "on p by a reason or a factor that it must not have: 'because', None"),
        ({"p": Decision(True, "included", -1)}, "'included', -1"),
    ],
)
def test_a_policy_that_breaks_its_promise_is_refused(decisions: dict[str, Decision], message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        select(Odd(decisions), [merge("p")], NO_SETTINGS)


def test_no_event_is_decided_on_twice() -> None:
    with pytest.raises(SelectionError, match="given to the selection twice"):
        select(IncludeAll(), [merge("p"), review("p")], NO_SETTINGS)


def test_a_policy_without_settings_takes_none() -> None:
    with pytest.raises(SelectionError, match="include-all-v0 has no setting 'own_reviews': it has none"):
        select(IncludeAll(), [], SelectionSpec({}, {"own_reviews": True}))


def test_an_event_becomes_a_candidate_with_what_a_policy_needs() -> None:
    event = builders.review(7, state="APPROVED")
    made = candidate(event, READ)
    assert (made.event_id, made.repository, made.number, made.state) == (event.id, builders.REPO, 7, "APPROVED")
    assert (made.user_id, made.login, made.kind) == ("1024025", "grace", "github:review_submitted")
    assert made.event_time == event.event_time
    assert candidate(builders.issue(3), None).state is None
