"""What a collection has to read: cursors and wanted windows -> where scans start, and what they then cover."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from ledger_pipeline.core.events import PULL_REQUESTS, REVIEWS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.sources.port import Head
from ledger_pipeline.store.port import Checkpoint, Cursor, StreamCoverage

# A source may show an update a little after the time it gives it: each scan reads back over the last minutes of
# the one before. Ids make reading twice harmless.
SCAN_OVERLAP = timedelta(minutes=10)

# A checkpoint older than this is not resumed: repeating the scan is safer than trusting the source's page cursor.
CHECKPOINT_LIFETIME = timedelta(days=1)


def plan_scan(
    streams: Iterable[str], cursors: Mapping[str, Cursor], wanted: EpochWindow, *, full_refresh: bool
) -> tuple[StreamCoverage, ...]:
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
        plans.append(StreamCoverage(stream, covered_from - SCAN_OVERLAP, covered_from))
    return tuple(plans)


def reads_back(plans: Iterable[StreamCoverage], cursors: Mapping[str, Cursor]) -> bool:
    """Whether any of `plans` reads further back than where its stream's cursor stands: more than news."""
    return any(plan.stream not in cursors or plan.covered_from < cursors[plan.stream].watermark for plan in plans)


def is_unchanged(head: Head, plans: Iterable[StreamCoverage]) -> bool:
    """Whether nothing was updated since the floors of `plans`, so that a scan would find nothing."""
    for plan in plans:
        # A review moves its pull request's update, and has no list of its own to ask.
        newest = head.newest.get(PULL_REQUESTS if plan.stream == REVIEWS else plan.stream)
        if newest is not None and newest >= plan.floor:
            return False
    return True


def can_resume(checkpoint: Checkpoint | None, plans: tuple[StreamCoverage, ...]) -> bool:
    """Whether the checkpoint is of a scan that reads exactly what `plans` ask for."""
    return checkpoint is not None and set(checkpoint.coverage) == set(plans)


def has_expired(checkpoint: Checkpoint, now: datetime) -> bool:
    """Whether the checkpoint is too old to trust at `now`, the source's time."""
    return now - checkpoint.saved_at > CHECKPOINT_LIFETIME
