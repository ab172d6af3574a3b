"""How far a collection, a backfill of facts or a computation of epochs is: bars on a terminal, else plain lines."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from ledger_pipeline.cli.output import note, on_stderr
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.defs.progress import ProgressListener, estimate_line, page_line
from ledger_pipeline.pipeline.collect import CollectEstimate
from ledger_pipeline.pipeline.facts_backfill import FactsBackfill
from ledger_pipeline.pipeline.scan import ScanProgress
from ledger_pipeline.store.records import Epoch


@contextmanager
def scan_progress() -> Iterator[ProgressListener]:
    """Shows the pages of a collection while inside: a bar per source_scope on a terminal, plain lines elsewhere."""
    if not on_stderr.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[items]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=on_stderr) as progress:
        yield _Bars(progress)


@contextmanager
def facts_progress(source: str) -> Iterator[Callable[[FactsBackfill], None]]:
    """Shows how far a backfill of facts is: a bar on a terminal, plain lines elsewhere."""
    if not on_stderr.is_terminal:
        yield lambda done: note(f"{source}: {done.looked_at} of {counted(done.wanted, 'event')}")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=on_stderr) as progress:
        task = progress.add_task(source, total=None)
        yield lambda done: progress.update(task, completed=done.looked_at, total=done.wanted)


def each_with_progress(epochs: Sequence[Epoch]) -> Iterator[Epoch]:
    """`epochs` one after another, while it shows how many of them are done: a bar on a terminal, plain lines elsewhere.

    Of a single epoch it shows nothing.
    """
    if len(epochs) < 2:
        yield from epochs
    elif on_stderr.is_terminal:
        columns = (TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=on_stderr) as progress:
            yield from progress.track(epochs)
    else:
        for done, epoch in enumerate(epochs, 1):
            yield epoch
            note(f"{epoch.window.key}: {done} of {counted(len(epochs), 'epoch')}")


class _Lines:
    def on_estimate(self, _log: logging.Logger, estimate: CollectEstimate, /) -> None:
        note(estimate_line(estimate))

    def on_page(self, _log: logging.Logger, scan: ScanProgress, /) -> None:
        note(page_line(scan))


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def on_estimate(self, _log: logging.Logger, estimate: CollectEstimate, /) -> None:
        note(estimate_line(estimate))

    def on_page(self, _log: logging.Logger, scan: ScanProgress, /) -> None:
        if scan.source_scope not in self._tasks:
            name = plain_text(scan.source_scope)
            self._tasks[scan.source_scope] = self._progress.add_task(name, total=1.0, items=counted(0, "item"))
        self._progress.update(self._tasks[scan.source_scope], completed=scan.fraction, items=counted(scan.seen, "item"))
