"""How far what an epoch's approvers are to sign next is signed, where several have to.

A signature counts for the very numbers that it is of. Where these have changed since, by a decision or a correction, it
is kept, stale, and counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.signing import StatementTerms, signing_forms
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.statements import allocation_set_hash
from ledger_pipeline.pipeline.chain import (
    Fault,
    StatementChain,
    chain_id_of,
    pinned_approvers,
    problem_of_signature,
    statement_chain,
)
from ledger_pipeline.pipeline.completeness import utc_text
from ledger_pipeline.pipeline.next_step import units_to_sign
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.statement_records import CollectedSignature, Settlement, StatedNumbers


@dataclass(frozen=True)
class CollectedApprovals:
    """What was collected: `current` of the numbers that are to be signed now, one of each approver who signed them.

    `stale` are of other numbers, and `garbage` is nobody's: both count for nothing. `approvals` say how far the numbers
    that are to be signed now are signed, or where none are, the statement in force is.
    """

    approvals: Approvals
    current: Sequence[CollectedSignature]
    stale: Sequence[CollectedSignature]
    garbage: Sequence[Fault]

    @property
    def are_several(self) -> bool:
        """Whether one approver alone puts nothing in force."""
        return self.approvals.threshold > 1

    @property
    def signers(self) -> list[str]:
        """Who signed them, in the order they did."""
        return [row.signer_wallet for row in self.current]

    @property
    def lines(self) -> list[str]:
        """Each signature for a person: who signed which numbers when, and whether it counts."""
        return [
            *(f"{_signed(row)}: it counts" for row in self.current),
            *(f"{_signed(row)}: stale, for the numbers are others now; it counts for nothing" for row in self.stale),
        ]

    def has(self, signer: str) -> bool:
        """Whether that approver signed them, in whichever form."""
        return signer.lower() in {wallet.lower() for wallet in self.signers}


def numbers_to_sign(settlement: Settlement, chain: StatementChain) -> StatedNumbers | None:
    """What a signature would be of now; None where nothing is to be signed, as long as nobody corrects anything."""
    if settlement.status is EpochStatus.OPEN:
        return None
    units, pool_total_credits = units_to_sign(settlement, chain)
    supersedes = None if chain.in_force is None else chain.in_force.id
    numbers = StatedNumbers(allocation_set_hash(units), pool_total_credits, supersedes)
    stated = {(statement.allocation_set_hash, statement.pool_total_credits) for statement in chain.verified}
    return None if (numbers.allocation_set_hash, numbers.pool_total_credits) in stated else numbers


def collected_approvals(
    node_id: UUID, scope: Scope | None, epoch: Epoch, settlement: Settlement, chain: StatementChain
) -> CollectedApprovals:
    """What of `settlement.collected` counts, and what does not; those of a statement in the chain are left out.

    Signatures are recovered here, a few milliseconds each.
    """
    numbers = None if chain.threshold == 1 else numbers_to_sign(settlement, chain)
    stated = {
        StatedNumbers(row.allocation_set_hash, row.pool_total_credits, row.supersedes_statement_id)
        for row in chain.verified
    }
    approvers = pinned_approvers(scope, epoch)
    current: dict[str, CollectedSignature] = {}
    stale: list[CollectedSignature] = []
    garbage: list[Fault] = []
    for row in settlement.collected:
        if row.numbers in stated:
            continue
        terms = StatementTerms(
            node_id, epoch.scope_id, epoch.id, row.numbers.allocation_set_hash, row.numbers.pool_total_credits
        )
        problem = problem_of_signature(signing_forms(terms, chain_id_of(epoch)), row, approvers)
        if problem is not None:
            garbage.append(Fault(row.id, f"collected signature {row.id} counts for nothing: {problem}"))
        elif row.numbers == numbers:
            current.setdefault(row.signer_wallet.lower(), row)
        else:
            stale.append(row)
    approvals = Approvals(len(current), chain.threshold)
    if numbers is None and chain.in_force is not None:
        approvals = chain.approvals_of(chain.in_force)
    return CollectedApprovals(approvals, list(current.values()), stale, garbage)


def approvals_of(node_id: UUID, scope: Scope | None, epoch: Epoch, settlement: Settlement) -> Approvals:
    """How far what is to be signed next is signed, or where nothing is, the statement in force."""
    chain = statement_chain(node_id, scope, epoch, settlement.history)
    return collected_approvals(node_id, scope, epoch, settlement, chain).approvals


def _signed(row: CollectedSignature) -> str:
    numbers = f"a pool of {row.numbers.pool_total_credits} and the allocations {row.numbers.allocation_set_hash}"
    return f"{row.signer_wallet} signed {numbers}, {utc_text(row.signed_at)} ({row.scheme})"
