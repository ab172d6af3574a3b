"""What a collection has to read: cursors and wanted windows -> where scans start, and what they then cover."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.port import Cursor

# A source may show an update a little after the time it gives it: each scan reads back over the last minutes of
# the one before. Ids make reading twice harmless.
SCAN_OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True)
class StreamPlan:
    """One stream of a source_scope: read updates from `floor` on, and then call `covered_from` covered."""

    stream: str
    floor: datetime
    covered_from: datetime


def plan_scan(
    streams: Iterable[str], cursors: Mapping[str, Cursor], wanted: EpochWindow, *, full_refresh: bool
) -> list[StreamPlan]:
    """The streams that have to be read so that `wanted` is covered; none when all of it is.

    `cursors` are the source_scope's by stream. A window is covered once the watermark has passed its end by
    SCAN_OVERLAP; what is not is read in one go from its start, or from the cursor where coverage touches it.
    """
    plans = []
    for stream in streams:
        cursor = cursors.get(stream)
        if cursor is None or cursor.covered_from is None or full_refresh or wanted.start < cursor.covered_from:
            covered_from = wanted.start
        elif wanted.end + SCAN_OVERLAP <= cursor.watermark:
            continue
        else:
            # Never from later than the cursor: between it and the window there would be a hole for ever.
            covered_from = cursor.watermark
        if cursor is not None and cursor.covered_from is not None:
            covered_from = min(covered_from, cursor.watermark)
        plans.append(StreamPlan(stream, covered_from - SCAN_OVERLAP, covered_from))
    return plans
