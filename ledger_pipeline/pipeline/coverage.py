"""What a collection has to read: cursors and wanted windows -> where scans start, and what they then cover."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from ledger_pipeline.core.sources import streams_by_item_kind, streams_by_name
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.sources.port import SCAN_OVERLAP as SCAN_OVERLAP
from ledger_pipeline.sources.port import Head
from ledger_pipeline.store.scan_records import Cursor, StreamCoverage


def shown_whole_at(window: EpochWindow) -> datetime:
    """From when on the source shows all of `window`: a scan that begins earlier may have missed its end."""
    return window.end + SCAN_OVERLAP


def closes_at(scope: Scope, window: EpochWindow) -> datetime:
    """The source's time from which on a closing scan of `window` may begin: past the grace, and all of it shown."""
    return max(shown_whole_at(window), window.end + timedelta(hours=scope.auto_close_grace_hours))


def plan_scan(
    streams: Iterable[str],
    cursors: Mapping[str, Cursor],
    wanted: EpochWindow,
    *,
    full_refresh: bool,
    back_to: datetime | None = None,
) -> tuple[StreamCoverage, ...]:
    """The streams that have to be read so that `wanted` is covered; none when all of it is.

    `cursors` are the source_scope's by stream. A window is covered once the watermark has passed `shown_whole_at`; what
    is not is read in one go from its start, or from the cursor where coverage touches it. With `back_to` every stream
    is read from there on at least, covered or not.
    """
    plans = []
    for stream in streams:
        cursor = cursors.get(stream)
        if cursor is None or cursor.covered_from is None or full_refresh or wanted.start < cursor.covered_from:
            covered_from = wanted.start
        elif shown_whole_at(wanted) <= cursor.watermark and back_to is None:
            continue
        else:
            # Never from later than the cursor: between it and the window there would be a hole for ever.
            covered_from = cursor.watermark
        if cursor is not None and cursor.covered_from is not None:
            covered_from = min(covered_from, cursor.watermark)
        if back_to is not None:
            covered_from = min(covered_from, back_to)
        plans.append(StreamCoverage(stream, covered_from - SCAN_OVERLAP, covered_from))
    return tuple(plans)


def reading_from(streams: Iterable[str], start: datetime) -> tuple[StreamCoverage, ...]:
    """What reads each of `streams` from `start` on, whatever is covered."""
    return tuple(StreamCoverage(stream, start - SCAN_OVERLAP, start) for stream in streams)


def reads_back(plans: Iterable[StreamCoverage], cursors: Mapping[str, Cursor]) -> bool:
    """Whether any of `plans` reads further back than where its stream's cursor stands: more than news."""
    return any(plan.stream not in cursors or plan.covered_from < cursors[plan.stream].watermark for plan in plans)


def is_unchanged(head: Head, plans: Iterable[StreamCoverage]) -> bool:
    """Whether nothing was updated since the floors of `plans`, so that a scan would find nothing."""
    for plan in plans:
        # What is counted with another stream moves its updates, and has no list of its own to ask.
        newest = head.newest.get(counted_with(plan.stream))
        if newest is not None and newest >= plan.floor:
            return False
    return True


def counted_with(stream: str) -> str:
    """The stream whose items a source counts and lists: reviews come with their pull requests."""
    kind = streams_by_name().get(stream)
    return stream if kind is None else streams_by_item_kind()[kind.item_kind][0].name


def known_source_scope_ids(cursors: Mapping[str, Cursor]) -> set[str]:
    """The ids that `cursors` are of; several where streams were read of different repositories under one name."""
    return {cursor.source_scope_id for cursor in cursors.values() if cursor.source_scope_id is not None}


def replaced_id(source_scope_id: str | None, cursors: Mapping[str, Cursor]) -> str | None:
    """The id `cursors` are of, where `source_scope_id` is known to be another one, or they are of several."""
    known_ids = known_source_scope_ids(cursors)
    if source_scope_id is None and len(known_ids) < 2:
        return None
    return max(known_ids - {source_scope_id}, default=None)


def known_totals(cursors: Mapping[str, Cursor]) -> dict[str, int]:
    """How many items the source counted when `cursors` were last moved, the least where streams differ."""
    totals: dict[str, int] = {}
    for stream, cursor in cursors.items():
        if cursor.source_total is not None:
            counted = counted_with(stream)
            totals[counted] = min(totals.get(counted, cursor.source_total), cursor.source_total)
    return totals


def has_grown_unseen(totals: Mapping[str, int], accounted: Mapping[str, int]) -> bool:
    """Whether the source counts more items than are `accounted` for: those known before, and those made since.

    Then an older item has come back, with its old update maybe: an account or a spam flag was undone, a permission was
    given. That others were updated meanwhile explains nothing, for they were counted before.
    """
    return any(total > accounted.get(stream, total) for stream, total in totals.items())


def has_grown_without_update(head: Head, cursors: Mapping[str, Cursor], plans: Iterable[StreamCoverage]) -> bool:
    """Whether a total grew although nothing was updated since the floor of its plan."""
    idle = [plan.stream for plan in plans if is_unchanged(head, [plan])]
    return has_grown_unseen(head.totals, known_totals({name: cursors[name] for name in idle if name in cursors}))


def can_go_on(begun: Sequence[StreamCoverage], plans: Sequence[StreamCoverage]) -> bool:
    """Whether a scan of `begun` reads nothing but what `plans` ask for, of some of their streams."""
    return bool(begun) and set(begun) <= set(plans)
