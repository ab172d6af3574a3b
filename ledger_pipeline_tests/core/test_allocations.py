"""From curated events to proposed units per user: as the system we join computes them, in integers."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.allocations import (
    MAX_UNITS,
    WEIGHT_SUM_V0,
    CuratedEvents,
    ProposedAllocation,
    compute_proposed_allocations,
    event_kind,
)
from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.pins import weight_config_hash
from ledger_pipeline.core.weights import MAX_WEIGHT_MILLI, check_weights, weight_drift
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI

MERGED = "github:pr_merged"

weights = st.integers(0, 10**6)
curated = st.builds(
    CuratedEvents,
    user_id=st.sampled_from(["ada", "grace", "lin", "Zoë"]),
    kind=st.sampled_from([*DEFAULT_WEIGHTS_MILLI, "discord:message_sent"]),
    weight_override_milli=st.none() | weights,
    events=st.integers(1, 5),
)


def propose(*events: CuratedEvents, **weights_milli: Any) -> list[ProposedAllocation]:
    return compute_proposed_allocations(WEIGHT_SUM_V0, events, weights_milli or DEFAULT_WEIGHTS_MILLI)


# The contract.


def test_allocations_are_those_of_the_system_we_join(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "allocations.json").read_text())
    assert vectors
    for vector in vectors:
        events = [
            CuratedEvents(
                row["userId"],
                event_kind(row["source"], row["eventType"]),
                None if row["weightOverrideMilli"] is None else int(row["weightOverrideMilli"]),
            )
            for row in vector["events"]
            if row["included"]
        ]
        stored = [
            {
                "userId": allocation.user_id,
                "proposedUnits": str(allocation.proposed_units),
                "activityCount": allocation.activity_count,
            }
            for allocation in compute_proposed_allocations(vector["algoRef"], events, vector["weightConfig"])
        ]
        assert stored == vector["allocations"]
        assert weight_config_hash(vector["weightConfig"]) == vector["weightConfigHash"]


def test_an_override_replaces_the_weight_even_by_nothing() -> None:
    assert propose(
        CuratedEvents("ada", MERGED, None), CuratedEvents("ada", MERGED, 7), CuratedEvents("ada", MERGED, 0)
    ) == [ProposedAllocation("ada", 1007, 3)]


def test_events_without_a_weight_count_as_activity_worth_nothing() -> None:
    assert propose(CuratedEvents("ada", "discord:message_sent", None)) == [ProposedAllocation("ada", 0, 1)]


def test_without_events_nobody_has_an_allocation() -> None:
    assert propose() == []


def test_users_are_in_code_point_order_whatever_their_case() -> None:
    users = ["b", "Z", "a", "é", "10", "9"]
    allocations = propose(*(CuratedEvents(user_id, MERGED, None) for user_id in users))
    assert [allocation.user_id for allocation in allocations] == ["10", "9", "Z", "a", "b", "é"]


# Laws.


@given(st.lists(curated), st.randoms())
def test_the_order_of_events_never_matters(events: list[CuratedEvents], random: Any) -> None:
    shuffled = random.sample(events, len(events))
    assert propose(*shuffled) == propose(*events)


@given(st.lists(curated))
def test_counted_together_or_one_by_one_events_come_to_the_same(events: list[CuratedEvents]) -> None:
    one_by_one = [replace(event, events=1) for event in events for _ in range(event.events)]
    assert propose(*one_by_one) == propose(*events)


@given(st.lists(curated))
def test_units_are_the_sum_of_the_weights_and_nobody_elses(events: list[CuratedEvents]) -> None:
    units: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for event in events:
        by_kind = DEFAULT_WEIGHTS_MILLI.get(event.kind, 0)
        weight = by_kind if event.weight_override_milli is None else event.weight_override_milli
        units[event.user_id] += weight * event.events
        counts[event.user_id] += event.events
    allocations = propose(*events)
    assert {allocation.user_id: allocation.proposed_units for allocation in allocations} == dict(units)
    assert {allocation.user_id: allocation.activity_count for allocation in allocations} == dict(counts)
    assert all(type(allocation.proposed_units) is int for allocation in allocations)


# Refusals.

NO_WEIGHTS: dict[str, tuple[Any, str]] = {
    "negative": (-1, "-1 is negative"),
    "fraction": (1.5, "1.5 is no integer"),
    "whole float": (1000.0, "1000.0 is no integer"),
    "not a number": (float("nan"), "nan is no integer"),
    "decimal": (Decimal(1000), r"Decimal\('1000'\) is no integer"),
    "bool": (True, "True is no integer"),
    "text": ("1000", "'1000' is no integer"),
    "unsafe": (MAX_WEIGHT_MILLI + 1, "9007199254740992 is more than JSON keeps exact"),
}
REFUSED = pytest.mark.parametrize(("weight", "problem"), NO_WEIGHTS.values(), ids=NO_WEIGHTS)


@REFUSED
def test_what_is_no_weight_is_refused_naming_the_kind_of_event(weight: Any, problem: str) -> None:
    # Refused whether or not an event has that weight: it is the epoch's configuration that is wrong.
    for refuse in (lambda: check_weights({MERGED: weight}), lambda: propose(**{MERGED: weight})):
        with pytest.raises(AllocationError, match=f"^weight of github:pr_merged: {problem}"):
            refuse()


def test_a_missing_weight_is_refused_where_one_is_named() -> None:
    with pytest.raises(AllocationError, match="weight of github:pr_merged: None is no integer"):
        check_weights({MERGED: None})


@REFUSED
def test_what_is_no_weight_is_no_override_either_and_the_message_names_the_user(weight: Any, problem: str) -> None:
    with pytest.raises(AllocationError, match=f"override of a github:pr_merged of user ada: {problem}"):
        propose(CuratedEvents("ada", MERGED, weight))


def test_no_message_is_made_of_an_override_that_is_right_however_long_its_kind_and_user_are() -> None:
    class Unquoted(str):
        def __format__(self, format_spec: str) -> str:
            raise AssertionError("a message was made where nothing is wrong")

    assert propose(CuratedEvents(Unquoted("ada"), Unquoted(MERGED), 7)) == [ProposedAllocation("ada", 7, 1)]


def test_the_message_of_a_wrong_override_quotes_no_more_of_kind_and_user_than_there_is_room_for() -> None:
    with pytest.raises(AllocationError, match="is negative") as refused:
        propose(CuratedEvents("u" * 100_000, "k" * 100_000, -1))
    assert len(str(refused.value)) < 2_000


def test_the_largest_and_the_smallest_weight_are_accepted() -> None:
    check_weights({"a:b": 0, "c:d": MAX_WEIGHT_MILLI})
    assert propose(CuratedEvents("ada", MERGED, MAX_WEIGHT_MILLI))[0].proposed_units == 2**53 - 1


def test_an_unknown_algorithm_is_refused_naming_those_there_are() -> None:
    with pytest.raises(AllocationError, match="'weight-sum-v9' is not known: weight-sum-v0"):
        compute_proposed_allocations("weight-sum-v9", [], {})


def test_units_that_no_bigint_holds_are_refused_naming_the_user_and_the_last_that_fit_are_not() -> None:
    # (2^53 - 1) x 1024 + 1023 is the largest BIGINT.
    most = [CuratedEvents("ada", MERGED, MAX_WEIGHT_MILLI, events=1024), CuratedEvents("ada", MERGED, 1023)]
    assert propose(*most) == [ProposedAllocation("ada", MAX_UNITS, 1025)]
    with pytest.raises(AllocationError, match=f"user ada: {2**63} units are more than the ledger can hold"):
        propose(*most, CuratedEvents("ada", MERGED, 1))


# Drift.


@pytest.mark.parametrize(
    ("wanted", "drift"),
    [
        (lambda pinned: dict(pinned), {}),
        (lambda pinned: {**pinned, MERGED: 2000}, {MERGED: (1000, 2000)}),
        (lambda pinned: {**pinned, "a:b": 1}, {"a:b": (None, 1)}),
        (lambda pinned: {key: pinned[key] for key in pinned if key != MERGED}, {MERGED: (1000, None)}),
    ],
    ids=["same", "changed", "added", "removed"],
)
def test_drift_says_what_was_pinned_and_what_is_wanted(wanted: Callable[..., Any], drift: dict[str, Any]) -> None:
    assert weight_drift(DEFAULT_WEIGHTS_MILLI, wanted(DEFAULT_WEIGHTS_MILLI)) == drift
