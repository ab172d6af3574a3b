"""The secrets that this process knows, and text without them: whatever a message quotes, it shows none of them.

A server may repeat what it was asked with. So every error and every line that is shown goes through `without_secrets`.
"""

import base64
import html
import json
import re
from collections.abc import Iterator
from threading import Lock
from urllib.parse import quote, quote_plus

WITHHELD = "(secret)"
"""What stands where a secret stood."""

SHORTEST_CHARACTERS = 8
"""A shorter secret is withheld only inside a URL: it may be a part of any word."""

# By their form alone: GitHub's tokens, and tokens in three signed parts (JWT), as a GitHub App signs its own.
_FORMS = (
    r"\bgh[a-z]_[A-Za-z0-9_]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
)
# `https://TOKEN@host` as well as `postgresql://name:password@host`; a name alone is a secret of no database.
_USERINFO = (
    r"(?<=https://)[^\s/?#@]{1,2000}(?=@)"
    r"|(?<=http://)[^\s/?#@]{1,2000}(?=@)"
    r"|(?<=://)[^\s/?#@:]{0,500}:[^\s/?#@]{1,1500}(?=@)"
)


class _KnownSecrets:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shapes: set[str] = set()
        self.pattern = self._compiled()

    def add(self, values: Iterator[str]) -> None:
        shapes = {shape for value in values for shape in _shapes(value)}
        with self._lock:
            if not shapes <= self._shapes:
                self._shapes |= shapes
                self.pattern = self._compiled()

    def _compiled(self) -> re.Pattern[str]:
        # The longest first, lest a part of it is withheld and the rest is shown.
        known = (re.escape(shape) for shape in sorted(self._shapes, key=len, reverse=True))
        return re.compile("|".join([*known, *_FORMS, _USERINFO]))


_KNOWN = _KnownSecrets()


def keep_secret(*values: str) -> None:
    """From now on, in this process, `without_secrets` withholds these, however they are encoded.

    A value of several lines, as a key is, is withheld line by line as well.
    """
    _KNOWN.add(part for value in values for part in (value, *value.splitlines()) if len(part) >= SHORTEST_CHARACTERS)


def without_secrets(text: str) -> str:
    """`text` with WITHHELD in place of each secret that is known, plain, URL-encoded, in JSON, HTML, hex or base64.

    Also where it was URL-encoded, or written in JSON or base64, twice. So is what looks like a token of GitHub's, and
    the name and password of a URL.
    """
    return _KNOWN.pattern.sub(WITHHELD, text)


def _shapes(value: str) -> Iterator[str]:
    yield value
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)
    # Twice, as a server that quotes a question which quoted it.
    yield quote(quote(value, safe=""), safe="")
    for written in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield written
        yield written.replace("/", "\\/")  # as PHP writes JSON
        yield json.dumps(written)[1:-1]
        yield _with_markup_escaped(written)
    yield html.escape(value)
    yield html.escape(value, quote=False)
    content = value.encode(errors="surrogateescape")
    yield content.hex()
    yield content.hex().upper()
    yield from _in_base64(content)
    yield quote(base64.b64encode(content), safe="")
    yield from _in_base64(base64.b64encode(content))


def _with_markup_escaped(written: str) -> str:
    """JSON as Go and Rails write it, which escape what HTML takes for markup: `\\u0026` for an ampersand."""
    return re.sub("[<>&']", lambda character: f"\\u{ord(character[0]):04x}", written)


def _in_base64(value: bytes) -> Iterator[str]:
    """Its characters inside any longer base64 text, as `Basic` holds name and password: by where it may begin."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        # Six bits a character: those that share bits with a neighbour depend on it.
        first, last = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        inner = encoded[first:last].decode()
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
