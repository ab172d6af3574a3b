"""How results are printed: tables for people, JSON for programs.

Whatever a command prints goes through here, and nothing in it is ever markup: a value in a table is shown by
`plain_text`, a line by `plain_message`, and JSON escapes by its own rules.
"""

import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from types import TracebackType
from uuid import UUID

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger_pipeline.core.plain_text import plain_lines, plain_message, plain_text

# Rich takes a pipe for a terminal of 80 columns and would fold hashes and ids.
_PIPE_WIDTH = 160
_ERROR_LENGTH = 10_000


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


on_stdout = _console(stderr=False)
on_stderr = _console(stderr=True)


def say(line: str) -> None:
    """One line on standard output."""
    on_stdout.print(plain_message(line), soft_wrap=True)


def say_exactly(message: str) -> None:
    """A message that another program takes to the byte, with no line end of ours; nothing in it may act on a terminal.

    Raises ValueError for one in which something would.
    """
    if plain_lines(message) != message:
        raise ValueError("a message that would act on the terminal is not printed")
    sys.stdout.write(message)


def note(line: str) -> None:
    """One line on standard error, beside the results."""
    on_stderr.print(plain_message(line), soft_wrap=True)


def say_error(problem: str) -> None:
    """`error: ` and the problem, as one line on standard error."""
    on_stderr.print(Text.assemble(("error:", "bold red"), " ", plain_message(problem, _ERROR_LENGTH)), soft_wrap=True)


def log_line(name: str, colour: str, line: str) -> None:
    """A line that a part of the stack logged, on standard error, behind the part's name."""
    on_stderr.print(Text.assemble((f"{plain_text(name):>12}", colour), " ", plain_lines(line)), soft_wrap=True)


def print_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A `sys.excepthook` that prints the traceback as Python does, but nothing that acts on the terminal."""
    for lines in traceback.format_exception(kind, error, trace):
        on_stderr.print(plain_lines(lines.rstrip("\n")), soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on standard output, in ASCII; instants in ISO 8601, UTC."""
    sys.stdout.write(json.dumps(value, indent=2, default=_jsonable) + "\n")


def print_json_array(rows: Iterator[Mapping[str, object]]) -> None:
    """One JSON array on standard output, in ASCII, a row a line, written as rows come."""
    separator = "[\n"
    for row in rows:
        sys.stdout.write(separator + json.dumps(row, default=_jsonable))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def coloured(value: str, style: str) -> Text:
    """A cell of a table in a colour."""
    return Text(plain_text(value), style)


def sentence(message: str) -> Text:
    """A cell of a table that is a whole message, which may quote values that are plain already."""
    return Text(plain_message(message))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output, with numbers to the right; values that are too wide go on in the next line.

    A cell that is None is shown as a dash; one that is a tuple has a line for each of its values.
    """
    _print_table(on_stdout, title, columns, rows)


def note_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The same on standard error, beside the results."""
    _print_table(on_stderr, title, columns, rows)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    # A line of its own: Rich folds a table's title to the width of the table, however narrow that is.
    console.print(Text(plain_message(title), "italic"), soft_wrap=True)
    made = Table()
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        numeric = all(isinstance(cell, int | None) for cell in cells) and any(cell is not None for cell in cells)
        made.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    console.print(made)


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, tuple):
        return Text("\n").join(map(_cell, value))
    return Text("-" if value is None else plain_text(str(value)))


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
