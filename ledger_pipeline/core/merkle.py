"""A Merkle tree as OpenZeppelin's SimpleMerkleTree makes it, proofs of its leaves, and what a proof shows.

Contract with `@openzeppelin/merkle-tree` 1 and with every contract that checks proofs by OpenZeppelin's MerkleProof:
leaves in order of their bytes, a complete binary tree, and of two nodes the hash of the smaller, then the larger.
What hashes is given: Keccak-256 on chains, which Python's own libraries do not have.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

NODE_BYTES = 32
# 32 bytes of any number of bytes.
Hash = Callable[[bytes], bytes]


@dataclass(frozen=True)
class MerkleTree:
    """All nodes, the root first: those of node `i` are `2 i + 1` and `2 i + 2`; the leaves stand last, backwards."""

    nodes: Sequence[bytes]

    @property
    def root(self) -> bytes:
        """What a contract is given."""
        return self.nodes[0]

    def proofs(self) -> dict[bytes, list[bytes]]:
        """Of each leaf, what `proven_root` needs beside it: from its own sibling up to the root's child."""
        return {self.nodes[place]: self._proof(place) for place in range(len(self.nodes) // 2, len(self.nodes))}

    def _proof(self, place: int) -> list[bytes]:
        siblings = []
        while place > 0:
            siblings.append(self.nodes[place + 1 if place % 2 else place - 1])
            place = (place - 1) // 2
        return siblings


def merkle_tree(leaves: Iterable[bytes], hash_of: Hash) -> MerkleTree:
    """The tree of `leaves`, in whatever order they come. Raises ValueError for none, and for one not of NODE_BYTES."""
    ordered = sorted(leaves)
    if not ordered:
        raise ValueError("a Merkle tree has a leaf at least")
    if any(len(leaf) != NODE_BYTES for leaf in ordered):
        raise ValueError(f"a leaf of a Merkle tree has {NODE_BYTES} bytes")
    inner = len(ordered) - 1
    nodes = [b""] * inner + ordered[::-1]
    for place in range(inner - 1, -1, -1):
        nodes[place] = _parent(nodes[2 * place + 1], nodes[2 * place + 2], hash_of)
    return MerkleTree(nodes)


def proven_root(leaf: bytes, proof: Iterable[bytes], hash_of: Hash) -> bytes:
    """The root of the tree that has `leaf`, if `proof` is the leaf's."""
    node = leaf
    for sibling in proof:
        node = _parent(node, sibling, hash_of)
    return node


def _parent(left: bytes, right: bytes, hash_of: Hash) -> bytes:
    return hash_of(min(left, right) + max(left, right))
