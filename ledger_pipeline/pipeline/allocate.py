"""From an epoch's events to its proposed allocations and its pool: each step safe to repeat until it is finalized."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.opting import pinned_opt_outs
from ledger_pipeline.core.pins import allocation_algo_ref, pinned_base_issuance
from ledger_pipeline.core.pool import BASE_ISSUANCE, NewPoolComponent, base_issuance
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.selection import select_events
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Allocation, CurationSummary, PoolComponent, Resolution

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def curate(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> tuple[Resolution, CurationSummary]:
    """A row for each event of the epoch, with the user where one is bound; what a person set stays.

    Where a selection policy is named, it decides on each event anew. Raises SelectionError where it cannot. Of a
    finalized epoch nothing is written: what it was paid by is what it was.
    """
    done = Resolution(0, 0)
    if epoch.status is not EpochStatus.FINALIZED:
        for spec in scope.sources:
            resolution = ledger.curation.resolve_identities(epoch, spec.source)
            done = Resolution(done.added + resolution.added, done.resolved + resolution.resolved)
        select_events(ledger, scope, epoch)
    return done, ledger.curation.summary(epoch)


def allocate(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> list[Allocation]:
    """The epoch's allocations, proposed anew from its curation by its pinned weights; of a finalized one as stored.

    Whoever takes no pay has none: in an open epoch as they have chosen by now, then as it closed.

    Raises AllocationError for weights or units that cannot be, ConfigurationError for an unknown
    credit_estimate_algo.
    """
    if epoch.status is EpochStatus.FINALIZED:
        return ledger.allocations.of(epoch)
    algo = algo_of(scope, epoch)
    proposals = compute_proposed_allocations(
        algo, ledger.curation.weighed_events(epoch), epoch.weights_milli, opted_out_of(ledger, epoch)
    )
    return ledger.allocations.propose(epoch, proposals)


def propose(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> list[Allocation]:
    """Curation, pool and allocations brought up to date, as the Dagster job allocate_epoch does. Raises as they do."""
    curate(ledger, scope, epoch)
    fill_pool(ledger, epoch)
    return allocate(ledger, scope, epoch)


def algo_of(scope: Scope, epoch: Epoch) -> str:
    """The allocation algorithm the epoch was closed with; of an open one what the repo-spec says."""
    if epoch.pins is not None:
        return epoch.pins.allocation_algo_ref
    return allocation_algo_ref(scope.sources[0].credit_estimate_algo)


def opted_out_of(ledger: "PostgresLedger", epoch: Epoch) -> frozenset[str]:
    """Who takes no pay of the epoch, as the signed hash would name them: as it closed; of an open one by now."""
    return ledger.opt_outs.names() if epoch.pins is None else pinned_opt_outs(epoch.pins.pinned_spec)


def fill_pool(ledger: "PostgresLedger", epoch: Epoch) -> list[PoolComponent]:
    """The epoch's pool. In review, a base issuance that the epoch closed with and that is missing joins it.

    An open epoch's joins when it closes (`base_issuance_to_come`): until then the repo-spec may change. What an epoch
    did not close with joins by the owner's hand alone.
    """
    pool = ledger.pool.of(epoch)
    pinned = None if epoch.pins is None else pinned_base_issuance(epoch.pins.pinned_spec)
    if epoch.status is not EpochStatus.REVIEW or pinned is None or _has_base_issuance(pool):
        return pool
    ledger.pool.add(epoch, base_issuance(pinned))
    return ledger.pool.of(epoch)


def base_issuance_to_come(scope: Scope, epoch: Epoch, pool: Sequence[PoolComponent]) -> int | None:
    """The credits that join the pool of an open epoch when it closes, as the repo-spec stands; None where none do."""
    if epoch.status is not EpochStatus.OPEN or _has_base_issuance(pool):
        return None
    return scope.base_issuance_credits


def add_to_pool(ledger: "PostgresLedger", epoch: Epoch, component: NewPoolComponent) -> bool:
    """Add what a person brings; False where the very same is there.

    Raises EpochNotReady once the pool is locked, and for the base issuance of an open epoch, which joins by itself.
    """
    if component.component_id == BASE_ISSUANCE:
        if epoch.status is EpochStatus.OPEN:
            raise EpochNotReady(
                f"{BASE_ISSUANCE} joins the pool of epoch {epoch.window.key} by itself when it closes: set "
                "activity_ledger.pool_config.base_issuance_credits in the repo-spec"
            )
        may_join = epoch.status is EpochStatus.REVIEW
    else:
        may_join = epoch.status is EpochStatus.OPEN
    if not may_join:
        raise EpochNotReady(
            f"the pool of epoch {epoch.window.key} is locked: it is in {epoch.status.value}, and takes components "
            "while it is open"
        )
    return ledger.pool.add(epoch, component)


def _has_base_issuance(pool: Sequence[PoolComponent]) -> bool:
    return any(component.component_id == BASE_ISSUANCE for component in pool)
