"""What an approver signs of a statement, in each of the forms that wallets know; each form has the name of a scheme.

The texts and the typed data are contracts with the system we join, to the byte, and never change. None of them names
the statement that it supersedes: so the same numbers are never stated twice in an epoch, in whichever form.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.statements import statement_message

# Where a pinned spec has the id of its chain, in decimal digits.
CHAIN_ID = "chain_id"
# Typed data has it as a number, and every reader of JSON keeps no larger one exactly.
MAX_CHAIN_ID = 2**53 - 1
_CHAIN_ID = re.compile(r"[1-9][0-9]{0,15}")


class Scheme(StrEnum):
    """The form of what a signature is of, as the ledger and archives name it."""

    TYPED_DATA = "eip712-attribution-v1"
    ATTRIBUTION_TEXT = "eip191-attribution-v1"
    PAYOUT_TEXT = "eip191-payout-v1"


@dataclass(frozen=True)
class StatementTerms:
    """What a signature of a statement covers, in every form; the hash is hex."""

    node_id: UUID
    scope_id: UUID
    epoch_id: int
    allocation_set_hash: str
    pool_total_credits: int


class StructuredData(ABC):
    """What a wallet signs as EIP-712 typed data: a domain of a chain, and one flat structure."""

    PRIMARY_TYPE: ClassVar[str]
    # The members of the domain and of the structure, in their order, with their Solidity types.
    DOMAIN: ClassVar[Mapping[str, str]] = {"name": "string", "version": "string", "chainId": "uint256"}
    MEMBERS: ClassVar[Mapping[str, str]]

    @property
    @abstractmethod
    def domain(self) -> dict[str, str | int]:
        """Who asks for the signature, and on which chain."""

    @property
    @abstractmethod
    def message(self) -> dict[str, str]:
        """What is signed, by the names of MEMBERS."""

    def to_json(self) -> dict[str, Json]:
        """As the system we join hands it out: for libraries, which know what a domain is made of."""
        return {
            "domain": dict(self.domain),
            "types": {self.PRIMARY_TYPE: _members(self.MEMBERS)},
            "primaryType": self.PRIMARY_TYPE,
            "message": dict(self.message),
        }

    def to_wallet_json(self) -> dict[str, Json]:
        """The same for `eth_signTypedData_v4`: a wallet that is not told what a domain is made of takes it as empty."""
        types = {"EIP712Domain": _members(self.DOMAIN), self.PRIMARY_TYPE: _members(self.MEMBERS)}
        return {**self.to_json(), "types": types}


@dataclass(frozen=True)
class TypedData(StructuredData):
    """The terms of a statement as typed data of a chain."""

    terms: StatementTerms
    chain_id: int

    PRIMARY_TYPE: ClassVar = "AttributionStatement"
    MEMBERS: ClassVar[Mapping[str, str]] = {
        "nodeId": "string",
        "scopeId": "string",
        "epochId": "string",
        "finalAllocationSetHash": "string",
        "poolTotalCredits": "string",
    }

    @property
    def domain(self) -> dict[str, str | int]:
        """Who asks for the signature, and on which chain."""
        return {"name": "Cogni Attribution", "version": "1", "chainId": self.chain_id}

    @property
    def message(self) -> dict[str, str]:
        """The terms by the names that they have there."""
        terms = self.terms
        return {
            "nodeId": str(terms.node_id),
            "scopeId": str(terms.scope_id),
            "epochId": str(terms.epoch_id),
            "finalAllocationSetHash": terms.allocation_set_hash,
            "poolTotalCredits": str(terms.pool_total_credits),
        }


# What is given to a wallet: a text for `personal_sign` (EIP-191), or typed data (EIP-712).
Signable = str | StructuredData


def attribution_message(terms: StatementTerms) -> str:
    """The text of the system we join (EIP-191, `personal_sign`); lines end in a line feed, the last in none."""
    return "\n".join(
        [
            "Cogni Attribution Statement v1",
            f"Node: {terms.node_id}",
            f"Scope: {terms.scope_id}",
            f"Epoch: {terms.epoch_id}",
            f"Final Allocation Hash: {terms.allocation_set_hash}",
            f"Pool Total: {terms.pool_total_credits}",
        ]
    )


def signing_text(terms: StatementTerms, chain_id: int | None) -> str:
    """The one text by which a statement of an epoch may be signed that closed with that chain, or with none."""
    return attribution_message(terms) if chain_id is not None else statement_message(**vars(terms))


def signing_forms(terms: StatementTerms, chain_id: int | None) -> dict[Scheme, Signable]:
    """Every form in which a statement may be signed, first the one to ask for; `chain_id` is its epoch's.

    Without a chain there is the text of before there was typed data, and nothing else.
    """
    text = signing_text(terms, chain_id)
    if chain_id is None:
        return {Scheme.PAYOUT_TEXT: text}
    return {Scheme.TYPED_DATA: TypedData(terms, chain_id), Scheme.ATTRIBUTION_TEXT: text}


def read_chain_id(digits: object) -> int | None:
    """The chain id of decimal digits, from 1 to MAX_CHAIN_ID; None for anything else."""
    if not isinstance(digits, str) or _CHAIN_ID.fullmatch(digits) is None or int(digits) > MAX_CHAIN_ID:
        return None
    return int(digits)


def pinned_chain_id(pinned_spec: Mapping[str, Json]) -> int | None:
    """The chain that an epoch closed with; None where its spec had none."""
    return read_chain_id(pinned_spec.get(CHAIN_ID))


def _members(types: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "type": kind} for name, kind in types.items()]
