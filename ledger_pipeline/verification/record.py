"""An epoch as verifying needs it: every row its statement follows from, read from the ledger or from an archive.

The models are the archive's format, version 1. Numbers that may be larger than JSON keeps exact are strings there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.core.selection.policy import Decision
from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.verification.claim_records import CoAuthorRecord, OverrideRecord
from ledger_pipeline.verification.row_model import Record
from ledger_pipeline.verification.row_values import Digits, Instant, Whole


class EpochRecord(Record):
    """The epoch itself, with what was pinned when it closed.

    `facts_set_hash` is there where it closed with a selection policy, and written only there.
    """

    node_id: UUID
    scope_id: UUID
    epoch_id: Digits
    status: str
    period_start: Instant
    period_end: Instant
    weights_milli: Mapping[str, Whole]
    allocation_algo_ref: str | None
    weight_config_hash: str | None
    approver_set_hash: str | None
    pool_total_credits: Digits | None
    closed_at: Instant | None
    facts_set_hash: str | None = None

    def members(self, *left_out: str) -> dict[str, Any]:
        """Its members as JSON, but for those `left_out`."""
        unpinned = {"facts_set_hash"} if self.facts_set_hash is None else set()
        return self.model_dump(mode="json", exclude={*left_out, *unpinned})

    def canonical(self) -> str:
        """The row in its one spelling."""
        return canonical_json(self.members())

    @property
    def window(self) -> EpochWindow:
        """Its window."""
        return EpochWindow(self.period_start, self.period_end)


class EventRecord(Record):
    """An activity event."""

    id: str
    source: str
    event_type: str
    platform_user_id: str
    platform_login: str
    artifact_url: str
    metadata: Mapping[str, Any]
    payload_hash: str
    source_object_id: str | None
    event_time: Instant
    retrieved_at: Instant
    producer: str
    producer_version: str


class CurationRecord(Record):
    """A decision: for whom an event counts, and by which weight.

    `follows_policy` where a person took back what they had decided; it is written only where it is so.
    """

    event_id: str
    user_id: str | None
    included: bool
    weight_override_milli: Digits | None
    note: str | None
    follows_policy: bool = False

    def canonical(self) -> str:
        """The row in its one spelling."""
        left_out = None if self.follows_policy else {"follows_policy"}
        return canonical_json(self.model_dump(mode="json", exclude=left_out))

    @property
    def is_by_person(self) -> bool:
        """Whether a person decided, which beats a policy."""
        decided = not self.included or self.weight_override_milli is not None
        return decided or (not self.follows_policy and is_reason(self.note))


class FactsRecord(Record):
    """What a source said of an event beside its row, as it was known when the epoch closed."""

    event_id: str
    facts_hash: str
    facts: Mapping[str, Any]


class RoutingRecord(Record):
    """What the epoch's scope has of an event of a claimed repository, why, and the labels and paths that follows from.

    Those are as any scope of the node knew them when the first of them closed its epoch.
    """

    event_id: str
    share_milli: Whole
    reason: str
    routed_by: Mapping[str, Sequence[str]]


class SelectionRecord(Record):
    """What the policy that the epoch closed with decides on an event, and why."""

    event_id: str
    included: bool
    reason: str
    weight_factor_milli: Digits | None

    @property
    def decision(self) -> Decision:
        """The decision alone."""
        return Decision(self.included, self.reason, self.weight_factor_milli)


class AllocationRecord(Record):
    """One user's units."""

    user_id: str
    proposed_units: Digits
    final_units: Digits | None
    override_reason: str | None
    activity_count: Whole

    @property
    def units(self) -> int:
        """What counts: a person's decision, else the proposal."""
        return self.proposed_units if self.final_units is None else self.final_units


class PoolRecord(Record):
    """One component of the pool."""

    component_id: str
    algorithm_version: str
    inputs: Mapping[str, Any]
    amount_credits: Digits
    evidence_ref: str | None


class StatementRecord(Record):
    """A statement; payouts as the system we join writes them."""

    statement_id: UUID
    allocation_set_hash: str
    pool_total_credits: Digits
    payouts: Sequence[Mapping[str, str]]
    supersedes_statement_id: UUID | None
    created_at: Instant

    def ids(self) -> Iterator[str]:
        """Everybody whom it names."""
        return (line["userId"] for line in self.payouts if "userId" in line)


class CorrectionRecord(Record):
    """Units put right for the statement that supersedes one; the last of a user counts."""

    supersedes_statement_id: UUID
    user_id: str
    units: Digits
    reason: str
    created_at: Instant


class SignatureRecord(Record):
    """An approver's signature; its scheme is written only where it is none of before there were several."""

    statement_id: UUID
    signer_wallet: str
    signature: str
    signed_at: Instant
    scheme: str = Scheme.PAYOUT_TEXT.value

    def canonical(self) -> str:
        """The row in its one spelling."""
        left_out = {"scheme"} if self.scheme == Scheme.PAYOUT_TEXT else None
        return canonical_json(self.model_dump(mode="json", exclude=left_out))


class InputsSignatureRecord(Record):
    """An approver's signature of the root of what a statement follows from."""

    statement_id: UUID
    signer_wallet: str
    inputs_root: str
    signature: str
    signed_at: Instant


class LeftOutRecord(Record):
    """An item that nobody could read, and that the epoch was closed without: who decided so, and why."""

    source: str
    source_scope: str
    kind: str
    number: Digits
    unread_reason: str
    unread_since: Instant
    actor: str
    reason: str
    left_out_at: Instant


class PoolSetAsideRecord(PoolRecord):
    """A component that the owner of the ledger took out of the pool: who, and why."""

    reason: str
    actor: str
    set_aside_at: Instant


class EpochFacts(Record):
    """All of it. `pinned_spec` is the scope's part of the repo-spec as it was when the epoch closed."""

    epoch: EpochRecord
    pinned_spec: Mapping[str, Any]
    events: Sequence[EventRecord]
    curation: Sequence[CurationRecord]
    allocations: Sequence[AllocationRecord]
    pool: Sequence[PoolRecord]
    statements: Sequence[StatementRecord]
    corrections: Sequence[CorrectionRecord]
    signatures: Sequence[SignatureRecord]
    inputs_signatures: Sequence[InputsSignatureRecord] = ()
    left_out: Sequence[LeftOutRecord] = ()
    pool_set_aside: Sequence[PoolSetAsideRecord] = ()
    facts: Sequence[FactsRecord] = ()
    routing: Sequence[RoutingRecord] = ()
    selection: Sequence[SelectionRecord] = ()
    co_authors: Sequence[CoAuthorRecord] = ()
    overrides: Sequence[OverrideRecord] = ()


# The lists of an epoch, by name, in the order an archive has them.
LISTS: Mapping[str, type[Record]] = {
    "events": EventRecord,
    "curation": CurationRecord,
    "allocations": AllocationRecord,
    "pool": PoolRecord,
    "statements": StatementRecord,
    "corrections": CorrectionRecord,
    "signatures": SignatureRecord,
}
# And those that only an archive with rows of them has: the bytes of all others stay what they were.
OPTIONAL_LISTS: Mapping[str, type[Record]] = {
    "inputs_signatures": InputsSignatureRecord,
    "left_out": LeftOutRecord,
    "pool_set_aside": PoolSetAsideRecord,
    "facts": FactsRecord,
    "routing": RoutingRecord,
    "selection": SelectionRecord,
    "co_authors": CoAuthorRecord,
    "overrides": OverrideRecord,
}
