"""Who hears of a scan's pages while a run goes on: the run's log, or a command that shows a bar instead."""

import logging
from typing import Protocol

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.pipeline.collect import CollectEstimate
from ledger_pipeline.pipeline.scan import ScanProgress


class ProgressListener(Protocol):
    """Told before a collection starts, and after every page that is stored."""

    def on_estimate(self, log: logging.Logger, estimate: CollectEstimate, /) -> None:
        """`log` is the run's own, `estimate` what the collection is about to do and can cost."""
        ...

    def on_page(self, log: logging.Logger, scan: ScanProgress, /) -> None:
        """`log` is the run's own, `scan` where the scan stands."""
        ...


def estimate_line(estimate: CollectEstimate) -> str:
    """What a collection is about to do, in one line."""
    at_most = (
        ""
        if estimate.requests_at_most is None
        else f", at most {counted(estimate.requests_at_most, 'more API request')}"
    )
    left = "" if estimate.points_left is None else f"; {counted(estimate.points_left, 'point')} left"
    return (
        f"repositories: {estimate.to_scan} to scan{at_most}, {estimate.unchanged} unchanged, "
        f"{estimate.covered} covered already{left}"
    )


def page_line(scan: ScanProgress) -> str:
    """How far a scan is, in one line."""
    items = counted(scan.seen, "item")
    return f"{plain_text(scan.source_scope)}: page {scan.pages}, {items}, {scan.fraction:.0%} read"


class ProgressLog:
    """Writes the estimate and one line a page to the run's log."""

    def on_estimate(self, log: logging.Logger, estimate: CollectEstimate, /) -> None:
        """One line: what is to be read, and what it can cost."""
        log.info(estimate_line(estimate))

    def on_page(self, log: logging.Logger, scan: ScanProgress, /) -> None:
        """One line: the source_scope, pages and items so far, and how far back it has read."""
        log.info(page_line(scan))
