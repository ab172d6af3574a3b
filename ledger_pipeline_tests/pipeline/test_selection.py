"""A policy that the spec names decides which events are paid; what it decided by is fixed when the epoch closes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, StoreError
from ledger_pipeline.core.events import ActivityEvent, Actor
from ledger_pipeline.core.facts import Account, Facts, IssueFacts, Observation, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.policy import Decision
from ledger_pipeline.pipeline.selection import select_events, selection_report
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import Judgement, UnresolvedAccount
from ledger_pipeline_tests.builders import ADA, GRACE, PRODUCER, REPO, instant, issue, pull_request, review
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVERS,
    GRACE_USER,
    POOL,
    Books,
    collected,
    refused,
    reviewed,
    rows_of,
)

MERGED, ELSEWHERE = pull_request(1), pull_request(2)
REVIEWED, AGAIN, OWN = review(1), review(1, object_id="77"), review(1, author=ADA, object_id="78", state="COMMENTED")
DROPPED = issue(3)
INTO_DEFAULT = PullRequestFacts(author=Account("583231", "ada"), base_branch="main", is_base_default=True)
OF_ADAS = ReviewFacts(
    pull_request_author=Account("583231", "ada"), base_branch="main", is_base_default=True, is_merged=False
)
FACTS: Mapping[ActivityEvent, Facts] = {
    MERGED: INTO_DEFAULT,
    ELSEWHERE: PullRequestFacts(base_branch="next", is_base_default=False),
    REVIEWED: OF_ADAS,
    AGAIN: OF_ADAS,
    OWN: replace(OF_ADAS, has_body=True),
    DROPPED: IssueFacts(state_reason="NOT_PLANNED"),
}
REASONS = {
    MERGED.id: "+included",
    ELSEWHERE.id: "other_branch",
    REVIEWED.id: "+included",
    AGAIN.id: "repeated_review",
    OWN.id: "own_pull_request",
    DROPPED.id: "not_completed",
}


def choice(name: str = "fair-v1", settings: Mapping[str, Any] | None = None, *excluded_logins: str) -> SelectionChoice:
    return installed_policy(name).choice(settings or {}, excluded_logins)


def observe(books: Books, facts: Mapping[ActivityEvent, Facts]) -> None:
    observations = [Observation(event.id, of_event) for event, of_event in facts.items()]
    books.ledger.facts.record(books.scope.scope_id, observations, instant("2026-02-24"), PRODUCER)


def fair(ledger: PostgresLedger, selection: SelectionChoice | None = None, *more: ActivityEvent) -> Books:
    """An open epoch whose scope names fair-v1, with an event for each of several rules and the facts of them."""
    books = collected(ledger, *FACTS, *more).with_scope(selection=selection or choice())
    observe(books, FACTS)
    return books


def stored(books: Books) -> dict[str, str]:
    decisions = books.ledger.selection.of(books.epoch, ()).decisions
    return {event_id: f"{'+' * decision.included}{decision.reason}" for event_id, decision in decisions.items()}


def units(books: Books) -> dict[str, tuple[int, int]]:
    return {row.user_id: (row.proposed_units, row.activity_count) for row in books.materialize()}


def test_without_a_policy_nothing_is_decided_and_every_event_counts(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = fair(ledger).with_scope(selection=None)
    assert units(books) == {ADA_USER: (2800, 4), GRACE_USER: (1000, 2)}
    books.close()
    assert rows_of(ledger_engine, "activity_selection") == {"activity_selection": 0}
    assert books.epoch.pins is not None
    assert "selection" not in books.epoch.pins.pinned_spec
    assert selection_report(ledger, books.scope, books.epoch) is None
    assert books.finalize(books.signature())


def test_a_policy_decides_what_is_paid_and_says_why(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    assert units(books) == {ADA_USER: (1000, 1), GRACE_USER: (500, 1)}
    assert stored(books) == REASONS
    report = selection_report(ledger, books.scope, books.epoch)
    assert report is not None
    assert (report.policy, report.excluded, report.moved_milli) == ("fair-v1", 4, -2300)
    assert {row.reason: (row.events, row.moved_milli) for row in report.reasons} == {
        "included": (2, 0),
        "other_branch": (1, -1000),
        "repeated_review": (1, -500),
        "own_pull_request": (1, -500),
        "not_completed": (1, -300),
    }
    assert {row.reason: row.sentence for row in report.reasons}["not_completed"] == (
        "The issue was not closed as completed."
    )
    summary = ledger.curation.summary(books.epoch)
    assert (summary.events, summary.excluded, summary.unresolved) == (6, 4, 0)


def test_an_open_epoch_follows_the_spec_and_the_facts_of_the_moment(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    books.materialize()
    observe(books, {DROPPED: IssueFacts(state_reason="COMPLETED")})
    assert units(books)[ADA_USER] == (1300, 2)
    assert units(books.with_scope(selection=choice(settings={"own_reviews": True})))[ADA_USER] == (1800, 3)
    assert units(books.with_scope(selection=None)) == {ADA_USER: (2800, 4), GRACE_USER: (1000, 2)}
    assert stored(books) == {}


def test_what_is_observed_after_closing_changes_nothing(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    before = units(books)
    books.close()
    observe(books, {DROPPED: IssueFacts(state_reason="COMPLETED"), ELSEWHERE: INTO_DEFAULT})
    assert units(books.with_scope(selection=None)) == before
    assert stored(books) == REASONS
    assert books.finalize(books.signature())


def test_facts_of_the_moment_of_closing_decide_at_once(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    books.materialize()
    observe(books, {DROPPED: IssueFacts(state_reason="COMPLETED")})
    books.close()
    assert stored(books) == {**REASONS, DROPPED.id: "+included"}
    with pytest.raises(EpochNotReady, match="its allocations do not follow from its curation any more"):
        books.draft()
    assert units(books)[ADA_USER] == (1300, 2)
    assert books.finalize(books.signature())


def test_a_review_of_one_week_is_not_judged_by_its_merge_in_the_next(ledger: PostgresLedger) -> None:
    """Only merged ones count here: what was known when the review's epoch closed is that it was not merged yet."""
    only_merged = choice(settings={"reviews_of": "merged"})
    books = collected(ledger, REVIEWED, MERGED).with_scope(selection=only_merged)
    observe(books, {REVIEWED: OF_ADAS, MERGED: INTO_DEFAULT})
    books.materialize()
    books.close()
    assert stored(books)[REVIEWED.id] == "not_merged"
    observe(books, {REVIEWED: replace(OF_ADAS, is_merged=True)})
    select_events(ledger, books.scope, books.epoch)
    assert stored(books)[REVIEWED.id] == "not_merged"


