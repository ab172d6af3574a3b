"""A statement turned into token amounts per wallet: a Merkle root, and for each claimant a leaf with its proof.

The arithmetic, the leaf and the manifest are a contract with the system we join (`cogni.dao_ownership_token_
distribution.v0`), to the byte: amounts by largest remainder, ties by claimants' keys, leaves as Uniswap's
MerkleDistributor takes them. Amounts are in the token's smallest unit, whole numbers of 256 bits.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.hashing import Json, sha256_hex
from ledger_pipeline.core.merkle import Hash, merkle_tree, proven_root
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.shares import largest_remainder
from ledger_pipeline.core.signing import StatementTerms

KIND = "cogni.dao_ownership_token_distribution.v0"
TREE_LIBRARY = "openzeppelin/merkle-tree@1"
CLAIM_CONTRACT = "uniswap.merkle-distributor.v1"
MAX_AMOUNT = 2**256 - 1

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_HASH = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_NOBODY = f"0x{'0' * 40}"


@dataclass(frozen=True)
class DistributionTerms:
    """What is distributed, of which statement, by which token. `amount` is what the leaves have together."""

    distribution_id: str
    node_id: UUID
    scope_id: UUID
    statement_hash: str
    chain_id: int
    token_address: str
    amount: int


@dataclass(frozen=True)
class WalletCredits:
    """Credits of one claimant, the wallet that they are paid to, and the events they come from."""

    claimant_key: str
    account: str
    credits: int
    event_ids: Sequence[str] = ()


@dataclass(frozen=True)
class Leaf:
    """What one claimant may claim, and the proof that it is in the tree; hashes as raw bytes."""

    index: int
    paid: WalletCredits
    amount: int
    hash: bytes
    proof: Sequence[bytes]

    def to_json(self) -> dict[str, Json]:
        """As the manifest has it: numbers that may be large as decimal strings."""
        return {
            "index": self.index,
            "claimantKey": self.paid.claimant_key,
            "account": self.paid.account,
            "amount": str(self.amount),
            "creditAmount": str(self.paid.credits),
            "receiptIds": list(self.paid.event_ids),
            "leafHash": _hex(self.hash),
            "proof": [_hex(node) for node in self.proof],
        }


@dataclass(frozen=True)
class Distribution:
    """The leaves of `terms` by index, and the root that a claim contract is given."""

    terms: DistributionTerms
    leaves: Sequence[Leaf]
    root: bytes

    @property
    def merkle_root(self) -> str:
        """The root, `0x` and 64 hex digits."""
        return _hex(self.root)

    def to_json(self) -> dict[str, Json]:
        """The manifest, its members in their order."""
        return {
            **self._head(),
            "distributionAmount": str(self.terms.amount),
            "totalAllocated": str(sum(leaf.amount for leaf in self.leaves)),
            "merkleRoot": self.merkle_root,
            "leaves": [leaf.to_json() for leaf in self.leaves],
        }

    def manifest(self) -> str:
        """The manifest's text, to the byte: compact JSON without a line end."""
        return json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))

    def proof_file(self, leaf: Leaf) -> dict[str, Json]:
        """What one claimant is handed: all that a claim takes, and which tree it is of."""
        return {**self._head(), "merkleRoot": self.merkle_root, **leaf.to_json()}

    def _head(self) -> dict[str, Json]:
        terms = self.terms
        return {
            "kind": KIND,
            "merkleTreeLibrary": TREE_LIBRARY,
            "claimContractPattern": CLAIM_CONTRACT,
            "distributionId": terms.distribution_id,
            "nodeId": str(terms.node_id),
            "scopeId": str(terms.scope_id),
            "statementHash": terms.statement_hash,
            "chainId": terms.chain_id,
            "tokenAddress": terms.token_address,
        }


@dataclass(frozen=True)
class Proof:
    """A leaf as its claimant has it, and the root that it should be of."""

    index: int
    account: str
    amount: int
    proof: Sequence[bytes]
    leaf_hash: bytes
    root: bytes


def distribute(terms: DistributionTerms, credits_: Iterable[WalletCredits], hash_of: Hash) -> Distribution:
    """The amount of `terms` shared out in proportion to credits, by claimants' keys in code-point order.

    Credits of one claimant count together, and who has none is left out. Raises DistributionError for an amount that no
    token has, addresses that are none, negative credits, a claimant with two wallets, and where nobody has credits.
    """
    if not 0 < terms.amount <= MAX_AMOUNT:
        raise DistributionError(f"an amount of {terms.amount} is not from 1 to 2^256 - 1")
    check_address("the token", terms.token_address)
    paid = _by_claimant(credits_)
    if not paid:
        raise DistributionError("nobody has credits: there is nothing to distribute")
    amounts = largest_remainder(terms.amount, {key: row.credits for key, row in paid.items()})
    hashes = {key: leaf_hash(index, paid[key].account, amounts[key], hash_of) for index, key in enumerate(amounts)}
    tree = merkle_tree(hashes.values(), hash_of)
    proofs = tree.proofs()
    leaves = [
        Leaf(index, paid[key], amounts[key], hashes[key], proofs[hashes[key]]) for index, key in enumerate(amounts)
    ]
    return Distribution(terms, leaves, tree.root)


