"""From an epoch's events to its proposed allocations and its pool: each step safe to repeat until it is finalized."""

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.pins import allocation_algo_ref
from ledger_pipeline.core.pool import BASE_ISSUANCE, NewPoolComponent, base_issuance
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.store.port import Epoch, EpochStatus
from ledger_pipeline.store.settlement_port import (
    Allocation,
    CurationSummary,
    PoolComponent,
    Resolution,
    SettlingLedger,
)


def curate(ledger: SettlingLedger, scope: Scope, epoch: Epoch) -> tuple[Resolution, CurationSummary]:
    """A row for each event of the epoch, with the user where one is bound; what a person set stays.

    Of a finalized epoch nothing is written: what it was paid by is what it was.
    """
    done = Resolution(0, 0)
    if epoch.status is not EpochStatus.FINALIZED:
        for spec in scope.sources:
            found = ledger.curation.resolve_identities(epoch, spec.source)
            done = Resolution(done.added + found.added, done.resolved + found.resolved)
    return done, ledger.curation.summary(epoch)


def allocate(ledger: SettlingLedger, scope: Scope, epoch: Epoch) -> list[Allocation]:
    """The epoch's allocations, proposed anew from its curation by its pinned weights; of a finalized one as stored.

    Raises AllocationError for weights or units that cannot be, ConfigurationError for an unknown
    credit_estimate_algo.
    """
    if epoch.status is EpochStatus.FINALIZED:
        return ledger.allocations.of(epoch)
    algo = algo_of(scope, epoch)
    proposals = compute_proposed_allocations(algo, ledger.curation.weighed_events(epoch), epoch.weights_milli)
    return ledger.allocations.propose(epoch, proposals)


def algo_of(scope: Scope, epoch: Epoch) -> str:
    """The allocation algorithm the epoch was closed with; of an open one what the repo-spec says."""
    if epoch.pins is not None:
        return epoch.pins.allocation_algo_ref
    return allocation_algo_ref(scope.sources[0].credit_estimate_algo)


def fill_pool(ledger: SettlingLedger, scope: Scope, epoch: Epoch) -> list[PoolComponent]:
    """The epoch's pool, with the base issuance of the repo-spec where it has none and is not finalized."""
    found = ledger.pool.of(epoch)
    if (
        scope.base_issuance_credits is not None
        and epoch.status is not EpochStatus.FINALIZED
        and not any(each.component_id == BASE_ISSUANCE for each in found)
    ):
        ledger.pool.add(epoch, base_issuance(scope.base_issuance_credits))
        found = ledger.pool.of(epoch)
    return found


def add_to_pool(ledger: SettlingLedger, epoch: Epoch, component: NewPoolComponent) -> bool:
    """Add what a person brings; False where the very same is there. Raises EpochNotReady once the pool is locked."""
    if epoch.status is not EpochStatus.OPEN and not (
        component.component_id == BASE_ISSUANCE and epoch.status is EpochStatus.REVIEW
    ):
        raise EpochNotReady(
            f"the pool of epoch {epoch.window.key} is locked: it is in {epoch.status.value}, and takes components "
            "while it is open"
        )
    return ledger.pool.add(epoch, component)
