"""JSON out of a database that somebody else may have written to: what nobody can use is told for what it is."""

import json
from typing import Any, NoReturn

from ledger_pipeline.core.json_text import nests_deeper

# As the database's own rule has it, for rows from before there was one.
MAX_STORED_DEPTH = 32


class UnreadableJson(dict[str, Any]):
    """Stands for JSON that whoever could write once wrote, and nobody can use: empty, for there is nothing to use."""


def read_json(stored: str | bytes) -> Any:
    """JSON as the ledger holds it; UnreadableJson where it is deeper, or its numbers others, than anything of ours."""
    text = stored if isinstance(stored, str) else stored.decode()
    try:
        if nests_deeper(text, MAX_STORED_DEPTH):
            return UnreadableJson()
        return _JSON.decode(text)
    except ValueError:  # Python reads no integer of more than 4,300 digits
        return UnreadableJson()


def _no_fraction(number: str) -> NoReturn:
    raise ValueError(f"{number[:40]} is not whole")


_JSON = json.JSONDecoder(parse_float=_no_fraction)
