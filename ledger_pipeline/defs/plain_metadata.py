"""What Dagster's UI shows of text from outside: every cell, text and link of ours is made here.

The UI renders text, cells and JSON as they are, check descriptions as Markdown (`core.plain_text.as_markdown`), and
links whatever a URL's scheme is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.web_links import is_linkable


def text(value: str) -> dg.MetadataValue:
    """One value from outside."""
    return dg.MetadataValue.text(plain_text(value))


def link(url: str) -> dg.MetadataValue:
    """A URL as a link where it is one of the web, else as text."""
    return dg.MetadataValue.url(url) if is_linkable(url) else text(url)


def json(value: Any) -> dg.MetadataValue:
    """JSON whose strings, keys included, are plain."""
    return dg.MetadataValue.json(_plain(value))


def preformatted(lines: Sequence[str]) -> dg.MetadataValue:
    """Lines, plain already, that the UI shows under each other as they are.

    None may be a fence alone, which would end the block.
    """
    return dg.MetadataValue.md("\n".join(["````text", *lines, "````"]))


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dg.MetadataValue:
    """Rows of plain cells; `columns` are Dagster's types by name, which an empty table needs too."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _plain(row[name]) for name in columns}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        return {plain_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
