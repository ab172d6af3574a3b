"""Events that claimants share: as the system we join shares them, whoever is counted together, in whatever order."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.allocations import (
    WEIGHT_SUM_V0,
    CuratedEvents,
    ProposedAllocation,
    compute_proposed_allocations,
)
from ledger_pipeline.core.claimants import (
    EventClaim,
    account_of_key,
    claimant_allocations,
    claimant_of_key,
    key_of_set_hash_key,
)
from ledger_pipeline.core.errors import IdentityError, SelectionError
from ledger_pipeline.core.facts import CoAuthor, PullRequestFacts
from ledger_pipeline.core.selection.choice import completed_settings
from ledger_pipeline.core.selection.fair import Fair
from ledger_pipeline.core.selection.policy import Decision, SelectionSpec, select
from ledger_pipeline.core.shares import equal_parts
from ledger_pipeline.core.statements import UserUnits, compute_payouts
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI
from ledger_pipeline_tests.core.selecting import ADA, merge

MERGED = "github:pr_merged"
HASH = "a" * 64
NAMES = ("ada", "zoe", "identity:github:5", "identity:github:41", f"identity:email:{HASH}")

shared = st.builds(
    CuratedEvents,
    user_id=st.sampled_from(NAMES),
    kind=st.sampled_from([*DEFAULT_WEIGHTS_MILLI]),
    weight_override_milli=st.none() | st.integers(0, 10**6),
    events=st.integers(1, 4),
    co_authors=st.lists(st.sampled_from(NAMES), max_size=5).map(tuple),
)


def propose(events: Sequence[CuratedEvents]) -> list[ProposedAllocation]:
    return compute_proposed_allocations(WEIGHT_SUM_V0, events, DEFAULT_WEIGHTS_MILLI)


@given(st.lists(shared, max_size=8))
def test_each_claimant_has_what_the_contract_shares_out_event_by_event(events: list[CuratedEvents]) -> None:
    one_by_one = chain.from_iterable([tally] * tally.events for tally in events)
    claims = [
        EventClaim(
            f"event {number}",
            tally.weight_milli(DEFAULT_WEIGHTS_MILLI),
            [claimant_of_key(key_of_set_hash_key(name)) for name in (tally.user_id, *tally.co_authors)],
        )
        for number, tally in enumerate(one_by_one)
    ]
    assert {row.user_id: (row.proposed_units, row.activity_count) for row in propose(events)} == {
        allocation.claimant.set_hash_key: (allocation.units, len(allocation.event_ids))
        for allocation in claimant_allocations(claims)
    }


@given(st.lists(shared, min_size=1, max_size=8), st.integers(1, 10**6), st.randoms(use_true_random=False))
def test_the_pool_is_shared_out_whole_and_no_order_matters(
    events: list[CuratedEvents], pool_credits: int, random: Random
) -> None:
    proposals = propose(events)
    assert sum(row.proposed_units for row in proposals) == sum(
        tally.weight_milli(DEFAULT_WEIGHTS_MILLI) * tally.events for tally in events
    )
    payouts = compute_payouts([UserUnits(row.user_id, row.proposed_units) for row in proposals], pool_credits)
    assert sum(payout.amount_credits for payout in payouts) in (pool_credits, 0)
    shuffled = [
        replace(tally, co_authors=tuple(random.sample(tally.co_authors, len(tally.co_authors)))) for tally in events
    ]
    random.shuffle(shuffled)
    assert propose(shuffled) == proposals


@given(st.integers(0, 10**6), st.sets(st.text(max_size=3), min_size=1, max_size=9))
def test_equal_parts_differ_by_one_at_most_and_sum_to_the_whole(total: int, keys: set[str]) -> None:
    parts = equal_parts(total, keys)
    assert (sum(parts.values()), list(parts)) == (total, sorted(keys))
    assert max(parts.values()) - min(parts.values()) <= 1
    assert list(parts.values()) == sorted(parts.values(), reverse=True)


def decided(facts: PullRequestFacts | None, *ids: str, **settings: object) -> Decision:
    spec = SelectionSpec({}, completed_settings(Fair(), {"co_authors": "share", **settings}), excluded_ids=ids)  # type: ignore[dict-item]
    return select(Fair(), [merge(facts=facts)], spec)["p"]


def with_co_authors(*co_authors: CoAuthor) -> PullRequestFacts:
    return PullRequestFacts(is_base_default=True, co_authors=co_authors)


def test_co_authors_are_accounts_or_e_mails_once_each_and_never_the_author() -> None:
    facts = with_co_authors(CoAuthor(id="7"), CoAuthor(email_hash=HASH), CoAuthor(id=ADA))
    assert decided(facts).co_authors == (f"identity:email:{HASH}", "identity:github:7")
    assert decided(facts, "7").co_authors == (f"identity:email:{HASH}",)
    assert decided(facts, co_authors="author").co_authors == ()
    assert decided(None).co_authors == decided(with_co_authors()).co_authors == ()


def test_what_does_not_count_is_shared_as_well_should_a_person_count_it() -> None:
    facts = PullRequestFacts(is_base_default=False, co_authors=(CoAuthor(id="7"),))
    assert decided(facts) == Decision(included=False, reason="other_branch", co_authors=("identity:github:7",))


def test_tools_are_named_by_id_by_e_mail_or_by_its_hash() -> None:
    tool = sha256(b"noreply@tool.example").hexdigest()
    facts = with_co_authors(CoAuthor(id="198982749"), CoAuthor(email_hash=tool), CoAuthor(id="7"))
    named = ["198982749+Copilot@users.noreply.github.com", " NoReply@Tool.example"]
    assert decided(facts, not_co_authors=named).co_authors == ("identity:github:7",)
    assert decided(facts, not_co_authors=["198982749", "7", tool]).co_authors == ()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"co_authors": "all"}, "setting co_authors of selection policy fair-v1 is one of author, share, not 'all'"),
        ({"not_co_authors": ["copilot"]}, "setting not_co_authors .* by their numeric id, an e-mail or the SHA-256"),
        ({"not_co_authors": "7"}, "setting not_co_authors .* a list of names"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(SelectionError, match=problem):
        decided(None, **settings)


def test_settings_that_came_later_are_pinned_only_where_they_say_something_else() -> None:
    plain = completed_settings(Fair(), {})
    assert plain == completed_settings(Fair(), {"co_authors": "author", "not_co_authors": []})
    assert plain.keys() & {"co_authors", "not_co_authors"} == set()
    assert completed_settings(Fair(), {"co_authors": "share"}) == {**plain, "co_authors": "share"}


class Sharing(Fair):
    """A policy of somebody's that shares with what it was given."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def decide(self, candidates: object, spec: SelectionSpec) -> dict[str, Decision]:
        return {"p": Decision(included=True, reason="included", co_authors=self._keys)}


@pytest.mark.parametrize(
    "keys",
    [("ada",), ("user:ada",), ("identity:github:x",), ("identity:github:7",) * 2, ("identity:github:7", NAMES[-1])],
)
def test_a_policy_shares_with_accounts_alone_each_once_and_in_order(keys: tuple[str, ...]) -> None:
    with pytest.raises(SelectionError, match="shares p with what are no accounts"):
        select(Sharing(*keys), [merge()], SelectionSpec({}))


def test_an_accounts_key_is_no_users() -> None:
    assert account_of_key("identity:github:7").external_id == "7"
    with pytest.raises(IdentityError, match="'user:ada' names a user, no account"):
        account_of_key("user:ada")
