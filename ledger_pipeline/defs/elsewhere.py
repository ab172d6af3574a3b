"""What a run says of epochs that it was not asked for, and of those it read although it fails: a square is green when
its week is in the ledger.

A scan keeps every event it sees, and covers every week since the one it begins with. So it may give an epoch of
another run new numbers, or bring in a week that nobody has asked for; both are told to Dagster at once, by the run that
knows of it, not by the next one that comes by.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from ledger_pipeline.core.counts import named
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.defs.charts import chart_metadata, windows_to_draw
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.materializations import materialized
from ledger_pipeline.defs.metadata import PartitionState, added_to_other_epochs, digest_metadata, stream_state
from ledger_pipeline.defs.partition_checks import DESCRIPTIONS, partition_results, told_together
from ledger_pipeline.defs.partitions import partition_key
from ledger_pipeline.defs.receipts import receipts_by_partition
from ledger_pipeline.pipeline.completeness import Completeness, StreamReach, utc_text, window_completeness
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.report import CollectReport

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

EPOCHS_NAMED = 5


def tell_of_other_epochs(
    context: dg.AssetExecutionContext,
    store: "PostgresLedger",
    source: str,
    scope: Scope,
    report: CollectReport,
    now: datetime,
) -> Iterator[dg.DagsterEvent]:
    """Materialize what the collection brought in or changed beside its own windows, and check it.

    These are grey weeks that are read to their end now, and green ones whose numbers it changed.
    """
    first = scope.calendar.window_starting(scope.first_epoch)
    windows = scope.calendar.windows_between(first, scope.calendar.window_at(now))
    others = [window for window in windows if window not in set(report.windows)]
    news = _News(context.instance, scope, report.changed_elsewhere(), window_completeness(store, scope, others))
    of_streams = {stream: news.windows(stream_key(stream), [stream]) for stream in report.streams}
    shown = sorted({window for windows in of_streams.values() for window in windows})
    receipts = receipts_by_partition(store.scans.receipts(scope.scope_id, source, shown) if shown else [])
    held = store.events.per_type(scope.scope_id, shown) if shown else {}
    added = added_to_other_epochs(report)
    for stream, windows_of_stream in of_streams.items():
        states = (
            stream_state(
                report, window, stream, receipts.get((window, stream), []), held[window], added, context.run.tags
            )
            for window in windows_of_stream
        )
        yield from materialized(context, stream_key(stream), scope, states)
    streams = [stream for spec in scope.sources for stream in spec.streams]
    read = {window: news.read[window] for window in news.windows(ACTIVITY_EVENTS, streams)}
    yield from tell_state(context, store, scope, read, now)


def tell_of_what_was_read(
    context: dg.AssetExecutionContext,
    store: "PostgresLedger",
    scope: Scope,
    report: CollectReport,
    states_by_stream: Mapping[str, Mapping[EpochWindow, PartitionState]],
    now: datetime,
) -> Iterator[dg.DagsterEvent]:
    """Materialize of a run that fails what it has read of its own windows all the same, and check it.

    `states_by_stream` are what the materializations of each stream say.
    """
    for stream, states in states_by_stream.items():
        read = (state for window, state in states.items() if report.has_read(window, [stream]))
        yield from materialized(context, stream_key(stream), scope, read)
    candidates = [window for window in report.windows if report.has_read(window, report.streams)]
    whole = {
        window: completeness
        for window, completeness in window_completeness(store, scope, candidates).items()
        if all(reach.stream in report.streams or _is_read_to_its_end(window, reach) for reach in completeness.parts)
    }
    yield from tell_state(context, store, scope, whole, now)


@dataclass(frozen=True)
class _News:
    """Which windows, of all that the run was not asked for, have to be told of."""

    instance: dg.DagsterInstance
    scope: Scope
    changed: frozenset[EpochWindow]
    read: Mapping[EpochWindow, Completeness]

    def windows(self, asset_key: dg.AssetKey, streams: Sequence[str]) -> list[EpochWindow]:
        """Of an asset that follows from `streams`: grey windows that are read to their end, green ones that changed."""
        green = self.instance.get_materialized_partitions(asset_key)
        return [
            window
            for window, completeness in self.read.items()
            if (
                window in self.changed
                if partition_key(window, self.scope) in green
                else all(_is_read_to_its_end(window, reach) for reach in completeness.parts if reach.stream in streams)
            )
        ]


def _is_read_to_its_end(window: EpochWindow, reach: StreamReach) -> bool:
    return reach.until is not None and reach.until >= shown_whole_at(window)


def tell_state(
    context: dg.AssetExecutionContext,
    store: "PostgresLedger",
    scope: Scope,
    read: Mapping[EpochWindow, Completeness],
    now: datetime,
) -> Iterator[dg.DagsterEvent]:
    """Materialize `activity_events` of windows that are not of the run, as the ledger has them, and check them."""
    if not read:
        return
    held = held_states(store, scope, read, now, context.run.tags)
    yield from materialized(context, ACTIVITY_EVENTS, scope, held)
    rejections = store.events.unsettled_rejections(scope.scope_id, list(read))
    results = partition_results(context.instance, scope, read, rejections, frozenset(DESCRIPTIONS), now)
    yield from told_together(context, results)


def held_states(
    store: "PostgresLedger",
    scope: Scope,
    completeness: Mapping[EpochWindow, Completeness],
    now: datetime,
    run_tags: Mapping[str, str],
) -> Iterator[PartitionState]:
    """What the ledger holds of every window: numbers, and charts of the latest. Its content are events and facts."""
    windows = list(completeness)
    epochs = {epoch.window: epoch for epoch in store.epochs.within(scope.scope_id, span(windows))}
    drawn, facts = windows_to_draw(windows), store.facts.counts(scope.scope_id, windows)
    for digest in store.events.digests(scope.scope_id, windows):
        window, epoch = digest.window, epochs.get(digest.window)
        charts = chart_metadata(store, scope, window, epoch) if window in drawn else {}
        numbers = digest_metadata(digest, epoch, scope, completeness[window], now, facts[window], run_tags)
        of_facts = facts[window]
        content: Json = {"set_hash": digest.set_hash, "facts_known": of_facts.known, "facts_gone": of_facts.gone}
        yield PartitionState(window, {**numbers, **charts}, content)


def ahead_of_source(source: str, scope: Scope, report: CollectReport, now: datetime) -> EpochNotReady | None:
    """Why epochs that were asked for cannot be collected yet: by the source's own clock they have not begun."""
    if (ahead := report.ahead_of_source()) is None:
        return None
    windows, clock = ahead
    keys = [window.key for window in windows[:EPOCHS_NAMED]]
    return EpochNotReady(
        f"not begun yet by {source}'s clock: {named('epoch', keys)} of {scope.scope_key}; {keys[0]} begins at "
        f"{utc_text(windows[0].start)}, {source} says it is {utc_text(clock)}, we that it is {utc_text(now)}. "
        f"Collect an epoch of {source}'s time, as one that began before; where its clock should be ours, see `doctor`"
    )


def never_read(scope: Scope, completeness: Iterable[Completeness]) -> EpochNotReady | None:
    """Names the windows of which some part was not even read from its start on; None where there are none.

    They are not collected from here: `activity_events` says what the ledger holds, and only a run of the streams knows
    how to stop at GitHub's limits, and what its partitions cost. The run that names one ends as failed, and Dagster
    shows that square alone as failed, not as missing: somebody asked for it, and whoever launched the run has to hear
    that it was not done. A run that succeeded beside a grey square would say the opposite to a schedule or a workflow.
    The other epochs of the run are told of, and are green.
    """
    missing = [window for window in completeness if window.until is None]
    if not missing:
        return None
    epochs = named("epoch", [window.window.key for window in missing[:EPOCHS_NAMED]])
    more = len(missing) - EPOCHS_NAMED
    parts = [str(reach) for reach in missing[0].parts if reach.until is None]
    return EpochNotReady(
        f"never collected: {epochs}{f' and {more} more' if more > 0 else ''} of {scope.scope_key} "
        f"({parts[0]}): collect them with job collect_epoch, or select the github assets too"
    )
