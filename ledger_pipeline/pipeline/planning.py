"""One source_scope's plan: what it has to be read for, from its cursors, the open epochs, and what its head says.

The same for a collection and for a scan in pieces. Four things make a scan read back further than its cursors: an
epoch that waits for its closing scan, another repository under the name, items that came back with their old update,
and items that could not be read and have no number to ask for. What an owner turns out to have is read as far back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.closing import OpenEpochs
from ledger_pipeline.pipeline.coverage import (
    has_grown_without_update,
    plan_scan,
    reading_from,
    reads_back,
    replaced_id,
)
from ledger_pipeline.sources.port import Heads
from ledger_pipeline.store.scan_records import Cursor, StreamCoverage


@dataclass(frozen=True)
class ScanPlan:
    """What is to be read, nothing where `coverage` is empty.

    `replaced` is the id of the repository that had the name before; `reads_back` where items came back unseen.
    """

    coverage: tuple[StreamCoverage, ...]
    replaced: str | None = None
    reads_back: bool = False


@dataclass(frozen=True)
class Planning:
    """What the plans of one collection share. `source_time` is the latest that cursors know of, None without any."""

    opened: OpenEpochs
    source: str
    streams: tuple[str, ...]
    windows: Sequence[EpochWindow]
    source_time: datetime | None
    full_refresh: bool = False

    @property
    def back_to(self) -> datetime:
        """From where a scan reads that can build on nothing: the first window wanted, or the oldest open epoch."""
        return min(span(self.windows).start, self.opened.start or span(self.windows).start)

    def plan(self, source_scope: str, cursors: Mapping[str, Cursor], heads: Heads | None = None) -> ScanPlan:
        """What to read of `source_scope`, more exactly where its head is known."""
        source_time = heads.began_at if heads else self.source_time
        head = heads.heads.get(source_scope) if heads else None
        replaced = replaced_id(head.source_scope_id if head else None, cursors)
        if replaced is not None:
            return self.anew(replaced)
        closing = self.opened.due(self.source, source_scope, self.streams, source_time)
        unread_from = self.opened.unread.back_to(self.source, source_scope)
        starts = [*(window.start for window in closing), *([] if unread_from is None else [unread_from])]
        if not cursors and self._is_listed(source_scope):
            starts.append(self.back_to)
        coverage = plan_scan(
            self.streams,
            cursors,
            span(self.windows),
            full_refresh=self.full_refresh,
            back_to=min(starts, default=None),
        )
        if head is not None and coverage and has_grown_without_update(head, cursors, coverage):
            return ScanPlan(self.all_open(cursors), reads_back=True)
        return ScanPlan(coverage)

    def _is_listed(self, source_scope: str) -> bool:
        """Whether nobody named it: it may have been there all the time, and is found now."""
        spec = self.opened.scope.source_spec(self.source)
        return spec is not None and source_scope in spec.listed

    def anew(self, replaced: str | None) -> ScanPlan:
        """What to read of a repository that has taken the name of `replaced`, of which nothing is known."""
        return ScanPlan(reading_from(self.streams, self.back_to), replaced=replaced)

    def all_open(self, cursors: Mapping[str, Cursor]) -> tuple[StreamCoverage, ...]:
        """Everything that open epochs hold, read once more."""
        wanted = span(self.windows)
        return plan_scan(self.streams, cursors, wanted, full_refresh=self.full_refresh, back_to=self.back_to)

    def needs_head(self, source_scope: str, cursors: Mapping[str, Cursor], *, is_alone: bool) -> bool:
        """Whether to ask what changed before a scan: always of many, which one request serves.

        A single one that only has news to read tells by its page; one for which an epoch waits may have to read more.
        """
        plan = self.plan(source_scope, cursors)
        over_by = max(self.source_time or self.windows[-1].start, self.windows[-1].start)
        waiting = self.opened.waiting(self.source, source_scope, self.streams, over_by)
        return bool(waiting) or (bool(plan.coverage) and (not is_alone or reads_back(plan.coverage, cursors)))
