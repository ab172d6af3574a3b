"""From units and a pool to payouts, hash and message: as the system we join computes them, and never a credit lost."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.statements import (
    Payout,
    UserUnits,
    allocation_set_hash,
    amended_units,
    compute_payouts,
    statement_message,
)

# Small numbers meet ties, large ones the ends of BIGINT.
amounts = st.integers(0, 12) | st.integers(0, 2**63 - 1)
pools = amounts.filter(bool)
user_ids = st.text("abcXYZ09é😀", min_size=1, max_size=3)
units_by_user = st.dictionaries(user_ids, amounts, min_size=1, max_size=12)
somebody_has_units = units_by_user.filter(lambda units: any(units.values()))
lines_of_several = st.lists(st.builds(UserUnits, user_ids, amounts), max_size=15)


def lines(units: dict[str, int]) -> list[UserUnits]:
    return [UserUnits(user_id, of) for user_id, of in units.items()]


def credits_of(units: dict[str, int], pool: int) -> dict[str, int]:
    return {payout.user_id: payout.amount_credits for payout in compute_payouts(lines(units), pool)}


def by_the_book(units: Sequence[UserUnits], pool: int) -> dict[str, int]:
    """Largest remainder in exact fractions, one credit at a time: slow, and as the method is defined."""
    users = sorted({unit.user_id for unit in units})
    total = sum(unit.units for unit in units)
    exact = {user: Fraction(pool * sum(unit.units for unit in units if unit.user_id == user), total) for user in users}
    credits_ = {user: int(share) for user, share in exact.items()}
    waiting = sorted(users, key=lambda user: (credits_[user] - exact[user], user))
    for user in waiting[: pool - sum(credits_.values())]:
        credits_[user] += 1
    return credits_


# The contract.


def test_payouts_and_hashes_are_those_of_the_system_we_join(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "payouts.json").read_text())
    several_lines = 0
    for vector in vectors:
        units = [UserUnits(row["userId"], int(row["valuationUnits"])) for row in vector["allocations"]]
        payouts = compute_payouts(units, int(vector["poolTotalCredits"]))
        assert [payout.to_json() for payout in payouts] == vector["payouts"]
        assert allocation_set_hash(units) == vector["allocationSetHash"]
        several_lines += len({unit.user_id for unit in units}) < len(units)
    # The vectors hold what is easily got wrong.
    assert several_lines
    assert any(not vector["allocations"] for vector in vectors)
    assert any(vector["allocations"] and vector["poolTotalCredits"] == "0" for vector in vectors)


def test_the_hash_of_no_allocations_is_that_of_no_bytes() -> None:
    assert allocation_set_hash([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_lines_of_one_user_are_hashed_one_by_one_as_they_come() -> None:
    twice = [UserUnits("b", 1), UserUnits("a", 3), UserUnits("a", 2)]
    assert allocation_set_hash(twice) == allocation_set_hash([UserUnits("a", 3), UserUnits("a", 2), UserUnits("b", 1)])
    assert allocation_set_hash(twice) != allocation_set_hash([UserUnits("a", 5), UserUnits("b", 1)])


@given(units_by_user, st.randoms())
def test_the_order_of_users_never_matters_to_the_hash(units: dict[str, int], random: Any) -> None:
    allocations = lines(units)
    assert allocation_set_hash(random.sample(allocations, len(allocations))) == allocation_set_hash(allocations)


def test_messages_are_those_of_the_system_we_join_to_the_byte(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "signatures.json").read_text())
    assert vectors
    for vector in vectors:
        message = statement_message(
            node_id=UUID(vector["nodeId"]),
            scope_id=UUID(vector["scopeId"]),
            epoch_id=int(vector["epochId"]),
            allocation_set_hash=vector["allocationSetHash"],
            pool_total_credits=int(vector["poolTotalCredits"]),
        )
        assert message.encode() == vector["message"].encode()


# Laws of the arithmetic.


@given(lines_of_several, amounts)
def test_payouts_are_those_of_largest_remainder_by_the_book(allocations: list[UserUnits], pool: int) -> None:
    payouts = compute_payouts(allocations, pool)
    if pool == 0 or not any(allocation.units for allocation in allocations):
        assert payouts == []
        return
    assert {payout.user_id: payout.amount_credits for payout in payouts} == by_the_book(allocations, pool)
    assert [payout.user_id for payout in payouts] == sorted({allocation.user_id for allocation in allocations})


@given(somebody_has_units, pools)
def test_amounts_sum_to_the_pool_and_nobodys_is_negative(units: dict[str, int], pool: int) -> None:
    payouts = credits_of(units, pool)
    assert sum(payouts.values()) == pool
    assert min(payouts.values()) >= 0
    assert payouts.keys() == units.keys()


@given(somebody_has_units, pools)
def test_every_amount_is_within_one_credit_of_the_exact_share(units: dict[str, int], pool: int) -> None:
    total = sum(units.values())
    for user_id, amount in credits_of(units, pool).items():
        assert abs(amount - Fraction(units[user_id] * pool, total)) < 1


@given(somebody_has_units, pools)
def test_who_has_more_units_never_gets_fewer_credits(units: dict[str, int], pool: int) -> None:
    payouts = credits_of(units, pool)
    best_paid_first = sorted(units, key=lambda user_id: (-units[user_id], user_id))
    # Equal units may differ by the one credit that goes by user id.
    amounts_ = [payouts[user_id] for user_id in best_paid_first]
    assert amounts_ == sorted(amounts_, reverse=True)


@given(somebody_has_units, pools, st.data())
def test_own_units_that_grow_never_cost_a_credit(units: dict[str, int], pool: int, data: st.DataObject) -> None:
    # Largest remainder has paradoxes, but not this one. If one's whole credits stay the same, one's remainder grew and
    # every other's fell, save those whose whole credits fell; each of these frees the very credit it may take first.
    user_id = data.draw(st.sampled_from(sorted(units)))
    more = units | {user_id: units[user_id] + data.draw(st.integers(1, 12) | st.integers(1, 2**62))}
    assert credits_of(more, pool)[user_id] >= credits_of(units, pool)[user_id]


@given(lines_of_several, amounts, st.randoms())
def test_the_order_of_lines_never_matters_to_payouts(allocations: list[UserUnits], pool: int, random: Any) -> None:
    assert compute_payouts(random.sample(allocations, len(allocations)), pool) == compute_payouts(allocations, pool)


@given(units_by_user, amounts, st.integers(1, 10**9))
def test_another_unit_of_measure_changes_no_credit_and_no_share(units: dict[str, int], pool: int, factor: int) -> None:
    scaled = {user_id: of * factor for user_id, of in units.items()}
    assert credits_of(scaled, pool) == credits_of(units, pool)
    shares = [payout.share for payout in compute_payouts(lines(units), pool)]
    assert [payout.share for payout in compute_payouts(lines(scaled), pool)] == shares


@given(somebody_has_units, pools)
def test_shares_are_cut_after_six_decimals_never_rounded_up(units: dict[str, int], pool: int) -> None:
    total = sum(units.values())
    for payout in compute_payouts(lines(units), pool):
        whole, _, decimals = payout.share.partition(".")
        assert (len(decimals), whole in {"0", "1"}) == (6, True)
        assert 0 <= Fraction(payout.total_units, total) - Fraction(payout.share) < Fraction(1, 10**6)


@pytest.mark.parametrize(
    ("units", "shares"),
    [
        ({"a": 1, "b": 2}, ["0.333333", "0.666666"]),
        ({"a": 1}, ["1.000000"]),
        ({"a": 1, "b": 0}, ["1.000000", "0.000000"]),
        ({"a": 1, "b": 9_999_999}, ["0.000000", "0.999999"]),
    ],
)
def test_shares_are_written_with_six_decimals(units: dict[str, int], shares: list[str]) -> None:
    assert [payout.share for payout in compute_payouts(lines(units), 100)] == shares


def test_what_is_left_goes_by_user_id_in_code_point_order_where_remainders_tie() -> None:
    assert credits_of({"b": 1, "a": 1, "Z": 1}, 4) == {"Z": 2, "a": 1, "b": 1}


def test_a_user_whose_work_is_worth_nothing_has_a_line_of_nothing() -> None:
    assert compute_payouts([UserUnits("b", 0), UserUnits("a", 5)], 7) == [
        Payout("a", 5, "1.000000", 7),
        Payout("b", 0, "0.000000", 0),
    ]


def test_without_units_or_without_a_pool_there_are_no_lines() -> None:
    # As the system we join has it: with nothing to share out, its statement is empty, not a list of zeros.
    assert compute_payouts([UserUnits("a", 0)], 100) == compute_payouts([], 100) == []
    assert compute_payouts([UserUnits("a", 1), UserUnits("b", 2)], 0) == []


@pytest.mark.parametrize("pool", [0, -1])
def test_without_a_pool_what_is_negative_is_refused_all_the_same(pool: int) -> None:
    with pytest.raises(AllocationError, match=r"(is|are) negative$"):
        compute_payouts([UserUnits("ada", -1)], pool)


def test_negative_units_are_refused_naming_the_user_even_where_another_line_makes_up_for_them() -> None:
    with pytest.raises(AllocationError, match=r"^user ada: -1 units are negative$"):
        compute_payouts([UserUnits("ada", 5), UserUnits("ada", -1)], 100)


def test_a_negative_pool_is_refused() -> None:
    with pytest.raises(AllocationError, match=r"^a pool of -1 credits is negative$"):
        compute_payouts([UserUnits("ada", 5)], -1)


# Amendments.


def test_corrections_replace_units_add_users_and_leave_the_others() -> None:
    assert amended_units([UserUnits("b", 1), UserUnits("a", 2)], {"b": 5, "c": 3}) == [
        UserUnits("a", 2),
        UserUnits("b", 5),
        UserUnits("c", 3),
    ]


def test_a_correction_to_nothing_keeps_the_users_line() -> None:
    assert amended_units([UserUnits("a", 2)], {"a": 0}) == [UserUnits("a", 0)]
