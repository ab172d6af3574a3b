"""How results are printed: tables for people, JSON for programs; progress as a bar on a terminal, else as lines."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ledger_pipeline.defs.progress import ProgressListener, estimate_line
from ledger_pipeline.pipeline.collect import CollectEstimate
from ledger_pipeline.pipeline.scan import ScanProgress

# Rich takes a pipe for a terminal of 80 columns and would cut hashes and ids short.
_PIPE_WIDTH = 160

results = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


def print_json(value: object) -> None:
    """One JSON document on standard output; instants in ISO 8601, UTC."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable) + "\n")


def print_json_array(rows: Iterator[Mapping[str, object]]) -> None:
    """One JSON array on standard output, a row a line, written as rows come."""
    separator = "[\n"
    for row in rows:
        sys.stdout.write(separator + json.dumps(row, ensure_ascii=False, default=_jsonable))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table with numbers to the right; None is shown as a dash."""
    made = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", no_wrap=not numeric)
    for row in rows:
        made.add_row(*("-" if cell is None else str(cell) for cell in row))
    return made


@contextmanager
def scan_progress() -> Iterator[ProgressListener]:
    """Shows the pages of a collection while inside: a bar per source_scope on a terminal, plain lines elsewhere."""
    if not errors.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[items]} items"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        yield _Bars(progress)


class _Lines:
    def on_estimate(self, _log: logging.Logger, estimate: CollectEstimate, /) -> None:
        errors.print(estimate_line(estimate))

    def on_page(self, _log: logging.Logger, scan: ScanProgress, /) -> None:
        errors.print(f"{scan.source_scope}: page {scan.pages}, {scan.seen} items, {scan.fraction:.0%} read")


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def on_estimate(self, _log: logging.Logger, estimate: CollectEstimate, /) -> None:
        self._progress.console.print(estimate_line(estimate))

    def on_page(self, _log: logging.Logger, scan: ScanProgress, /) -> None:
        if scan.source_scope not in self._tasks:
            self._tasks[scan.source_scope] = self._progress.add_task(scan.source_scope, total=1.0, items=0)
        self._progress.update(self._tasks[scan.source_scope], completed=scan.fraction, items=scan.seen)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
