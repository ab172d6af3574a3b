"""What is pinned when an epoch closes, as the system we join computes it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import ConfigurationError, SelectionError
from ledger_pipeline.core.pins import (
    allocation_algo_ref,
    approver_set_hash,
    epoch_pins,
    pin_differences,
    pinned_spec,
    weight_config_hash,
)
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.core.selection.choice import SelectionChoice, pinned_choice
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.policies import installed_policy
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, REPO, scope
from ledger_pipeline_tests.core.selecting import merge

CHOICE = SelectionChoice("fair-v1", "1", "ledger-pipeline", "0.1.0", {"reviews_of": "all"}, ("Octocat",))


def test_weight_hashes_match_the_golden_vectors(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "allocations.json").read_text())
    assert vectors
    for vector in vectors:
        assert weight_config_hash(vector["weightConfig"]) == vector["weightConfigHash"]


def test_approver_hashes_match_the_golden_vectors(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "signatures.json").read_text())
    assert vectors
    for vector in vectors:
        assert approver_set_hash(vector["approvers"]) == vector["approverSetHash"]


def test_approvers_are_a_set_whatever_their_order_and_case() -> None:
    assert approver_set_hash(["0xB", "0xa"]) == approver_set_hash(["0xA", "0xb"])


def test_an_unknown_estimate_is_refused_by_name() -> None:
    assert allocation_algo_ref("cogni-v0.0") == "weight-sum-v0"
    with pytest.raises(ConfigurationError, match="'cogni-v9' is not known"):
        allocation_algo_ref("cogni-v9")


def test_a_spec_that_names_no_policy_is_pinned_as_before_there_were_any() -> None:
    assert sorted(pinned_spec(scope())) == [
        *("activity_sources", "approvers", "auto_close_grace_hours", "base_issuance_credits", "claimants"),
        *("epoch_length_days", "first_epoch", "id_rule", "scope_id", "scope_key", "weights_milli"),
    ]
    assert pinned_choice(pinned_spec(scope())) is None


def test_a_policy_is_pinned_with_all_that_it_decides_by() -> None:
    spec = json.loads(json.dumps(pinned_spec(replace(scope(), selection=CHOICE), ["1", "22"])))
    assert spec["selection"] == {
        "policy": "fair-v1",
        "version": "1",
        "distribution": "ledger-pipeline",
        "distribution_version": "0.1.0",
        "settings": {"reviews_of": "all"},
        "excluded_logins": ["Octocat"],
        "excluded_ids": ["1", "22"],
    }
    assert pinned_choice(spec) == CHOICE.with_ids(("1", "22"))


@pytest.mark.parametrize(
    "broken",
    [
        *("fair-v1", None, {}, {**CHOICE.pinned, "more": 1}, {**CHOICE.pinned, "policy": 1}),
        *({**CHOICE.pinned, "settings": []}, {**CHOICE.pinned, "excluded_ids": [7]}),
    ],
)
def test_what_was_pinned_and_is_no_choice_is_refused(broken: object) -> None:
    with pytest.raises(SelectionError, match="what the epoch closed with has"):
        pinned_choice({"selection": broken})


def differences(now: SelectionChoice | None, then: SelectionChoice | None) -> list[tuple[str, bool]]:
    pinned = pinned_spec(replace(scope(), selection=then), ["7"])
    of_scope = replace(scope(), selection=now)
    return [
        (difference.name, difference.pays)
        for difference in pin_differences(of_scope, "weight-sum-v0", DEFAULT_WEIGHTS_MILLI, pinned)
    ]


def test_another_policy_or_setting_is_a_difference_that_pays_and_an_upgrade_is_none() -> None:
    named = [("selection", True)]
    assert differences(CHOICE, CHOICE) == []
    assert differences(replace(CHOICE, distribution_version="0.2.0"), CHOICE) == []
    assert differences(None, None) == []
    assert differences(None, CHOICE) == named
    assert differences(CHOICE, None) == named
    assert differences(replace(CHOICE, settings={"reviews_of": "merged"}), CHOICE) == named
    assert differences(replace(CHOICE, excluded_logins=()), CHOICE) == named
    assert differences(replace(CHOICE, version="2"), CHOICE) == named


def test_an_epoch_whose_parts_are_pinned_differs_from_the_spec_by_its_claims_alone() -> None:
    def routed(order: int) -> Scope:
        of = ClaimedRepository(REPO, (Claim("docs", labels=("documentation",), order=order),), "default")
        selection = installed_policy("include-all-v0").choice({}, ())
        return replace(scope(), selection=replace(selection, routing=Routing("default", (of,))))

    closed_with = routed(1)
    assert closed_with.selection is not None
    assert closed_with.selection.routing is not None
    selection = replace(closed_with.selection, routing=closed_with.selection.routing.routed([merge()]))
    pins = epoch_pins(replace(closed_with, selection=selection), DEFAULT_WEIGHTS_MILLI)
    pinned = pins.pinned_spec["selection"]
    assert isinstance(pinned, dict)
    assert isinstance(pinned["routing"], dict)
    assert set(pinned["routing"]) == {"scope", "repositories", "shares_hash"}

    def differing(now: Scope) -> list[str]:
        of_pins = pin_differences(now, pins.allocation_algo_ref, DEFAULT_WEIGHTS_MILLI, pins.pinned_spec)
        return [difference.name for difference in of_pins]

    assert differing(routed(1)) == []
    assert differing(routed(2)) == ["selection"]
    assert differing(scope()) == ["selection"]
