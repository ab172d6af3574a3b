"""Moments, windows and look-ups that the collection tests share."""

from collections.abc import Callable
from datetime import timedelta

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window

NOW = instant("2026-02-18T12:00")
HOUR = timedelta(hours=1)
ALWAYS = EpochWindow(instant("2000-01-01"), instant("2100-01-01"))
THIS_WEEK = window("2026-02-16")
LAST_WEEK = window("2026-02-09")

Collect = Callable[..., CollectReport]


def stored_ids(ledger: PostgresLedger, within: EpochWindow = ALWAYS) -> list[str]:
    """The ids the ledger holds, by time."""
    return [event.id for event in ledger.events.within(SCOPE_ID, within)]


def counts(report: CollectReport, of: EpochWindow = THIS_WEEK) -> tuple[int, int, int]:
    """Seen, new and duplicate of one window, over all streams."""
    tally = report.tally(of, report.streams)
    return tally.seen, tally.new, tally.duplicate
