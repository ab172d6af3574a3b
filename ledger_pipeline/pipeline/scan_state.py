"""One scan of a source_scope, frozen and pure: what it has to read, where it stands, and all that its end will say.

Two drivers carry a scan on from page to page: `scan.py` in the threads of a Dagster run, `pieces.py` in calls over
Temporal. Both begin it with `begin`, move it with `after`, and record what `finished` says. Between two calls or two
runs `scan_codec.py` writes it down and reads it back, so that nothing it counted is forgotten.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.unread import ItemKey, UnreadItem, one_by_key
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.coverage import (
    has_grown_unseen,
    is_unchanged,
    known_source_scope_ids,
    known_totals,
    reading_from,
)
from ledger_pipeline.pipeline.finish import FinishedScan, Sighting, joined
from ledger_pipeline.pipeline.planning import Planning, ScanPlan
from ledger_pipeline.sources.port import Heads, ScanPage, ScanRequest, UpdateSpan
from ledger_pipeline.store.scan_records import Cursor, StreamCoverage

# A state older than this is not gone on with: repeating the scan is safer than trusting the source's page cursor. One
# of a daily collection that starts later than the day before, or misses a day, is: a long first scan has to end.
STATE_LIFETIME = timedelta(days=2, hours=2)

# A name that passes on so often during one scan is nobody's to read now.
TIMES_REPLACED = 3

WindowSightings = Mapping[EpochWindow, Mapping[str, Sighting]]


@dataclass(frozen=True)
class ScanState:
    """Where one scan of a source_scope stands.

    `windows` and `streams` are what was asked for; `coverage` has those of the streams that have to be read, none
    where all is covered. `watermark` is None until the first page; `position` is where to go on; `saved_at` is the
    source's time at the last page. The scan `is_complete` once its last page is in. `sightings` are the items that it
    met, by epoch and stream, and `updates` the span of their updates.

    `source_scope_id` is the source's own id of what is read. `totals` are the source's counts of all items when the
    scan began; `accounted` is how many of them the cursors and the pages so far explain. Nobody knows that once the
    scan `began_again` from the front: its end then says no totals, so that the next scan compares with those of before.
    `back_to` is from where the scan reads where the source has more than is accounted for; None once it reads from
    there.

    `to_ask` are items that could not be read before and are still to be asked for, for all that the scope collects,
    `collected`. `unread` and `settled` are what the pages said of items that cannot be read, and nobody noted yet.
    `refused` are streams that the source does not give, each with what to do about it.
    """

    scope_id: UUID
    source: str
    source_scope: str
    windows: tuple[EpochWindow, ...]
    calendar: EpochCalendar
    streams: tuple[str, ...]
    coverage: tuple[StreamCoverage, ...]
    is_complete: bool = False
    watermark: datetime | None = None
    position: Mapping[str, Json] | None = None
    saved_at: datetime | None = None
    source_scope_name: str | None = None
    pages: int = 0
    sightings: WindowSightings = field(default_factory=dict)
    updates: Mapping[str, UpdateSpan] = field(default_factory=dict)
    source_scope_id: str | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    accounted: Mapping[str, int] = field(default_factory=dict)
    back_to: datetime | None = None
    collected: tuple[str, ...] = ()
    to_ask: tuple[ItemKey, ...] = ()
    unread: tuple[UnreadItem, ...] = ()
    settled: tuple[ItemKey, ...] = ()
    began_again: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    times_replaced: int = 0

    def request(self, known_items: Iterable[ItemKey] = (), *, tells_paths: bool = False) -> ScanRequest:
        """What to ask the source for to go on; `known_items` could not be read by earlier scans."""
        return ScanRequest(
            self.source_scope,
            {stream.stream: stream.floor for stream in self.coverage},
            self.position,
            self.to_ask,
            self.collected,
            frozenset(known_items) | {item.key for item in self.unread},
            tells_paths=tells_paths,
        )

    def is_stale(self, source_time: datetime) -> bool:
        """Whether its position is so old by `source_time` that the source is not trusted to go on behind it.

        So is one that is said to be from as long after.
        """
        return self.saved_at is not None and abs(source_time - self.saved_at) > STATE_LIFETIME

    def is_of_another(self, page: ScanPage) -> bool:
        """Whether `page` is of another repository than was read or covered so far, under the same name."""
        return None not in (self.source_scope_id, page.source_scope_id) and self.source_scope_id != page.source_scope_id

    @property
    def reads_back_to(self) -> datetime | None:
        """From where a total that has grown makes it read once more; None where it reads from there already."""
        back_to = self.back_to
        if back_to is None or all(stream.covered_from <= back_to for stream in self.coverage):
            return None
        return min([back_to, *(stream.covered_from for stream in self.coverage)])

    def after(self, page: ScanPage) -> "ScanState":
        """Where the scan stands behind `page`.

        Behind the last page of a scan that met less than its totals say, that is the start of one that reads back.
        """
        if page.read_again:
            return self._without(page.read_again).after(replace(page, read_again=frozenset()))
        unread = one_by_key([*(item for item in self.unread if item.key not in page.settled), *page.unread])
        answered = {*page.settled, *(item.key for item in page.unread)}
        state = replace(
            self,
            coverage=tuple(stream for stream in self.coverage if stream.stream not in page.refused),
            is_complete=page.position is None,
            watermark=self.watermark or page.began_at,
            position=page.position,
            saved_at=page.retrieved_at,
            source_scope_name=page.source_scope_name,
            pages=self.pages + 1,
            sightings=self._sightings_with(page),
            updates=joined(self.updates, page.updates),
            source_scope_id=page.source_scope_id or self.source_scope_id,
            totals={**page.totals, **self.totals},
            accounted={stream: count + page.newer.get(stream, 0) for stream, count in self.accounted.items()},
            to_ask=tuple(key for key in self.to_ask if key not in answered),
            unread=tuple(unread),
            settled=tuple(sorted({*self.settled, *page.settled} - {item.key for item in unread})),
            refused={**self.refused, **page.refused},
        )
        start = state.reads_back_to
        if start is None or not state.is_complete or not has_grown_unseen(state.totals, state.accounted):
            return state
        return replace(state._once_more(reading_from(state.streams, start)), accounted={}, back_to=None)

    def from_the_front(self) -> "ScanState":
        """The same scan, nothing of it read."""
        return replace(self._once_more(self.coverage), pages=0, accounted={}, began_again=True)

    def anew(self, page: ScanPage) -> "ScanState":
        """The scan of the repository that `page` is of, of which nothing is known.

        Raises SourceUnavailable where the name passes on again and again.
        """
        times_replaced = self.times_replaced + 1
        if times_replaced >= TIMES_REPLACED:
            problem = "its name passes from one repository to another while it is read: try again later"
            raise SourceUnavailable(self.source, self.source_scope, problem)
        starts = [*(stream.covered_from for stream in self.coverage), *([self.back_to] if self.back_to else [])]
        start = min(starts, default=page.began_at)
        return replace(
            self._once_more(reading_from(self.streams, start)),
            source_scope_id=page.source_scope_id,
            accounted={},
            back_to=None,
            began_again=False,
            times_replaced=times_replaced,
        )

    def noted(self) -> "ScanState":
        """The same scan once the ledger holds what it said of items that cannot be read."""
        return replace(self, unread=(), settled=())

    def finished(self, stream: str | None = None) -> FinishedScan | None:
        """What a complete scan says, or says of `stream` alone; None where it had nothing to read."""
        coverage = [coverage for coverage in self.coverage if stream in (None, coverage.stream)]
        if not self.is_complete or self.watermark is None or not coverage:
            return None
        return FinishedScan(
            source=self.source,
            source_scope=self.source_scope,
            source_scope_name=self.source_scope_name,
            watermark=self.watermark,
            coverage=coverage,
            calendar=self.calendar,
            pages=self.pages,
            sightings=self.sightings,
            updates=self.updates,
            source_scope_id=self.source_scope_id,
            totals={} if self.began_again else self.totals,
        )

    def _without(self, streams: frozenset[str]) -> "ScanState":
        """The same scan as if it had met nothing of `streams`. Which items it accounts for, nobody knows any more."""
        sightings = {
            window: {stream: sighting for stream, sighting in of_window.items() if stream not in streams}
            for window, of_window in self.sightings.items()
        }
        updates = {stream: span for stream, span in self.updates.items() if stream not in streams}
        return replace(self, sightings=sightings, updates=updates, accounted={}, began_again=True)

    def _once_more(self, coverage: tuple[StreamCoverage, ...]) -> "ScanState":
        """A further round that reads `coverage`. It comes by all that was met so far again, and counts that once."""
        return replace(
            self,
            coverage=coverage,
            is_complete=False,
            watermark=None,
            position=None,
            saved_at=None,
            totals={},
            sightings={},
            updates={},
        )

    def _sightings_with(self, page: ScanPage) -> WindowSightings:
        """What was met so far and on `page`, of the epochs that the scan covers any part of."""
        start = min((stream.covered_from for stream in self.coverage), default=page.began_at)
        sightings = dict(self.sightings)
        # Only what the page changes is copied: a scan may have met items of very many epochs.
        changed: dict[EpochWindow, dict[str, Sighting]] = {}
        items: list[ActivityEvent | SkippedActivity] = [*page.events, *page.skipped]
        for item in items:
            window = self.calendar.window_at(item.event_time)
            if window.end > start:
                if window not in changed:
                    sightings[window] = changed[window] = dict(sightings.get(window, {}))
                of_window = changed[window]
                reason = item.reason if isinstance(item, SkippedActivity) else None
                of_window[item.stream] = of_window.get(item.stream, Sighting()).with_one(reason)
        return sightings


def begin(
    scope: Scope,
    planning: Planning,
    source_scope: str,
    cursors: Mapping[str, Cursor],
    plan: ScanPlan,
    heads: Heads | None = None,
) -> ScanState:
    """The scan that `plan` asks for; complete at once where there is nothing to read.

    It says nothing in the end where all was covered. Where its head shows that nothing was updated, it says that.
    """
    head = heads.heads.get(source_scope) if heads else None
    builds_on_nothing = plan.replaced is not None or plan.reads_back
    known_ids = known_source_scope_ids(cursors)
    # Where streams were read of several repositories under the name, the scan builds on none, and is of any.
    known_id = next(iter(known_ids)) if len(known_ids) == 1 else None
    state = ScanState(
        scope_id=scope.scope_id,
        source=planning.source,
        source_scope=source_scope,
        windows=tuple(planning.windows),
        calendar=scope.calendar,
        streams=planning.streams,
        coverage=plan.coverage,
        source_scope_id=(head.source_scope_id if head else None) or known_id,
        accounted={} if builds_on_nothing else known_totals(cursors),
        back_to=None if builds_on_nothing else planning.back_to,
        collected=next(spec.streams for spec in scope.sources if spec.source == planning.source),
        to_ask=planning.opened.unread.to_ask(planning.source, source_scope),
    )
    if state.to_ask:
        return state
    if not plan.coverage:
        return replace(state, is_complete=True)
    if heads and head and not planning.full_refresh and is_unchanged(head, plan.coverage):
        return replace(
            state, is_complete=True, watermark=heads.began_at, saved_at=heads.began_at, totals=dict(head.totals)
        )
    return state
