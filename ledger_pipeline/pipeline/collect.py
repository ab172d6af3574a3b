"""Collection: scan what is not covered, append page by page, and only then move the cursors.

A failed source_scope leaves its cursors where they were and the others untouched; the events of its pages that were
stored stay, and reading them again is harmless.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.core.spec import Scope, SourceSpec
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.coverage import StreamPlan, plan_scan
from ledger_pipeline.pipeline.report import CollectReport, SourceScopeReport
from ledger_pipeline.sources.port import ActivitySource, ScanRequest
from ledger_pipeline.store.port import Cursor, LedgerStore, Producer


@dataclass(frozen=True)
class ScanProgress:
    """Where a scan stands after a page: items so far, and how far back it has read of what it has to."""

    source_scope: str
    pages: int
    seen: int
    watermark: datetime
    reached: datetime | None
    floor: datetime

    @property
    def fraction(self) -> float:
        """The part of the time between watermark and floor that has been read, 0 to 1."""
        if self.reached is None or self.reached <= self.floor:
            return 1.0
        return (self.watermark - self.reached) / (self.watermark - self.floor)


def collect(
    source: ActivitySource,
    store: LedgerStore,
    scope: Scope,
    windows: Sequence[EpochWindow],
    *,
    streams: Sequence[str] | None = None,
    full_refresh: bool = False,
    on_progress: Callable[[ScanProgress], None] = lambda _: None,
) -> CollectReport:
    """Bring `windows` of `scope` into the ledger from `source`, reading each source_scope at most once.

    Epochs of the windows are created where missing. `streams` narrows what the scope collects; `full_refresh` reads
    again what is covered. A source_scope that fails is in the report, never raised; StoreError is.
    """
    spec = _source_spec(scope, source.name)
    wanted_streams = tuple(stream for stream in spec.streams if streams is None or stream in streams)
    ordered = tuple(sorted(windows))
    store.ensure_epochs(scope.scope_id, ordered, scope.weights_milli)
    cursors = store.cursors(scope.scope_id, source.name)
    report = CollectReport(ordered, wanted_streams)
    for source_scope in spec.source_scopes:
        before = {
            stream: cursors[stream, source_scope] for stream in wanted_streams if (stream, source_scope) in cursors
        }
        part = SourceScopeReport(source.name, source_scope, before, after=dict(before))
        report.source_scopes.append(part)
        plans = plan_scan(wanted_streams, before, span(ordered), full_refresh=full_refresh)
        if plans:
            try:
                _scan(source, store, scope, plans, part, on_progress)
            except SourceError as error:
                part.failure = error
    return report


def _scan(
    source: ActivitySource,
    store: LedgerStore,
    scope: Scope,
    plans: Sequence[StreamPlan],
    part: SourceScopeReport,
    on_progress: Callable[[ScanProgress], None],
) -> None:
    """Read one source_scope to its floors, append as pages come, and move its cursors after the last one."""
    request = ScanRequest(part.source_scope, {plan.stream: plan.floor for plan in plans})
    floor = min(request.floors.values())
    producer = Producer(source.producer, source.producer_version)
    seen = 0
    for page in source.scan(request):
        part.use(page.usage)
        part.watermark = page.watermark
        outcomes = store.append_events(scope.scope_id, page.events, producer, page.retrieved_at)
        for event in page.events:
            part.tally(scope.calendar.window_at(event.event_time), event.stream).outcomes[outcomes[event.id]] += 1
        for item in page.skipped:
            part.tally(scope.calendar.window_at(item.event_time), item.stream).skipped[item.reason] += 1
        seen += len(page.events) + len(page.skipped)
        on_progress(ScanProgress(part.source_scope, part.pages, seen, page.watermark, page.reached, floor))
    if part.watermark is None:
        return
    # A window that has not begun yet covers nothing: coverage never starts after the watermark.
    watermark = part.watermark
    finished = [
        Cursor(source.name, plan.stream, part.source_scope, watermark, min(plan.covered_from, watermark))
        for plan in plans
    ]
    for cursor in store.advance_cursors(scope.scope_id, finished, watermark):
        part.after[cursor.stream] = cursor


def _source_spec(scope: Scope, name: str) -> SourceSpec:
    return next(spec for spec in scope.sources if spec.source == name)
