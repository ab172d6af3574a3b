"""What a collection did, in numbers somebody will act on. Counting only; nothing here decides anything."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.scan_state import ScanState
from ledger_pipeline.sources.port import RequestUsage, ScanPage
from ledger_pipeline.store.records import REJECTED, AppendOutcome, StoredUnread
from ledger_pipeline.store.scan_records import Cursor


@dataclass
class Tally:
    """Items of activity seen for one window and stream: each appended with an outcome, or skipped for a reason."""

    outcomes: Counter[AppendOutcome] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def seen(self) -> int:
        """All items: kept and skipped."""
        return self.outcomes.total() + self.skipped.total()

    @property
    def new(self) -> int:
        """Events that were not in the ledger before."""
        return self.outcomes[AppendOutcome.NEW]

    @property
    def duplicate(self) -> int:
        """Events that were in the ledger already, those of a renamed repository among them."""
        return self.outcomes[AppendOutcome.DUPLICATE] + self.outcomes[AppendOutcome.RENAMED]

    @property
    def rejected(self) -> int:
        """Events that the ledger refused and keeps aside: late ones and conflicts."""
        return sum(self.outcomes[outcome] for outcome in REJECTED)

    def add(self, tally: "Tally") -> None:
        """Count `tally`'s items too."""
        self.outcomes.update(tally.outcomes)
        self.skipped.update(tally.skipped)


class ScanOutcome(StrEnum):
    """How a source_scope was brought up to date."""

    COVERED = "covered"  # all of it was in the ledger already: nothing was asked
    UNCHANGED = "unchanged"  # its newest update is older than what is covered: nothing was read
    SCANNED = "scanned"
    FAILED = "failed"


@dataclass
class SourceScopeReport:
    """One source_scope's part. `before`, `after`: its cursors by stream.

    `state` is where its scan stands, the last one where several followed each other; None where none was begun.
    `replaced` is the id of the repository which had the name before; `reads_back` says that items came back with an old
    update. The tallies are of what this collection read, whatever an interrupted one had read before.
    """

    source: str
    source_scope: str
    before: dict[str, Cursor]
    after: dict[str, Cursor] = field(default_factory=dict)
    outcome: ScanOutcome = ScanOutcome.COVERED
    resumed: bool = False
    state: ScanState | None = None
    tallies: dict[tuple[EpochWindow, str], Tally] = field(default_factory=dict)
    seen: int = 0
    pages: int = 0
    requests: int = 0
    points: int = 0
    points_left: int | None = None
    failure: SourceError | None = None
    replaced: str | None = None
    reads_back: bool = False
    caught_up: set[str] = field(default_factory=set)

    @property
    def source_scope_id(self) -> str | None:
        """The id that the source answered with, as far as it is known."""
        return None if self.state is None else self.state.source_scope_id

    @property
    def renamed_to(self) -> str | None:
        """The name the source answers by now, where it is not the one that was asked for (case apart)."""
        name = None if self.state is None else self.state.source_scope_name
        return name if name is not None and name.casefold() != self.source_scope.casefold() else None

    def is_ahead(self, window: EpochWindow, stream: str) -> bool:
        """Whether `window` begins after what the source's clock said: a scan reads nothing of it."""
        clock = None if self.state is None else self.state.watermark
        return clock is not None and clock < window.start and not self._covers_start(window, stream)

    def has_read(self, window: EpochWindow, stream: str) -> bool:
        """Whether `stream` of `window` is read: to its end, or as far as there was anything to read by now.

        A scan that goes on where it was interrupted has read no further than when it began.
        """
        after = self.after.get(stream)
        if self.failure is None:
            return not self.is_ahead(window, stream)
        if self.replaced is not None and stream not in self.caught_up:
            return False
        if after is None or not self._covers_start(window, stream):
            return False
        return stream in self.caught_up or after.watermark >= shown_whole_at(window)

    def _covers_start(self, window: EpochWindow, stream: str) -> bool:
        after = self.after.get(stream)
        return after is not None and after.covered_from is not None and after.covered_from <= window.start

    def fail(self, failure: SourceError) -> None:
        """Note why the source_scope could not be brought up to date."""
        self.failure = failure
        self.outcome = ScanOutcome.FAILED

    def use(self, usage: RequestUsage) -> None:
        """Count a page and what it cost."""
        self.pages += 1
        self.requests += usage.requests
        self.points += usage.points
        self.points_left = usage.points_left

    def count(self, page: ScanPage, outcomes: Mapping[str, AppendOutcome], calendar: EpochCalendar) -> None:
        """Count a stored page's items, by the window that holds each one's own time."""
        self.seen += len(page.events) + len(page.skipped)
        for event in page.events:
            self.tally(calendar.window_at(event.event_time), event.stream).outcomes[outcomes[event.id]] += 1
        for item in page.skipped:
            self.tally(calendar.window_at(item.event_time), item.stream).skipped[item.reason] += 1

    def tally(self, window: EpochWindow, stream: str) -> Tally:
        """The tally of a window and stream, made where there is none yet."""
        return self.tallies.setdefault((window, stream), Tally())


