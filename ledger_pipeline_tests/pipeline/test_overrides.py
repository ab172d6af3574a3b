"""What a person decides about one event beats weights, policy and claimants, moves nobody's units of other events, and
is archived with what it replaced."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0, CuratedEvents, compute_proposed_allocations, snapshot
from ledger_pipeline.core.claimants import (
    ALL_PPM,
    ClaimOverride,
    EventClaim,
    claimant_allocations,
    claimant_of_key,
    key_of_set_hash_key,
)
from ledger_pipeline.core.errors import AllocationError, EpochNotReady
from ledger_pipeline.core.overrides import why_not_shares
from ledger_pipeline.pipeline.overrides import override
from ledger_pipeline.pipeline.what_if import Supposition, what_if
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.claim_records import OverrideRecord
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, REPO, pull_request, review
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
)

FIRST, SECOND, REVIEWED = pull_request(1).id, pull_request(2).id, review(1).id
ZOE, ANNIE = "user:zoe", "identity:github:77"


def decide(
    books: Books, event_id: str, units: int | None = None, shares: Mapping[str, int] | None = None, why: str = "agreed"
) -> dict[str, int]:
    """Units by claimant afterwards."""
    _, now = override(books.ledger, books.scope, books.epoch, event_id, units=units, shares_ppm=shares, reason=why)
    return {row.user_id: row.proposed_units for row in now}


def archived(books: Books) -> EpochFacts:
    return facts_of(books.ledger.statements.rows(books.epoch))


def test_units_and_parts_hold_until_they_are_taken_back_and_all_is_kept(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    books.materialize()
    assert decide(books, FIRST, units=3001) == {ADA_USER: 4001, GRACE_USER: 500}
    shares = {ZOE: 500_000, ANNIE: 500_000}
    # What is left of a half goes to the first key, and accounts come before users.
    assert decide(books, FIRST, units=3001, shares=shares) == {
        ADA_USER: 1000, GRACE_USER: 500, "identity:github:77": 1501, "zoe": 1500
    }  # fmt: skip
    assert decide(books, FIRST, shares={ZOE: ALL_PPM}) == {ADA_USER: 1000, GRACE_USER: 500, "zoe": 1000}
    assert decide(books, FIRST, why="it was a mistake") == {ADA_USER: 2000, GRACE_USER: 500}
    kept = ledger.overrides.of(books.epoch)
    assert [(row.place, row.units, row.shares, row.reason) for row in kept] == [
        (1, 3001, None, "agreed"),
        (2, 3001, shares, "agreed"),
        (3, None, {ZOE: ALL_PPM}, "agreed"),
        (4, None, None, "it was a mistake"),
    ]
    assert [row.replaced for row in kept] == [
        {"units": "1000", "parts": {f"user:{ADA_USER}": "1000"}},
        {"units": "3001", "parts": {f"user:{ADA_USER}": "3001"}},
        {"units": "3001", "parts": {ANNIE: "1501", ZOE: "1500"}},
        {"units": "1000", "parts": {ZOE: "1000"}},
    ]


def test_a_unit_override_beats_a_weight_and_an_event_that_is_left_out_counts_for_nobody(
    ledger: PostgresLedger,
) -> None:
    books = collected(ledger)
    books.materialize()
    ledger.curation.judge(books.epoch, FIRST, Judgement("half of it", weight_override_milli=500))
    assert decide(books, FIRST, units=7)[ADA_USER] == 1007
    ledger.curation.judge(books.epoch, FIRST, Judgement("not at all", included=False))
    assert {row.user_id: row.proposed_units for row in books.materialize()} == {ADA_USER: 1000, GRACE_USER: 500}
    with pytest.raises(EpochNotReady, match="has no event github:pr:cogni-dao/cogni:1 that counts"):
        decide(books, FIRST, units=8)


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ({}, "are of 0 claimants"),
        ({"ada": ALL_PPM}, "name no claimant: 'ada' names no claimant"),
        ({ZOE: 999_999}, "sum to 999999 millionths, not to 1000000"),
        ({ZOE: 0, ANNIE: ALL_PPM}, "are not all whole numbers of millionths, one at least"),
        ({ZOE: True, ANNIE: 999_999}, "are not all whole numbers"),
    ],
)
def test_parts_that_are_none_are_refused(ledger: PostgresLedger, shares: Mapping[str, int], problem: str) -> None:
    with pytest.raises(AllocationError, match=problem):
        decide(collected(ledger), FIRST, shares=shares)


def test_what_was_decided_is_signed_archived_and_verified(ledger: PostgresLedger, tmp_path: Path) -> None:
    books = reviewed(ledger)
    decide(books, FIRST, units=2000, shares={f"user:{ADA_USER}": 250_000, ANNIE: 750_000})
    books.finalize(books.signature())
    with pytest.raises(EpochNotReady, match="is finalized"):
        decide(books, FIRST, units=1)
    write_archive(archived(books), tmp_path / "epoch.zip")
    archive = read_archive(tmp_path / "epoch.zip")
    assert (archive.damages, verify(archive.facts), Examination(archive.facts).warnings()) == ((), [], [])
    assert {row.user_id: row.total_units for row in Examination(archive.facts).accounts()} == {
        ADA_USER: 1500, ANNIE: 1500, GRACE_USER: 500
    }  # fmt: skip


def forged(epoch: EpochFacts, *rows: OverrideRecord) -> list[str]:
    return [str(difference) for difference in verify(epoch.model_copy(update={"overrides": rows}))]


def test_whoever_changes_a_decision_in_an_archive_is_found(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    decide(books, FIRST, units=2000, shares={ZOE: ALL_PPM})
    books.finalize(books.signature())
    epoch = archived(books)
    [row] = epoch.overrides
    assert any("zoe: " in problem for problem in forged(epoch))
    assert any("3000" in problem for problem in forged(epoch, row.model_copy(update={"units": 3000})))
    for change, problem in (
        ({"shares": {ZOE: 5}}, "its shares sum to 5 millionths"),
        ({"units": -1}, "is negative"),
        ({"place": 2}, "its place 2 does not follow the one before"),
        ({"place": 0}, "it has place 0"),
        ({"event_id": "github:pr:x/y:1"}, "there is no such event in the epoch"),
    ):
        assert problem in forged(epoch, row.model_copy(update=change))[0]
    unexplained = Examination(epoch.model_copy(update={"overrides": [row.model_copy(update={"reason": " "})]}))
    assert f"overrides {FIRST}: nobody said who decided so, or why" in unexplained.warnings()


def test_a_decision_after_the_proposal_blocks_the_signing_until_it_is_proposed_again(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    ledger.overrides.append(books.epoch, FIRST, units=7, shares_ppm=None, replaced={}, reason="behind its back")
    with pytest.raises(EpochNotReady, match="its allocations do not follow from its curation any more"):
        books.draft()
    books.materialize()
    assert books.draft()


def test_what_a_person_decided_holds_in_what_another_policy_would_pay(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    books.materialize()
    decide(books, FIRST, units=3000, shares={ZOE: ALL_PPM})
    change = what_if(ledger, books.scope, books.epoch, Supposition(None, {"github:pr_merged": 2000}))
    assert {row.user_id: (row.units_milli, row.would_be_units_milli) for row in change.contributors} == {
        ADA_USER: (1000, 2000), GRACE_USER: (500, 500), "zoe": (3000, 3000)
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event_overrides SET units = 1",
        "DELETE FROM event_overrides",
        "TRUNCATE event_overrides",
        "INSERT INTO event_overrides SELECT node_id, epoch_id, event_id, 2, 1, NULL, '{}', 'more' FROM event_overrides",
    ],
)
def test_nobody_changes_what_was_decided_or_adds_to_what_is_finalized(
    ledger: PostgresLedger, ledger_engine: Engine, change: str
) -> None:
    books = reviewed(ledger)
    decide(books, FIRST, units=2000)
    books.finalize(books.signature())
    assert f"{change.split()[0]} of event_overrides refused" in refused(ledger_engine, change)


@pytest.mark.parametrize(
    "shares", ["{}", '{"user:zoe": 5}', '{"zoe": 1000000}', '{"user:zoe": "1000000"}', '{"user:a:b": 1000000}', "[]"]
)
def test_the_database_takes_no_parts_that_are_none(ledger: PostgresLedger, ledger_engine: Engine, shares: str) -> None:
    books = collected(ledger)
    books.materialize()
    insert = (
        "INSERT INTO event_overrides (node_id, epoch_id, event_id, place, shares, replaced, reason) "
        f"SELECT node_id, id, '{FIRST}', 1, '{shares}', '{{}}', 'why' FROM epochs"
    )
    assert "event_overrides_shares" in refused(ledger_engine, insert)
    assert (why_not_shares({ZOE: ALL_PPM}), decide(books, FIRST, shares={ZOE: ALL_PPM})["zoe"]) == (None, 1000)


NAMES = ("ada", "zoe", "identity:github:5", "identity:github:41")
parts = st.dictionaries(st.sampled_from([key_of_set_hash_key(name) for name in NAMES]), st.integers(1, 50), min_size=1)


def of_a_whole(weights: Mapping[str, int]) -> dict[str, int]:
    shares = {key: weight * ALL_PPM // sum(weights.values()) for key, weight in weights.items()}
    first = min(shares)
    return {**shares, first: shares[first] + ALL_PPM - sum(shares.values())}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.none() | st.integers(0, 9999), st.none() | parts), max_size=6))
def test_decided_events_are_shared_out_as_the_contract_does_and_move_no_other(
    decided: list[tuple[str, int | None, Mapping[str, int] | None]],
) -> None:
    plain = [CuratedEvents(name, "github:pr_merged", None) for name, _, _ in decided]
    tallies = [
        CuratedEvents(
            name,
            "github:pr_merged",
            units,
            shares_ppm=() if weights is None else tuple(of_a_whole(weights).items()),
        )
        for name, units, weights in decided
    ]
    claims = [
        EventClaim(str(number), 1000, [claimant_of_key(key_of_set_hash_key(name))])
        for number, (name, _, _) in enumerate(decided)
    ]
    overrides = [
        ClaimOverride(
            str(number),
            units,
            None if weights is None else {claimant_of_key(key): ppm for key, ppm in of_a_whole(weights).items()},
        )
        for number, (_, units, weights) in enumerate(decided)
    ]
    proposals = compute_proposed_allocations(WEIGHT_SUM_V0, tallies, DEFAULT_WEIGHTS_MILLI)
    assert {row.user_id: row.proposed_units for row in proposals} == {
        row.claimant.set_hash_key: row.units for row in claimant_allocations(claims, overrides) if row.event_ids
    }
    for place, tally in enumerate(tallies):
        one_alone = [*plain[:place], tally, *plain[place + 1 :]]
        of_others = compute_proposed_allocations(
            WEIGHT_SUM_V0, [*plain[:place], *plain[place + 1 :]], DEFAULT_WEIGHTS_MILLI
        )
        units_of_others = {row.user_id: row.proposed_units for row in of_others}
        mine = {
            row.user_id: row.proposed_units - units_of_others.get(row.user_id, 0)
            for row in compute_proposed_allocations(WEIGHT_SUM_V0, one_alone, DEFAULT_WEIGHTS_MILLI)
        }
        stated = snapshot(tally, DEFAULT_WEIGHTS_MILLI)["parts"]
        assert isinstance(stated, dict)
        assert {key_of_set_hash_key(name): str(units) for name, units in mine.items() if units} == {
            key: units for key, units in stated.items() if units != "0"
        }


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Callable[..., Ran]:
    """A command on the test's ledger."""
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    return lambda *arguments: command(*arguments, LEDGER_REPO_SPEC=str(spec), DATABASE_URL=ledger_url)


