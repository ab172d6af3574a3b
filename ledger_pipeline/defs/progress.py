"""Who hears of a scan's pages while a run goes on: the run's log, or a command that shows a bar instead."""

import logging
from typing import Protocol

from ledger_pipeline.pipeline.collect import ScanProgress


class ProgressListener(Protocol):
    """Told after every page that is stored."""

    def on_page(self, log: logging.Logger, scan: ScanProgress) -> None:
        """`log` is the run's own, `scan` where the scan stands."""
        ...


class ProgressLog:
    """Writes one line a page to the run's log."""

    def on_page(self, log: logging.Logger, scan: ScanProgress) -> None:
        """One line: the source_scope, pages and items so far, and how far back it has read."""
        log.info(f"{scan.source_scope}: page {scan.pages}, {scan.seen} items, {scan.fraction:.0%} read")
