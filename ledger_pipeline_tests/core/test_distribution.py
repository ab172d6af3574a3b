"""Tokens by a statement: the manifest of the system we join to the byte, every proof holds, and nothing is lost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.distribution import (
    MAX_AMOUNT,
    Distribution,
    DistributionTerms,
    Proof,
    WalletCredits,
    check_proof,
    distribute,
    leaf_hash,
    read_amount,
    read_proof,
)
from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.merkle import merkle_tree, proven_root
from ledger_pipeline.wallets import keccak256

TERMS = DistributionTerms(
    distribution_id="distribution-1",
    node_id=UUID("4ff8eac1-4eba-4ed0-931b-b1fe4f64713d"),
    scope_id=UUID("4ff8eac1-0000-0000-0000-000000000001"),
    statement_hash=f"0x{'ab' * 32}",
    chain_id=8453,
    token_address=f"0x{'11' * 20}",
    amount=1000,
)


def wallet(number: int) -> str:
    return f"0x{number:040x}"


def paid(*credits_: int) -> list[WalletCredits]:
    """A claimant with each of these credits, in the order of their keys."""
    return [WalletCredits(f"user:{place:03}", wallet(place + 1), value) for place, value in enumerate(credits_)]


def distributed(rows: list[WalletCredits], **terms: Any) -> Distribution:
    return distribute(replace(TERMS, **terms), rows, keccak256)


def proof_of(distribution: Distribution, index: int) -> Proof:
    """As the claimant reads it from their file."""
    return read_proof(json.loads(json.dumps(distribution.proof_file(distribution.leaves[index]))))


def test_the_manifest_is_the_one_of_the_system_we_join_to_the_byte(shared: Path) -> None:
    text = (shared / "golden" / "merkle.json").read_text()
    lines = [line.rstrip(",") for line in text.splitlines() if line.startswith("{")]
    assert len(lines) > 10
    for line in lines:
        given, _, expected = line.removesuffix("}").partition(',"output":')
        asked = json.loads(f"{given}}}")["input"]
        made = distribute(
            DistributionTerms(
                asked["distributionId"],
                UUID(asked["nodeId"]),
                UUID(asked["scopeId"]),
                asked["statementHash"],
                asked["chainId"],
                asked["tokenAddress"],
                int(asked["distributionAmount"]),
            ),
            [
                WalletCredits(row["claimantKey"], row["account"], int(row["creditAmount"]), row["receiptIds"])
                for row in asked["allocations"]
            ],
            keccak256,
        )
        assert made.manifest() == expected


def test_the_tree_is_openzeppelins() -> None:
    # What SimpleMerkleTree.of gives for these four, sorted leaves and all.
    leaves = [keccak256(bytes([number])) for number in (1, 2, 3, 4)]
    low, second, third, high = sorted(leaves)
    tree = merkle_tree(leaves, keccak256)
    left, right = keccak256(second + low if second < low else low + second), keccak256(third + high)
    assert tree.root == keccak256(min(left, right) + max(left, right))
    assert tree.proofs()[high] == [third, left]
    assert merkle_tree(leaves[::-1], keccak256) == tree
    with pytest.raises(ValueError, match="a leaf at least"):
        merkle_tree([], keccak256)
    with pytest.raises(ValueError, match="32 bytes"):
        merkle_tree([b"short"], keccak256)


credits_strategy = st.lists(st.integers(0, 5) | st.integers(0, 2**63 - 1), min_size=1, max_size=40).filter(any)


@given(credits_strategy, st.integers(1, 60) | st.integers(1, MAX_AMOUNT), st.randoms())
def test_every_proof_holds_and_the_amounts_are_the_whole(credits_: list[int], amount: int, random: Any) -> None:
    rows = paid(*credits_)
    made = distributed(rows, amount=amount)
    assert sum(leaf.amount for leaf in made.leaves) == amount
    assert [leaf.index for leaf in made.leaves] == list(range(len(made.leaves)))
    assert [leaf.paid.claimant_key for leaf in made.leaves] == [row.claimant_key for row in rows if row.credits]
    for leaf in made.leaves:
        exact = leaf.paid.credits * amount
        assert abs(leaf.amount * sum(credits_) - exact) < sum(credits_)
        proof = proof_of(made, leaf.index)
        check_proof(proof, keccak256)
        for changed in (
            {"amount": (leaf.amount + 1) % 2**256},
            {"index": leaf.index + 1},
            {"account": wallet(999)},
        ):
            with pytest.raises(DistributionError, match="leafHash: of index"):
                check_proof(replace(proof, **changed), keccak256)
            forged = replace(proof, **changed)
            forged_leaf = leaf_hash(forged.index, forged.account, forged.amount, keccak256)
            with pytest.raises(DistributionError, match="merkleRoot: leaf and proof"):
                check_proof(replace(forged, leaf_hash=forged_leaf), keccak256)
    shuffled = random.sample(rows, len(rows))
    assert distributed(shuffled, amount=amount) == made


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20, unique=True), st.data())
def test_a_proof_is_of_one_leaf_alone(leaves: list[bytes], data: st.DataObject) -> None:
    tree = merkle_tree(leaves, keccak256)
    leaf, stranger = data.draw(st.sampled_from(leaves)), data.draw(st.binary(min_size=32, max_size=32))
    proof = tree.proofs()[leaf]
    assert proven_root(leaf, proof, keccak256) == tree.root
    assert (proven_root(stranger, proof, keccak256) == tree.root) == (stranger == leaf)


def test_lines_of_one_claimant_count_together_and_who_has_none_is_left_out() -> None:
    ada = [WalletCredits("user:ada", wallet(1), 2, ("b", "a")), WalletCredits("user:ada", wallet(1), 1, ("c", "a"))]
    made = distributed([*ada, WalletCredits("user:bob", wallet(2), 0), WalletCredits("user:cy", wallet(3), 1)])
    assert [(leaf.paid.claimant_key, leaf.amount, leaf.paid.event_ids) for leaf in made.leaves] == [
        ("user:ada", 750, ("a", "b", "c")),
        ("user:cy", 250, ()),
    ]


def test_ties_go_to_the_first_key() -> None:
    assert [leaf.amount for leaf in distributed(paid(1, 1, 1), amount=2).leaves] == [1, 1, 0]


@pytest.mark.parametrize(
    ("rows", "terms", "problem"),
    [
        (paid(0, 0), {}, "nobody has credits"),
        (paid(1), {"amount": 0}, "an amount of 0 is not from 1 to"),
        (paid(1), {"amount": 2**256}, "is not from 1 to"),
        (paid(1), {"token_address": "0x12"}, "the token '0x12' is no address"),
        (paid(1), {"token_address": wallet(0)}, "is nobody's address"),
        ([WalletCredits("user:ada", wallet(0), 1)], {}, f"user:ada {wallet(0)} is nobody's address"),
        ([WalletCredits("user:ada", wallet(1), -1)], {}, "user:ada: -1 credits are negative"),
        (
            [WalletCredits("user:ada", wallet(1), 1), WalletCredits("user:ada", wallet(2), 1)],
            {},
            "user:ada has more than one wallet",
        ),
    ],
)
def test_what_cannot_be_distributed_is_refused_with_its_reason(
    rows: list[WalletCredits], terms: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DistributionError) as refused:
        distributed(rows, **terms)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "x"}, "kind: 'x' is not cogni.dao_ownership_token_distribution.v0"),
        ({"index": True}, "index: no whole number from 0"),
        ({"index": -1}, "index: no whole number from 0"),
        ({"account": 5}, "account: no text"),
        ({"account": "0xé"}, "account: '0xé' is no address"),
        ({"amount": "1.5"}, "amount: '1.5' is no whole number"),
        ({"amount": str(2**256)}, "is no whole number of at most 256 bits"),
        ({"proof": "0x"}, "proof: no list"),
        ({"proof": ["0x12"]}, "proof[0]: '0x12' is no hash"),
        ({"merkleRoot": None}, "merkleRoot: 'None' is no hash"),
        ({"leafHash": f"0x{'AB' * 32}"}, "lower-case hex digits"),
    ],
)
def test_a_proof_that_is_none_is_refused_by_its_member(change: dict[str, object], problem: str) -> None:
    made = distributed(paid(1, 2))
    with pytest.raises(DistributionError) as refused:
        read_proof({**made.proof_file(made.leaves[0]), **change})
    assert problem in str(refused.value)
    with pytest.raises(DistributionError, match="no JSON object"):
        read_proof([])


def test_an_amount_is_read_as_it_is_written() -> None:
    assert read_amount("--amount", str(MAX_AMOUNT)) == MAX_AMOUNT
    for text in ("", "-1", "01", "1e18", "1_000", "٣"):
        with pytest.raises(DistributionError, match="--amount"):
            read_amount("--amount", text)
