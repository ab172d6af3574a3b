"""A small finalized epoch that is right in every number, in memory; and how to make one row of it wrong.

ada merged two pull requests; grace reviewed one and closed an issue that a person weighed; lin closed an issue whose
units a person decided, and merged a pull request that a person excluded. 10,500 credits: 6,562, 2,461 and 1,477.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any
from uuid import UUID

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0
from ledger_pipeline.core.events import ActivityEvent, Actor
from ledger_pipeline.core.pins import approver_set_hash, weight_config_hash
from ledger_pipeline.core.pool import TOP_UP, NewPoolComponent, base_issuance
from ledger_pipeline.core.signing import Scheme, Signable, StatementTerms, TypedData, signing_forms
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, compute_payouts, statement_message
from ledger_pipeline.verification.record import (
    AllocationRecord,
    CorrectionRecord,
    CurationRecord,
    EpochFacts,
    EpochRecord,
    EventRecord,
    PoolRecord,
    Record,
    SignatureRecord,
    StatementRecord,
)
from ledger_pipeline_tests.builders import (
    ADA,
    DEFAULT_WEIGHTS_MILLI,
    GRACE,
    NODE_ID,
    PRODUCER,
    SCOPE_ID,
    instant,
    issue,
    pull_request,
    review,
    window,
)

LIN = Actor(user_id=77, login="lin")
EPOCH_ID = 7
FIRST = UUID("00000000-0000-4000-8000-000000000001")
AMENDED = UUID("00000000-0000-4000-8000-000000000002")
NOWHERE = UUID("00000000-0000-4000-8000-000000000009")
CLOSED_AT = instant("2026-02-24")
MERGED_AT = "2026-02-17T00:00:00Z"

# Row numbers, for those that tests change.
MERGED, MERGED_TOO, REVIEWED, WEIGHED_ISSUE, DECIDED_ISSUE, EXCLUDED = range(6)
ADAS, GRACES, LINS = range(3)

UNITS = {"user-ada": 2000, "user-grace": 750, "user-lin": 450}
AMENDED_UNITS = UNITS | {"user-lin": 650}
POOL = 10_500


@cache
def address(key: str = "approver") -> str:
    """The address of a throw-away key, made from a word."""
    return str(_account(key).address)


@cache
def sign(message: Signable, key: str = "approver") -> str:
    """What a wallet answers to `personal_sign`, or to typed data; `key` is a word, or a private key in hex."""
    account = _account(key)
    from eth_account.messages import encode_defunct, encode_typed_data

    if isinstance(message, TypedData):
        encoded = encode_typed_data(full_message=message.to_wallet_json())
    else:
        encoded = encode_defunct(text=message)
    return "0x" + bytes(account.sign_message(encoded).signature).hex()


def message(units: Mapping[str, int], pool: int = POOL, epoch_id: int = EPOCH_ID) -> str:
    """The message of a statement of `units`."""
    return statement_message(
        node_id=NODE_ID,
        scope_id=SCOPE_ID,
        epoch_id=epoch_id,
        allocation_set_hash=allocation_set_hash(_lines(units)),
        pool_total_credits=pool,
    )


def signed_by_schemes(facts: EpochFacts, chain_id: int, schemes: Sequence[Scheme]) -> EpochFacts:
    """`facts` of an epoch that closed with a chain, each of its statements signed by one of `schemes` in turn."""
    of_chain = with_spec(facts, chain_id=str(chain_id))
    rows = []
    for statement, row, scheme in zip(facts.statements, facts.signatures, schemes, strict=True):
        terms = StatementTerms(NODE_ID, SCOPE_ID, EPOCH_ID, statement.allocation_set_hash, POOL)
        signature = sign(signing_forms(terms, chain_id)[scheme])
        rows.append(row.model_copy(update={"signature": signature, "scheme": scheme.value}))
    return with_rows(of_chain, "signatures", rows)


def finalized(*, amended: bool = False) -> EpochFacts:
    """The epoch as it was first stated and signed; `amended`, with the statement that superseded the first."""
    events = [
        pull_request(1, author=ADA, at="2026-02-16T00:00:00Z"),
        pull_request(2, author=ADA, at="2026-02-17T13:00:00+01:00", labels=["größer", {"deep": [1, None]}]),
        review(1, author=GRACE),
        issue(3, author=GRACE, title="Says\u2028more\x85on\nthree lines"),
        issue(4, author=LIN, at="2026-02-22T23:59:59.999Z"),
        pull_request(5, author=LIN),
    ]
    users = ["user-ada", "user-ada", "user-grace", "user-grace", "user-lin", "user-lin"]
    curation = [
        CurationRecord(event_id=event.id, user_id=user, included=True, weight_override_milli=None, note=None)
        for event, user in zip(events, users, strict=True)
    ]
    judged = {
        WEIGHED_ISSUE: {"weight_override_milli": 250, "note": "was small"},
        EXCLUDED: {"included": False, "note": "a revert"},
    }
    for row, judgement in judged.items():
        curation[row] = curation[row].model_copy(update=judgement)
    approvers = [address(), address("second approver")]
    return EpochFacts(
        epoch=EpochRecord(
            node_id=NODE_ID,
            scope_id=SCOPE_ID,
            epoch_id=EPOCH_ID,
            status="finalized",
            period_start=window().start,
            period_end=window().end,
            weights_milli=dict(DEFAULT_WEIGHTS_MILLI),
            allocation_algo_ref=WEIGHT_SUM_V0,
            weight_config_hash=weight_config_hash(DEFAULT_WEIGHTS_MILLI),
            approver_set_hash=approver_set_hash(approvers),
            pool_total_credits=POOL,
            closed_at=CLOSED_AT,
        ),
        pinned_spec={"scope_id": str(SCOPE_ID), "scope_key": "default", "approvers": approvers},
        events=[_event(event) for event in events],
        curation=curation,
        allocations=[
            _allocation("user-ada", 2000, 2),
            _allocation("user-grace", 750, 2),
            _allocation("user-lin", 300, 1, final_units=450, override_reason="found the cause"),
        ],
        pool=[
            _component(base_issuance(10_000)),
            _component(NewPoolComponent(TOP_UP, 500, evidence_ref="https://vote.example/42")),
        ],
        statements=[_statement(FIRST, UNITS), *([_statement(AMENDED, AMENDED_UNITS, FIRST)] if amended else [])],
        corrections=[_correction(600, hours=1), _correction(650, hours=2)] if amended else [],
        signatures=[_signature(FIRST, UNITS), *([_signature(AMENDED, AMENDED_UNITS)] if amended else [])],
    )


def changed(facts: EpochFacts, table: str, row: int = 0, **columns: Any) -> EpochFacts:
    """`facts` with other values in one row."""
    rows = _rows(facts, table)
    return with_rows(facts, table, [*rows[:row], rows[row].model_copy(update=columns), *rows[row + 1 :]])


def without(facts: EpochFacts, table: str, row: int = 0) -> EpochFacts:
    """`facts` with a row less."""
    rows = _rows(facts, table)
    return with_rows(facts, table, [*rows[:row], *rows[row + 1 :]])


def with_another(facts: EpochFacts, table: str, like: int = 0, **columns: Any) -> EpochFacts:
    """`facts` with one more row, like one there is."""
    rows = _rows(facts, table)
    return with_rows(facts, table, [*rows, rows[like].model_copy(update=columns)])


def with_rows(facts: EpochFacts, table: str, rows: Iterable[Record]) -> EpochFacts:
    """`facts` with other rows."""
    return facts.model_copy(update={table: list(rows)})


def with_epoch(facts: EpochFacts, **columns: Any) -> EpochFacts:
    """`facts` of an epoch with other values."""
    return facts.model_copy(update={"epoch": facts.epoch.model_copy(update=columns)})


def with_spec(facts: EpochFacts, **keys: Any) -> EpochFacts:
    """`facts` with another pinned spec."""
    return facts.model_copy(update={"pinned_spec": {**facts.pinned_spec, **keys}})


def many_events(events: int, users: int) -> EpochFacts:
    """A right epoch of so many pull requests, as GitHub tells of them, that count for so many users by turns."""
    facts = finalized()
    details: dict[str, Any] = {"title": "Make what was slow fast", "labels": ["bug"], "headSha": "a" * 40}
    details |= {"baseBranch": "main", "additions": 120, "deletions": 21, "changedFiles": 3}
    rows = [_event(pull_request(number, author=ADA, at=MERGED_AT, **details)) for number in range(1, events + 1)]
    owners = [f"user-{number % users:06}" for number in range(events)]
    counts = Counter(owners)
    units = {user_id: 1000 * count for user_id, count in counts.items()}
    return facts.model_copy(
        update={
            "events": rows,
            "curation": [
                facts.curation[MERGED].model_copy(update={"event_id": row.id, "user_id": owner})
                for row, owner in zip(rows, owners, strict=True)
            ],
            "allocations": [_allocation(user_id, 1000 * count, count) for user_id, count in sorted(counts.items())],
            "statements": [_statement(FIRST, units)],
            "signatures": [_signature(FIRST, units)],
        }
    )


def _account(key: str) -> Any:
    # Imported where something is signed: eth-account takes seconds to load, and raises the limit of the process.
    limit = sys.getrecursionlimit()
    from eth_account import Account

    sys.setrecursionlimit(limit)
    return Account.from_key(key if key.startswith("0x") else sha256(key.encode()).digest())


def _rows(facts: EpochFacts, table: str) -> list[Any]:
    return list(getattr(facts, table))


def _lines(units: Mapping[str, int]) -> list[UserUnits]:
    return [UserUnits(user_id, of) for user_id, of in units.items()]


def _event(event: ActivityEvent) -> EventRecord:
    columns = {name: getattr(event, name) for name in EventRecord.model_fields if hasattr(event, name)}
    return EventRecord(
        **columns,
        retrieved_at=event.event_time + timedelta(hours=1, microseconds=5),
        producer=PRODUCER.name,
        producer_version=PRODUCER.version,
    )


def _allocation(user_id: str, proposed: int, events: int, **decision: Any) -> AllocationRecord:
    undecided = {"final_units": None, "override_reason": None}
    return AllocationRecord(
        user_id=user_id, proposed_units=proposed, activity_count=events, **{**undecided, **decision}
    )


def _component(component: NewPoolComponent) -> PoolRecord:
    return PoolRecord(
        component_id=component.component_id,
        algorithm_version=component.algorithm_version,
        inputs=component.inputs,
        amount_credits=component.amount_credits,
        evidence_ref=component.evidence_ref,
    )


def _statement(statement_id: UUID, units: Mapping[str, int], supersedes: UUID | None = None) -> StatementRecord:
    payouts: Sequence[Mapping[str, str]] = [line.to_json() for line in compute_payouts(_lines(units), POOL)]
    return StatementRecord(
        statement_id=statement_id,
        allocation_set_hash=allocation_set_hash(_lines(units)),
        pool_total_credits=POOL,
        payouts=payouts,
        supersedes_statement_id=supersedes,
        created_at=CLOSED_AT + timedelta(days=1 if supersedes is None else 2),
    )


def _correction(units: int, hours: int) -> CorrectionRecord:
    return CorrectionRecord(
        supersedes_statement_id=FIRST,
        user_id="user-lin",
        units=units,
        reason=f"looked again {hours}",
        created_at=CLOSED_AT + timedelta(days=1, hours=hours),
    )


def _signature(statement_id: UUID, units: Mapping[str, int]) -> SignatureRecord:
    return SignatureRecord(
        statement_id=statement_id,
        signer_wallet=address(),
        signature=sign(message(units)),
        signed_at=CLOSED_AT + timedelta(days=2),
    )
