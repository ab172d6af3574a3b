"""The ingestion assets: the streams of each source, which one scan of it serves.

A re-run is safe: events carry the source's own ids, so what is stored already is counted as duplicate and a covered
window costs no request.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from ledger_pipeline.core.errors import CollectionFailed, ConfigurationError, EpochNotReady, StoreError
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.sources import SourceKind
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import BACKFILL_JOB, SCOPE_ID_TAG
from ledger_pipeline.defs.elsewhere import (
    ahead_of_source,
    tell_of_other_epochs,
    tell_of_what_was_read,
)
from ledger_pipeline.defs.keys import stream_key
from ledger_pipeline.defs.materializations import ended, materialized
from ledger_pipeline.defs.metadata import Metadata, PartitionState, added_to_other_epochs, stream_state
from ledger_pipeline.defs.partition_checks import (
    source_scopes_failed,
    told_together,
)
from ledger_pipeline.defs.partitions import scopes_and_windows
from ledger_pipeline.defs.progress import ProgressListener
from ledger_pipeline.defs.receipts import receipts_by_partition
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource, SourcesResource
from ledger_pipeline.defs.retries import remember_retry
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.completeness import RUNNING_EPOCH_MAX_AGE
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.pipeline.unread import unread_summary
from ledger_pipeline.sources.stopping import StopSignal

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

GROUP = "ingestion"
OWNERS = ["team:ledger"]
# The running epoch no older than a day and a bit. To Dagster freshness is the asset's, by its latest materialization of
# whatever partition; how far the running epoch itself is read, its `state` and its check say.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=RUNNING_EPOCH_MAX_AGE)


class CollectConfig(dg.Config):
    """`full_refresh` reads again what is covered already; the ledger stays as it is but for what was missed.

    A run of the job `backfill` does so whatever it says.
    """

    full_refresh: bool = False


def activity_op(kind: SourceKind) -> str:
    """The name of the step that collects from a source."""
    return f"{kind.name}_activity"


def source_activity(kind: SourceKind, partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The assets of a source's streams, `github/issues` and the like: one scan serves any of them."""

    @dg.multi_asset(
        name=activity_op(kind),
        specs=[
            dg.AssetSpec(
                stream_key(stream.name),
                description=stream.describes_rows,
                group_name=GROUP,
                kinds={kind.name, "postgres"},
                owners=OWNERS,
                freshness_policy=FRESHNESS,
                skippable=True,
            )
            for stream in kind.streams
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        pool=kind.name,
    )
    def source_activity(
        context: dg.AssetExecutionContext,
        config: CollectConfig,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        sources: dg.ResourceParam[SourcesResource],
        clock: dg.ResourceParam[Clock],
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.MaterializeResult[None] | dg.DagsterEvent]:
        streams = [stream for stream in kind.stream_names if stream_key(stream) in context.selected_asset_keys]
        collected: list[_Collected] = []
        uncollected: list[tuple[Scope, list[EpochWindow]]] = []
        failed: BaseException | None = None
        refusals: list[EpochNotReady | None] = []
        stop = StopSignal()
        with domain_failures(), ledger.open() as store, sources.open(kind.name, stop) as source:
            try:
                for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, clock.now()):
                    _refuse_stranger(scope, context.run.tags.get(SCOPE_ID_TAG))
                    if scope.source_spec(kind.name) is None:
                        uncollected.append((scope, windows))
                        continue
                    report = collect(
                        source,
                        store,
                        scope,
                        windows,
                        streams=streams,
                        full_refresh=config.full_refresh or context.run.job_name == BACKFILL_JOB,
                        concurrency=settings.read().github_concurrency,
                        stop=stop,
                        now=clock.now(),
                        on_estimate=lambda estimate: progress.on_estimate(context.log, estimate),
                        on_progress=lambda scan: progress.on_page(context.log, scan),
                    )
                    _warn(context.log, report)
                    states_by_stream = _states_by_stream(store, source.name, scope, report, context.run.tags)
                    collected.append(_Collected(scope, report, states_by_stream))
                    refusals.append(ahead_of_source(source.name, scope, report, clock.now()))
                    yield from tell_of_other_epochs(context, store, source.name, scope, report, clock.now())
            except (Exception, KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:  # noqa: BLE001
                failed = error  # raised below, once what was read is told
            if failed is None:
                failed = next(filter(None, refusals), None)
            failures = [failure for collection in collected for failure in collection.report.failures]
            if failures and failed is None:
                failed = CollectionFailed(failures)
                remember_retry(context.instance, context.run.run_id, failed, clock.now())
            if failed is not None:
                yield from _told_of_what_was_read(context, store, collected, clock.now())
                raise failed
        for collection in collected:
            for stream, states in collection.states_by_stream.items():
                yield from materialized(context, stream_key(stream), collection.scope, states.values())
            others = set(streams).difference(collection.states_by_stream)
            yield from _not_collected(context, collection.scope, collection.report.windows, others)
        for scope, windows in uncollected:
            yield from _not_collected(context, scope, windows, streams)
        # Also of a stream that no scope of the run collects: Dagster would leave out `activity_events` along with it.
        for stream in streams:
            yield ended(stream_key(stream))

    return source_activity


def _not_collected(
    context: dg.AssetExecutionContext, scope: Scope, windows: Sequence[EpochWindow], streams: Iterable[str]
) -> Iterator[dg.DagsterEvent]:
    """Squares of what a scope does not collect turn green too, and say so."""
    for stream in streams:
        nothing: Metadata = {"asked": False, "not_collected": f"scope {scope.scope_key} does not collect {stream}"}
        states = [PartitionState(window, nothing, {"collected": False}) for window in windows]
        yield from materialized(context, stream_key(stream), scope, states)


@dataclass(frozen=True)
class _Collected:
    """A scope that was collected, and what the materialization of each stream and window is to say."""

    scope: Scope
    report: CollectReport
    states_by_stream: Mapping[str, Mapping[EpochWindow, PartitionState]]


def _states_by_stream(
    store: "PostgresLedger", source: str, scope: Scope, report: CollectReport, run_tags: Mapping[str, str]
) -> dict[str, dict[EpochWindow, PartitionState]]:
    receipts = receipts_by_partition(store.scans.receipts(scope.scope_id, source, report.windows))
    held = store.events.per_type(scope.scope_id, report.windows)
    added = added_to_other_epochs(report)
    return {
        stream: {
            window: stream_state(
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
    for name in report.gone:
        log.warning(
            plain_message(f"{name} is not collected any more: its owner's list has it no longer; what was read counts")
        )
    for asked in report.read_back:
        log.warning(plain_message(f"{asked}: items came back with an old update; open epochs are read once more"))
    if report.unread:
        log.warning(plain_message(unread_summary(report.unread)))


def _told_of_what_was_read(
    context: dg.AssetExecutionContext, store: "PostgresLedger", collected: Sequence[_Collected], now: datetime
) -> Iterator[dg.DagsterEvent]:
    """What a run that fails or is stopped has read all the same, and the checks of what it has not: it tells no more.

    The checks are declared by `activity_events`, whose step such a run never reaches, and Dagster takes a check from
    one step alone: so these are told as the events that they become, of that asset.
    """
    for collection in collected:
        try:
            yield from tell_of_what_was_read(
                context, store, collection.scope, collection.report, collection.states_by_stream, now
            )
        except StoreError as error:  # what the run fails with is said all the same
            context.log.warning(
                plain_message(f"not said of scope {collection.scope.scope_key}, what was read: {error}")
            )
    # People are to see last what failed.
    for collection in collected:
        if collection.report.failures:
            failed = source_scopes_failed(
                context.instance, collection.scope, collection.report.windows, collection.report.failures
            )
            yield from told_together(context, failed)


def _refuse_stranger(scope: Scope, asked_for: str | None) -> None:
    if asked_for is not None and asked_for != str(scope.scope_id):
        raise ConfigurationError(
            f"the run was launched for scope {asked_for}, and {scope.scope_key} is {scope.scope_id} here: whoever "
            "launched it has the DAGSTER_URL of another deployment"
        )
