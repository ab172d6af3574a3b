"""The ingestion assets: GitHub's three streams, served by one scan, and what the ledger then holds of a window.

A re-run is safe: events carry the source's own ids, so what is stored already is counted as duplicate and a covered
window costs no request.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed
from ledger_pipeline.core.events import GITHUB_STREAMS
from ledger_pipeline.core.partition_runs import ACTIVITY_EVENTS_ASSET, STREAM_ASSETS
from ledger_pipeline.core.windows import span
from ledger_pipeline.defs.failures import domain_failures
from ledger_pipeline.defs.metadata import digest_metadata, stream_metadata
from ledger_pipeline.defs.partitions import partition_key, scope_and_windows
from ledger_pipeline.defs.progress import ProgressListener
from ledger_pipeline.defs.receipts import receipts_by_partition
from ledger_pipeline.defs.resources import GitHubResource, LedgerResource, SettingsResource
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.epochs import close_due_epochs

GROUP = "ingestion"
OWNERS = ["team:ledger"]
ACTIVITY_EVENTS = dg.AssetKey(ACTIVITY_EVENTS_ASSET)

_STREAM_DESCRIPTIONS = {
    "pull_requests": "A row is a merged pull request, counted for its author at the moment of the merge.",
    "reviews": "A row is a submitted review, of a merged pull request or not, counted for the reviewer.",
    "issues": "A row is a closed issue, counted for its author at the moment it was closed.",
}


def stream_key(stream: str) -> dg.AssetKey:
    """The asset of one of GitHub's streams."""
    return dg.AssetKey(STREAM_ASSETS[stream])


class CollectConfig(dg.Config):
    """`full_refresh` reads again what is covered already; the ledger stays as it is but for what was missed."""

    full_refresh: bool = False


def github_activity(partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The assets `github/pull_requests`, `github/reviews`, `github/issues`: one scan serves any of them."""

    @dg.multi_asset(
        name="github_activity",
        specs=[
            dg.AssetSpec(
                stream_key(stream),
                description=_STREAM_DESCRIPTIONS[stream],
                group_name=GROUP,
                kinds={"github", "postgres"},
                owners=OWNERS,
                skippable=True,
            )
            for stream in GITHUB_STREAMS
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def github_activity(
        context: dg.AssetExecutionContext,
        config: CollectConfig,
        settings: SettingsResource,
        ledger: LedgerResource,
        github: GitHubResource,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.MaterializeResult[None]]:
        streams = [stream for stream in GITHUB_STREAMS if stream_key(stream) in context.selected_asset_keys]
        with domain_failures(), ledger.open() as store, github.open() as source:
            scope, windows = scope_and_windows(settings.repo_spec(), context.partition_keys, datetime.now(UTC))
            report = collect(
                source,
                store,
                scope,
                windows,
                streams=streams,
                full_refresh=config.full_refresh,
                concurrency=settings.read().github_concurrency,
                on_estimate=lambda estimate: progress.on_estimate(context.log, estimate),
                on_progress=lambda scan: progress.on_page(context.log, scan),
            )
            for asked, answered in report.renamed.items():
                context.log.warning(f"{asked} is {answered} now: name it so in source_refs; nobody is paid twice")
            if report.failures:
                raise CollectionFailed(report.failures)
            receipts = receipts_by_partition(store.receipts(scope.scope_id, source.name, report.windows))
        for stream in report.streams:
            for window in report.windows:
                context.add_asset_metadata(
                    stream_metadata(report, window, stream, receipts.get((window, stream), []), context.run.tags),
                    asset_key=stream_key(stream),
                    partition_key=partition_key(window, scope),
                )
            yield dg.MaterializeResult(asset_key=stream_key(stream))

    return github_activity


def activity_events(partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `activity_events`: what the ledger holds of each window, with the hash that others recompute."""

    @dg.multi_asset(
        name="activity_events",
        specs=[
            dg.AssetSpec(
                ACTIVITY_EVENTS,
                description="A row is an activity event of the append-only ledger: one fact, one person, one moment.",
                group_name=GROUP,
                kinds={"postgres"},
                owners=OWNERS,
                deps=[stream_key(stream) for stream in GITHUB_STREAMS],
            )
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def activity_events(
        context: dg.AssetExecutionContext, settings: SettingsResource, ledger: LedgerResource
    ) -> dg.MaterializeResult[None]:
        with domain_failures(), ledger.open() as store:
            scope, windows = scope_and_windows(settings.repo_spec(), context.partition_keys, datetime.now(UTC))
            for epoch in close_due_epochs(store, scope):
                context.log.info(f"epoch {epoch.window.key} of {scope.scope_key} is closed for review")
            digests = store.digests(scope.scope_id, windows)
            epochs = {epoch.window: epoch for epoch in store.epochs(scope.scope_id, span(windows))}
        for digest in digests:
            context.add_asset_metadata(
                digest_metadata(digest, epochs.get(digest.window), scope.weights_milli, context.run.tags),
                partition_key=partition_key(digest.window, scope),
            )
        return dg.MaterializeResult()

    return activity_events
