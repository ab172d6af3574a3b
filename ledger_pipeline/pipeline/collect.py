"""Collection: see what is not covered, ask what changed, scan that side by side, and say what it did."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.core.spec import Scope, SourceSpec
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.containment import contained, failing_alone
from ledger_pipeline.pipeline.fairness import run_fairly
from ledger_pipeline.pipeline.listing import list_owners
from ledger_pipeline.pipeline.planning import Planning
from ledger_pipeline.pipeline.report import CollectReport, ScanOutcome, SourceScopeReport
from ledger_pipeline.pipeline.scan import Collection, ScanProgress, SourceScopeScan
from ledger_pipeline.pipeline.scan_state import begin
from ledger_pipeline.pipeline.selection import with_names
from ledger_pipeline.pipeline.unread import known_unread
from ledger_pipeline.sources.port import ActivitySource, Heads
from ledger_pipeline.sources.stopping import StopSignal

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

CONCURRENCY = 4


@dataclass(frozen=True)
class CollectEstimate:
    """What a collection is about to do, and what that can cost.

    `covered`, `unchanged` and `to_scan` count source_scopes; `requests_at_most` is None where the source was not
    asked how many items there are; `points_left` is what it last said is left of its budget.
    """

    covered: int
    unchanged: int
    to_scan: int
    requests_at_most: int | None
    points_left: int | None


def collect(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    windows: Sequence[EpochWindow],
    *,
    streams: Sequence[str] | None = None,
    full_refresh: bool = False,
    concurrency: int = CONCURRENCY,
    stop: StopSignal | None = None,
    now: datetime | None = None,
    on_estimate: Callable[[CollectEstimate], None] = lambda _: None,
    on_progress: Callable[[ScanProgress], None] = lambda _: None,
) -> CollectReport:
    """Bring `windows` of `scope` into the ledger from `source`, one scan a source_scope for all of them.

    Epochs of the windows are created where missing; open ones that are past their grace have their closing scan
    with it. `streams` narrows what the scope collects; `full_refresh` reads again what is covered; at most
    `concurrency` source_scopes are read at once, page by page in fair turns. `now` is our own time (aware): where the
    source does not tell its own, it says how old an interrupted scan is. A source_scope that fails is in the report,
    never raised; StoreError is. The callbacks come from several threads, one at a time.

    `stop` is the signal that `source` heeds too. Interrupted by an exception from outside, the collection tells it,
    leaves what is stored as it is, and lets the exception go on without waiting for requests in flight; told by
    somebody else, it raises Stopped.
    """
    stop = stop or StopSignal()
    ordered = tuple(sorted(windows))
    store.epochs.ensure(scope.scope_id, ordered, scope.weights_milli)
    cursors = store.scans.cursors(scope.scope_id, source.name)
    known_time = max((cursor.watermark for cursor in cursors.values()), default=None)
    listing = list_owners(source, store, scope, ordered, known_time, full_refresh=full_refresh)
    scope, known_time = with_names(store, listing.owners.scope), listing.began_at or known_time
    spec = _source_spec(scope, source.name)
    wanted_streams = tuple(stream for stream in spec.streams if streams is None or stream in streams)
    report = CollectReport(ordered, wanted_streams, listing=listing.usage, found=listing.found, gone=listing.gone)
    for source_scope in spec.source_scopes:
        before = {
            stream: cursors[stream, source_scope] for stream in wanted_streams if (stream, source_scope) in cursors
        }
        report.source_scopes.append(SourceScopeReport(source.name, source_scope, before, after=dict(before)))

    planning = Planning(open_epochs(store, scope), source.name, wanted_streams, ordered, known_time, full_refresh)
    heads = _ask_heads(source, store, scope, planning, report)
    source_time = heads.began_at if heads else max(filter(None, (known_time, now)), default=None)
    collection = Collection(source, store, scope, planning, _one_at_a_time(on_progress), stop, source_time)
    scans = []
    for scope_report in report.source_scopes:
        if scope_report.failure is None:
            with failing_alone(scope_report):
                scans += _to_scan(collection, scope_report, heads)
    on_estimate(_estimate(source, report, heads, [scan.source_scope for scan in scans]))
    run_fairly(scans, concurrency, stop)
    for ref, failure in listing.failures.items():
        report.source_scopes.append(
            SourceScopeReport(source.name, ref, {}, outcome=ScanOutcome.FAILED, failure=failure)
        )
    report.unread = known_unread(store, scope).rows
    return report


def _to_scan(collection: Collection, report: SourceScopeReport, heads: Heads | None) -> list[SourceScopeScan]:
    """The scan that the source_scope needs; none where it is covered, or its head says that nothing has changed."""
    planning = collection.planning
    plan = planning.plan(report.source_scope, report.before, heads)
    report.replaced, report.reads_back = plan.replaced, plan.reads_back
    report.state = state = begin(collection.scope, planning, report.source_scope, report.before, plan, heads)
    if not state.is_complete:
        return [SourceScopeScan(collection, report, state)]
    if state.watermark is not None:
        report.outcome = ScanOutcome.UNCHANGED
        collection.finish(report, state)
    return []


def _ask_heads(
    source: ActivitySource, store: "PostgresLedger", scope: Scope, planning: Planning, report: CollectReport
) -> Heads | None:
    """What changed last, asked at once of all that may have to be read; None where a scan tells as cheaply.

    Nothing is asked where all is covered and no epoch is known to be due. Where a scan was interrupted, the answer says
    what time it is by now: whether to go on there or from the front again.
    """
    to_read = []
    for scope_report in report.source_scopes:
        with failing_alone(scope_report):
            to_read += (
                [scope_report.source_scope]
                if planning.plan(scope_report.source_scope, scope_report.before).coverage
                else []
            )
    is_alone = len(to_read) == 1 and store.scans.checkpoint(scope.scope_id, source.name, to_read[0]) is None
    waiting = [
        scope_report.source_scope
        for scope_report in report.source_scopes
        if scope_report.failure is None
        and planning.needs_head(scope_report.source_scope, scope_report.before, is_alone=is_alone)
    ]
    if not to_read or not waiting:
        return None
    try:
        with contained(source.name, waiting[0]):
            heads = source.heads(waiting)
    except SourceError:
        # It only saves work: each scan asks for itself, and says in its own part why it cannot.
        return None
    report.heads = heads.usage
    return heads


def _estimate(
    source: ActivitySource, report: CollectReport, heads: Heads | None, to_scan: Sequence[str]
) -> CollectEstimate:
    outcomes = Counter(scope_report.outcome for scope_report in report.source_scopes)
    at_most = None
    if heads is not None:
        known_heads = (heads.heads.get(source_scope) for source_scope in to_scan)
        # One request carries a page of each stream, so the longest of them decides.
        at_most = sum(-(-max(head.totals.values(), default=1) // source.page_size) or 1 for head in known_heads if head)
    return CollectEstimate(
        covered=outcomes[ScanOutcome.COVERED] - len(to_scan),  # a scan's outcome is not known before it begins
        unchanged=outcomes[ScanOutcome.UNCHANGED],
        to_scan=len(to_scan),
        requests_at_most=at_most,
        points_left=report.points_left,
    )


def _one_at_a_time(call: Callable[[ScanProgress], None]) -> Callable[[ScanProgress], None]:
    lock = threading.Lock()

    def called(progress: ScanProgress) -> None:
        with lock:
            call(progress)

    return called


def _source_spec(scope: Scope, name: str) -> SourceSpec:
    return next(spec for spec in scope.sources if spec.source == name)
