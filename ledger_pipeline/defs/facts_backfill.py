"""The job `facts_backfill`: the facts of epochs' events that have none, as observations of each partition.

A run is of one partition, or of a range of them: a request then reads items of several epochs.
"""

from collections.abc import Sequence

import dagster as dg

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import CollectionFailed
from ledger_pipeline.core.sources import SourceKind
from ledger_pipeline.dagster_contract import FACTS_BACKFILL_JOB
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource, SourcesResource
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.epoch_state import facts_numbers
from ledger_pipeline.pipeline.facts_backfill import backfill_facts


def facts_backfill(kinds: Sequence[SourceKind], partitions: dg.PartitionsDefinition) -> dg.JobDefinition:
    """The job over the partitions of the assets, with a step for each source."""
    steps = [_facts_of(kind) for kind in kinds]

    @dg.job(
        name=FACTS_BACKFILL_JOB,
        partitions_def=partitions,
        description="Reads the facts of an epoch's events that have none; what they are shows as observations of "
        "`activity_events`. Events, and what a closed epoch closed with, stay as they are.",
    )
    def facts_backfill() -> None:
        for step in steps:
            step()

    return facts_backfill


def _facts_of(kind: SourceKind) -> dg.OpDefinition:
    @dg.op(name=f"{kind.name}_facts", pool=kind.name)
    def read_facts(
        context: dg.OpExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        sources: dg.ResourceParam[SourcesResource],
        clock: dg.ResourceParam[Clock],
    ) -> None:
        failures = []
        with domain_failures(), ledger.open() as store, sources.open(kind.name) as source:
            for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, clock.now()):
                if scope.source_spec(kind.name) is None:
                    continue
                done = backfill_facts(
                    source,
                    store,
                    scope,
                    windows,
                    lambda done: context.log.info(f"{done.looked_at} of {counted(done.wanted, 'event')} without facts"),
                )
                failures += done.failures
                held = store.events.per_type(scope.scope_id, windows)
                for window, count in store.facts.counts(scope.scope_id, windows).items():
                    context.log_event(
                        dg.AssetObservation(
                            asset_key=ACTIVITY_EVENTS,
                            partition=partition_key(window, scope),
                            metadata={
                                **facts_numbers(sum(held[window].values()), count),
                                "facts_observed_now": done.by_window[window].observed,
                                "facts_gone_now": done.by_window[window].gone,
                                "facts_not_to_be_read": done.by_window[window].unreadable,
                                "api_requests_of_run": done.requests,
                                "api_points_of_run": done.points,
                            },
                        )
                    )
            if failures:
                raise CollectionFailed(failures)

    return read_facts
