"""Canonical JSON, SHA-256 over it, and hashes of sets. Two machines with the same facts get the same bytes.

Canonical here: keys sorted in code-point order at every level, no white space, UTF-8 without escapes, and no
floats (a float has no one spelling; money and ids are integers or strings).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"


def canonical_json(value: Json) -> str:
    """`value` in its one spelling. Raises TypeError for a float, a non-string key or anything not JSON."""
    return json.dumps(_checked(value), separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def sha256_hex(value: Json) -> str:
    """Lower-case hex of SHA-256 over the UTF-8 bytes of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def event_set_hash(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 hex over the canonical JSON array of `[id, payload_hash]` pairs, sorted by id.

    The same set gives the same hash in whatever order it comes; the empty set has a hash of its own.
    """
    return sha256_hex([list(pair) for pair in sorted(pairs)])


def _checked(value: Json) -> Json:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"canonical JSON keys are strings, not {type(key).__name__}: {key!r}")
        return {key: _checked(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    raise TypeError(f"canonical JSON holds no {type(value).__name__}: {value!r}")
