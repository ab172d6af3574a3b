"""What another policy or other weights would have paid: who, how much, and why; the ledger is only read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.facts import IssueFacts
from ledger_pipeline.pipeline.selection import _candidate
from ledger_pipeline.pipeline.what_if import DECIDED_UNITS, NO_POLICY, WEIGHTS, Supposition, _candidates, what_if
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, REPO, SCOPE_ID, weeks
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.pipeline.test_selection import DROPPED, FACTS, OWN, choice, fair, observe
from ledger_pipeline_tests.store.settlement import ADA_USER, APPROVERS, GRACE_USER, POOL, Books

FAIR = Supposition(choice(), {})
Change = dict[str, tuple[int, int, int, int, dict[str, int]]]


def changes(books: Books, supposed: Supposition) -> Change:
    change = what_if(books.ledger, books.scope, books.epoch, supposed)
    return {
        row.user_id: (
            row.units_milli,
            row.would_be_units_milli,
            row.credits,
            row.would_be_credits,
            {moved.reason: moved.units_milli for moved in row.moved},
        )
        for row in change.contributors
    }


def plain(ledger: PostgresLedger) -> Books:
    """The events of `fair`, of a scope that names no policy."""
    books = fair(ledger).with_scope(selection=None)
    books.materialize()
    return books


EVERY_RULE: Change = {
    ADA_USER: (
        *(2800, 1000, 7368, 6667),
        {"other_branch": -1000, "own_pull_request": -500, "not_completed": -300},
    ),
    GRACE_USER: (1000, 500, 2632, 3333, {"repeated_review": -500}),
}


def test_it_says_who_would_have_what_and_by_which_reason(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = plain(ledger)
    before = ledger.statements.rows(books.epoch)
    assert changes(books, FAIR) == EVERY_RULE
    assert ledger.statements.rows(books.epoch) == before
    change = what_if(ledger, books.scope, books.epoch, FAIR)
    assert (change.events, change.pool_total_credits) == (6, POOL)
    assert (change.units_milli, change.would_be_units_milli) == (3800, 1500)
    assert change.events_by_reason == {
        "included": 2,
        "other_branch": 1,
        "own_pull_request": 1,
        "repeated_review": 1,
        "not_completed": 1,
    }


def test_what_would_be_is_what_the_ledger_then_proposes(ledger: PostgresLedger) -> None:
    books = plain(ledger)
    would_be = {user_id: row[1] for user_id, row in changes(books, FAIR).items()}
    named = books.with_scope(selection=choice())
    assert {row.user_id: row.proposed_units for row in named.materialize()} == would_be
    assert changes(named, FAIR)[ADA_USER] == (1000, 1000, 6667, 6667, {})
    assert changes(named, Supposition(None, {}))[ADA_USER] == (1000, 2800, 6667, 7368, {NO_POLICY: 1800})


def test_an_epoch_that_nobody_curated_yet_counts_for_whom_it_would(ledger: PostgresLedger) -> None:
    assert changes(fair(ledger).with_scope(selection=None), FAIR) == EVERY_RULE


# As somebody else may have written it to the database.
ODD_METADATA = (
    '{"repository": 7, "number": "7", "state": {}}',
    '{"repository": "acme/web", "number": 7, "state": "APPROVED"}',
    '{"repository": null, "number": null}',
    '{"repository": ["acme/web"], "number": 0, "state": 1}',
    '{"repository": "", "number": [7], "state": ""}',
    "{}",
)


def test_it_sees_every_event_as_the_selection_does_whatever_was_written_of_it(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = fair(ledger)
    odd = text("UPDATE activity_events SET metadata = CAST(:metadata AS jsonb) WHERE id = :id")
    with ledger_engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for metadata, event in zip(ODD_METADATA, FACTS, strict=True):
            connection.execute(odd, {"metadata": metadata, "id": event.id})
    candidates = {event.event_id: event for event in _candidates(ledger.what_if.judged_events(books.epoch))}
    assert len(candidates) == len(ODD_METADATA)
    assert candidates == {event.event_id: _candidate(event) for event in ledger.selection.of(books.epoch, ()).events}


def test_other_weights_have_a_reason_of_their_own(ledger: PostgresLedger) -> None:
    books = plain(ledger)
    weights = {"github:review_submitted": 2000}
    assert changes(books, Supposition(None, weights))[GRACE_USER] == (1000, 4000, 2632, 4819, {WEIGHTS: 3000})
    assert changes(books, replace(FAIR, weights_milli=weights))[GRACE_USER][4] == {
        "repeated_review": -500,
        WEIGHTS: 1500,
    }


def test_what_people_decided_about_an_event_holds_and_about_a_user_only_as_signed(ledger: PostgresLedger) -> None:
    books = plain(ledger)
    ledger.curation.judge(books.epoch, OWN.id, Judgement("it was work", included=True))
    ledger.allocations.decide(books.epoch, GRACE_USER, 3000, "she led it")
    books.materialize()
    assert changes(books, FAIR)[ADA_USER][:2] == (2800, 1500)
    assert changes(books, FAIR)[GRACE_USER][:2] == (3000, 500)
    assert changes(books, FAIR)[GRACE_USER][4] == {DECIDED_UNITS: -2000, "repeated_review": -500}
    assert changes(books, replace(FAIR, as_signed=True))[GRACE_USER][:2] == (3000, 3000)


def test_of_a_finalized_epoch_it_is_what_was_stated(ledger: PostgresLedger) -> None:
    books = plain(ledger)
    books.close()
    books.finalize(books.signature())
    books.amend(GRACE_USER, 2000)
    assert changes(books, FAIR)[ADA_USER] == (2800, 1000, 5833, 6667, EVERY_RULE[ADA_USER][4])
    assert changes(books, FAIR)[GRACE_USER][:4] == (2000, 500, 4167, 3333)


def test_an_epoch_that_closed_without_a_policy_is_judged_by_what_is_known_now(ledger: PostgresLedger) -> None:
    books = plain(ledger)
    books.close()
    observe(books, {DROPPED: IssueFacts(state_reason="COMPLETED")})
    assert changes(books, FAIR)[ADA_USER][1] == 1300
    with_policy = fair(ledger)
    assert with_policy.epoch.pins is not None


def test_an_epoch_that_closed_with_a_policy_is_judged_by_what_was_known_then(ledger: PostgresLedger) -> None:
    books = fair(ledger)
    books.materialize()
    books.close()
    observe(books, {DROPPED: IssueFacts(state_reason="COMPLETED")})
    assert changes(books, FAIR)[ADA_USER][:2] == (1000, 1000)
    lenient = Supposition(choice(settings={"own_reviews": True}), {})
    assert changes(books, lenient)[ADA_USER] == (1000, 1500, 6667, 7500, {"included": 500})


Run = Callable[..., Ran]


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Run:
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    environment = {"LEDGER_REPO_SPEC": str(spec), "DATABASE_URL": ledger_url}
    return lambda *arguments, **more: command(*arguments, **{**environment, **more})


RANGE = ("--from", "2026-02-09", "--to", "2026-02-16")


def test_the_command_prints_who_would_have_what_and_why(ledger: PostgresLedger, run: Run, tmp_path: Path) -> None:
    plain(ledger)
    ran = run("simulate", *RANGE, "--policy", "fair-v1", "--chart", str(tmp_path / "credits.png"))
    assert (ran.code, ran.err) == (0, f"wrote {tmp_path / 'credits.png'}\n")
    assert "1 epoch of 6 events under fair-v1: 2 of 2 users would have something else" in ran.out
    [line] = [line for line in ran.out.splitlines() if ADA_USER in line]
    for shown in ("2.8", "1", "7,368", "6,667", "other_branch -1, own_pull_request -0.5, not_completed -0.3"):
        assert shown in line
    assert "The issue was not closed as completed." in ran.out
    assert (tmp_path / "credits.png").read_bytes().startswith(b"\x89PNG")
    assert run("simulate", *RANGE).out.startswith("1 epoch of 6 events under include-all-v0: 0 of 2 users")


def test_the_command_says_how_far_it_is_once_there_are_several_epochs(ledger: PostgresLedger, run: Run) -> None:
    plain(ledger)
    ledger.epochs.ensure(SCOPE_ID, weeks(2, "2026-02-16"), DEFAULT_WEIGHTS_MILLI)
    ran = run("simulate", "--from", "2026-02-16", "--to", "2026-02-23", "--policy", "fair-v1")
    assert (ran.code, ran.err.splitlines()) == (0, ["2026-02-16: 1 of 2 epochs", "2026-02-23: 2 of 2 epochs"])


def test_the_command_says_the_same_to_programs_and_what_a_closing_would_pin(ledger: PostgresLedger, run: Run) -> None:
    plain(ledger)
    answer = run("simulate", *RANGE, "--policy", "fair-v1", "--approve", "--json").json
    [epoch] = answer["epochs"]
    assert (answer["policy"], epoch["epoch"], epoch["pool_total_credits"]) == ("fair-v1", "2026-02-16", str(POOL))
    assert answer["would_pin"] == choice().pinned
    [ada, _] = epoch["contributors"]
    assert ada["would_be_units_milli"] == "1000"
    assert ada["because"][0] == {"reason": "other_branch", "events": 1, "units_milli": "-1000"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 50_000, "cannot be read as JSON: it nests deeper than 64 levels"),
        ("[]", 'is no object such as {"github:pr_merged": 1000}'),
        ('{"github:pr_merged": 1.5}', "weight of github:pr_merged: 1.5 is no integer"),
        ('{"github:merged": 1}', "kinds of events are github:pr_merged, github:review_submitted, github:issue_closed"),
    ],
)
def test_weights_that_cannot_be_are_told(run: Run, tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "weights.json"
    file.write_text(content)
    ran = run("simulate", *RANGE, "--weights", str(file))
    assert ran.code == 2
    assert says in ran.err


def test_other_weights_come_from_a_file(ledger: PostgresLedger, run: Run, tmp_path: Path) -> None:
    plain(ledger)
    file = tmp_path / "weights.json"
    file.write_text(json.dumps({"github:review_submitted": 0}))
    answer: Any = run("simulate", *RANGE, "--weights", str(file), "--json").json
    [epoch] = answer["epochs"]
    assert [row["would_be_units_milli"] for row in epoch["contributors"]] == ["2300", "0"]
    assert "'fair-v9' is not installed" in run("simulate", "--policy", "fair-v9").err