def test_a_person_beats_the_policy_until_they_take_it_back(ledger: PostgresLedger) -> None:
    books = fair(ledger, choice(settings={"label_weights_milli": {"large": 2500}}))
    labelled = {event: replace(facts, labels=()) for event, facts in FACTS.items()}
    observe(books, {**labelled, MERGED: replace(INTO_DEFAULT, labels=("Large",))})
    assert units(books)[ADA_USER] == (2500, 1)
    judge, epoch = ledger.curation.judge, books.epoch
    assert judge(epoch, ELSEWHERE.id, Judgement("it was shipped from there", included=True))
    assert judge(epoch, OWN.id, Judgement("half of it", weight_override_milli=250))
    assert judge(epoch, MERGED.id, Judgement("small after all", clear_weight=True))
    assert judge(epoch, REVIEWED.id, Judgement("said nothing", included=False))
    assert units(books) == {ADA_USER: (1000 + 1000 + 250, 3)}
    shown = {
        row.event_id: (row.included, row.policy_included, row.policy_reason) for row in ledger.curation.decisions(epoch)
    }
    assert shown == {
        ELSEWHERE.id: (True, False, "other_branch"),
        OWN.id: (True, False, "own_pull_request"),
        MERGED.id: (True, True, "label_weight"),
        REVIEWED.id: (False, True, "included"),
    }
    report = selection_report(ledger, books.scope, epoch)
    assert report is not None
    assert sum(row.by_person for row in report.reasons) == 4
    assert report.moved_milli == -800
    for event in (ELSEWHERE, OWN, MERGED, REVIEWED):
        assert judge(epoch, event.id, Judgement("as everybody else", follows_policy=True))
    assert units(books)[ADA_USER] == (2500, 1)
    assert all(row.follows_policy for row in ledger.curation.decisions(epoch))
    report = selection_report(ledger, books.scope, epoch)
    assert report is not None
    assert sum(row.by_person for row in report.reasons) == 0
    assert judge(epoch, OWN.id, Judgement("it was work", included=True))
    assert units(books)[ADA_USER] == (3000, 2)


