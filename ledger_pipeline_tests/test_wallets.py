"""Who signed: the golden signatures' signers, and a clear refusal of everything that is no signature."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import WrongSignature
from ledger_pipeline.core.pins import approver_set_hash
from ledger_pipeline.core.signing import TypedData
from ledger_pipeline.wallets import is_among, recover_signer, signed_hash
from ledger_pipeline_tests.core.test_signing import ALL_TERMS, terms_of, vectors
from ledger_pipeline_tests.verification.facts import address, sign

MESSAGE = "Cogni Payout Statement v1\nNode: ..\n"
THROW_AWAY = address()
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def with_v(signature: str, v: int) -> str:
    return signature[:-2] + f"{v:02x}"


SIGNATURE = sign(MESSAGE)


# The contract.


def test_signers_of_the_golden_signatures_are_recovered(shared: Path) -> None:
    vectors = json.loads((shared / "golden" / "signatures.json").read_text())
    assert vectors
    for vector in vectors:
        assert recover_signer(vector["message"], vector["signature"]) == vector["signer"]
        assert approver_set_hash(vector["approvers"]) == vector["approverSetHash"]


def test_our_own_signatures_are_the_golden_ones_so_tests_may_sign(shared: Path) -> None:
    for vector in json.loads((shared / "golden" / "signatures.json").read_text()):
        assert sign(vector["message"], vector["privateKey"]) == vector["signature"]


def test_the_golden_typed_data_is_hashed_and_recovered_as_is_its_text(shared: Path) -> None:
    for vector in vectors(shared):
        typed = TypedData(terms_of(vector), vector["chainId"])
        assert f"0x{signed_hash(typed).hex()}" == vector["digest"]
        assert recover_signer(typed, vector["signature"]) == vector["signer"]
        assert recover_signer(vector["eip191Message"], vector["eip191Signature"]) == vector["signer"]
        assert approver_set_hash(vector["approvers"]) == vector["approverSetHash"]


def test_a_signature_of_typed_data_is_a_strangers_on_another_chain_and_of_the_text(shared: Path) -> None:
    for vector in vectors(shared):
        elsewhere = TypedData(terms_of(vector), vector["chainId"] + 1)
        for message, signature in (
            (elsewhere, vector["signature"]),
            (vector["eip191Message"], vector["signature"]),
            (TypedData(terms_of(vector), vector["chainId"]), vector["eip191Signature"]),
        ):
            assert recover_signer(message, signature) != vector["signer"]


@given(st.builds(TypedData, ALL_TERMS, st.integers(1, 2**256 - 1)))
def test_typed_data_is_hashed_as_eth_account_hashes_what_wallets_are_given(typed: TypedData) -> None:
    address()  # brings eth-account, without the limit that it raises
    from eth_account.messages import _hash_eip191_message, encode_typed_data

    for printed in (typed.to_json(), typed.to_wallet_json()):
        assert signed_hash(typed) == _hash_eip191_message(encode_typed_data(full_message=printed))


@pytest.mark.parametrize("message", ["", "a", "Größe 😀\n", "line\r\nline\x00"])
def test_whoever_signed_a_message_is_recovered_by_their_checksummed_address(message: str) -> None:
    assert recover_signer(message, sign(message)) == THROW_AWAY


def test_a_signature_of_another_message_is_a_strangers() -> None:
    assert recover_signer(MESSAGE + "\n", SIGNATURE) != THROW_AWAY


def test_upper_case_digits_are_the_same_signature() -> None:
    assert recover_signer(MESSAGE, "0x" + SIGNATURE[2:].upper()) == THROW_AWAY


def test_a_recovery_id_counted_from_zero_as_hardware_wallets_write_it_is_the_same() -> None:
    v = int(SIGNATURE[-2:], 16)
    assert v in {27, 28}
    assert recover_signer(MESSAGE, with_v(SIGNATURE, v - 27)) == THROW_AWAY


# Refusals.

MALFORMED = {
    "empty": ("", "0 bytes, not 65"),
    "prefix alone": ("0x", "0 bytes, not 65"),
    "a word": ("signature", "is not hex"),
    "a letter beyond f": ("0x" + "g" + SIGNATURE[3:], "is not hex"),
    "half a byte": (SIGNATURE[:-1], "is not hex"),
    "one byte short": (SIGNATURE[:-2], "64 bytes, not 65"),
    "one byte long": (SIGNATURE + "00", "66 bytes, not 65"),
    "two signatures": (SIGNATURE + SIGNATURE[2:], "130 bytes, not 65"),
    "prefix twice": ("0x" + SIGNATURE, "is not hex"),
    "upper-case prefix": ("0X" + SIGNATURE[2:], "is not hex"),
    "wide digits": ("0x" + "\uff10" * 130, "is not hex"),
    "base64": ("lSCWYtonUudV9qzNaaCfO7GGlM0BzsxnLuZus", "is not hex"),
    # White space is no digit: what was broken on its way here is not mended by guessing.
    "space within": (SIGNATURE[:10] + " " + SIGNATURE[10:], "is not hex"),
    "space before": (" " + SIGNATURE, "is not hex"),
    "line feed after": (SIGNATURE + "\n", "is not hex"),
}


@pytest.mark.parametrize(("signature", "problem"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_signature_is_refused_saying_what_is_wrong_and_what_would_be_right(
    signature: str, problem: str
) -> None:
    with pytest.raises(WrongSignature, match=f"{problem}.*: give 0x and 130 digits$"):
        recover_signer(MESSAGE, signature)


IMPOSSIBLE = {
    "all zero": (0, 0),
    "r zero": (0, 1),
    "s zero": (1, 0),
    "r beyond the curve": (CURVE_ORDER, 1),
    "s beyond the curve": (1, CURVE_ORDER),
    "all ones": (2**256 - 1, 2**256 - 1),
    "r of no point": (5, 1),  # no point of the curve has x = 5
}


@pytest.mark.parametrize(("r", "s"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_signature_that_no_key_can_have_made_is_refused(r: int, s: int) -> None:
    with pytest.raises(WrongSignature, match=r"^no key can have made this signature: ."):
        recover_signer(MESSAGE, f"0x{r:064x}{s:064x}1b")


def test_a_recovery_id_that_a_message_cannot_have_is_refused_naming_it() -> None:
    # From 35 on it would be a transaction's, with the number of a chain in it.
    for v in set(range(256)) - {0, 1, 27, 28}:
        with pytest.raises(WrongSignature, match=rf"^the signature ends in {v:#04x}, not in 0x1b or 0x1c"):
            recover_signer(MESSAGE, with_v(SIGNATURE, v))


@given(
    st.text()
    | st.binary(max_size=70).map(lambda raw: "0x" + raw.hex())
    | st.binary(min_size=65, max_size=65).map(lambda raw: "0x" + raw.hex())
)
def test_anything_is_somebodys_signature_or_wrong(signature: str) -> None:
    try:
        signer = recover_signer(MESSAGE, signature)
    except WrongSignature:
        return
    assert len(signer) == 42
    assert signer != THROW_AWAY


NESTED = """
import json, sys
from ledger_pipeline.wallets import recover_signer
limit = sys.getrecursionlimit()
recover_signer(*sys.argv[1:])
assert sys.getrecursionlimit() == limit
try:
    json.loads("[" * 200_000)
