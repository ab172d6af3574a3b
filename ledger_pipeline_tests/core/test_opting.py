"""The message of an opt-out is read back from its own bytes alone; whose units leave, leave the total."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0, CuratedEvents, compute_proposed_allocations
from ledger_pipeline.core.errors import IdentityError, MalformedLink
from ledger_pipeline.core.opting import (
    OPTED_OUT,
    OptOutMessage,
    make_opt_out_message,
    paid_in_spite,
    pinned_opt_outs,
    read_opt_out_message,
)
from ledger_pipeline.core.pins import epoch_pins, pin_differences
from ledger_pipeline.core.statements import UserUnits, compute_payouts
from ledger_pipeline_tests.builders import scope

WALLET = "0x" + "aB" * 20
TEXT = f"""Ledger Pipeline Opt-Out v1
Node: 00000000-0000-0000-0000-000000000007
User: ada
Choice: no pay
Wallet: {WALLET}
Nonce: 0123456789abcdef0123456789abcdef
Expires: 2026-12-05T00:00:00Z"""


def made(user_id: str = "ada", *, is_opted_out: bool = True) -> OptOutMessage:
    return make_opt_out_message(
        node_id=UUID(int=7),
        user_id=user_id,
        is_opted_out=is_opted_out,
        wallet=WALLET,
        nonce="0123456789abcdef" * 2,
        until=datetime(2026, 12, 5, tzinfo=UTC),
    )


def test_the_message_is_this_to_the_byte_and_one_to_come_back_is_another() -> None:
    assert made().text() == TEXT
    assert read_opt_out_message(TEXT) == made()
    back = made(is_opted_out=False)
    assert "Choice: pay again" in back.text()
    assert read_opt_out_message(back.text()) == back


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("Opt-Out v1", "Account Link v1", "take it from `identities opt-out-message`"),
        ("no pay", "half of it", "is neither of no pay, pay again"),
        ("User: ada", "User: a:b", "has a colon"),
        (WALLET, "0x12", "is no address"),
        ("cdef0123", "CDEF0123", "is not 32 lower-case hex digits"),
        ("00:00:00Z", "00:00:00", "is no instant"),
        ("-000000000007", "-00000000000g", "is no UUID"),
        ("\nNonce", "\nNonsense", "line 6"),
        ("00000000-0000-0000-0000-000000000007", "{00000000-0000-0000-0000-000000000007}", "spelled otherwise"),
    ],
)
def test_any_other_text_is_refused_with_what_is_wrong(before: str, after: str, problem: str) -> None:
    with pytest.raises(MalformedLink, match=problem):
        read_opt_out_message(TEXT.replace(before, after))


def test_a_message_of_nobody_is_not_made() -> None:
    with pytest.raises(IdentityError, match="has a colon"):
        made("identity:github:7")


CLAIMANTS = st.sampled_from(["ada", "grace", "lin", "identity:github:7", "identity:github:8"])
EVENTS = st.lists(st.builds(CuratedEvents, CLAIMANTS, st.just("github:pr_merged"), st.none(), st.integers(1, 9)))


@given(EVENTS, st.sets(CLAIMANTS), st.integers(0, 10_000))
def test_whoever_opted_out_has_nothing_and_nobody_else_has_less(
    events: list[CuratedEvents], opted_out: set[str], pool_total_credits: int
) -> None:
    def paid(without: set[str]) -> dict[str, int]:
        proposals = compute_proposed_allocations(WEIGHT_SUM_V0, events, {"github:pr_merged": 1000}, without)
        units = [UserUnits(proposal.user_id, proposal.proposed_units) for proposal in proposals]
        return {line.user_id: line.amount_credits for line in compute_payouts(units, pool_total_credits)}

    before, after = paid(set()), paid(opted_out)
    assert opted_out.isdisjoint(after)
    assert sum(after.values()) == (pool_total_credits if after else 0)
    if after:
        # To the credit that largest remainders may give to another.
        assert all(after[name] >= before[name] - 1 for name in after)
    if not opted_out & before.keys():
        assert after == before


def test_where_nobody_opted_out_what_is_pinned_is_what_it_was() -> None:
    weights_milli = dict(scope().weights_milli)
    pins = epoch_pins(scope(), weights_milli, (), {"lin", "ada"})
    assert pins.pinned_spec[OPTED_OUT] == ["ada", "lin"]
    assert pinned_opt_outs(pins.pinned_spec) == {"ada", "lin"}
    without = epoch_pins(scope(), weights_milli, (), ())
    assert without == epoch_pins(scope(), weights_milli)
    assert OPTED_OUT not in without.pinned_spec
    # Who opted out since is no difference from the repo-spec.
    assert pin_differences(scope(), pins.allocation_algo_ref, weights_milli, pins.pinned_spec) == []


def test_who_has_units_in_spite_of_it_is_named() -> None:
    assert paid_in_spite({"lin", "ada", "grace"}, {"lin": 1, "ada": 5, "grace": 0, "bo": 7}) == ["ada", "lin"]