@dataclass
class CollectReport:
    """A whole collection: the windows asked for, oldest first, and what each source_scope gave.

    `listing` is what asking for all that owners have cost, and `heads` for all heads at once; None where it was not
    asked. `found` and `gone` are source_scopes that owners have now, or have no more. `unread` are the items of the
    scope that nobody could read by the end of it.
    """

    windows: tuple[EpochWindow, ...]
    streams: tuple[str, ...]
    source_scopes: list[SourceScopeReport] = field(default_factory=list)
    listing: RequestUsage | None = None
    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    heads: RequestUsage | None = None
    unread: tuple[StoredUnread, ...] = ()

    @property
    def requests(self) -> int:
        """HTTP requests of the whole collection."""
        return sum(report.requests for report in self.source_scopes) + sum(usage.requests for usage in self._at_once)

    @property
    def points(self) -> int:
        """Points of the source's budget the whole collection cost."""
        return sum(report.points for report in self.source_scopes) + sum(usage.points for usage in self._at_once)

    @property
    def points_left(self) -> int | None:
        """The least that the source said is left of its budget; None when nothing was asked of it."""
        points_left = [report.points_left for report in self.source_scopes]
        points_left += [usage.points_left for usage in self._at_once]
        return min((points for points in points_left if points is not None), default=None)

    @property
    def _at_once(self) -> list[RequestUsage]:
        """What was asked of many source_scopes together."""
        return [usage for usage in (self.listing, self.heads) if usage is not None]

    @property
    def failures(self) -> list[SourceError]:
        """Why source_scopes failed, in their order."""
        return [report.failure for report in self.source_scopes if report.failure is not None]

    @property
    def renamed(self) -> dict[str, str]:
        """Source_scopes that answer by another name now."""
        return {report.source_scope: report.renamed_to for report in self.source_scopes if report.renamed_to}

    @property
    def replaced(self) -> dict[str, tuple[str, str | None]]:
        """Source_scopes whose name another repository has taken over: its id before, and its id now."""
        return {
            scope_report.source_scope: (scope_report.replaced, scope_report.source_scope_id)
            for scope_report in self.source_scopes
            if scope_report.replaced
        }

    @property
    def read_back(self) -> list[str]:
        """Source_scopes that were read back because items came back with an old update."""
        return [scope_report.source_scope for scope_report in self.source_scopes if scope_report.reads_back]

    @property
    def asked_nothing(self) -> bool:
        """Whether everything was covered, so that the source was not asked at all."""
        return self.listing is None and all(report.outcome is ScanOutcome.COVERED for report in self.source_scopes)

    def tally(self, window: EpochWindow, streams: Iterable[str]) -> Tally:
        """What was seen for one window in `streams`, over all source_scopes."""
        total = Tally()
        for report in self.source_scopes:
            for stream in streams:
                tally = report.tallies.get((window, stream))
                if tally is not None:
                    total.add(tally)
        return total

    def changed_elsewhere(self) -> frozenset[EpochWindow]:
        """Windows that were not asked for, and of which the ledger says something else now than before."""
        asked = frozenset(self.windows)
        tallies = [item for report in self.source_scopes for item in report.tallies.items()]
        return frozenset(
            window for (window, _), tally in tallies if window not in asked and (tally.new or tally.rejected)
        )

    def added_elsewhere(self) -> dict[EpochWindow, int]:
        """New events of windows that were not asked for: a scan keeps every event it sees."""
        asked = frozenset(self.windows)
        added: Counter[EpochWindow] = Counter()
        for report in self.source_scopes:
            for (window, _), tally in report.tallies.items():
                if window not in asked and tally.new:
                    added[window] += tally.new
        return dict(sorted(added.items()))

    def has_read(self, window: EpochWindow, streams: Iterable[str]) -> bool:
        """Whether `streams` of `window` are in the ledger as far as they can be now, whatever failed beside them."""
        return all(scope_report.has_read(window, stream) for scope_report in self.source_scopes for stream in streams)

    def ahead_of_source(self) -> tuple[list[EpochWindow], datetime] | None:
        """Windows asked for that have not begun by the source's clock, oldest first, and what that said, if any."""
        ahead = [
            (window, scope_report.state.watermark)
            for window in self.windows
            for scope_report in self.source_scopes
            if scope_report.state is not None
            and scope_report.state.watermark is not None
            and any(scope_report.is_ahead(window, stream) for stream in self.streams)
        ]
        if not ahead:
            return None
        return sorted({window for window, _ in ahead}), max(clock for _, clock in ahead)

    def complete_until(self, streams: Iterable[str]) -> datetime | None:
        """Up to when every source_scope's `streams` are read; None when one of them never was."""
        marks = []
        for report in self.source_scopes:
            for stream in streams:
                if stream not in report.after:
                    return None
                marks.append(report.after[stream].watermark)
        return min(marks, default=None)
