"""The assets after collection: the epoch, its curation, allocations and pool; each a proposal until it is finalized.

A re-run is safe: what a person set stays, and of a finalized epoch nothing is written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from ledger_pipeline.core.counts import named
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import span
from ledger_pipeline.defs import tables
from ledger_pipeline.defs.charts import units_bars, windows_to_draw
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    POOL_COMPONENTS,
)
from ledger_pipeline.defs.metadata import Metadata, run_trigger, shown
from ledger_pipeline.defs.partition_metadata import add_partition_metadata
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.allocate import allocate, base_issuance_to_come, curate, fill_pool
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.epoch_state import (
    UNITS_PER_USER,
    claimant_numbers,
    epoch_entries,
    pool_entries,
    selection_entries,
)
from ledger_pipeline.pipeline.next_step import next_steps
from ledger_pipeline.pipeline.selection import selection_report
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import valued

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

GROUP = "settlement"
OWNERS = ["team:ledger"]
ACCOUNTS_LISTED = 20
# What is materialized of some epochs of a scope, with what is said of each.
_OfEpochs = Callable[["PostgresLedger", Scope, Sequence[Epoch], datetime], Iterable[tuple[Epoch, Metadata]]]


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
    ) -> dg.MaterializeResult[None]:
        return _for_each_epoch(context, EPOCH, settings, ledger, clock, _epochs)

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
    ) -> dg.MaterializeResult[None]:
        return _for_each_epoch(context, ACTIVITY_CURATION, settings, ledger, clock, _curation)

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
    ) -> dg.MaterializeResult[None]:
        return _for_each_epoch(context, EPOCH_ALLOCATIONS, settings, ledger, clock, _allocations)

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
    ) -> dg.MaterializeResult[None]:
        return _for_each_epoch(context, POOL_COMPONENTS, settings, ledger, clock, _pool)

    return [epoch, activity_curation, epoch_allocations, pool_components]


def _for_each_epoch(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    settings: SettingsResource,
    ledger: LedgerResource,
    clock: Clock,
    materialize: _OfEpochs,
) -> dg.MaterializeResult[None]:
    """Materialize every epoch of the run's partitions, scope by scope, and say of each what there is."""
    now = clock.now()
    trigger = run_trigger(context.run.tags)
    with domain_failures(), ledger.open() as store:
        for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, now):
            metadata_by_partition = {
                partition_key(epoch.window, scope): {**metadata, "trigger": trigger}
                for epoch, metadata in materialize(store, scope, epochs, now)
            }
            add_partition_metadata(context, key, metadata_by_partition)
    return dg.MaterializeResult(asset_key=key)


def _epochs(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[tuple[Epoch, Metadata]]:
    read = window_completeness(store, scope, [epoch.window for epoch in epochs])
    for epoch in epochs:
        settlement = partial(store.statements.settlement, epoch)
        blocks = next_steps(store.node_id, scope, epoch, settlement, read[epoch.window], now)
        yield epoch, {label: shown(value) for label, value in epoch_entries(scope, epoch, blocks).items()}


def _curation(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[tuple[Epoch, Metadata]]:
    del now  # what counts for whom does not depend on it
    for epoch in epochs:
        done, summary = curate(store, scope, epoch)
        unresolved = store.identities.unresolved([epoch]) if summary.unresolved else []
        yield (
            epoch,
            {
                "events": summary.events,
                "added": done.added,
                "resolved": done.resolved,
                "unresolved": summary.unresolved,
                "excluded": summary.excluded,
                "overridden": summary.overridden,
                "users": summary.users,
                **_selected(store, scope, epoch),
                "unresolved_accounts": tables.accounts(unresolved[:ACCOUNTS_LISTED]),
            },
        )


def _selected(store: "PostgresLedger", scope: Scope, epoch: Epoch) -> Metadata:
    entries = selection_entries(selection_report(store, scope, epoch))
    return {label: shown(value) for label, value in entries.items()}


def _allocations(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[tuple[Epoch, Metadata]]:
    del now  # units do not depend on it
    drawn = windows_to_draw([epoch.window for epoch in epochs])
    for epoch in epochs:
        allocations = allocate(store, scope, epoch)
        metadata: Metadata = {
            **claimant_numbers(valued(allocations)),
            "total_units": units_text(sum(allocation.units for allocation in allocations)),
            "decided_by_person": sum(allocation.final_units is not None for allocation in allocations),
            **_selected(store, scope, epoch),
            "allocations": tables.allocations(allocations),
        }
        if epoch.window in drawn:
            units = [(of_user.user_id, of_user.units) for of_user in valued(allocations)]
            metadata[UNITS_PER_USER] = units_bars(units, "Nobody has units.")
        yield epoch, metadata


def _pool(
    store: "PostgresLedger", scope: Scope, epochs: Sequence[Epoch], now: datetime
) -> Iterator[tuple[Epoch, Metadata]]:
    del now  # components do not depend on it
    for epoch in epochs:
        components = fill_pool(store, epoch)
        to_come = base_issuance_to_come(scope, epoch, components)
        entries = pool_entries(epoch, sum(component.amount_credits for component in components), to_come)
        yield (
            epoch,
            {
                **{label: shown(value) for label, value in entries.items()},
                "components": tables.components(components),
            },
        )
