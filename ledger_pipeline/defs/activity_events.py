"""The asset `activity_events`: what the ledger holds of each window, whichever sources it came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import deployment_labels
from ledger_pipeline.defs.elsewhere import (
    held_states,
    never_read,
    tell_state,
)
from ledger_pipeline.defs.ingestion import FRESHNESS, GROUP, OWNERS
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.materializations import ended, materialized
from ledger_pipeline.defs.partition_checks import (
    check_outputs,
    partition_check_specs,
    partition_results,
    told_together,
)
from ledger_pipeline.defs.partitions import scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.completeness import Completeness, window_completeness
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.store.records import UnsettledRejections


def activity_events(
    partitions: dg.PartitionsDefinition, spec: RepoSpec, ledger_id: str | None = None
) -> dg.AssetsDefinition:
    """The asset `activity_events`: what the ledger holds of each window, with the hash that others recompute.

    Its metadata says whose it is, and in which ledger, where `ledger_id` is known.
    """

    @dg.multi_asset(
        name="activity_events",
        specs=[
            dg.AssetSpec(
                ACTIVITY_EVENTS,
                description="A row is an activity event of the append-only ledger: one fact, one person, one moment.",
                group_name=GROUP,
                kinds={"postgres"},
                owners=OWNERS,
                freshness_policy=FRESHNESS,
                deps=[stream_key(stream) for kind in spec.source_kinds for stream in kind.stream_names],
                skippable=True,
                metadata=deployment_labels(spec, ledger_id),
            )
        ],
        check_specs=partition_check_specs(partitions),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def activity_events(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.MaterializeResult[None] | dg.Output[None] | dg.DagsterEvent]:
        now = clock.now()
        checked: list[_Checked] = []
        with domain_failures(), ledger.open() as store:
            read_by_scope = [
                (scope, windows, window_completeness(store, scope, windows))
                for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, now)
            ]
            if ACTIVITY_EVENTS in context.selected_asset_keys:
                refusals = [never_read(scope, completeness.values()) for scope, _, completeness in read_by_scope]
                if refusal := next(filter(None, refusals), None):
                    for scope, _, completeness in read_by_scope:
                        read = {window: reach for window, reach in completeness.items() if reach.until is not None}
                        yield from tell_state(context, store, scope, read, now)
                    raise refusal
            for scope, windows, completeness in read_by_scope:
                if ACTIVITY_EVENTS in context.selected_asset_keys:
                    closed = [epoch.window for epoch in close_due_epochs(store, scope)]
                    if closed:
                        context.log.info(f"closed for review: {_named(closed)} of {scope.scope_key}")
                    held = held_states(store, scope, completeness, now, context.run.tags)
                    yield from materialized(context, ACTIVITY_EVENTS, scope, held)
                    others = [window for window in closed if window not in completeness]
                    yield from tell_state(context, store, scope, window_completeness(store, scope, others), now)
                checked.append(
                    _Checked(scope, completeness, store.events.unsettled_rejections(scope.scope_id, windows))
                )
        # Before the checks: each result points at its partition's latest materialization.
        if ACTIVITY_EVENTS in context.selected_asset_keys:
            yield ended(ACTIVITY_EVENTS)
        selected = frozenset(key.name for key in context.selected_asset_check_keys)
        for checked_scope in checked:
            results = partition_results(
                context.instance, checked_scope.scope, checked_scope.read, checked_scope.rejections, selected, now
            )
            yield from told_together(context, results)
        yield from check_outputs(context)

    return activity_events


def _named(windows: Sequence[EpochWindow]) -> str:
    """The epochs in one line, however many."""
    first, *others = windows
    if not others:
        return f"epoch {first.key}"
    return f"{counted(len(windows), 'epoch')} from {first.key} to {others[-1].key}"


@dataclass(frozen=True)
class _Checked:
    """What the checks of a scope's partitions are decided by."""

    scope: Scope
    read: Mapping[EpochWindow, Completeness]
    rejections: Sequence[UnsettledRejections]
