"""Text that the ledger can hold: what no database or encoding takes is replaced by U+FFFD.

Postgres refuses NUL in text and in JSON, and UTF-8 has no place for half a surrogate pair; both come from outside.
Text that a hash covers is never replaced, for it would hash to something else.
"""

import re
from collections.abc import Mapping

from ledger_pipeline.core.hashing import Json

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(value: Json) -> bool:
    """Whether the ledger can hold `value` as it is, and everything in it."""
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is None
    if isinstance(value, Mapping):
        return all(is_storable(key) and is_storable(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_storable, value))
    return True


def storable_text(text: str) -> str:
    """`text`, each character that cannot be stored replaced by U+FFFD."""
    return _UNSTORABLE.sub(REPLACEMENT, text)
