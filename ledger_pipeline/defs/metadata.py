"""What a materialization says: numbers somebody will act on, as Dagster metadata. No counting of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

import dagster as dg

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import plain_message, plain_text
from ledger_pipeline.core.sources import streams_by_name
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import (
    BACKFILL_TAG,
    RUN_UNREAD,
    SCHEDULE_TAG,
    SENSOR_TAG,
    TRIGGER_TAG,
    WORKFLOW_ID_TAG,
    WORKFLOW_URL_TAG,
    StreamCounts,
)
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.receipts import receipts_table
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.epoch_state import activity_numbers
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.pipeline.unread import unread_summary
from ledger_pipeline.store.records import AppendOutcome, Epoch, FactsCount, WindowDigest
from ledger_pipeline.store.scan_records import Cursor, WindowReceipt

_CURSOR_COLUMNS = {
    "source_scope": "string",
    "outcome": "string",
    "cursor_from": "string",
    "cursor_to": "string",
    "covered_from": "string",
    "pages": "int",
    "api_requests": "int",
}

OTHER_EPOCHS_NAMED = 20

Metadata: TypeAlias = dict[str, dg.MetadataValue | str | int | bool]


@dataclass(frozen=True)
class PartitionState:
    """A window as an asset shows it; `content` is what steps after it depend on, and nothing that changes without."""

    window: EpochWindow
    metadata: Metadata
    content: Json

    def asked_for_by(self, trigger: str) -> "PartitionState":
        """The same, and who asked for it."""
        return replace(self, metadata={**self.metadata, "trigger": trigger})


def stream_state(
    report: CollectReport,
    window: EpochWindow,
    stream: str,
    receipts: Sequence[WindowReceipt],
    held: Mapping[str, int],
    added_to_others: Metadata,
    run_tags: Mapping[str, str],
) -> PartitionState:
    """One stream of one window: what the ledger holds, what this run did, how far the cursors are, what the run cost.

    `held` are the window's events in the ledger by type, `added_to_others` what `added_to_other_epochs` says. No event
    changes or goes: as many of a stream are the same ones.
    """
    tally = report.tally(window, [stream])
    counts = StreamCounts(
        seen=tally.seen,
        new=tally.new,
        duplicate=tally.duplicate,
        renamed=tally.outcomes[AppendOutcome.RENAMED],
        skipped=tally.skipped.total(),
        late=tally.outcomes[AppendOutcome.LATE],
        replaced=tally.outcomes[AppendOutcome.REPLACED],
        conflict=tally.outcomes[AppendOutcome.CONFLICT],
    )
    until = report.complete_until([stream])
    kind = streams_by_name()[stream]
    in_ledger = held.get(kind.event_type, 0)
    unread = [row for row in report.unread if row.item.key.kind == kind.item_kind and row.item.may_touch(window)]
    metadata: Metadata = {
        **_window(window),
        "in_ledger": in_ledger,
        "in_ledger_before_this_run": in_ledger - tally.new,
        # False where coverage reached the whole window already: nothing was asked, so nothing can be seen.
        "asked": not report.asked_nothing,
        **counts.metadata(),
        "skipped_by_reason": plain.json(dict(sorted(tally.skipped.items()))),
        "window_complete": until is not None and until >= shown_whole_at(window) and not unread,
        "unread": len(unread),
        "receipts": receipts_table(receipts),
        "cursors": _cursors(report, stream),
        "run_api_requests": report.requests,
        "run_api_points": report.points,
        "trigger": run_trigger(run_tags),
        **_workflow(run_tags),
    }
    if report.unread:
        metadata[RUN_UNREAD] = plain_message(unread_summary(report.unread))
    if report.points_left is not None:
        metadata["rate_limit_left"] = report.points_left
    if report.renamed:
        metadata["renamed_repositories"] = plain.json(report.renamed)
    if report.replaced:
        metadata["replaced_repositories"] = plain.json(
            {name: {"id_before": before, "id_now": now} for name, (before, now) in report.replaced.items()}
        )
    if report.found:
        metadata["found_repositories"] = plain.json(list(report.found))
    if report.gone:
        metadata["gone_repositories"] = plain.json(list(report.gone))
    if report.read_back:
        metadata["read_back_repositories"] = plain.json(report.read_back)
    return PartitionState(window, {**metadata, **added_to_others}, {"in_ledger": in_ledger})


def added_to_other_epochs(report: CollectReport) -> Metadata:
    """What the run added to epochs that it was not asked for, the latest by name: the same for each of its partitions.

    Each of them has it, so it is made once, and no longer than somebody reads.
    """
    added = report.added_elsewhere()
    if not added:
        return {}
    earlier = list(added)[:-OTHER_EPOCHS_NAMED]
    named: dict[str, int | str] = {window.key: added[window] for window in list(added)[-OTHER_EPOCHS_NAMED:]}
    if earlier:
        named["before"] = f"{sum(added[window] for window in earlier)} in {counted(len(earlier), 'earlier epoch')}"
    return {"run_added_to_other_epochs": plain.json(named)}


def digest_metadata(
    digest: WindowDigest,
    epoch: Epoch | None,
    scope: Scope,
    completeness: Completeness,
    now: datetime,
    facts: FactsCount,
    run_tags: Mapping[str, str],
) -> Metadata:
    """What `activity_numbers` says of a window, as Dagster shows it, and who asked for the run."""
    numbers = activity_numbers(digest, epoch, scope, completeness, now, facts)
    return {
        **{label: shown(value) for label, value in numbers.items()},
        "trigger": run_trigger(run_tags),
        **_workflow(run_tags),
    }


def shown(value: "Json | datetime") -> dg.MetadataValue | str | int | bool:
    """A plain value as Dagster shows it. Text is plain already, but for what stands inside of JSON."""
    if isinstance(value, datetime):
        return dg.MetadataValue.timestamp(value)
    return value if isinstance(value, str | int) else plain.json(value)


def run_trigger(run_tags: Mapping[str, str]) -> str:
    """Who asked for the run, from its tags: what its launcher says, a Dagster schedule or backfill, or a person."""
    for tag, trigger in (
        (TRIGGER_TAG, run_tags.get(TRIGGER_TAG, "")),
        (SCHEDULE_TAG, "dagster schedule"),
        (SENSOR_TAG, "dagster sensor"),
        (BACKFILL_TAG, "dagster backfill"),
    ):
        if tag in run_tags:
            return plain_text(trigger)
    return "manual"


def _workflow(run_tags: Mapping[str, str]) -> Metadata:
    """The Temporal workflow that asked for the run, as a link where its UI is known; nothing where none did."""
    if WORKFLOW_ID_TAG not in run_tags:
        return {}
    if WORKFLOW_URL_TAG in run_tags:
        return {"temporal_workflow": plain.link(run_tags[WORKFLOW_URL_TAG])}
    return {"temporal_workflow": plain.text(run_tags[WORKFLOW_ID_TAG])}


def _window(window: EpochWindow) -> Metadata:
    return {
        "window_start": dg.MetadataValue.timestamp(window.start),
        "window_end": dg.MetadataValue.timestamp(window.end),
    }


def _cursors(report: CollectReport, stream: str) -> dg.MetadataValue:
    """A table: for each source_scope, from where to where its cursor moved, and what reading it cost."""
    rows = [
        {
            "source_scope": scope_report.source_scope,
            "cursor_from": _watermark(scope_report.before.get(stream)),
            "cursor_to": _watermark(scope_report.after.get(stream)),
            "covered_from": _covered_from(scope_report.after.get(stream)),
            "outcome": f"{scope_report.outcome}, resumed" if scope_report.resumed else scope_report.outcome.value,
            "pages": scope_report.pages,
            "api_requests": scope_report.requests,
        }
        for scope_report in report.source_scopes
    ]
    return plain.table(rows, _CURSOR_COLUMNS)


def _watermark(cursor: Cursor | None) -> str:
    return cursor.watermark.isoformat() if cursor else "never read"


def _covered_from(cursor: Cursor | None) -> str:
    return cursor.covered_from.isoformat() if cursor and cursor.covered_from else "nothing"
