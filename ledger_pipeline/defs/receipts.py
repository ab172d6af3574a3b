"""Completeness receipts as people see them: a table for each partition and stream, a row for each source_scope."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.pipeline.completeness import utc_text
from ledger_pipeline.store.scan_records import WindowReceipt

# What people look for first stands first: a laptop shows no more than about six of them without scrolling.
_COLUMNS = {
    "source_scope": "string",
    "seen": "int",
    "kept": "int",
    "skipped": "string",
    "rejected": "int",
    "covered_from": "string",
    "covered_to": "string",
    "scans": "int",
    "pages": "int",
    "source_total": "int",
    "first_updated_at": "string",
    "last_updated_at": "string",
    "set_hash": "string",
}


def receipts_table(receipts: Sequence[WindowReceipt]) -> dg.MetadataValue:
    """What proves that a window is complete, by source_scope. A source_scope without a row was never looked at."""
    return plain.table([_row(receipt) for receipt in receipts], _COLUMNS)


def receipts_by_partition(receipts: Sequence[WindowReceipt]) -> dict[tuple[EpochWindow, str], list[WindowReceipt]]:
    """Receipts by the window and stream they are of, each list in the order given."""
    by_window_and_stream: dict[tuple[EpochWindow, str], list[WindowReceipt]] = {}
    for receipt in receipts:
        by_window_and_stream.setdefault((receipt.window, receipt.stream), []).append(receipt)
    return by_window_and_stream


def _row(receipt: WindowReceipt) -> dict[str, str | int | None]:
    return {
        "source_scope": receipt.source_scope,
        "covered_from": utc_text(receipt.covered_from),
        "covered_to": utc_text(receipt.covered_to),
        "scans": receipt.scans,
        "pages": receipt.pages,
        "seen": receipt.seen,
        "kept": receipt.kept,
        "skipped": ", ".join(f"{reason} {count}" for reason, count in sorted(receipt.skipped_by_reason.items())),
        "rejected": receipt.rejected,
        "first_updated_at": _text(receipt.first_updated_at),
        "last_updated_at": _text(receipt.last_updated_at),
        "source_total": receipt.source_total,
        "set_hash": receipt.set_hash,
    }


def _text(instant: datetime | None) -> str | None:
    return utc_text(instant) if instant else None