def test_what_a_policy_leaves_out_changes_nobodys_numbers(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    before, credits_before = units(books), ledger.identities.unresolved([books.epoch])
    lin = Actor(user_id=5550001, login="lin")
    unplanned = issue(9, author=lin)
    books.append(unplanned)
    observe(books, {unplanned: IssueFacts(state_reason="NOT_PLANNED")})
    assert units(books) == before
    assert ledger.identities.unresolved([books.epoch]) == credits_before == []
    assert ledger.curation.summary(books.epoch).unresolved == 0
    observe(books, {unplanned: IssueFacts(state_reason="COMPLETED")})
    assert units(books) == before | {"identity:github:5550001": (300, 1)}
    assert ledger.identities.unresolved([books.epoch]) == [UnresolvedAccount("github", "5550001", "lin", 1, 300)]


def test_a_factor_of_an_account_without_a_user_is_rounded_as_everywhere(ledger: PostgresLedger) -> None:
    books = collected(ledger, MERGED, users={}).with_scope(
        selection=choice(settings={"label_weights_milli": {"odd": 1}}), weights_milli={"github:pr_merged": 1999}
    )
    labelled = replace(INTO_DEFAULT, labels=("odd",))
    books = replace(books, ledger=ledger)
    observe(books, {MERGED: labelled})
    books.materialize()
    [account] = ledger.identities.unresolved([books.epoch])
    books.bind()
    assert units(books) == {ADA_USER: (account.units, 1)} == {ADA_USER: (1, 1)}


def test_a_rename_does_not_lift_an_exclusion(ledger: PostgresLedger) -> None:
    renamed = pull_request(8, author=Actor(user_id=GRACE.user_id, login="hopper"))
    books = fair(ledger, choice("fair-v1", {}, "Grace"), renamed)
    observe(books, {renamed: INTO_DEFAULT})
    assert units(books) == {ADA_USER: (1000, 1)}
    assert stored(books)[renamed.id] == "excluded_account"
    books.close()
    assert books.epoch.pins is not None
    assert books.epoch.pins.pinned_spec["selection"] == {**books.scope.selection.pinned, "excluded_ids": ["1024025"]}  # type: ignore[union-attr]


def test_another_policy_than_pinned_has_to_be_accepted(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    books.materialize()
    books.close()
    with pytest.raises(EpochNotReady, match=r"selection was pinned as .*give --accept-pinned-spec"):
        books.with_scope(selection=None).draft()
    assert books.draft()


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE activity_selection SET included = true, reason = 'included'",
        "UPDATE activity_selection SET weight_factor_milli = 9000 WHERE included",
        "DELETE FROM activity_selection WHERE NOT included",
    ],
)
def test_decisions_that_do_not_follow_from_what_was_pinned_are_not_signed(
    ledger: PostgresLedger, ledger_engine: Engine, forged: str
) -> None:
    books = fair(ledger)
    books.materialize()
    books.close()
    with ledger_engine.begin() as connection:
        connection.execute(text(forged))
    with pytest.raises(EpochNotReady, match="not decided on as its policy does"):
        books.draft()
    books.materialize()
    assert books.finalize(books.signature())


def test_decisions_of_an_epoch_that_closed_without_a_policy_are_not_signed(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    with ledger_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO activity_selection (node_id, epoch_id, event_id, included, reason) "
                "SELECT node_id, epoch_id, event_id, false, 'hush' FROM activity_curation"
            )
        )
    with pytest.raises(EpochNotReady, match="a policy decided on its events, and it closed with none"):
        books.draft()
    books.materialize()
    assert books.finalize(books.signature())


