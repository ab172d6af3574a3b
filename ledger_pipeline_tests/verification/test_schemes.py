"""Every scheme of a signature is recomputed from the archive alone, and nothing of a signature changes unseen."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.record import EpochFacts, SignatureRecord
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.verification.facts import address, changed, finalized, signed_by_schemes, with_spec

CHAIN_ID = 84532
OF_A_CHAIN = (Scheme.TYPED_DATA, Scheme.ATTRIBUTION_TEXT)


def amended(schemes: Sequence[Scheme] = OF_A_CHAIN) -> EpochFacts:
    return signed_by_schemes(finalized(amended=True), CHAIN_ID, schemes)


def problems(facts: EpochFacts) -> list[str]:
    return [str(difference) for difference in verify(facts)]


@pytest.mark.parametrize("schemes", list(product(OF_A_CHAIN, repeat=2)), ids="-".join)
def test_an_archive_of_each_scheme_is_read_back_and_verifies(tmp_path: Path, schemes: Sequence[Scheme]) -> None:
    facts = amended(schemes)
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(facts))
    read = read_archive(file)
    assert read.damages == ()
    assert [row.scheme for row in read.facts.signatures] == list(schemes)
    assert archive_bytes(read.facts) == archive_bytes(facts)
    assert problems(read.facts) == []


def test_a_row_of_before_says_nothing_of_a_scheme() -> None:
    [row] = finalized().signatures
    assert row.scheme == Scheme.PAYOUT_TEXT
    assert set(json.loads(row.canonical())) == {"statement_id", "signer_wallet", "signature", "signed_at"}
    assert json.loads(amended().signatures[0].canonical())["scheme"] == "eip712-attribution-v1"


def test_a_signature_is_of_no_other_scheme_than_its_own() -> None:
    for row, scheme in enumerate(OF_A_CHAIN):
        assert problems(amended()) == []
        for wrong_scheme in {*Scheme} - {scheme}:
            assert len(problems(changed(amended(), "signatures", row, scheme=wrong_scheme.value))) == 2
    for wrong_scheme in OF_A_CHAIN:
        difference, unsigned = problems(changed(finalized(), "signatures", scheme=wrong_scheme.value))
        assert f"its scheme is {wrong_scheme}, and the epoch is signed by eip191-payout-v1" in difference
        assert "nobody signed it who might" in unsigned


@pytest.mark.parametrize("chain_id", ["84531", "1", "", "084532", 84532, None])
def test_typed_data_of_another_chain_is_signed_by_nobody(chain_id: object) -> None:
    assert problems(with_spec(amended([Scheme.TYPED_DATA] * 2), chain_id=chain_id)) != []


def test_an_epoch_that_closed_with_a_chain_is_not_signed_by_the_text_of_before() -> None:
    difference, _ = problems(with_spec(finalized(), chain_id=str(CHAIN_ID)))
    assert (
        "its scheme is eip191-payout-v1, and the epoch is signed by eip712-attribution-v1 or eip191-attribution-v1"
        in difference
    )


def test_numbers_of_an_earlier_statement_are_named_in_every_scheme() -> None:
    # The amendment back to the first numbers, with the signature that these had.
    for schemes in (OF_A_CHAIN, [Scheme.TYPED_DATA] * 2):
        facts = amended(schemes)
        first, second = facts.statements
        back = second.model_copy(update={"allocation_set_hash": first.allocation_set_hash, "payouts": first.payouts})
        repeated = facts.model_copy(
            update={
                "statements": [first, back],
                "corrections": [],
                "pinned_spec": {**facts.pinned_spec, "id_rule": "v1"},
                "signatures": [
                    facts.signatures[0],
                    facts.signatures[0].model_copy(update={"statement_id": second.statement_id}),
                ],
            }
        )
        assert [line for line in problems(repeated) if "its numbers are those of" in line]


def flipped(row: SignatureRecord) -> list[SignatureRecord]:
    """The row with one character of what is signed, by whom and how changed, each in turn."""
    rows = []
    for column in ("signer_wallet", "signature", "scheme"):
        value = getattr(row, column)
        for place, character in enumerate(value):
            # Another digit in hex, so that it stays what it looks like.
            digit = "1" if character != "1" else "2"
            rows.append(row.model_copy(update={column: f"{value[:place]}{digit}{value[place + 1 :]}"}))
    return rows


@pytest.mark.parametrize("scheme", OF_A_CHAIN)
def test_every_changed_character_of_a_signature_is_found_and_located(scheme: Scheme) -> None:
    facts = signed_by_schemes(finalized(), CHAIN_ID, [scheme])
    changes = flipped(facts.signatures[0])
    assert len(changes) > 190
    for row in changes:
        located = problems(facts.model_copy(update={"signatures": [row]}))
        assert any(line.startswith("signatures ") for line in located), row


def damages(file: Path) -> str:
    try:
        return "; ".join(map(str, read_archive(file).damages))
    except ArchiveError as error:
        return str(error)


def test_a_thousand_changed_bytes_of_the_rows_concerned_are_damages_of_their_lines(tmp_path: Path) -> None:
    facts = amended()
    content = archive_bytes(facts)
    file = tmp_path / "epoch.zip"
    changes = 0
    for number, row in enumerate(facts.signatures, 1):
        line = row.canonical().encode()
        start = content.index(line)
        for place in range(start, start + len(line)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert f"signatures.jsonl line {number}: " in damages(file)
            changes += 1
    spec = content.index(b'"chain_id":"84532"')
    for place, mask in product(range(spec, spec + 18), range(1, 21)):
        file.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        assert "repo-spec.json line 1: " in damages(file)
        changes += 1
    assert changes > 1000


def test_a_scheme_that_nobody_knows_is_named_in_few_words() -> None:
    difference, _ = problems(changed(finalized(), "signatures", scheme="x" * 100_000))
    assert len(difference) < 1500
    assert address()[:10] in difference