except RecursionError:
    print("raised")
"""


def test_recovering_leaves_the_process_its_recursion_limit() -> None:
    # eth-account would bring a library that raises it beyond the stack: the next nested JSON then crashed the process.
    answer = subprocess.run(
        [sys.executable, "-c", NESTED, MESSAGE, SIGNATURE], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "raised\n"), answer.stderr


SIGNED_BY_THE_DEMO = """
import json, sys
from ledger_pipeline.local.demo_statement import _signature
limit = sys.getrecursionlimit()
_signature("text")
assert "py_ecc" in sys.modules
assert sys.getrecursionlimit() == limit
try:
    json.loads("[" * 99_000 + "]" * 99_000)
except RecursionError:
    print("raised")
"""


def test_signing_in_the_demo_leaves_the_process_its_recursion_limit() -> None:
    answer = subprocess.run([sys.executable, "-c", SIGNED_BY_THE_DEMO], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "raised\n"), answer.stderr


# Addresses.


@pytest.mark.parametrize("spelling", [str.lower, str, lambda address: "0x" + address[2:].upper()])
def test_an_address_is_found_whatever_its_case_and_the_lists(spelling: Any) -> None:
    assert is_among(spelling(THROW_AWAY), ("0x" + "1" * 40, THROW_AWAY.lower()))
    assert is_among(THROW_AWAY.lower(), ("0x" + "1" * 40, spelling(THROW_AWAY)))


def test_an_address_that_is_not_there_is_not_found() -> None:
    assert not is_among(THROW_AWAY, ())
    assert not is_among(THROW_AWAY, (THROW_AWAY[:-1], THROW_AWAY + "0", ""))
