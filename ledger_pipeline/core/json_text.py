"""JSON from outside: refused by its text where it nests too deep, so that no parser is led beyond Python's stack."""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_JSON_DEPTH = 64
"""Levels of arrays and objects that JSON from outside may have: what we read has a dozen at the most."""

_ONE_SPELLING = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
# To the end of the text where no quote ends it: nothing is gone through twice.
_QUOTED = re.compile(rb'"[^"]*+"?')


def json_of(text: str | bytes, decode: Callable[[str], Any] = json.loads) -> Any:
    """What `decode` makes of `text`, which is UTF-8 where it is bytes.

    Raises ValueError, saying what is wrong, for what is no JSON, and for what nests deeper than MAX_JSON_DEPTH.
    """
    written = text if isinstance(text, str) else text.decode()
    if nests_deeper(written, MAX_JSON_DEPTH):
        raise ValueError(f"it nests deeper than {MAX_JSON_DEPTH} levels")
    return decode(written)


def nests_deeper(text: str, levels: int) -> bool:
    """Whether the brackets and braces of JSON go deeper than `levels`; nothing follows them, and time is linear."""
    if text.count("[") + text.count("{") <= levels:
        return False
    # What a backslash escapes ends no string.
    unescaped = text.replace("\\\\", "").replace('\\"', "") if "\\" in text else text
    brackets = unescaped.encode(errors="surrogatepass").translate(_ONE_SPELLING, _NEITHER_BRACKET_NOR_QUOTE)
    # Most texts hold no bracket: those are gone at once, and the others keep their place between quotes.
    brackets = _QUOTED.sub(b"", brackets.replace(b'""', b""))
    depth = 0  # of what is gone: each turn takes the innermost pairs
    while depth <= levels and b"[]" in brackets:
        brackets = brackets.replace(b"[]", b"")
        depth += 1
    return depth + brackets.count(b"[") > levels
