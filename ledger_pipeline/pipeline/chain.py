"""Which of an epoch's statements is in force: the last of the chain that verifies, whatever else was written behind it.

Whoever may write to the ledger may add a row to the chain. A statement verifies where its signatures recover to as many
approvers as were to sign, of those who were pinned when the epoch closed, and its hash and payouts follow from its own
lines; nothing is built on one that does not. Whether the lines follow from the events, `verification` tells.
"""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger_pipeline.core.approvals import Approvals, pinned_threshold
from ledger_pipeline.core.errors import AllocationError, WrongSignature
from ledger_pipeline.core.pins import approver_set_hash
from ledger_pipeline.core.signing import (
    Scheme,
    Signable,
    StatementTerms,
    pinned_chain_id,
    signing_forms,
    signing_text,
)
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, compute_payouts, inputs_message
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import (
    CollectedSignature,
    SetAside,
    Statement,
    StatementHistory,
    StatementSignature,
    StoredInputsSignature,
)
from ledger_pipeline.wallets import is_among, recover_signer

_BEHIND = "it supersedes one that is not in force"


@dataclass(frozen=True)
class Fault:
    """A row of an epoch's chain that does not verify, by its id, or one that does and was set aside."""

    row_id: UUID
    problem: str

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True)
class StatementChain:
    """An epoch's statements that verify, oldest first, with a signature of each approver who signed; and what does not.

    `threshold` is how many approvers put each in force.
    `broken` are statements that are not in force and block the next; `garbage` are signatures that count for nothing;
    `wrongly_set_aside` are rows that verify and were set aside all the same, where they were looked at.
    """

    threshold: int
    verified: Sequence[Statement]
    signatures: Mapping[UUID, Sequence[StatementSignature]]
    broken: Sequence[Fault]
    garbage: Sequence[Fault]
    wrongly_set_aside: Sequence[Fault]

    @property
    def in_force(self) -> Statement | None:
        """The last that verifies."""
        return self.verified[-1] if self.verified else None

    @property
    def signers(self) -> dict[UUID, list[str]]:
        """Who signed each statement."""
        return {statement_id: [row.signer_wallet for row in rows] for statement_id, rows in self.signatures.items()}

    @property
    def approvals(self) -> Approvals | None:
        """How many signed the statement in force, where several have to."""
        return None if self.threshold == 1 or self.in_force is None else self.approvals_of(self.in_force)

    def approvals_of(self, statement: Statement) -> Approvals:
        """How many signed it."""
        return Approvals(len(self.signatures[statement.id]), self.threshold)

    def signed_by(self, statement: Statement) -> str:
        """Who signed it, for a person; with the scheme, where it is none of before there was a choice."""
        return ", ".join(
            row.signer_wallet if row.scheme == Scheme.PAYOUT_TEXT else f"{row.signer_wallet} ({row.scheme})"
            for row in self.signatures[statement.id]
        )

    @property
    def faults(self) -> list[Fault]:
        """All that is wrong with the chain."""
        return [*self.broken, *self.garbage, *self.wrongly_set_aside]


def statement_chain(
    node_id: UUID, scope: Scope | None, epoch: Epoch, history: StatementHistory, *, audited: bool = False
) -> StatementChain:
    """What of `history` is in force, and where `audited`, what of it was wrongly set aside.

    `scope` is None where the repo-spec has no such: then only who was pinned might sign.
    Signatures are recovered here, a few milliseconds each: those that an approver is said to have made, along the chain
    up to the first statement that does not verify, and of what was set aside only where `audited`.
    """
    approvers, threshold = pinned_approvers(scope, epoch), threshold_of(epoch)
    by_id = {statement.id: statement for statement in history.statements}
    aside = {row.signature_id or row.statement_id: row for row in history.set_asides if row.statement_id is not None}
    under: defaultdict[UUID, list[StatementSignature]] = defaultdict(list)
    for row in history.signatures:
        under[row.statement_id].append(row)

    def problem_of(row: StatementSignature) -> str | None:
        return problem_of_signature(forms_of(node_id, epoch, by_id[row.statement_id]), row, approvers)

    signed: defaultdict[UUID, list[StatementSignature]] = defaultdict(list)
    garbage: list[Fault] = []
    verified: list[Statement] = []
    standing = [statement for statement in history.statements if statement.id not in aside]
    following = {statement.supersedes_statement_id: statement for statement in standing}
    broken_first: UUID | None = None
    after: UUID | None = None
    while broken_first is None and after in following:
        statement = following[after]
        for row in under[statement.id]:
            if row.id in aside:
                continue
            problem = problem_of(row)
            if problem is not None:
                what = f"signature {row.id} under statement {row.statement_id} counts for nothing: {problem}"
                garbage.append(Fault(row.id, what))
            # One in another scheme counts once, as does a copy in another spelling, of before such were refused.
            elif not is_among(row.signer_wallet, tuple(good.signer_wallet for good in signed[statement.id])):
                signed[statement.id].append(row)
        if len(signed[statement.id]) >= threshold and _follows(statement):
            verified.append(statement)
            after = statement.id
        else:
            broken_first = statement.id
    kept = {statement.id for statement in verified}
    problems = {
        statement.id: _problem_of(Approvals(len(signed[statement.id]), threshold))
        if statement.id == broken_first
        else _BEHIND
        for statement in standing
        if statement.id not in kept
    }
    broken = [Fault(row_id, f"statement {row_id} is not in force: {problem}") for row_id, problem in problems.items()]
    wrongly_set_aside: list[Fault] = []
    if audited:
        good = {row.id: row for row in history.signatures if _is_aside(row, aside) and not problem_of(row)}
        signers: defaultdict[UUID, set[str]] = defaultdict(set)
        for row in (*good.values(), *(row for rows in signed.values() for row in rows)):
            signers[row.statement_id].add(row.signer_wallet.lower())
        wrongly_set_aside = [
            _wrongly_set_aside(row_id, row)
            for row_id, row in aside.items()
            if (
                row_id in good
                if row.signature_id is not None
                else len(signers[row_id]) >= threshold and _follows(by_id[row_id])
            )
        ]
    return StatementChain(threshold, verified, signed, broken, garbage, wrongly_set_aside)


