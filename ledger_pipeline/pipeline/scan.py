"""The scan of a source_scope in the threads of a Dagster run: it stores a page a step, and in the end its receipts.

It is safe to die anywhere: a page and the checkpoint behind it are one transaction, and every page is stored before
the cursors move. A failed source_scope keeps its cursors and its checkpoint; the events of its pages stay. Where the
source refuses only some streams, the others are read and their cursors move; then the source_scope has failed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.coverage import can_go_on, replaced_id
from ledger_pipeline.pipeline.finish import record
from ledger_pipeline.pipeline.planning import Planning
from ledger_pipeline.pipeline.report import ScanOutcome, SourceScopeReport
from ledger_pipeline.pipeline.scan_codec import checkpoint_of, state_of
from ledger_pipeline.pipeline.scan_state import ScanState, begin
from ledger_pipeline.pipeline.unread import known_unread, noted_items, passed_floors, read_from, usable
from ledger_pipeline.sources.port import ActivitySource, ScanPage
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.records import Producer
from ledger_pipeline.store.scan_records import PageContent

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class ScanProgress:
    """The progress of a scan after a page: its items so far, and how far back it has read."""

    source_scope: str
    pages: int
    seen: int
    watermark: datetime
    reached: datetime | None
    floor: datetime

    @property
    def fraction(self) -> float:
        """The part of the time between watermark and floor that has been read, 0 to 1."""
        if self.reached is None:
            return 0.0
        if self.reached <= self.floor:
            return 1.0
        return (self.watermark - self.reached) / (self.watermark - self.floor)


@dataclass(frozen=True)
class Collection:
    """What the scans of one collection share. Once `stop` is told, what a request in flight still brings is dropped.

    `source_time` is the latest that is known when it begins, by our own clock where the source says none; else None.
    """

    source: ActivitySource
    store: "PostgresLedger"
    scope: Scope
    planning: Planning
    on_progress: Callable[[ScanProgress], None]
    stop: StopSignal
    source_time: datetime | None

    @property
    def streams(self) -> tuple[str, ...]:
        """All that the scope collects of the source, whatever this collection was asked for."""
        return next(spec.streams for spec in self.scope.sources if spec.source == self.source.name)

    def finish(self, report: SourceScopeReport, state: ScanState) -> None:
        """Record what the complete scan says: cursors, receipts, and which items it has not met again."""
        finished = state.finished()
        if finished is None:
            return
        for cursor in record(self.store, self.scope.scope_id, finished):
            report.after[cursor.stream] = cursor
        if self.planning.opened.unread.back_to(state.source, state.source_scope) is not None:
            floors = passed_floors(state.coverage, self.streams)
            self.store.unread.forget_passed(
                self.scope.scope_id, state.source, state.source_scope, floors, began_at=finished.watermark
            )

    def news(self, report: SourceScopeReport, state: ScanState) -> ScanState:
        """The scan of what happened since `state` began, which went on where an earlier run was interrupted.

        What had to be looked for from far back has been, but for items without a number that were met before the
        interruption: it has not come by them again. Streams that the source refuses are left out.
        """
        unread = known_unread(self.store, self.scope)
        planning = replace(self.planning, full_refresh=False, opened=replace(self.planning.opened, unread=unread))
        plan = planning.plan(state.source_scope, report.after)
        begun = begin(self.scope, planning, state.source_scope, report.after, plan)
        coverage = tuple(stream for stream in begun.coverage if stream.stream not in state.refused)
        return replace(begun, coverage=coverage, to_ask=state.to_ask, refused=state.refused)


class SourceScopeScan:
    """The scan of one source_scope as a task of fair steps, one page each; what it did is in `report`.

    `state` is how it begins. Where an earlier run was interrupted in the same scan, it goes on there instead.
    """

    def __init__(self, collection: Collection, report: SourceScopeReport, state: ScanState) -> None:
        self.steps_done = 0
        self._collection = collection
        self._report = report
        self._beginning = self._state = state
        self._pages: Iterator[ScanPage] | None = None
        self._goes_on = False
        self._counted: set[str] = set()
        self._known = collection.planning.opened.unread.keys(report.source, report.source_scope)

    @property
    def source_scope(self) -> str:
        """What it scans."""
        return self._report.source_scope

    def step(self) -> bool:
        """Read and store the next page, or finish; whether there is more to do.

        Raises StoreUnavailable, ConfigurationError and Stopped only.
        """
        self.steps_done += 1
        try:
            with contained(self._report.source, self._report.source_scope):
                page = next(self._pages or self._begin(), None)
                self._collection.stop.check()
                return self._finish() if page is None else self._store(page)
        except SourceError as error:
            self._report.fail(error)
            return False

    def _begin(self) -> Iterator[ScanPage]:
        resumed_state = self._stood_at()
        self._goes_on = self._report.resumed = resumed_state is not None
        return self._ask(resumed_state or self._beginning)

    def _stood_at(self) -> ScanState | None:
        """The state of the same scan in an earlier run; None where it is of another repository, or too old."""
        collection, beginning = self._collection, self._beginning
        checkpoint = collection.store.scans.checkpoint(beginning.scope_id, beginning.source, beginning.source_scope)
        resumed_state = None if checkpoint is None else state_of(checkpoint, beginning)
        if resumed_state is None or not can_go_on(resumed_state.coverage, beginning.coverage):
            return None
        # The next page may be one that nobody is ever given: so it matters before that, where the time is known.
        # That is the time of a page or a head at least: the checkpoint may well be from after it.
        known_time, saved_at = collection.source_time, resumed_state.saved_at
        if known_time is not None and saved_at is not None and resumed_state.is_stale(max(known_time, saved_at)):
            return None
        ids = {beginning.source_scope_id, resumed_state.source_scope_id} - {None}
        return resumed_state if len(ids) < 2 else None

    def _ask(self, state: ScanState) -> Iterator[ScanPage]:
        self._state = state
        self._report.outcome = ScanOutcome.SCANNED
        tells_paths = self._collection.scope.asks_paths(self.source_scope)
        self._pages = self._collection.source.scan(state.request(self._known, tells_paths=tells_paths))
        return self._pages

    def _store(self, page: ScanPage) -> bool:
        collection, report = self._collection, self._report
        report.use(page.usage)
        if self._goes_on and self._state.is_stale(page.began_at):
            self._goes_on = report.resumed = False
            self._ask(self._beginning)
            return True
        if self._state.is_of_another(page):
            report.replaced = self._state.source_scope_id
            self._counted.clear()
            self._goes_on = report.resumed = False
            self._ask(self._state.anew(page))
            return True
        page = usable(page, collection.scope.calendar)
        state = self._state.after(page)
        outcomes = collection.store.scans.store_page(collection.scope.scope_id, self._content(page, state))
        report.count(self._not_counted(page), outcomes, collection.scope.calendar)
        report.state = state
        if report.replaced is not None and report.replaced == state.source_scope_id:
            report.replaced = replaced_id(state.source_scope_id, report.before)  # of several, it is one of them again
        if not collection.stop.is_told:  # else nobody may be there to hear of it
            collection.on_progress(self._progress(page))
        if page.position is None and not state.is_complete:
            report.reads_back, self._goes_on = True, False
            self._ask(state.noted())
        else:
            self._state = state.noted()
        return True

    def _content(self, page: ScanPage, state: ScanState) -> PageContent:
        """What the ledger keeps of `page`, and where the scan then stands while there is more to read."""
        source = self._collection.source
        return PageContent(
            source=source.name,
            source_scope=self.source_scope,
            producer=Producer(source.producer, source.producer_version),
            events=page.events,
            skipped=page.skipped,
            unread=noted_items(page.unread),
            settled=page.settled,
            retrieved_at=page.retrieved_at,
            read_from=read_from(state.coverage, page.retrieved_at),
            checkpoint=checkpoint_of(state.noted()) if state.position is not None and state.coverage else None,
            facts=page.facts,
        )

    def _progress(self, page: ScanPage) -> ScanProgress:
        floor = min((stream.floor for stream in self._state.coverage), default=page.began_at)
        return ScanProgress(
            self.source_scope,
            self._report.pages,
            self._report.seen,
            self._state.watermark or page.began_at,
            page.reached if page.position is not None else floor,
            floor,
        )

    def _not_counted(self, page: ScanPage) -> ScanPage:
        """`page` without what was counted before it turned out that the scan has to read back over the same items."""
        if self._state.reads_back_to is not None:
            self._counted.update(event.id for event in page.events)
            self._counted.update(item.event_id for item in page.skipped)
            return page
        events = tuple(event for event in page.events if event.id not in self._counted)
        skipped = tuple(item for item in page.skipped if item.event_id not in self._counted)
        return replace(page, events=events, skipped=skipped)

    def _finish(self) -> bool:
        """Record the finished scan; one that went on is followed by one of what happened since it began."""
        report, state = self._report, self._state
        if not state.is_complete:
            raise SourceUnavailable(report.source, report.source_scope, "its pages ended before the last one")
        self._collection.finish(report, state)
        if not self._goes_on:
            report.caught_up.update(stream.stream for stream in state.coverage)
            return self._end()
        self._goes_on = False
        news = self._collection.news(report, state)
        if not news.coverage:
            return self._end()
        self._ask(news)
        return True

    def _end(self) -> bool:
        """There is nothing more to read; what the source refused is the source_scope's failure."""
        if self._state.refused:
            problem = "; ".join(dict.fromkeys(self._state.refused.values()))
            raise SourceRefused(self._report.source, self._report.source_scope, problem)
        return False
