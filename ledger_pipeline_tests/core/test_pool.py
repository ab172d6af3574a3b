"""What a pool is made of: known components, amounts whose sum a BIGINT holds, and evidence for what a person adds."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from ledger_pipeline.core.errors import AllocationError
from ledger_pipeline.core.pool import (
    ALGORITHM_VERSIONS,
    BASE_ISSUANCE,
    KPI_BONUS_V0,
    MAX_CREDITS,
    TOP_UP,
    NewPoolComponent,
    base_issuance,
)

EVIDENCE = "https://vote.example/42"


def component(name: str = TOP_UP, amount: int = 1, **fields: Any) -> NewPoolComponent:
    return NewPoolComponent(name, amount, **{"inputs": {"kpi": "1"}, "evidence_ref": EVIDENCE, **fields})


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [(BASE_ISSUANCE, "config-constant-v0"), (TOP_UP, "manual-v0"), (KPI_BONUS_V0, "kpi-bonus-v0")],
)
def test_each_component_names_the_algorithm_of_its_amount(name: str, algorithm: str) -> None:
    assert component(name).algorithm_version == algorithm
    assert name in ALGORITHM_VERSIONS


def test_the_base_issuance_is_the_repo_specs_amount_and_says_so_in_a_string_json_keeps_exact() -> None:
    issued = base_issuance(2**59)
    assert (issued.component_id, issued.amount_credits) == (BASE_ISSUANCE, 2**59)
    assert issued.inputs == {"base_issuance_credits": str(2**59)}
    assert issued.evidence_ref is None


@pytest.mark.parametrize("name", ["", "bonus", "base_issuance ", "BASE_ISSUANCE", "kpi_bonus_v1"])
def test_an_unknown_component_is_refused_naming_those_there_are(name: str) -> None:
    with pytest.raises(AllocationError, match=f"^pool component '{name}' is not known: base_issuance, top_up, kpi_bo"):
        component(name)


@pytest.mark.parametrize("name", ALGORITHM_VERSIONS)
@pytest.mark.parametrize("amount", [-1, MAX_CREDITS + 1, 10**30])
def test_an_amount_that_is_negative_or_too_large_is_refused(name: str, amount: int) -> None:
    with pytest.raises(AllocationError, match=f"^{name}: {amount} credits are not 0 to {MAX_CREDITS}$"):
        component(name, amount)


@pytest.mark.parametrize("amount", [0, MAX_CREDITS])
def test_the_smallest_and_the_largest_amount_are_accepted(amount: int) -> None:
    assert component(amount=amount).amount_credits == base_issuance(amount).amount_credits == amount


@pytest.mark.parametrize("name", [TOP_UP, KPI_BONUS_V0])
@pytest.mark.parametrize("evidence", [None, ""])
def test_what_a_person_adds_needs_evidence(name: str, evidence: str | None) -> None:
    with pytest.raises(AllocationError, match=f"^{name}: say where the evidence is"):
        component(name, evidence_ref=evidence)


def test_a_bonus_needs_the_inputs_it_was_computed_from_and_a_top_up_does_not() -> None:
    with pytest.raises(AllocationError, match=r"^kpi_bonus_v0: say what it was computed from \(inputs\)$"):
        component(KPI_BONUS_V0, inputs={})
    assert component(TOP_UP, inputs={}).inputs == {}


def test_a_components_amount_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        component().amount_credits = 2  # type: ignore[misc]