def test_excluded_ids_that_nobody_excluded_are_told(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    books = fair(ledger)
    books.materialize()
    monkeypatch.setattr(type(ledger.selection), "excluded_ids", lambda *_: ("583231",))
    books.close()
    books.materialize()
    with pytest.raises(EpochNotReady, match="closed with excluded ids that no excluded login has: '583231'"):
        books.draft()


def test_a_finalized_epoch_keeps_its_decisions(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = fair(ledger)
    books.materialize()
    books.close()
    books.finalize(books.signature())
    assert books.epoch.status is EpochStatus.FINALIZED
    select_events(ledger, books.scope, books.epoch)
    with pytest.raises(StoreError, match=f"activity_selection refused: epoch {books.epoch.id} is finalized"):
        ledger.selection.replace(books.epoch, {})
    for statement in (
        "UPDATE activity_selection SET included = NOT included",
        "DELETE FROM activity_selection",
        "INSERT INTO activity_selection (node_id, epoch_id, event_id, included, reason) "
        "SELECT node_id, epoch_id, 'x', true, 'x' FROM activity_selection LIMIT 1",
        "TRUNCATE activity_selection",
    ):
        assert f"{statement.split()[0]} of activity_selection refused" in refused(ledger_engine, statement)
    assert stored(books) == REASONS


def test_only_the_epochs_own_events_are_decided_on(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    with pytest.raises(StoreError, match=f"github:pr:none:1 is no event of epoch {books.epoch.id}"):
        ledger.selection.replace(books.epoch, {"github:pr:none:1": Decision(included=True, reason="included")})
    assert stored(books) == {}


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Callable[..., Ran]:
    """A command on the test's ledger; its scope names fair-v1."""
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    content = yaml.safe_load(spec.read_text())
    content["activity_ledger"]["selection"] = {"policy": "fair-v1"}
    spec.write_text(yaml.safe_dump(content))
    return lambda *arguments: command(*arguments, LEDGER_REPO_SPEC=str(spec), DATABASE_URL=ledger_url)


EPOCH = ("--epoch", "2026-02-16")


def test_commands_and_the_report_say_what_is_left_out_and_why(
    ledger: PostgresLedger, run: Callable[..., Ran], tmp_path: Path
) -> None:
    books = fair(ledger)
    books.materialize()
    shown = run("epoch", "show", *EPOCH)
    assert "what fair-v1 decides: 4 events left out, -2.3 units against every event counting" in shown.out
    assert "It is a review of the reviewer's own pull request." in shown.out
    selection = run("epoch", "show", *EPOCH, "--json").json["selection"]
    assert (selection["policy"], selection["left_out"], selection["moved_milli"]) == ("fair-v1", 4, "-2300")
    assert "left out: not_completed" in run("events", *EPOCH).out
    rows = {row["id"]: row["selection"]["reason"] for row in run("events", *EPOCH, "--json").json}
    assert rows == {event_id: reason.lstrip("+") for event_id, reason in REASONS.items()}
    page = tmp_path / "page.html"
    assert run("report", *EPOCH, "--output", str(page)).code == 0
    assert "The issue was not closed as completed." in page.read_text()


def test_a_decision_is_made_and_taken_back_by_command(ledger: PostgresLedger, run: Callable[..., Ran]) -> None:
    books = fair(ledger)
    books.materialize()
    event = ("--event", ELSEWHERE.id)
    assert f"{ADA_USER}: 1 -> 2 units" in run("curate", *EPOCH, *event, "--include", "--note", "shipped from there").out
    assert "left out: other_branch" in run("epoch", "show", *EPOCH).out
    taken_back = run("curate", *EPOCH, *event, "--follow-policy", "--note", "as everybody else")
    assert f"{ADA_USER}: 2 -> 1 units" in taken_back.out
    both = run("curate", *EPOCH, *event, "--follow-policy", "--include", "--note", "both")
    assert (both.code, "--follow-policy takes a decision back" in both.err) == (2, True)


def test_a_contributor_sees_in_the_archive_what_of_theirs_is_left_out(
    ledger: PostgresLedger, run: Callable[..., Ran], tmp_path: Path
) -> None:
    books = fair(ledger)
    books.materialize()
    ledger.curation.judge(books.epoch, MERGED.id, Judgement("a revert", included=False))
    ledger.curation.judge(books.epoch, ELSEWHERE.id, Judgement("it was shipped from there", included=True))
    books.close()
    books.materialize()
    books.finalize(books.signature())
    file = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(file)).code == 0
    lines = run("verify", "--archive", str(file), "--user", ADA_USER).out.splitlines()
    assert f"1 {ELSEWHERE.id}" in lines
    assert [line for line in lines if line.startswith("left out ")] == [
        f"left out {DROPPED.id}: not_completed",
        f"left out {MERGED.id}: a revert",
        f"left out {OWN.id}: own_pull_request",
    ]
