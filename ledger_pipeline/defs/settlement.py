"""The assets after collection: the epoch, its curation, allocations and pool; each a proposal until it is finalized.

A re-run is safe: what a person set stays, and of a finalized epoch nothing is written.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dagster as dg

from ledger_pipeline.charts import units_per_user_png
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.weights import weight_drift
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.charts import picture, windows_to_draw
from ledger_pipeline.defs.failures import domain_failures
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    POOL_COMPONENTS,
)
from ledger_pipeline.defs.metadata import Metadata, run_trigger
from ledger_pipeline.defs.partition_metadata import add_partition_metadata
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.pipeline.allocate import allocate, base_issuance_to_come, curate, fill_pool
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.settle import next_steps
from ledger_pipeline.store.port import Epoch, LedgerStore
from ledger_pipeline.store.settlement_port import UnresolvedAccount, valued

GROUP = "settlement"
OWNERS = ["team:ledger"]
ACCOUNTS_LISTED = 20
ALLOCATION_COLUMNS = {
    "user": "string",
    "events": "int",
    "proposed_units": "string",
    "final_units": "string",
    "reason": "string",
}
COMPONENT_COLUMNS = {"component": "string", "credits": "string", "algorithm": "string", "evidence": "string"}
ACCOUNT_COLUMNS = {"account": "string", "login": "string", "events": "int", "units": "string"}


def epochs_of_run(
    store: LedgerStore, spec: RepoSpec, keys: Sequence[str], now: datetime
) -> list[tuple[Scope, list[Epoch]]]:
    """The epochs that a run's partition keys name, by scope. Raises EpochNotReady for one that was never collected."""
    found = []
    for scope, windows in scopes_and_windows(spec, keys, now):
        epochs = {epoch.window: epoch for epoch in store.epochs(scope.scope_id, span(windows))}
        missing = [window.key for window in windows if window not in epochs]
        if missing:
            raise EpochNotReady(
                f"not in the ledger yet: epochs {', '.join(missing)} of {scope.scope_key}: materialize their "
                "activity first (job collect_epoch)"
            )
        found.append((scope, [epochs[window] for window in windows]))
    return found


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
        now = clock.now()
        with domain_failures(), ledger.open() as store:
            for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, now):
                read = window_completeness(store, scope, [each.window for each in epochs])
                said = {}
                for each in epochs:
                    settlement = partial(store.statements.settlement, each)
                    blocks = next_steps(store.node_id, scope, each, settlement, read[each.window], now)
                    said[each.window] = _epoch_metadata(scope, each, blocks)
                _say(context, EPOCH, scope, said)
        return dg.MaterializeResult(asset_key=EPOCH)

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
        with domain_failures(), ledger.open() as store:
            for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, clock.now()):
                said = {}
                for each in epochs:
                    done, summary = curate(store, scope, each)
                    unresolved = store.identities.unresolved([each]) if summary.unresolved else []
                    metadata: Metadata = {
                        "events": summary.events,
                        "added": done.added,
                        "resolved": done.resolved,
                        "unresolved": summary.unresolved,
                        "excluded": summary.excluded,
                        "overridden": summary.overridden,
                        "users": summary.users,
                        "unresolved_accounts": _accounts_table(unresolved),
                    }
                    said[each.window] = metadata
                _say(context, ACTIVITY_CURATION, scope, said)
        return dg.MaterializeResult(asset_key=ACTIVITY_CURATION)

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
        with domain_failures(), ledger.open() as store:
            for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, clock.now()):
                drawn = windows_to_draw([each.window for each in epochs])
                said = {}
                for each in epochs:
                    allocations = allocate(store, scope, each)
                    metadata: Metadata = {
                        "users": len(allocations),
                        "total_units": units_text(sum(found.units for found in allocations)),
                        "decided_by_person": sum(found.final_units is not None for found in allocations),
                        "allocations": plain.table(
                            [
                                {
                                    "user": found.user_id,
                                    "events": found.activity_count,
                                    "proposed_units": units_text(found.proposed_units),
                                    "final_units": "" if found.final_units is None else units_text(found.final_units),
                                    "reason": found.override_reason or "",
                                }
                                for found in allocations
                            ],
                            ALLOCATION_COLUMNS,
                        ),
                    }
                    if each.window in drawn:
                        png = units_per_user_png(valued(allocations), each.window)
                        metadata["units_per_user"] = picture("Units per user", png)
                    said[each.window] = metadata
                _say(context, EPOCH_ALLOCATIONS, scope, said)
        return dg.MaterializeResult(asset_key=EPOCH_ALLOCATIONS)

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
        with domain_failures(), ledger.open() as store:
            for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, clock.now()):
                said = {}
                for each in epochs:
                    found = fill_pool(store, each)
                    to_come = base_issuance_to_come(scope, each, found)
                    total_credits = sum(component.amount_credits for component in found) + (to_come or 0)
                    metadata: Metadata = {
                        "pool_total_credits": str(total_credits),
                        "base_issuance_joins": "is there" if to_come is None else f"{to_come}, when the epoch closes",
                        "locked": each.pins is not None,
                        "components": plain.table(
                            [
                                {
                                    "component": component.component_id,
                                    "credits": str(component.amount_credits),
                                    "algorithm": component.algorithm_version,
                                    "evidence": component.evidence_ref or "",
                                }
                                for component in found
                            ],
                            COMPONENT_COLUMNS,
                        ),
                    }
                    said[each.window] = metadata
                _say(context, POOL_COMPONENTS, scope, said)
        return dg.MaterializeResult(asset_key=POOL_COMPONENTS)

    return [epoch, activity_curation, epoch_allocations, pool_components]


def _epoch_metadata(scope: Scope, epoch: Epoch, blocks: Sequence[str]) -> Metadata:
    drift = weight_drift(epoch.weights_milli, scope.weights_milli)
    metadata: Metadata = {
        "epoch_id": epoch.id,
        "epoch_status": epoch.status.value,
        "blocks_next_step": plain_message("; ".join(blocks)) or "nothing",
        "window_start": dg.MetadataValue.timestamp(epoch.window.start),
        "window_end": dg.MetadataValue.timestamp(epoch.window.end),
        "weights_milli": plain.json(dict(epoch.weights_milli)),
    }
    if drift:
        metadata["weights_drift"] = plain.json(drift)
    if epoch.pins is not None:
        metadata["allocation_algo_ref"] = epoch.pins.allocation_algo_ref
        metadata["weight_config_hash"] = epoch.pins.weight_config_hash
        metadata["approver_set_hash"] = epoch.pins.approver_set_hash
    if epoch.closed_at is not None:
        metadata["closed_at"] = dg.MetadataValue.timestamp(epoch.closed_at)
    if epoch.pool_total_credits is not None:
        metadata["pool_total_credits"] = str(epoch.pool_total_credits)
    return metadata


def _accounts_table(unresolved: Sequence[UnresolvedAccount]) -> dg.MetadataValue:
    rows = [
        {"account": each.external_id, "login": each.login, "events": each.events, "units": units_text(each.units)}
        for each in unresolved[:ACCOUNTS_LISTED]
    ]
    return plain.table(rows, ACCOUNT_COLUMNS)


def _say(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, scope: Scope, said: Mapping[EpochWindow, Metadata]
) -> None:
    trigger = run_trigger(context.run.tags)
    add_partition_metadata(
        context,
        asset_key,
        {partition_key(window, scope): {**metadata, "trigger": trigger} for window, metadata in said.items()},
    )
