"""Every number follows from the rows before it, and one wrong row is found and named, whichever it is."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger_pipeline.core.allocations import MAX_UNITS
from ledger_pipeline.core.pins import approver_set_hash, weight_config_hash
from ledger_pipeline.core.pool import ALGORITHM_VERSIONS
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, compute_payouts
from ledger_pipeline.verification.differences import MAX_DIFFERENCES, Difference
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import ContributorAccount, Examination, WeighedEvents, verify
from ledger_pipeline_tests.verification.facts import (
    ADAS,
    AMENDED,
    AMENDED_UNITS,
    DECIDED_ISSUE,
    EXCLUDED,
    FIRST,
    GRACES,
    LINS,
    MERGED,
    MERGED_TOO,
    NOWHERE,
    REVIEWED,
    UNITS,
    WEIGHED_ISSUE,
    address,
    changed,
    finalized,
    message,
    sign,
    with_another,
    with_epoch,
    with_rows,
    with_spec,
    without,
)

Tampering = Callable[[EpochFacts], EpochFacts]

PR_1, PR_2, PR_5 = (f"github:pr:cogni-dao/cogni:{number}" for number in (1, 2, 5))
REVIEW = "github:review:cogni-dao/cogni:1:3000000001"
ISSUE_3, ISSUE_4 = (f"github:issue:cogni-dao/cogni:{number}" for number in (3, 4))
BOTH = pytest.mark.parametrize("amended", [False, True], ids=["as first stated", "amended"])


def metadata(facts: EpochFacts, row: int, **values: Any) -> EpochFacts:
    return changed(facts, "events", row, metadata={**facts.events[row].metadata, **values})


def payout(facts: EpochFacts, line: int, statement: int = 0, **values: str) -> EpochFacts:
    lines = [dict(payout) for payout in facts.statements[statement].payouts]
    lines[line] |= values
    return changed(facts, "statements", statement, payouts=lines)


def more_payouts(facts: EpochFacts, **values: str) -> EpochFacts:
    lines = facts.statements[0].payouts
    return changed(facts, "statements", payouts=[*lines, {**lines[0], **values}])


def signed_by(facts: EpochFacts, key: str) -> EpochFacts:
    return changed(facts, "signatures", signer_wallet=address(key), signature=sign(message(UNITS), key))


# What is right.


@BOTH
def test_an_epoch_that_is_right_has_no_differences(amended: bool) -> None:
    assert verify(finalized(amended=amended)) == []


def test_the_numbers_are_those_reckoned_by_hand() -> None:
    # 2000, 750 and 450 of 3200 units; then 650 for lin, of 3400. Of 10,500 credits.
    first, second = (
        {line["userId"]: line["amountCredits"] for line in statement.payouts}
        for statement in finalized(amended=True).statements
    )
    assert first == {"user-ada": "6562", "user-grace": "2461", "user-lin": "1477"}
    assert second == {"user-ada": "6177", "user-grace": "2316", "user-lin": "2007"}


ALSO_RIGHT: dict[str, Tampering] = {
    "a second approver signed too": lambda facts: with_another(
        facts, "signatures", signer_wallet=address("second approver"), signature=sign(message(UNITS), "second approver")
    ),
    "a correction waits for its amendment": lambda facts: with_another(
        facts, "corrections", supersedes_statement_id=AMENDED, user_id="user-ada"
    ),
    "an event counts for nobody": lambda facts: changed(facts, "curation", EXCLUDED, user_id=None),
    "rows stand in another order": lambda facts: with_rows(
        with_rows(facts, "statements", reversed(facts.statements)), "events", reversed(facts.events)
    ),
}


@pytest.mark.parametrize("variant", ALSO_RIGHT.values(), ids=ALSO_RIGHT)
def test_what_is_also_right_is_no_difference(variant: Tampering) -> None:
    assert verify(variant(finalized(amended=True))) == []


# What is wrong, one row at a time: the first difference is nearest to the cause, and names it.

TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    # The epoch and what was pinned.
    "not finalized": (lambda facts: with_epoch(facts, status="review"), "epoch"),
    "weights": (
        lambda facts: with_epoch(facts, weights_milli={**facts.epoch.weights_milli, "github:pr_merged": 1001}),
        "epoch weight_config_hash",
    ),
    "weights' hash": (lambda facts: with_epoch(facts, weight_config_hash="0" * 64), "epoch weight_config_hash"),
    "no weights' hash": (lambda facts: with_epoch(facts, weight_config_hash=None), "epoch weight_config_hash"),
    "approvers pinned": (lambda facts: with_spec(facts, approvers=[address()]), "epoch approver_set_hash"),
    "an approver more": (
        lambda facts: with_spec(facts, approvers=[*facts.pinned_spec["approvers"], address("stranger")]),
        "epoch approver_set_hash",
    ),
    "approvers that are no list": (lambda facts: with_spec(facts, approvers=address()), "epoch approver_set_hash"),
    "approvers' hash": (lambda facts: with_epoch(facts, approver_set_hash="0" * 64), "epoch approver_set_hash"),
    "no spec pinned": (lambda facts: facts.model_copy(update={"pinned_spec": {}}), "repo-spec"),
    "another scope's spec": (lambda facts: with_spec(facts, scope_id=str(NOWHERE)), "repo-spec scope_id"),
    "an algorithm nobody knows": (lambda facts: with_epoch(facts, allocation_algo_ref="weight-sum-v9"), "allocations"),
    "no algorithm": (lambda facts: with_epoch(facts, allocation_algo_ref=None), "allocations"),
    "the epoch's id": (lambda facts: with_epoch(facts, epoch_id=8), f"signatures {address()} of {FIRST}"),
    "the epoch's node": (lambda facts: with_epoch(facts, node_id=NOWHERE), f"signatures {address()} of {FIRST}"),
    "the epoch's pool total": (lambda facts: with_epoch(facts, pool_total_credits=1), "epoch pool_total_credits"),
    "no pool total": (lambda facts: with_epoch(facts, pool_total_credits=None), "epoch pool_total_credits"),
    "period without an end": (lambda facts: with_epoch(facts, period_end=facts.epoch.period_start), "epoch"),
    "period a week later": (
        lambda facts: with_epoch(
            facts,
            period_start=facts.epoch.period_start + timedelta(7),
            period_end=facts.epoch.period_end + timedelta(7),
        ),
        f"events {PR_1}",
    ),
    # Events.
    "when a pull request was merged": (
        lambda facts: metadata(facts, MERGED, mergedAt="2026-02-16T00:00:01Z"),
        f"events {PR_1} payload_hash",
    ),
    "another spelling of the same instant": (
        lambda facts: metadata(facts, MERGED_TOO, mergedAt="2026-02-17T12:00:00Z"),
        f"events {PR_2} payload_hash",
    ),
    "a review's state": (lambda facts: metadata(facts, REVIEWED, state="DISMISSED"), f"events {REVIEW} payload_hash"),
    "nothing to hash": (lambda facts: changed(facts, "events", MERGED, metadata={}), f"events {PR_1}"),
    "a fraction to hash": (lambda facts: metadata(facts, MERGED, mergedAt=1.5), f"events {PR_1}"),
    "an event's author": (
        lambda facts: changed(facts, "events", MERGED, platform_user_id="1"),
        f"events {PR_1} payload_hash",
    ),
    "an event's hash": (
        lambda facts: changed(facts, "events", MERGED, payload_hash="0" * 64),
        f"events {PR_1} payload_hash",
    ),
    "an event's type": (lambda facts: changed(facts, "events", MERGED, event_type="pr_opened"), f"events {PR_1}"),
    "an event's source": (
        lambda facts: changed(facts, "events", MERGED, source="gitlab"),
        "allocations user-ada proposed_units",
    ),
    "an event's time, within the epoch": (
        lambda facts: changed(facts, "events", MERGED, event_time=facts.epoch.period_start + timedelta(hours=1)),
        f"events {PR_1} event_time",
    ),
    "an event's time, at the end of the epoch": (
        lambda facts: changed(facts, "events", MERGED, event_time=facts.epoch.period_end),
        f"events {PR_1}",
    ),
    "an event's id": (
        lambda facts: changed(facts, "events", MERGED, id="github:pr:a/b:9"),
        "events github:pr:a/b:9 payload_hash",
    ),
    "an event removed": (lambda facts: without(facts, "events", MERGED), f"curation {PR_1}"),
    "an event twice": (lambda facts: with_another(facts, "events", MERGED), f"events {PR_1}"),
    # Curation.
    "a curation row removed": (lambda facts: without(facts, "curation", MERGED), f"curation {PR_1}"),
    "a curation row twice": (lambda facts: with_another(facts, "curation", MERGED), f"curation {PR_1}"),
    "a curation row of no event": (
        lambda facts: with_another(facts, "curation", MERGED, event_id="github:pr:a/b:9"),
        "curation github:pr:a/b:9",
    ),
    "an event given to another user": (
        lambda facts: changed(facts, "curation", MERGED, user_id="user-lin"),
        "allocations user-ada proposed_units",
    ),
    "an event given to a new user": (
        lambda facts: changed(facts, "curation", MERGED, user_id="user-zoe"),
        "allocations user-zoe",
    ),
    "an event taken from its user": (
        lambda facts: changed(facts, "curation", MERGED, user_id=None),
        "allocations user-ada proposed_units",
    ),
    "an event excluded": (
        lambda facts: changed(facts, "curation", REVIEWED, included=False),
        "allocations user-grace proposed_units",
    ),
    "an excluded event included": (
        lambda facts: changed(facts, "curation", EXCLUDED, included=True),
        "allocations user-lin proposed_units",
    ),
    "an override": (
        lambda facts: changed(facts, "curation", WEIGHED_ISSUE, weight_override_milli=251),
        "allocations user-grace proposed_units",
    ),
    "an override taken away": (
        lambda facts: changed(facts, "curation", WEIGHED_ISSUE, weight_override_milli=None),
        "allocations user-grace proposed_units",
    ),
    "an override added": (
        lambda facts: changed(facts, "curation", DECIDED_ISSUE, weight_override_milli=0),
        "allocations user-lin proposed_units",
    ),
    "an override no BIGINT could be summed from": (
        lambda facts: changed(facts, "curation", MERGED, weight_override_milli=MAX_UNITS),
        "allocations",
    ),
    # Allocations.
    "units proposed": (
        lambda facts: changed(facts, "allocations", ADAS, proposed_units=2001),
        "allocations user-ada proposed_units",
    ),
    "units proposed where a person decided": (
        lambda facts: changed(facts, "allocations", LINS, proposed_units=301),
        "allocations user-lin proposed_units",
    ),
    "events counted": (
        lambda facts: changed(facts, "allocations", GRACES, activity_count=3),
        "allocations user-grace activity_count",
    ),
    "units decided": (
        lambda facts: changed(facts, "allocations", LINS, final_units=451),
        f"statements {FIRST} allocation_set_hash",
    ),
    "a decision taken back": (
        lambda facts: changed(facts, "allocations", LINS, final_units=None),
        f"statements {FIRST} allocation_set_hash",
    ),
    "a decision made up": (
        lambda facts: changed(facts, "allocations", ADAS, final_units=9000),
        f"statements {FIRST} allocation_set_hash",
    ),
    "an allocation removed": (lambda facts: without(facts, "allocations", ADAS), "allocations user-ada"),
    "an allocation twice": (lambda facts: with_another(facts, "allocations", ADAS), "allocations user-ada"),
    "an allocation of nobody's events": (
        lambda facts: with_another(facts, "allocations", ADAS, user_id="user-zoe"),
        "allocations user-zoe",
    ),
    "an allocation made up by a decision": (
        lambda facts: with_another(
            facts, "allocations", user_id="user-zoe", proposed_units=0, final_units=5, activity_count=0
        ),
        f"statements {FIRST} allocation_set_hash",
    ),
    # The pool.
    "a component's credits": (
        lambda facts: changed(facts, "pool", 1, amount_credits=501),
        "epoch pool_total_credits",
    ),
    "a component removed": (lambda facts: without(facts, "pool", 1), "epoch pool_total_credits"),
    "the base issuance removed": (lambda facts: without(facts, "pool", 0), "pool"),
    "another base issuance than the pinned spec's": (
        lambda facts: facts.model_copy(update={"pinned_spec": {**facts.pinned_spec, "base_issuance_credits": "9000"}}),
        "pool base_issuance",
    ),
    "a base issuance other than its inputs'": (
        lambda facts: changed(facts, "pool", 0, inputs={"base_issuance_credits": "20000"}),
        "pool base_issuance",
    ),
    "an invented component": (lambda facts: changed(facts, "pool", 1, component_id="gift"), "pool gift"),
    "an invented algorithm": (lambda facts: changed(facts, "pool", 1, algorithm_version="manual-v1"), "pool top_up"),
    "a component twice": (lambda facts: with_another(facts, "pool", 1), "pool top_up"),
    # Statements.
    "a statement's hash": (
        lambda facts: changed(facts, "statements", allocation_set_hash="0" * 64),
        f"statements {FIRST} allocation_set_hash",
    ),
    "a statement's pool": (
        lambda facts: changed(facts, "statements", pool_total_credits=10_501),
        f"statements {FIRST} pool_total_credits",
    ),
    "an amount": (lambda facts: payout(facts, 0, amountCredits="6563"), f"statements {FIRST} payout of user-ada"),
    "an amount in another spelling": (
        lambda facts: payout(facts, 0, amountCredits="06562"),
        f"statements {FIRST} payout of user-ada",
    ),
    "units in a payout": (lambda facts: payout(facts, 1, totalUnits="751"), f"statements {FIRST} payout of user-grace"),
    "a share": (lambda facts: payout(facts, 2, share="0.140626"), f"statements {FIRST} payout of user-lin"),
    "an amount of the amendment": (
        lambda facts: payout(facts, 0, 1, amountCredits="6178"),
        f"statements {AMENDED} payout of user-ada",
    ),
    "a payout's user": (lambda facts: payout(facts, 0, userId="user-eve"), f"statements {FIRST} payout of user-ada"),
    "a payout more": (lambda facts: more_payouts(facts, userId="user-eve"), f"statements {FIRST} payout of user-eve"),
    "a payout twice": (lambda facts: more_payouts(facts), f"statements {FIRST} user-ada"),
    "a payout removed": (
        lambda facts: changed(facts, "statements", payouts=facts.statements[0].payouts[1:]),
        f"statements {FIRST} payout of user-ada",
    ),
    "no payouts": (lambda facts: changed(facts, "statements", payouts=[]), f"statements {FIRST} payout of user-ada"),
    "no statement": (lambda facts: with_rows(facts, "statements", []), "statements"),
    "the first statement removed": (lambda facts: without(facts, "statements"), "statements"),
    "the amendment removed": (lambda facts: without(facts, "statements", 1), f"signatures {address()} of {AMENDED}"),
    "an amendment of nothing": (
        lambda facts: changed(facts, "statements", 1, supersedes_statement_id=NOWHERE),
        f"statements {AMENDED}",
    ),
    "an amendment of itself": (
        lambda facts: changed(facts, "statements", 1, supersedes_statement_id=AMENDED),
        f"statements {AMENDED}",
    ),
    "two statements that supersede nothing": (
        lambda facts: changed(facts, "statements", 1, supersedes_statement_id=None),
        f"statements {FIRST}",
    ),
    "statements that supersede each other": (
        lambda facts: changed(facts, "statements", 0, supersedes_statement_id=AMENDED),
        "statements",
    ),
    "two amendments of one statement": (
        lambda facts: with_another(facts, "statements", 1, statement_id=NOWHERE),
        f"statements {AMENDED}",
    ),
    "another statement under the first one's id": (
        lambda facts: with_rows(
            facts, "statements", [facts.statements[0].model_copy(update={"payouts": []}), *facts.statements]
        ),
        f"statements {FIRST}",
    ),
    # Corrections.
    "units put right": (
        lambda facts: changed(facts, "corrections", 1, units=651),
        f"statements {AMENDED} allocation_set_hash",
    ),
    "whose units were put right": (
        lambda facts: changed(facts, "corrections", 1, user_id="user-ada"),
        f"statements {AMENDED} allocation_set_hash",
    ),
    "a correction removed": (
        lambda facts: without(facts, "corrections", 1),
        f"statements {AMENDED} allocation_set_hash",
    ),
    "a correction added": (
        lambda facts: with_another(facts, "corrections", user_id="user-eve"),
        f"statements {AMENDED} allocation_set_hash",
    ),
    "corrections in another order": (
        lambda facts: with_rows(facts, "corrections", reversed(facts.corrections)),
        f"statements {AMENDED} allocation_set_hash",
    ),
    "a correction of no statement": (
        lambda facts: with_another(facts, "corrections", supersedes_statement_id=NOWHERE),
        f"corrections user-lin of {NOWHERE}",
    ),
    # Signatures.
    "another key's signature": (
        lambda facts: changed(facts, "signatures", signature=sign(message(UNITS), "stranger")),
        f"signatures {address()} of {FIRST}",
    ),
    "another epoch's signature": (
        lambda facts: changed(facts, "signatures", signature=sign(message(UNITS, epoch_id=8))),
        f"signatures {address()} of {FIRST}",
    ),
    "another pool's signature": (
        lambda facts: changed(facts, "signatures", signature=sign(message(UNITS, pool=1))),
        f"signatures {address()} of {FIRST}",
    ),
    "the amendment's signature under the first": (
        lambda facts: changed(facts, "signatures", signature=sign(message(AMENDED_UNITS))),
        f"signatures {address()} of {FIRST}",
    ),
    "no signature in the signature": (
        lambda facts: changed(facts, "signatures", signature="0x"),
        f"signatures {address()} of {FIRST}",
    ),
    "a good signature of nobody who is approved": (
        lambda facts: signed_by(facts, "stranger"),
        f"signatures {address('stranger')} of {FIRST}",
    ),
    "a signature under another approver's name": (
        lambda facts: changed(facts, "signatures", signer_wallet=address("second approver")),
        f"signatures {address('second approver')} of {FIRST}",
    ),
    "a signature of no statement": (
        lambda facts: with_another(facts, "signatures", statement_id=NOWHERE),
        f"signatures {address()} of {NOWHERE}",
    ),
    "nobody signed": (lambda facts: without(facts, "signatures", 0), f"statements {FIRST}"),
    "nobody signed the amendment": (lambda facts: without(facts, "signatures", 1), f"statements {AMENDED}"),
}


@pytest.mark.parametrize(("tamper", "where"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_one_wrong_row_is_found_and_named(tamper: Tampering, where: str) -> None:
    facts = tamper(finalized(amended=True))
    found_differences = verify(facts)
    assert found_differences, "nothing was found"
    assert found_differences[0].where == where, list(map(str, found_differences))


def test_a_difference_says_what_is_stored_and_what_follows() -> None:
    (found_differences, *_) = verify(changed(finalized(), "allocations", ADAS, proposed_units=2001))
    assert str(found_differences) == "allocations user-ada proposed_units: stored 2001, but 2000 follows"


def test_an_approver_signs_whatever_the_case_their_address_was_pinned_in() -> None:
    lower = with_spec(finalized(), approvers=[approver.lower() for approver in finalized().pinned_spec["approvers"]])
    assert verify(lower) == []


def test_everything_that_is_wrong_is_listed_at_once() -> None:
    facts = changed(finalized(), "events", MERGED, payload_hash="0")
    facts = changed(facts, "curation", EXCLUDED, included=True)
    facts = without(facts, "signatures")
    assert [difference.where for difference in verify(facts)] == [
        f"events {PR_1} payload_hash",
        "allocations user-lin proposed_units",
        "allocations user-lin activity_count",
        f"statements {FIRST}",
    ]


def test_an_epoch_with_nothing_in_it_is_wrong_and_not_an_error() -> None:
    facts = finalized()
    for table in ("events", "curation", "allocations", "pool", "statements", "signatures"):
        facts = with_rows(facts, table, [])
    assert Difference("statements", "there is none") in verify(facts)
    assert Examination(facts).accounts() == []


# What no number follows from is held by nothing here: only the archive's hashes of lines see it (see test_archive).

UNHASHED: dict[str, Tampering] = {
    "an event's login": lambda facts: changed(facts, "events", MERGED, platform_login="eve"),
    "an event's address": lambda facts: changed(facts, "events", MERGED, artifact_url="https://example.org"),
    "an event's title": lambda facts: metadata(facts, MERGED, title="Another"),
    "an event's producer": lambda facts: changed(facts, "events", MERGED, producer="somebody"),
    "a note": lambda facts: changed(facts, "curation", WEIGHED_ISSUE, note="was large"),
    "a reason": lambda facts: changed(facts, "allocations", LINS, override_reason="a friend"),
    "where evidence is": lambda facts: changed(facts, "pool", 1, evidence_ref="https://example.org"),
    "why units were put right": lambda facts: changed(facts, "corrections", 1, reason="a friend"),
    "a correction that a later one replaced": lambda facts: changed(facts, "corrections", 0, units=1),
    "when it was signed": lambda facts: changed(facts, "signatures", signed_at=facts.epoch.period_end),
}


@pytest.mark.parametrize("tamper", UNHASHED.values(), ids=UNHASHED)
def test_what_no_number_follows_from_is_no_difference(tamper: Tampering) -> None:
    assert verify(tamper(finalized(amended=True))) == []


def test_who_rewrites_all_that_follows_still_cannot_sign_it() -> None:
    # Everything up to the statement can be made consistent by whoever holds the rows; the approver's key is not theirs.
    facts, units = finalized(), {**UNITS, "user-lin": 9000}
    forged = finalized_with(facts, units)
    assert [difference.where for difference in verify(forged)] == [
        f"signatures {address()} of {FIRST}",
        f"statements {FIRST}",
    ]
    pinned = [address("stranger")]
    forged = with_epoch(with_spec(forged, approvers=pinned), approver_set_hash=approver_set_hash(pinned))
    forged = changed(
        forged, "signatures", signer_wallet=address("stranger"), signature=sign(message(units), "stranger")
    )
    # Nor does a file prove who the approvers were: whoever reads it compares their hash with the one they know.
    assert verify(forged) == []
    assert forged.epoch.approver_set_hash != facts.epoch.approver_set_hash


def finalized_with(facts: EpochFacts, units: dict[str, int]) -> EpochFacts:
    lines = [UserUnits(user_id, of) for user_id, of in units.items()]
    return changed(
        changed(facts, "allocations", LINS, final_units=units["user-lin"]),
        "statements",
        allocation_set_hash=allocation_set_hash(lines),
        payouts=[payout.to_json() for payout in compute_payouts(lines, facts.statements[0].pool_total_credits)],
    )


def test_weights_that_the_hash_follows_still_have_to_give_the_units() -> None:
    weights = {**finalized().epoch.weights_milli, "github:pr_merged": 2000}
    facts = with_epoch(finalized(), weights_milli=weights, weight_config_hash=weight_config_hash(weights))
    assert [difference.where for difference in verify(facts)] == ["allocations user-ada proposed_units"]


# How one user's credits come about.


def test_every_contributors_account_says_how_their_credits_come_about() -> None:
    assert Examination(finalized()).accounts() == [
        ContributorAccount(
            "user-ada", (WeighedEvents("github:pr_merged", 1000, (PR_1, PR_2)),), None, 2000, "0.625000", 6562
        ),
        ContributorAccount(
            "user-grace",
            (
                WeighedEvents("github:issue_closed", 250, (ISSUE_3,)),
                WeighedEvents("github:review_submitted", 500, (REVIEW,)),
            ),
            None,
            750,
            "0.234375",
            2461,
        ),
        ContributorAccount(
            "user-lin", (WeighedEvents("github:issue_closed", 300, (ISSUE_4,)),), 450, 450, "0.140625", 1477
        ),
    ]


@BOTH
def test_accounts_add_up(amended: bool) -> None:
    facts = finalized(amended=amended)
    accounts = Examination(facts).accounts()
    assert sum(account.amount_credits for account in accounts) == facts.epoch.pool_total_credits
    for account in accounts:
        assert account.total_units == (
            sum(weighed.units for weighed in account.events) if account.decided_units is None else account.decided_units
        )
    listed = {event_id for account in accounts for weighed in account.events for event_id in weighed.event_ids}
    assert listed == {event.id for event in facts.events} - {PR_5}, "the excluded one counts for nobody"


def test_after_an_amendment_accounts_are_of_the_statement_in_force() -> None:
    (lin,) = (account for account in Examination(finalized(amended=True)).accounts() if account.user_id == "user-lin")
    assert (lin.decided_units, lin.amount_credits) == (650, 2007)


@pytest.mark.parametrize("column", ["userId", "totalUnits", "share", "amountCredits"])
def test_a_payout_that_cannot_be_read_is_a_difference_without_an_account(column: str) -> None:
    lines = [dict(payout) for payout in finalized().statements[0].payouts]
    del lines[ADAS][column]
    facts = changed(finalized(), "statements", payouts=lines)
    assert f"statements {FIRST} payout of user-ada" in {difference.where for difference in verify(facts)}
    assert [account.user_id for account in Examination(facts).accounts()] == ["user-grace", "user-lin"]


def test_an_amount_that_is_no_number_is_a_difference_without_an_account() -> None:
    facts = payout(finalized(), ADAS, amountCredits="many")
    assert verify(facts)[0].where == f"statements {FIRST} payout of user-ada"
    assert [account.user_id for account in Examination(facts).accounts()] == ["user-grace", "user-lin"]


# Ids.


def with_user(facts: EpochFacts, was: str, user_id: str) -> EpochFacts:
    """`facts` in which somebody has another id, wherever it stands; hash and signature follow."""
    units = {user_id if user == was else user: of for user, of in UNITS.items()}
    renamed = finalized_with(facts, units)
    for table in ("curation", "allocations"):
        rows = [
            row.model_copy(update={"user_id": user_id}) if row.user_id == was else row
            for row in getattr(renamed, table)
        ]
        renamed = with_rows(renamed, table, rows)
    return changed(renamed, "signatures", signature=sign(message(units)))


def test_ids_of_an_epoch_that_closed_by_the_rule_are_ids() -> None:
    by_the_rule = with_spec(finalized(), id_rule="v1")
    assert verify(by_the_rule) == []
    assert any(
        "user 'a:b' has a colon" in str(difference)
        for difference in verify(with_user(by_the_rule, "user-grace", "a:b"))
    )
    assert [difference.where for difference in verify(with_spec(finalized(), id_rule="v2"))] == ["repo-spec id_rule"]


def test_an_epoch_from_before_the_rule_verifies_with_a_warning_unless_its_hash_could_be_of_another_set() -> None:
    older = with_user(finalized(), "user-grace", "did:grace")
    assert (verify(older), Examination(finalized()).warnings()) == ([], [])
    [warning] = Examination(older).warnings()
    assert "user 'did:grace' has a colon" in warning
    ambiguous = with_user(finalized(), "user-grace", "user-grace:1\nuser-x")
    assert any(
        "the signed hash is that of other users and units too" in str(difference) for difference in verify(ambiguous)
    )


def test_a_thousand_warnings_of_a_kind_are_enough() -> None:
    facts = finalized()
    pool = [facts.pool[1].model_copy(update={"evidence_ref": None})] * 3000
    curation = [facts.curation[0].model_copy(update={"included": False, "note": None})] * 3000
    looked = Examination(with_rows(with_rows(facts, "pool", pool), "curation", curation))
    warnings = Counter(warning.split()[0] for warning in looked.warnings())
    assert warnings["pool"] == warnings["curation"] == MAX_DIFFERENCES


@pytest.mark.parametrize("spec", [{"id_rule": "v1"}, {}], ids=["by the rule", "before it"])
def test_an_id_that_nobody_sees_alike_is_a_warning_and_no_difference(spec: dict[str, str]) -> None:
    facts = with_spec(finalized(), **spec)
    rows = [*facts.allocations, facts.allocations[0].model_copy(update={"user_id": "ada\u0378"})]
    looked = Examination(with_rows(facts, "allocations", rows))
    assert any(r"user 'ada\u0378' has U+0378, which is no character" in warning for warning in looked.warnings())
    assert not [difference for difference in looked.differences() if difference.where == "ids"]


def test_numbers_that_were_stated_before_are_a_difference_and_in_an_older_epoch_a_warning() -> None:
    again = finalized(amended=True)
    again = changed(again, "statements", 1, allocation_set_hash=again.statements[0].allocation_set_hash)
    problem = f"statements {AMENDED}: its numbers are those of {FIRST}, so what was signed of that is good for it too"
    assert any(problem in warning for warning in Examination(again).warnings())
    assert problem not in map(str, verify(again))
    assert problem in map(str, verify(with_spec(again, id_rule="v1")))


def test_units_that_were_decided_without_a_reason_are_named_and_verify() -> None:
    facts = finalized()
    assert Examination(facts).warnings() == []
    [decided] = [row for row, allocation in enumerate(facts.allocations) if allocation.final_units is not None]
    user = facts.allocations[decided].user_id
    for reason in (None, " ", "\n\u2800"):
        unexplained = changed(facts, "allocations", decided, override_reason=reason)
        assert verify(unexplained) == []
        [warning] = Examination(unexplained).warnings()
        assert warning.startswith(f"allocations {user}: a person decided ")
        assert warning.endswith("and nobody said why")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (
            lambda facts: changed(facts, "curation", 0, weight_override_milli=5, note="\u200b"),
            "curation {id}: a person weighed it otherwise, and nobody said why",
        ),
        (
            lambda facts: changed(facts, "curation", 0, included=False, note=None),
            "curation {id}: a person left it out, and nobody said why",
        ),
    ],
    ids=["weight", "exclusion"],
)
def test_events_that_were_judged_without_a_reason_are_named(
    change: Callable[[EpochFacts], EpochFacts], warning: str
) -> None:
    facts = change(finalized())
    assert Examination(facts).warnings() == [warning.format(id=facts.curation[0].event_id)]


@pytest.mark.parametrize(
    ("component", "changes"),
    [("top_up", {"evidence_ref": "\n"}), ("kpi_bonus_v0", {"evidence_ref": None}), ("kpi_bonus_v0", {"inputs": {}})],
)
def test_a_component_that_rests_on_nothing_is_named_and_verifies(component: str, changes: dict[str, object]) -> None:
    facts = finalized()
    rests = {"inputs": {"x": "1"}, "evidence_ref": "https://vote/7"}
    [row] = [row for row, kept in enumerate(facts.pool) if kept.component_id != "base_issuance"]
    algorithm = ALGORITHM_VERSIONS[component]
    founded = changed(facts, "pool", row, component_id=component, algorithm_version=algorithm, **rests)
    assert Examination(founded).warnings() == []
    unfounded = changed(founded, "pool", row, **changes)
    assert verify(unfounded) == []
    [warning] = Examination(unfounded).warnings()
    assert warning.startswith(f"pool {component}: say ")


@pytest.mark.parametrize(
    "weights",
    [1.5, None, {"a": float("inf")}, [[0.5]], "x" * 10_000],
    ids=["half", "null", "endless", "a list", "long"],
)
def test_weights_that_a_pinned_spec_says_are_named_whatever_they_are(weights: object) -> None:
    facts = finalized()
    spec = {**facts.pinned_spec, "weights_milli": weights}
    [warning] = Examination(facts.model_copy(update={"pinned_spec": spec})).warnings()
    assert warning.startswith("repo-spec weights_milli: it closed with ")
    assert len(warning) < 500
