"""The ingestion assets: GitHub's three streams, served by one scan, and what the ledger then holds of a window.

A re-run is safe: events carry the source's own ids, so what is stored already is counted as duplicate and a covered
window costs no request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, ConfigurationError, StoreError
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import SCOPE_ID_TAG, deployment_labels
from ledger_pipeline.defs.elsewhere import (
    held_metadata,
    refuse_never_read,
    tell_of_other_epochs,
    tell_of_what_was_read,
    tell_state,
)
from ledger_pipeline.defs.failures import domain_failures
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.metadata import Metadata, added_to_other_epochs, stream_metadata
from ledger_pipeline.defs.partition_checks import (
    check_outputs,
    partition_check_specs,
    partition_results,
    source_scopes_failed,
    told_together,
)
from ledger_pipeline.defs.partition_metadata import add_partition_metadata
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.pools import GITHUB_POOL
from ledger_pipeline.defs.progress import ProgressListener
from ledger_pipeline.defs.receipts import receipts_by_partition
from ledger_pipeline.defs.resources import Clock, GitHubResource, LedgerResource, SettingsResource
from ledger_pipeline.defs.retries import remember_retry
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.completeness import RUNNING_EPOCH_MAX_AGE, Completeness, window_completeness
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.pipeline.unread import unread_summary
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import UnsettledRejections

GROUP = "ingestion"
OWNERS = ["team:ledger"]
# The running epoch no older than a day and a bit. To Dagster freshness is the asset's, by its latest materialization of
# whatever partition; how far the running epoch itself is read, its `state` and its check say.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=RUNNING_EPOCH_MAX_AGE)

_STREAM_DESCRIPTIONS = {
    "pull_requests": "A row is a merged pull request, counted for its author at the moment of the merge.",
    "reviews": "A row is a submitted review, of a merged pull request or not, counted for the reviewer.",
    "issues": "A row is a closed issue, counted for its author at the moment it was closed.",
}


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
                freshness_policy=FRESHNESS,
                skippable=True,
            )
            for stream in GITHUB_STREAMS
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool=GITHUB_POOL,
    )
    def github_activity(
        context: dg.AssetExecutionContext,
        config: CollectConfig,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        github: dg.ResourceParam[GitHubResource],
        clock: dg.ResourceParam[Clock],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.MaterializeResult[None] | dg.DagsterEvent]:
        streams = [stream for stream in GITHUB_STREAMS if stream_key(stream) in context.selected_asset_keys]
        collected: list[_Collected] = []
        failed: Exception | None = None
        stop = StopSignal()
        with domain_failures(), ledger.open() as store, github.open(stop) as source:
            try:
                for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, clock.now()):
                    _refuse_stranger(scope, context.run.tags.get(SCOPE_ID_TAG))
                    report = collect(
                        source,
                        store,
                        scope,
                        windows,
                        streams=streams,
                        full_refresh=config.full_refresh,
                        concurrency=settings.read().github_concurrency,
                        stop=stop,
                        on_estimate=lambda estimate: progress.on_estimate(context.log, estimate),
                        on_progress=lambda scan: progress.on_page(context.log, scan),
                    )
                    _warn(context.log, report)
                    said = _stream_metadata(store, source.name, scope, report, context.run.tags)
                    collected.append(_Collected(scope, report, said))
                    yield from tell_of_other_epochs(context, store, source.name, scope, report, clock.now())
            except Exception as error:  # noqa: BLE001 (raised below, once what was read is told)
                failed = error
            failures = [failure for one in collected for failure in one.report.failures]
            if failures and failed is None:
                failed = CollectionFailed(failures)
                remember_retry(context.instance, context.run.run_id, failed, clock.now())
            if failed is not None:
                yield from _told_of_what_was_read(context, store, collected, clock.now())
                raise failed
        for one in collected:
            for stream, of_windows in one.said.items():
                add_partition_metadata(
                    context,
                    stream_key(stream),
                    {partition_key(window, one.scope): metadata for window, metadata in of_windows.items()},
                )
            # Where another scope of the run collects a stream that this one does not, this one turns green too.
            for stream in set(streams).difference(one.said):
                nothing: Metadata = {
                    "asked": False,
                    "not_collected": f"scope {one.scope.scope_key} does not collect {stream}",
                }
                add_partition_metadata(
                    context,
                    stream_key(stream),
                    {partition_key(window, one.scope): nothing for window in one.report.windows},
                )
        for stream in streams:
            if any(stream in one.said for one in collected):
                yield dg.MaterializeResult(asset_key=stream_key(stream))

    return github_activity


@dataclass(frozen=True)
class _Collected:
    """A scope that was collected, and what the materialization of each stream and window is to say."""

    scope: Scope
    report: CollectReport
    said: Mapping[str, Mapping[EpochWindow, Metadata]]


def _stream_metadata(
    store: PostgresLedger, source: str, scope: Scope, report: CollectReport, run_tags: Mapping[str, str]
) -> dict[str, dict[EpochWindow, Metadata]]:
    receipts = receipts_by_partition(store.receipts(scope.scope_id, source, report.windows))
    held = store.events_per_type(scope.scope_id, report.windows)
    added = added_to_other_epochs(report)
    return {
        stream: {
            window: stream_metadata(
                report, window, stream, receipts.get((window, stream), []), held[window], added, run_tags
            )
            for window in report.windows
        }
        for stream in report.streams
    }


def _warn(log: dg.DagsterLogManager, report: CollectReport) -> None:
    for asked, answered in report.renamed.items():
        log.warning(plain_message(f"{asked} is {answered} now: name it so in source_refs; nobody is paid twice"))
    for asked, (before, now_id) in report.replaced.items():
        log.warning(
            f"{plain_text(asked)} was repository {before} and is repository {now_id} now: it is read anew, "
            "back to the oldest open epoch; where the one before goes on under another name, add that to "
            "source_refs"
        )
    for asked in report.read_back:
        log.warning(plain_message(f"{asked}: items came back with an old update; open epochs are read once more"))
    if report.unread:
        log.warning(plain_message(unread_summary(report.unread)))


def _told_of_what_was_read(
    context: dg.AssetExecutionContext, store: PostgresLedger, collected: Sequence[_Collected], now: datetime
) -> Iterator[dg.DagsterEvent]:
    """What a run that fails has read all the same, and the checks of what it has not: nobody else of it tells them."""
    for one in collected:
        try:
            yield from tell_of_what_was_read(context, store, one.scope, one.report, one.said, now)
        except StoreError as error:  # what the run fails with is said all the same
            context.log.warning(plain_message(f"not said of scope {one.scope.scope_key}, what was read: {error}"))
    # People are to see last what failed.
    for one in collected:
        if one.report.failures:
            failed = source_scopes_failed(context.instance, one.scope, one.report.windows, one.report.failures)
            yield from told_together(context, failed)


def _refuse_stranger(scope: Scope, asked_for: str | None) -> None:
    if asked_for is not None and asked_for != str(scope.scope_id):
        raise ConfigurationError(
            f"the run was launched for scope {asked_for}, and {scope.scope_key} is {scope.scope_id} here: whoever "
            "launched it has the DAGSTER_URL of another deployment"
        )


def activity_events(partitions: dg.PartitionsDefinition, spec: RepoSpec) -> dg.AssetsDefinition:
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
                freshness_policy=FRESHNESS,
                deps=[stream_key(stream) for stream in GITHUB_STREAMS],
                skippable=True,
                metadata=deployment_labels(spec),
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
            for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, now):
                completeness = window_completeness(store, scope, windows)
                if ACTIVITY_EVENTS in context.selected_asset_keys:
                    refuse_never_read(scope, completeness.values())
                    closed = [epoch.window for epoch in close_due_epochs(store, scope)]
                    if closed:
                        context.log.info(f"closed for review: {_named(closed)} of {scope.scope_key}")
                    held = held_metadata(store, scope, completeness, now, context.run.tags)
                    add_partition_metadata(
                        context,
                        ACTIVITY_EVENTS,
                        {partition_key(window, scope): metadata for window, metadata in held},
                    )
                    others = [window for window in closed if window not in completeness]
                    yield from tell_state(context, store, scope, window_completeness(store, scope, others), now)
                checked.append(_Checked(scope, completeness, store.unsettled_rejections(scope.scope_id, windows)))
        # Before the checks: each result points at its partition's latest materialization.
        if ACTIVITY_EVENTS in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=ACTIVITY_EVENTS)
        selected = frozenset(key.name for key in context.selected_asset_check_keys)
        for each in checked:
            results = partition_results(context.instance, each.scope, each.read, each.rejections, selected, now)
            yield from told_together(context, results)
        yield from check_outputs(context)

    return activity_events


def _named(windows: Sequence[EpochWindow]) -> str:
    """The epochs in one line, however many."""
    first, *others = windows
    if not others:
        return f"epoch {first.key}"
    return f"{len(windows)} epochs from {first.key} to {others[-1].key}"


@dataclass(frozen=True)
class _Checked:
    """What the checks of a scope's partitions are decided by."""

    scope: Scope
    read: Mapping[EpochWindow, Completeness]
    rejections: Sequence[UnsettledRejections]
