"""Whom units are for: as the system we join computes it, and the units of an event are all somebody's."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.claimants import (
    ALL_PPM,
    Claimant,
    ClaimantAllocation,
    ClaimOverride,
    EventClaim,
    IdentityClaimant,
    UserClaimant,
    claimant_allocations,
    claimant_of_key,
    final_allocation_set_hash,
    statement_lines,
)
from ledger_pipeline.core.errors import AllocationError, IdentityError
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, compute_payouts

ALICE, BOB = UserClaimant("alice"), UserClaimant("bob")
ACCOUNT = IdentityClaimant("github", "42", "carol")

users = st.builds(UserClaimant, st.text("abcé😀XZ", min_size=1, max_size=3))
accounts = st.builds(
    IdentityClaimant, st.sampled_from(["github", "gitlab"]), st.integers(1, 10**19 - 1).map(str), st.none()
)
claimants = users | accounts
# Small numbers meet ties, large ones the ends of BIGINT.
amounts = st.integers(0, 12) | st.integers(0, 2**63 - 1)


def claims_of(of: st.SearchStrategy[Claimant]) -> st.SearchStrategy[list[EventClaim]]:
    """Claims of different events, each of one to four claimants."""
    shared = st.tuples(amounts, st.lists(of, min_size=1, max_size=4))
    return st.lists(shared, max_size=12).map(
        lambda pairs: [EventClaim(f"github:pr:acme/w:{number}", *pair) for number, pair in enumerate(pairs)]
    )


@st.composite
def overridden(draw: st.DrawFn) -> tuple[list[EventClaim], list[ClaimOverride]]:
    """Claims, and what a person decided of some of them."""
    claims = draw(claims_of(claimants))
    overrides = []
    for claim in claims:
        if draw(st.booleans()):
            by_whom = draw(st.lists(claimants, min_size=1, max_size=4, unique=True))
            cuts = sorted(draw(st.lists(st.integers(0, ALL_PPM), min_size=len(by_whom) - 1, max_size=len(by_whom) - 1)))
            parts = [end - start for start, end in zip([0, *cuts], [*cuts, ALL_PPM], strict=True)]
            shares = dict(zip(by_whom, parts, strict=True)) if draw(st.booleans()) else None
            overrides.append(ClaimOverride(claim.event_id, draw(st.none() | amounts), shares))
    return claims, overrides


# The contract.


def claimant_of(row: dict[str, Any]) -> Claimant:
    if row["kind"] == "user":
        return UserClaimant(row["userId"])
    return IdentityClaimant(row["provider"], row["externalId"], row["providerLogin"])


def override_of(row: dict[str, Any]) -> ClaimOverride:
    shares = row["overrideShares"]
    return ClaimOverride(
        row["subjectRef"],
        None if row["overrideUnits"] is None else int(row["overrideUnits"]),
        None if shares is None else {claimant_of(share["claimant"]): share["sharePpm"] for share in shares},
    )


def test_allocations_hashes_and_lines_are_those_of_the_system_we_join(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "claimant_statements.json").read_text())
    for vector in vectors:
        keys = {row["receiptId"]: row["claimantKeys"] for row in vector["claimants"]}
        claims = [
            EventClaim(row["receiptId"], int(row["units"]), [claimant_of_key(key) for key in keys[row["receiptId"]]])
            for row in vector["receipt_weights"]
        ]
        allocations = claimant_allocations(claims, map(override_of, vector["overrides"]))
        assert [
            {
                "claimantKey": allocation.claimant.key,
                "claimant": allocation.claimant.to_json(),
                "finalUnits": str(allocation.units),
                "receiptIds": list(allocation.event_ids),
            }
            for allocation in allocations
        ] == vector["allocations"]
        assert final_allocation_set_hash(allocations) == vector["finalAllocationSetHash"]
        lines = statement_lines(allocations, int(vector["poolTotalCredits"]))
        assert json.dumps([line.to_json() for line in lines]) == json.dumps(vector["statementLines"])
    # The vectors hold what is easily got wrong.
    assert any(row["overrideUnits"] and row["overrideShares"] for vector in vectors for row in vector["overrides"])
    assert any(vector["allocations"] and vector["poolTotalCredits"] == "0" for vector in vectors)


# Keys.


def test_a_key_says_who_the_claimant_is() -> None:
    assert claimant_of_key("user:alice") == ALICE
    assert claimant_of_key("identity:github:42") == ACCOUNT
    assert (ALICE.key, ALICE.set_hash_key) == ("user:alice", "alice")
    assert (ACCOUNT.key, ACCOUNT.set_hash_key) == ("identity:github:42", "identity:github:42")


@given(claimants)
def test_every_claimant_is_the_one_that_its_key_names(claimant: Claimant) -> None:
    assert claimant_of_key(claimant.key) == claimant


def test_an_account_whose_login_changed_is_the_same_claimant() -> None:
    assert IdentityClaimant("github", "42", "caroline") == ACCOUNT


@pytest.mark.parametrize(
    ("key", "what_is_wrong"),
    [
        ("alice", "'alice' names no claimant: neither user:USER nor identity:PROVIDER:ACCOUNT"),
        ("identity:github", "names no claimant"),
        ("team:github:42", "names no claimant"),
        ("user:", "has 0 characters"),
        ("user:identity:github:42", "has a colon"),
        ("user:alice\n", "which shows nothing or breaks lines"),
        ("identity::42", "has 0 characters"),
        ("identity:github:42:7", "is not github's numeric id"),
        ("identity:github:alice", "is not github's numeric id"),
        ("identity:chat:a:b", "has a colon"),
        ("identity:git\nhub:42", "which shows nothing or breaks lines"),
    ],
)
def test_a_key_that_could_be_read_in_two_ways_is_refused(key: str, what_is_wrong: str) -> None:
    with pytest.raises(IdentityError, match=what_is_wrong.replace("'", ".")):
        claimant_of_key(key)


# Shares.


def units_of(allocations: list[ClaimantAllocation]) -> dict[str, int]:
    return {allocation.claimant.key: allocation.units for allocation in allocations}


def test_what_is_left_of_an_equal_split_goes_one_each_in_the_order_of_keys() -> None:
    allocations = claimant_allocations([EventClaim("e", 11, [BOB, ALICE, ACCOUNT])])
    assert units_of(allocations) == {"identity:github:42": 4, "user:alice": 4, "user:bob": 3}


def test_shares_that_a_person_decided_replace_the_claimants() -> None:
    override = ClaimOverride("e", units=10, shares_ppm={ACCOUNT: 333_333, BOB: 666_667})
    allocations = claimant_allocations([EventClaim("e", 1000, [ALICE])], [override])
    assert units_of(allocations) == {"identity:github:42": 3, "user:bob": 7}


@given(overridden())
def test_the_units_of_every_event_are_all_somebodys(given_: tuple[list[EventClaim], list[ClaimOverride]]) -> None:
    claims, overrides = given_
    decided = {row.event_id: row.units for row in overrides if row.units is not None}
    units = sum(decided.get(claim.event_id, claim.units) for claim in claims)
    allocations = claimant_allocations(claims, overrides)
    assert sum(allocation.units for allocation in allocations) == units
    assert all(allocation.units >= 0 and allocation.event_ids for allocation in allocations)


@given(overridden(), st.randoms(use_true_random=False), amounts)
def test_the_order_of_what_is_given_never_matters(
    given_: tuple[list[EventClaim], list[ClaimOverride]], random: Random, pool: int
) -> None:
    claims, overrides = given_
    mixed_claims = [
        EventClaim(claim.event_id, claim.units, random.sample(list(claim.claimants), len(claim.claimants)))
        for claim in random.sample(claims, len(claims))
    ]
    allocations = claimant_allocations(claims, overrides)
    mixed = claimant_allocations(mixed_claims, random.sample(overrides, len(overrides)))
    assert mixed == allocations
    shuffled = random.sample(mixed, len(mixed))
    assert statement_lines(shuffled, pool) == statement_lines(allocations, pool)
    assert final_allocation_set_hash(shuffled) == final_allocation_set_hash(allocations)


@given(claims_of(claimants), amounts)
def test_the_pool_is_shared_out_whole(claims: list[EventClaim], pool: int) -> None:
    lines = statement_lines(claimant_allocations(claims), pool)
    anybody = any(claim.units for claim in claims)
    assert sum(line.amount_credits for line in lines) == (pool if anybody else 0)


@given(claims_of(users), amounts)
def test_where_all_claimants_are_users_hash_and_amounts_are_what_they_were(claims: list[EventClaim], pool: int) -> None:
    allocations = claimant_allocations(claims)
    units = [UserUnits(allocation.claimant.set_hash_key, allocation.units) for allocation in allocations]
    assert final_allocation_set_hash(allocations) == allocation_set_hash(units)
    lines = statement_lines(allocations, pool)
    assert [
        (line.allocation.claimant.set_hash_key, line.allocation.units, line.share, line.amount_credits)
        for line in lines
    ] == [
        (payout.user_id, payout.total_units, payout.share, payout.amount_credits)
        for payout in compute_payouts(units, pool)
    ]


# Refusals.


@pytest.mark.parametrize(
    ("claims", "overrides", "what_is_wrong"),
    [
        ([EventClaim("e", -1, [ALICE])], [], "e: -1 units are negative"),
        ([EventClaim("e", 1, [])], [], "e: 1 milli-units are for nobody"),
        ([EventClaim("e", 1, [ALICE]), EventClaim("e", 1, [BOB])], [], "e has more than one claim"),
        ([EventClaim("e", 1, [ALICE])], [ClaimOverride("e"), ClaimOverride("e")], "e has more than one override"),
        ([EventClaim("e", 1, [ALICE])], [ClaimOverride("f")], "override of f: the event does not count, or is not"),
        ([EventClaim("e", 1, [ALICE])], [ClaimOverride("e", units=-2)], "e: -2 units are negative"),
        ([EventClaim("e", 1, [ALICE])], [ClaimOverride("e", shares_ppm={})], "not of 1000000 millionths together"),
        ([EventClaim("e", 1, [ALICE])], [ClaimOverride("e", shares_ppm={BOB: 999_999})], "not of 1000000 millionths"),
        (
            [EventClaim("e", 1, [ALICE])],
            [ClaimOverride("e", shares_ppm={ALICE: -1, BOB: ALL_PPM + 1})],
            "not of 1000000 millionths together",
        ),
    ],
)
def test_what_no_units_follow_from_is_refused(
    claims: list[EventClaim], overrides: list[ClaimOverride], what_is_wrong: str
) -> None:
    with pytest.raises(AllocationError, match=what_is_wrong):
        claimant_allocations(claims, overrides)


@pytest.mark.parametrize(
    ("allocations", "pool", "what_is_wrong"),
    [
        ([ClaimantAllocation(ALICE, -1)], 7, "user:alice: -1 units are negative"),
        ([ClaimantAllocation(ALICE, 1)], -7, "a pool of -7 credits is negative"),
        ([ClaimantAllocation(ALICE, 1), ClaimantAllocation(ALICE, 2)], 7, "user:alice has more than one allocation"),
    ],
)
def test_what_no_lines_follow_from_is_refused(
    allocations: list[ClaimantAllocation], pool: int, what_is_wrong: str
) -> None:
    with pytest.raises(AllocationError, match=what_is_wrong):
        statement_lines(allocations, pool)
