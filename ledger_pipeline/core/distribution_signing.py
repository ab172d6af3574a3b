"""What an approver signs of a distribution, as typed data of our own; and the manifest as its text alone is read.

It names the root that a claim contract is given and the hash of the manifest's bytes, so all that these follow from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from ledger_pipeline.core.distribution import (
    Distribution,
    DistributionTerms,
    WalletCredits,
    distribute,
    manifest_hash,
    read_amount,
)
from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.core.merkle import Hash
from ledger_pipeline.core.signing import StructuredData


@dataclass(frozen=True)
class DistributionData(StructuredData):
    """A distribution as typed data of its token's chain."""

    distribution: Distribution

    PRIMARY_TYPE: ClassVar = "Distribution"
    MEMBERS: ClassVar[Mapping[str, str]] = {
        "nodeId": "string",
        "scopeId": "string",
        "distributionId": "string",
        "statementHash": "string",
        "tokenAddress": "string",
        "amount": "string",
        "merkleRoot": "string",
        "manifestHash": "string",
    }

    @property
    def domain(self) -> dict[str, str | int]:
        """Who asks for the signature, and on which chain."""
        return {"name": "Ledger Pipeline Distribution", "version": "1", "chainId": self.distribution.terms.chain_id}

    @property
    def message(self) -> dict[str, str]:
        """Root and manifest, and what a person compares."""
        terms = self.distribution.terms
        return {
            "nodeId": str(terms.node_id),
            "scopeId": str(terms.scope_id),
            "distributionId": terms.distribution_id,
            "statementHash": terms.statement_hash,
            "tokenAddress": terms.token_address,
            "amount": str(terms.amount),
            "merkleRoot": self.distribution.merkle_root,
            "manifestHash": manifest_hash(self.distribution.manifest()),
        }


def read_manifest(text: str, hash_of: Hash) -> Distribution:
    """The distribution that a manifest's text is, to the byte, computed again from claimants, wallets and credits.

    Raises DistributionError where it is no manifest, or any amount, hash, proof or total of it does not follow.
    """
    try:
        content = json_of(text)
        made = distribute(_terms(content), [_row(leaf) for leaf in content["leaves"]], hash_of)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DistributionError(f"the file is no manifest: {type(error).__name__} {error}") from error
    if made.manifest() != text:
        raise DistributionError(f"the manifest does not follow from its claimants and credits: {_first(made, content)}")
    return made


def _terms(content: Mapping[str, Any]) -> DistributionTerms:
    return DistributionTerms(
        distribution_id=content["distributionId"],
        node_id=UUID(content["nodeId"]),
        scope_id=UUID(content["scopeId"]),
        statement_hash=content["statementHash"],
        chain_id=content["chainId"],
        token_address=content["tokenAddress"],
        amount=read_amount("distributionAmount:", content["distributionAmount"]),
    )


def _row(leaf: Mapping[str, Any]) -> WalletCredits:
    credits_ = read_amount("creditAmount:", leaf["creditAmount"])
    return WalletCredits(leaf["claimantKey"], leaf["account"], credits_, leaf["receiptIds"])


def _first(made: Distribution, content: Mapping[str, Any]) -> str:
    """The first member that differs, with both values; where none does, it is spelled otherwise."""
    expected = made.to_json()
    for name, value in expected.items():
        if name != "leaves" and content.get(name) != value:
            return f"{name} is {value}, not {content.get(name)}"
    for leaf, given in zip(made.leaves, content["leaves"], strict=False):
        for name, value in leaf.to_json().items():
            if given.get(name) != value:
                return f"{name} of leaf {leaf.index} is {value}, not {given.get(name)}"
    return "it is spelled otherwise than we write it"
