"""The assets after collection: the epoch, its curation, allocations and pool; each a proposal until it is finalized.

A re-run is safe: what a person set stays, and of a finalized epoch nothing is written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from ledger_pipeline.core.counts import named
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import span
from ledger_pipeline.defs.charts import windows_to_draw
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    POOL_COMPONENTS,
)
from ledger_pipeline.defs.materializations import ended, materialized
from ledger_pipeline.defs.metadata import PartitionState, run_trigger
from ledger_pipeline.defs.partitions import scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.settlement_states import allocations_state, curation_state, epoch_state, pool_state
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.allocate import allocate, curate, fill_pool
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.store.records import Epoch

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

GROUP = "settlement"
OWNERS = ["team:ledger"]
# What is materialized of some epochs of a scope.
_OfEpochs = Callable[["PostgresLedger", Scope, Sequence[Epoch], datetime], Iterable[PartitionState]]


def epochs_of_run(
    store: "PostgresLedger", spec: RepoSpec, keys: Sequence[str], now: datetime
) -> list[tuple[Scope, list[Epoch]]]:
    """The epochs that a run's partition keys name, by scope. Raises EpochNotReady for one that was never collected."""
    epochs_by_scope = []
    for scope, windows in scopes_and_windows(spec, keys, now):
        epochs = {epoch.window: epoch for epoch in store.epochs.within(scope.scope_id, span(windows))}
        missing = [window.key for window in windows if window not in epochs]
        if missing:
            raise EpochNotReady(
                f"not in the ledger yet: {named('epoch', missing)} of {scope.scope_key}: materialize their "
                "activity first (job collect_epoch)"
            )
        epochs_by_scope.append((scope, [epochs[window] for window in windows]))
    return epochs_by_scope


def settlement_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """`epoch`, `activity_curation`, `epoch_allocations`, `pool_components`."""

    def asset(
        key: dg.AssetKey, after: Sequence[dg.AssetKey], description: str
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        return dg.multi_asset(
            name=key.path[-1],
            specs=[
                dg.AssetSpec(
                    key, deps=after, description=description, group_name=GROUP, owners=OWNERS, kinds={"postgres"}
                )
            ],
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )

    @asset(
        EPOCH,
        # Last, so that what it says blocks the next step is so.
        [EPOCH_ALLOCATIONS, POOL_COMPONENTS],
        "A row is an epoch of a scope: its window, its status, and what it is paid by.",
    )
    def epoch(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.DagsterEvent | dg.MaterializeResult[None]]:
        yield from _for_each_epoch(context, EPOCH, settings, ledger, clock, _epochs)

    @asset(
        ACTIVITY_CURATION,
        [ACTIVITY_EVENTS],
        "A row is an event of the epoch: for which user it counts, whether it does, and by which weight.",
    )
    def activity_curation(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.DagsterEvent | dg.MaterializeResult[None]]:
        yield from _for_each_epoch(context, ACTIVITY_CURATION, settings, ledger, clock, _curation)

    @asset(
        EPOCH_ALLOCATIONS,
        [ACTIVITY_CURATION],
        "A row is a user of the epoch: units as the weights propose them, and as a person decided.",
    )
    def epoch_allocations(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.DagsterEvent | dg.MaterializeResult[None]]:
        yield from _for_each_epoch(context, EPOCH_ALLOCATIONS, settings, ledger, clock, _allocations)

    @asset(
        POOL_COMPONENTS,
        [ACTIVITY_EVENTS],
        "A row is a component of the epoch's pool: credits to share out, and what they were computed from.",
    )
    def pool_components(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.DagsterEvent | dg.MaterializeResult[None]]:
        yield from _for_each_epoch(context, POOL_COMPONENTS, settings, ledger, clock, _pool)

    return [epoch, activity_curation, epoch_allocations, pool_components]


def _for_each_epoch(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    settings: SettingsResource,
    ledger: LedgerResource,
    clock: Clock,
    materialize: _OfEpochs,
) -> Iterator[dg.DagsterEvent | dg.MaterializeResult[None]]:
    """Materialize every epoch of the run's partitions, scope by scope, and say of each what there is."""
    now = clock.now()
    with domain_failures(), ledger.open() as store:
        for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, now):
            states = (
                state.asked_for_by(run_trigger(context.run.tags)) for state in materialize(store, scope, epochs, now)
            )
            yield from materialized(context, key, scope, states)
    yield ended(key)


def _epochs(store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime) -> Iterator[PartitionState]:
    read = window_completeness(store, scope, [epoch.window for epoch in epochs])
    for epoch in epochs:
        yield epoch_state(store, scope, epoch, read[epoch.window], now)


def _curation(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[PartitionState]:
    del now  # what counts for whom does not depend on it
    for epoch in epochs:
        yield curation_state(store, scope, epoch, *curate(store, scope, epoch))


def _allocations(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[PartitionState]:
    del now  # units do not depend on it
    drawn = windows_to_draw([epoch.window for epoch in epochs])
    for epoch in epochs:
        allocations = allocate(store, scope, epoch)
        yield allocations_state(store, scope, epoch, allocations, is_drawn=epoch.window in drawn)


def _pool(store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime) -> Iterator[PartitionState]:
    del now  # components do not depend on it
    for epoch in epochs:
        yield pool_state(scope, epoch, fill_pool(store, epoch))
