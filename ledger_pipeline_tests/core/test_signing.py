"""What an approver signs, in every form, against the vectors of the system we join."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.signing import (
    MAX_CHAIN_ID,
    Scheme,
    StatementTerms,
    TypedData,
    attribution_message,
    pinned_chain_id,
    read_chain_id,
    signing_forms,
)
from ledger_pipeline.core.statements import statement_message

ALL_TERMS = st.builds(
    StatementTerms,
    st.uuids(),
    st.uuids(),
    st.integers(1, 2**53),
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.integers(0, 10**24),
)


def vectors(shared: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((shared / "golden" / "typed_data.json").read_text())
    assert read
    return read


def terms_of(vector: dict[str, Any]) -> StatementTerms:
    return StatementTerms(
        UUID(vector["nodeId"]),
        UUID(vector["scopeId"]),
        int(vector["epochId"]),
        vector["finalAllocationSetHash"],
        int(vector["poolTotalCredits"]),
    )


def test_the_typed_data_is_the_golden_one_to_the_byte(shared: Path) -> None:
    for vector in vectors(shared):
        typed = TypedData(terms_of(vector), vector["chainId"])
        assert json.dumps(typed.to_json()) == json.dumps(vector["typedData"])


def test_the_attribution_text_is_the_golden_one_to_the_byte(shared: Path) -> None:
    for vector in vectors(shared):
        assert attribution_message(terms_of(vector)) == vector["eip191Message"]


def test_a_wallet_is_told_what_the_domain_is_made_of_and_nothing_else_is_different(shared: Path) -> None:
    for vector in vectors(shared):
        for_wallets = TypedData(terms_of(vector), vector["chainId"]).to_wallet_json()
        types = for_wallets["types"]
        assert isinstance(types, dict)
        assert types.pop("EIP712Domain") == [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
        ]
        assert for_wallets == vector["typedData"]


@given(ALL_TERMS)
def test_without_a_chain_there_is_the_text_of_before_and_nothing_else(terms: StatementTerms) -> None:
    assert signing_forms(terms, None) == {Scheme.PAYOUT_TEXT: statement_message(**vars(terms))}


@given(ALL_TERMS, st.integers(1, MAX_CHAIN_ID))
def test_with_a_chain_typed_data_is_asked_for_first_and_the_text_of_before_is_none_of_the_forms(
    terms: StatementTerms, chain_id: int
) -> None:
    forms = signing_forms(terms, chain_id)
    assert list(forms) == [Scheme.TYPED_DATA, Scheme.ATTRIBUTION_TEXT]
    assert forms[Scheme.TYPED_DATA] == TypedData(terms, chain_id)
    assert statement_message(**vars(terms)) not in forms.values()


@pytest.mark.parametrize("digits", ["1", "8453", str(MAX_CHAIN_ID)])
def test_a_chain_id_is_decimal_digits(digits: str) -> None:
    assert pinned_chain_id({"chain_id": digits}) == read_chain_id(digits) == int(digits)


@pytest.mark.parametrize(
    "no_chain_id",
    [None, "", "0", "08453", "-1", "+1", "1 ", "1\n", "0x1", "1e3", "٣", str(MAX_CHAIN_ID + 1), 8453, ["1"]],
)
def test_anything_else_is_no_chain_id(no_chain_id: Any) -> None:
    assert read_chain_id(no_chain_id) is None
    assert pinned_chain_id({"chain_id": no_chain_id}) is None


def test_a_spec_of_before_has_no_chain() -> None:
    assert pinned_chain_id({}) is None
