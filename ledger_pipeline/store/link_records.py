"""What a binding of an account rests on, as records."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ledger_pipeline.store.settlement_records import NewBinding


class RestsOn(StrEnum):
    """What a binding rests on, as the ledger has it."""

    BEFORE_EVIDENCE = "before_evidence"
    """It is from before a ledger kept what bindings rest on."""
    OPERATOR = "operator"
    """Whoever may write to the ledger says so, with a reason."""
    PROOF = "proof"
    """A wallet signed, and the account showed that in public."""
    APPROVER = "approver"
    """A wallet signed, and an approver signed the same message."""


@dataclass(frozen=True)
class SignedMessage:
    """A message that links an account (`core/linking.py`), its nonce, and the wallet that signed it."""

    message: str
    nonce: str
    wallet: str
    signature: str


@dataclass(frozen=True)
class Evidence:
    """What one binding rests on: an operator's reason, or a signed message and who shows or vouches for it."""

    rests_on: RestsOn
    reason: str | None = None
    signed: SignedMessage | None = None
    proof_url: str | None = None
    approver: str | None = None
    approver_signature: str | None = None


BEFORE_EVIDENCE = Evidence(RestsOn.BEFORE_EVIDENCE)


@dataclass(frozen=True)
class Link(NewBinding):
    """One binding that an account has or had: the last by `place` (from 1) is the present one.

    `actor` is the login that wrote it; `linked_at` aware, UTC.
    """

    place: int
    evidence: Evidence
    actor: str
    linked_at: datetime


@dataclass(frozen=True)
class Binding(NewBinding):
    """A present binding: `created_at` is since when the account is bound, `linked_at` since when to this user.

    Both are aware, UTC; `linked_at` None where that was before the ledger kept it.
    """

    created_at: datetime
    linked_at: datetime | None
    evidence: Evidence


@dataclass(frozen=True)
class OptOut:
    """A claimant's choice to take no pay, or to take it again: the last by `place` (from 1) counts.

    `claimant` is named as in the signed hash. It has a `reason` of whoever wrote it, or is `signed` by the claimant's
    wallet. `actor` is the login that wrote it; `chosen_at` aware, UTC.
    """

    claimant: str
    place: int
    is_opted_out: bool
    reason: str | None
    signed: SignedMessage | None
    actor: str
    chosen_at: datetime

    @property
    def why(self) -> str:
        """What it rests on, for a person."""
        return (
            f"signed by wallet {self.signed.wallet}" if self.signed is not None else f"by {self.actor}: {self.reason}"
        )
