"""One source_scope's scan, page by page: append, note what was skipped and what cannot be read, remember where it
stands; at the end, move the cursors and leave a receipt.

The order is what makes it safe to die anywhere: a page is stored before the checkpoint passes it, and every page
before the cursors move. A failed source_scope keeps its cursors and its checkpoint; the events of its pages stay. Where
the source refuses only some streams, the others are read and their cursors move; then the source_scope has failed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import SourceError, SourceRefused, SourceUnavailable
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.coverage import can_resume, has_expired, has_grown_unseen, replaced_id
from ledger_pipeline.pipeline.finish import FinishedScan, Sighting, record
from ledger_pipeline.pipeline.planning import Planning
from ledger_pipeline.pipeline.report import ScanOutcome, SourceScopeReport
from ledger_pipeline.pipeline.unread import known_unread, note, passed_floors, usable
from ledger_pipeline.sources.port import ActivitySource, ScanPage, ScanRequest
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.records import Checkpoint, Producer, StreamCoverage

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

# A name that passes on so often during one scan is nobody's to read now.
TIMES_REPLACED = 3


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
        if self.reached is None:
            return 0.0
        if self.reached <= self.floor:
            return 1.0
        return (self.watermark - self.reached) / (self.watermark - self.floor)


@dataclass(frozen=True)
class Collection:
    """What the scans of one collection share. Once `stop` is told, what a request in flight still brings is dropped.

    `source_time` is the latest that is known when it begins, None where nothing was ever read.
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

    def finish(
        self,
        part: SourceScopeReport,
        plans: Sequence[StreamCoverage],
        watermark: datetime,
        pages: int,
        totals: Mapping[str, int],
    ) -> None:
        """Everything from the floors of `plans` up to `watermark` is stored: say so, with receipts."""
        scan = FinishedScan(
            source=self.source.name,
            source_scope=part.source_scope,
            source_scope_name=part.source_scope_name,
            watermark=watermark,
            coverage=plans,
            calendar=self.scope.calendar,
            pages=pages,
            sightings={key: Sighting(tally.seen, tally.skipped) for key, tally in part.tallies.items()},
            updates=part.updates,
            source_scope_id=part.source_scope_id,
            totals=totals,
        )
        for cursor in record(self.store, self.scope.scope_id, scan):
            part.after[cursor.stream] = cursor
        if self.planning.opened.unread.back_to(self.source.name, part.source_scope) is not None:
            floors = passed_floors(plans, self.streams)
            self.store.forget_unread_passed(
                self.scope.scope_id, self.source.name, part.source_scope, floors, began_at=watermark
            )