def is_signed_by_approver(
    node_id: UUID, scope: Scope | None, epoch: Epoch, statement: Statement, row: StoredInputsSignature
) -> bool:
    """Whether an approver who was pinned made this signature, of whichever root it names."""
    message = inputs_message(
        node_id=node_id,
        scope_id=epoch.scope_id,
        epoch_id=epoch.id,
        inputs_root=row.inputs_root,
        statement_message=message_of(node_id, epoch, statement),
    )
    try:
        signer = recover_signer(message, row.signature)
    except WrongSignature:
        return False
    return signer.lower() == row.signer_wallet.lower() and is_among(signer, pinned_approvers(scope, epoch))


def inputs_faults(
    node_id: UUID, scope: Scope, epoch: Epoch, history: StatementHistory, rows: Sequence[StoredInputsSignature]
) -> list[Fault]:
    """Signatures of inputs that no approver made, under statements that are not set aside."""
    aside = {row.statement_id for row in history.set_asides if row.signature_id is None}
    by_id = {statement.id: statement for statement in history.statements if statement.id not in aside}
    return [
        Fault(
            row.id, f"inputs signature {row.id} under statement {row.statement_id} counts for nothing: it is nobody's"
        )
        for row in rows
        if row.statement_id in by_id and not is_signed_by_approver(node_id, scope, epoch, by_id[row.statement_id], row)
    ]


def message_of(node_id: UUID, epoch: Epoch, statement: Statement) -> str:
    """The text by which a stored statement may be signed, as `epoch` was closed."""
    return signing_text(_terms_of(node_id, epoch, statement), chain_id_of(epoch))


def forms_of(node_id: UUID, epoch: Epoch, statement: Statement) -> dict[Scheme, Signable]:
    """Every form in which a stored statement may be signed, as `epoch` was closed."""
    return signing_forms(_terms_of(node_id, epoch, statement), chain_id_of(epoch))


def chain_id_of(epoch: Epoch) -> int | None:
    """The chain that the epoch closed with; None where it closed with none, or has not."""
    return None if epoch.pins is None else pinned_chain_id(epoch.pins.pinned_spec)


def threshold_of(epoch: Epoch) -> int:
    """How many approvers put a statement of the epoch in force, as it closed."""
    return 1 if epoch.pins is None else pinned_threshold(epoch.pins.pinned_spec)


def stated_units(statement: Statement) -> list[UserUnits]:
    """The units that a stored statement shared its pool out by."""
    return [UserUnits(line["userId"], int(line["totalUnits"])) for line in statement.payouts]


def _terms_of(node_id: UUID, epoch: Epoch, statement: Statement) -> StatementTerms:
    return StatementTerms(
        node_id, epoch.scope_id, epoch.id, statement.allocation_set_hash, statement.pool_total_credits
    )


def _is_aside(row: StatementSignature, aside: Container[UUID]) -> bool:
    return row.id in aside or row.statement_id in aside


def _problem_of(approvals: Approvals) -> str:
    if approvals.signed == 0:
        return "no pinned approver signed it"
    return "its hash or its payouts do not follow from its lines" if approvals.is_enough else f"it is {approvals}"


def _follows(statement: Statement) -> bool:
    """Whether hash and payouts follow from the statement's own lines."""
    try:
        units = stated_units(statement)
        lines = [dict(line) for line in statement.payouts]
        payouts = compute_payouts(units, statement.pool_total_credits)
    except (AllocationError, KeyError, TypeError, ValueError):
        return False
    return statement.allocation_set_hash == allocation_set_hash(units) and lines == [
        payout.to_json() for payout in payouts
    ]


def problem_of_signature(
    forms: Mapping[Scheme, Signable], row: StatementSignature | CollectedSignature, approvers: tuple[str, ...]
) -> str | None:
    """Why a signature of these forms is no approver's; None where it is one's."""
    if not is_among(row.signer_wallet, approvers):
        return f"{row.signer_wallet} is not among the approvers that were pinned"
    signed = next((message for scheme, message in forms.items() if scheme == row.scheme), None)
    if signed is None:
        return f"it is of {row.scheme}, and the epoch is signed by {' or '.join(forms)}"
    try:
        signer = recover_signer(signed, row.signature)
    except WrongSignature as error:
        return str(error)
    if signer.lower() != row.signer_wallet.lower():
        return f"it recovers to {signer}, not to {row.signer_wallet}"
    return None


def _wrongly_set_aside(row_id: UUID, row: SetAside) -> Fault:
    what = "statement" if row.signature_id is None else f"statement {row.statement_id}: signature"
    return Fault(row_id, f"{what} {row_id} verifies, and {row.actor} has set it aside all the same: {row.reason}")


def pinned_approvers(scope: Scope | None, epoch: Epoch) -> tuple[str, ...]:
    """Who might sign when the epoch closed; today's, where another system closed it with the same.

    Nobody, where the list that was pinned is not the one whose hash was.
    """
    if epoch.pins is None:
        return ()
    pinned = epoch.pins.pinned_spec.get("approvers")
    now = () if scope is None else scope.approvers
    approvers = tuple(map(str, pinned)) if isinstance(pinned, list) else now
    return approvers if epoch.pins.approver_set_hash == approver_set_hash(approvers) else ()
