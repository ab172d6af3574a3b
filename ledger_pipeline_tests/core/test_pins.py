"""What is pinned when an epoch closes, as the system we join computes it."""

import json
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.pins import allocation_algo_ref, approver_set_hash, weight_config_hash


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