def statements_hash(statements: Iterable[StatementTerms]) -> str:
    """`0x` and SHA-256 hex over what approvers signed of the statements, as canonical JSON in the order of epochs."""
    return f"0x{sha256_hex([_signed_terms(terms) for terms in sorted(statements, key=lambda terms: terms.epoch_id)])}"


def manifest_hash(manifest: str) -> str:
    """`0x` and SHA-256 hex over the bytes of a manifest."""
    return f"0x{sha256(manifest.encode()).hexdigest()}"


def leaf_hash(index: int, account: str, amount: int, hash_of: Hash) -> bytes:
    """`keccak256(abi.encodePacked(uint256 index, address account, uint256 amount))`, where `hash_of` is Keccak-256."""
    return hash_of(index.to_bytes(32, "big") + bytes.fromhex(account[2:]) + amount.to_bytes(32, "big"))


def read_proof(content: object) -> Proof:
    """The proof that a file has, as JSON parses it. Raises DistributionError naming the member that is wrong."""
    if not isinstance(content, Mapping):
        raise DistributionError("the file is no JSON object: take it from `ledger-pipeline distribution export`")
    if content.get("kind") != KIND:
        raise DistributionError(f"kind: {quoted(str(content.get('kind')))} is not {KIND}")
    index = content.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= MAX_AMOUNT:
        raise DistributionError("index: no whole number from 0")
    account = _text(content, "account")
    check_address("account:", account)
    proof = content.get("proof")
    if not isinstance(proof, list):
        raise DistributionError("proof: no list")
    nodes = [_node(f"proof[{place}]", node) for place, node in enumerate(proof)]
    root, leaf = _node("merkleRoot", content.get("merkleRoot")), _node("leafHash", content.get("leafHash"))
    return Proof(index, account, read_amount("amount:", _text(content, "amount")), nodes, leaf, root)


def check_proof(proof: Proof, hash_of: Hash) -> None:
    """Raises DistributionError unless the leaf follows from index, account and amount, and the root from the leaf."""
    leaf = leaf_hash(proof.index, proof.account, proof.amount, hash_of)
    if leaf != proof.leaf_hash:
        raise DistributionError(
            f"leafHash: of index {proof.index}, account {proof.account} and amount {proof.amount} it is {_hex(leaf)}"
        )
    root = proven_root(leaf, proof.proof, hash_of)
    if root != proof.root:
        raise DistributionError(f"merkleRoot: leaf and proof are of the tree with root {_hex(root)}")


def read_amount(what: str, text: str) -> int:
    """The whole number of decimal digits. Raises DistributionError for one that is none, or has more than 256 bits."""
    if _AMOUNT.fullmatch(text) is None or int(text) > MAX_AMOUNT:
        raise DistributionError(f"{what} {quoted(text)} is no whole number of at most 256 bits, in decimal digits")
    return int(text)


def check_address(what: str, address: str) -> None:
    """Raises DistributionError for what is no address, and for that of nobody, to which no token can be sent."""
    if _ADDRESS.fullmatch(address) is None:
        raise DistributionError(f"{what} {quoted(address)} is no address: 0x and 40 hex digits")
    if address == _NOBODY:
        raise DistributionError(f"{what} {address} is nobody's address")


def _signed_terms(terms: StatementTerms) -> dict[str, Json]:
    return {
        "epochId": str(terms.epoch_id),
        "finalAllocationSetHash": terms.allocation_set_hash,
        "poolTotalCredits": str(terms.pool_total_credits),
    }


def _by_claimant(credits_: Iterable[WalletCredits]) -> dict[str, WalletCredits]:
    """One row for each claimant who has credits."""
    rows: defaultdict[str, list[WalletCredits]] = defaultdict(list)
    for row in credits_:
        if row.credits < 0:
            raise DistributionError(f"{short_message(row.claimant_key)}: {row.credits} credits are negative")
        if row.credits:
            check_address(short_message(row.claimant_key), row.account)
            rows[row.claimant_key].append(row)
    return {key: _together(theirs) for key, theirs in rows.items()}


def _together(rows: Sequence[WalletCredits]) -> WalletCredits:
    if len(rows) == 1:
        return rows[0]
    first = rows[0]
    if any(row.account != first.account for row in rows):
        raise DistributionError(f"{short_message(first.claimant_key)} has more than one wallet")
    event_ids = tuple(sorted({event_id for row in rows for event_id in row.event_ids}))
    return WalletCredits(first.claimant_key, first.account, sum(row.credits for row in rows), event_ids)


def _text(content: Mapping[str, object], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise DistributionError(f"{name}: no text")
    return value


def _node(what: str, value: object) -> bytes:
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        raise DistributionError(f"{what}: {quoted(str(value))} is no hash: 0x and 64 lower-case hex digits")
    return bytes.fromhex(value[2:])


def _hex(node: bytes) -> str:
    return f"0x{node.hex()}"