def test_commands_decide_list_and_take_back(ledger: PostgresLedger, run: Callable[..., Ran], tmp_path: Path) -> None:
    collected(ledger).materialize()
    epoch, why = ("--epoch", "2026-02-16"), ("--reason", "Zoe wrote a half")
    shares = ("--share", f"user:{ADA_USER}=500000", "--share", "user:zoe=500000")
    printed = run("overrides", "set", FIRST, *epoch, "--units-milli", "3000", *shares, *why)
    assert (printed.code, printed.out) == (0, f"{ADA_USER}: 2 -> 2.5 units\nzoe: 0 -> 1.5 units\n")
    [listed] = run("overrides", "list", *epoch, "--json").json
    assert (listed["units_milli"], listed["shares_ppm"], listed["reason"]) == (
        "3000",
        {f"user:{ADA_USER}": 500_000, "user:zoe": 500_000},
        "Zoe wrote a half",
    )
    assert listed["replaced"] == {"units": "1000", "parts": {f"user:{ADA_USER}": "1000"}}
    assert run("epoch", "show", *epoch, "--json").json["overrides"] == [listed]
    shown = run("epoch", "show", *epoch)
    assert "decided about single events" in shown.out
    page = tmp_path / "page.html"
    assert run("report", *epoch, "--output", str(page)).code == 0
    assert "Zoe wrote a half" in page.read_text()
    back = run("overrides", "take-back", FIRST, *epoch, "--reason", "asked her")
    assert back.out == f"{ADA_USER}: 2.5 -> 2 units\nzoe: 1.5 -> 0 units\n"
    assert "taken back" in run("overrides", "list", *epoch).out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "say what: --units-milli, --share or both"),
        (("--units-milli", "-1"), "is negative"),
        (("--share", "user:zoe"), "is not CLAIMANT=MILLIONTHS"),
        (("--share", "user:zoe=5"), "the shares sum to 5 millionths, not to 1000000"),
        (("--share", "user:zoe=5", "--share", "user:zoe=5"), "--share names user:zoe twice"),
        (("--units-milli", "1", "--reason", " "), "--reason must say why"),
    ],
)
def test_what_cannot_be_decided_is_bad_usage(run: Callable[..., Ran], options: Sequence[str], problem: str) -> None:
    printed = run("overrides", "set", FIRST, "--epoch", "2026-02-16", "--reason", "why", *options)
    assert printed.code == 2
    assert problem in " ".join(printed.err.split())