class SourceScopeScan:
    """The scan of one source_scope as a task of fair steps, one page each; its outcome is in `part`."""

    def __init__(self, collection: Collection, part: SourceScopeReport, plans: tuple[StreamCoverage, ...]) -> None:
        self.steps_done = 0
        self._shared = collection
        self._part = part
        self._plans = self._wanted = plans
        self._pages: Iterator[ScanPage] | None = None
        self._resumed: Checkpoint | None = None
        self._watermark: datetime | None = None
        self._totals: dict[str, int] = {}
        self._newer: Counter[str] = Counter()
        self._counted: set[str] = set()
        self._times_replaced = 0
        self._refused: dict[str, str] = {}
        self._to_ask = collection.planning.opened.unread.to_ask(part.source, part.source_scope)
        self._known = collection.planning.opened.unread.keys(part.source, part.source_scope)

    @property
    def source_scope(self) -> str:
        """What it scans."""
        return self._part.source_scope

    def step(self) -> bool:
        """Read and store the next page, or finish; whether there is more to do.

        Raises StoreUnavailable, ConfigurationError and Stopped only.
        """
        self.steps_done += 1
        try:
            with contained(self._part.source, self._part.source_scope):
                page = next(self._pages or self._begin(), None)
                self._shared.stop.check()
                return self._finish() if page is None else self._store(page)
        except SourceError as error:
            self._part.fail(error)
            return False

    def _begin(self, *, resume: bool = True) -> Iterator[ScanPage]:
        store, scope_id = self._shared.store, self._shared.scope.scope_id
        stood = store.checkpoint(scope_id, self._shared.source.name, self._part.source_scope) if resume else None
        if not can_resume(stood, self._plans) or self._is_of_another(stood) or self._is_too_old(stood):
            stood = None
        self._resumed, self._wanted = stood, self._plans
        if stood is not None:
            # Streams that were refused then are read by the scan that follows.
            self._plans = stood.coverage
        self._totals, self._newer = {}, Counter()
        self._watermark = self._resumed.watermark if self._resumed else None
        self._part.outcome = ScanOutcome.SCANNED
        self._part.resumed = self._resumed is not None
        floors = {plan.stream: plan.floor for plan in self._plans}
        position = self._resumed.position if self._resumed else None
        request = ScanRequest(
            self._part.source_scope, floors, position, self._to_ask, self._shared.streams, self._known
        )
        self._pages = self._shared.source.scan(request)
        return self._pages

    def _store(self, page: ScanPage) -> bool:
        shared, part = self._shared, self._part
        part.use(page.usage)
        if self._resumed is not None and has_expired(self._resumed, page.began_at):
            shared.store.discard_checkpoint(shared.scope.scope_id, shared.source.name, part.source_scope)
            self._plans = self._wanted
            self._begin(resume=False)
            return True
        if self._is_replaced(page):
            return True
        self._leave_out(page.refused)
        page = usable(page, shared.scope.calendar)
        self._watermark = self._watermark or page.began_at
        self._totals = {**page.totals, **self._totals}
        self._newer.update(page.newer)
        producer = Producer(shared.source.producer, shared.source.producer_version)
        outcomes = shared.store.append_events(shared.scope.scope_id, page.events, producer, page.retrieved_at)
        shared.store.record_skipped(shared.scope.scope_id, page.skipped, page.retrieved_at)
        part.count(self._not_counted(page), outcomes, shared.scope.calendar)
        self._note_unread(page)
        if page.position is not None and self._plans:
            shared.store.save_checkpoint(shared.scope.scope_id, self._checkpoint(page, self._watermark))
        floor = min((plan.floor for plan in self._plans), default=page.began_at)
        reached = page.reached if page.position is not None else floor
        if not shared.stop.is_told:  # else nobody may be there to hear of it
            shared.on_progress(ScanProgress(part.source_scope, part.pages, part.seen, self._watermark, reached, floor))
        return True

    def _note_unread(self, page: ScanPage) -> None:
        note(
            self._shared.store,
            self._shared.scope.scope_id,
            self._part.source,
            self._part.source_scope,
            unread=page.unread,
            settled=page.settled,
            tried_at=page.retrieved_at,
            coverage=self._plans,
        )
        answered = {*page.settled, *(item.key for item in page.unread)}
        self._to_ask = tuple(key for key in self._to_ask if key not in answered)

    def _leave_out(self, refused: Mapping[str, str]) -> None:
        """Cover nothing of streams that the source refuses; the others are read to the end all the same."""
        self._refused |= refused
        self._plans = tuple(plan for plan in self._plans if plan.stream not in refused)

    def _checkpoint(self, page: ScanPage, watermark: datetime) -> Checkpoint:
        return Checkpoint(
            source=self._shared.source.name,
            source_scope=self._part.source_scope,
            watermark=watermark,
            coverage=self._plans,
            position=page.position or {},
            pages=self._pages_read(),
            saved_at=page.retrieved_at,
            source_scope_id=page.source_scope_id,
        )

    def _is_too_old(self, checkpoint: Checkpoint | None) -> bool:
        """Whether it is known to have expired before any page is read: the next one may be what nobody ever gives."""
        now = self._shared.source_time
        return checkpoint is not None and now is not None and has_expired(checkpoint, now)

    def _is_of_another(self, checkpoint: Checkpoint | None) -> bool:
        known = self._part.source_scope_id
        return (
            checkpoint is not None
            and None not in (known, checkpoint.source_scope_id)
            and (known != checkpoint.source_scope_id)
        )

    def _is_replaced(self, page: ScanPage) -> bool:
        """Whether the page is of another repository than was read so far; then the scan begins anew, with its plan."""
        part = self._part
        before = part.source_scope_id or (self._resumed.source_scope_id if self._resumed else None)
        replaced = before if before is not None else replaced_id(page.source_scope_id, part.before)
        if page.source_scope_id is None or replaced in (None, page.source_scope_id):
            part.source_scope_id = page.source_scope_id or before
            return False
        self._times_replaced += 1
        if self._times_replaced == TIMES_REPLACED:
            problem = "its name passes from one repository to another while it is read: try again later"
            raise SourceUnavailable(self._shared.source.name, part.source_scope, problem)
        plan = self._shared.planning.anew(replaced)
        part.source_scope_id, part.replaced = page.source_scope_id, replaced
        self._plans = plan.coverage
        self._counted.clear()
        self._begin()
        return True

    def _not_counted(self, page: ScanPage) -> ScanPage:
        """`page` without what was counted before it turned out that the scan has to read back over the same items."""
        if self._may_read_back():
            self._counted.update(event.id for event in page.events)
            self._counted.update(item.event_id for item in page.skipped)
            return page
        events = tuple(event for event in page.events if event.id not in self._counted)
        skipped = tuple(item for item in page.skipped if item.event_id not in self._counted)
        return replace(page, events=events, skipped=skipped)

    def _may_read_back(self) -> bool:
        """Whether a total may yet show that there is more than this scan reads; then it has only news to read."""
        part, planning = self._part, self._shared.planning
        if self._resumed is not None or part.reads_back or part.replaced is not None:
            return False
        return not all(plan.covered_from <= planning.back_to for plan in self._plans)

    def _has_more_come_back(self) -> bool:
        """Whether there is more than the scan explains, so that it has to read back to the oldest open epoch."""
        part = self._part
        return self._may_read_back() and has_grown_unseen(
            self._totals, self._newer, part.before, [plan.stream for plan in self._plans]
        )

    def _pages_read(self) -> int:
        return self._part.pages + (self._resumed.pages if self._resumed else 0)

    def _finish(self) -> bool:
        """Record the finished scan; a resumed one is followed by one of what happened since it began."""
        planning, part = self._shared.planning, self._part
        if self._has_more_come_back():
            part.reads_back = True
            self._plans = planning.all_open(part.after)
            self._begin(resume=False)
            return True
        if self._watermark is not None:
            # What a resumed scan counted it did not count when it began.
            totals = self._totals if self._resumed is None else {}
            self._shared.finish(part, self._plans, self._watermark, self._pages_read(), totals)
            if self._resumed is None:
                part.caught_up.update(plan.stream for plan in self._plans)
        if self._resumed is None:
            return self._end()
        # What had to be looked for from far back has been, but for items without a number that were met before the
        # scan was interrupted: it has not come by them again.
        unread = known_unread(self._shared.store, self._shared.scope)
        news = replace(planning, full_refresh=False, opened=replace(planning.opened, unread=unread))
        self._plans = news.plan(part.source_scope, part.after).coverage
        self._leave_out(self._refused)
        if not self._plans:
            return self._end()
        self._begin(resume=False)
        self._part.resumed = True
        return True

    def _end(self) -> bool:
        """There is nothing more to read; what the source refused is the source_scope's failure."""
        if self._refused:
            raise SourceRefused(
                self._part.source, self._part.source_scope, "; ".join(dict.fromkeys(self._refused.values()))
            )
        return False
