"""The secrets that this process knows, and text without them: whatever a message quotes, it shows none of them.

A server may repeat what it was asked with. So every error and every line that is shown goes through `without_secrets`.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import NamedTuple
from urllib.parse import quote

from ledger_pipeline.core.encoded_text import compact, readings, to_compact, without_separators

WITHHELD = "(secret)"
"""What stands where a secret stood."""

SHORTEST_CHARACTERS = 8
"""A shorter secret is withheld only inside a URL: it may be a part of any word."""

# By their form alone, each with what no text of that form is without. None begins where another of its kind could have
# begun, and none gives back what it has read: a text is gone through once, whatever is in it.
_FORMS: tuple[tuple[bytes, re.Pattern[bytes]], ...] = (
    # GitHub's tokens.
    (b"gh", re.compile(rb"\bgh[a-z]_[A-Za-z0-9_]{20,}+")),
    (b"github_pat_", re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{20,}+")),
    # `https://TOKEN@host` as well as `postgresql://name:password@host`; a name alone is a secret of no database.
    (b"://", re.compile(rb"(?i)(?<=https://)[^\s/?#]+(?=@)|(?<=http://)[^\s/?#]+(?=@)")),
    # A password may hold a bare slash, which makes it none of a URL's; what begins like a port is one.
    (b"://", re.compile(rb"(?<=://)[^\s/?#@:]*+:(?![0-9]{0,5}[/?#])(?:(?!://)\S)+(?=@)")),
    # What a URL's query, or the settings of a database's connection, log in with.
    (
        b"=",
        re.compile(
            rb"(?:(?<![A-Za-z0-9_])(?i:sslpassword|password|passwd|passphrase|pwd)"
            rb"|(?<=[?&;])(?i:(?:access_|refresh_|id_|auth_|private_|x-amz-security-)?token"
            rb"|(?:client_)?secret|api_?key|sig|x-amz-signature))"
            rb"=('(?:[^'\\]|\\.){0,2000}+'|[^\s&#\"<>]++)"
        ),
    ),
)
# Parts with dots between, as a signed token (JWT) has three; a GitHub App signs its own.
_SIGNED, _SIGNED_MARK = re.compile(rb"[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){2,}+"), b".eyJ"
# Bytes in hex with something between them, as programs show a key's fingerprint.
_HEX_IN_PAIRS = re.compile(rb"(?:(?:0x)?[0-9A-Fa-f]{2}[:,_\s-]{1,2}){7}(?:0x)?[0-9A-Fa-f]{2}")


class _Shapes(NamedTuple):
    """What the secrets look like in a reading of a text, in a compact one, and in that in lower case."""

    plain: tuple[bytes, ...]
    compact: tuple[bytes, ...]
    in_hex: tuple[bytes, ...]


class _KnownSecrets:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: set[str] = set()
        self.shapes = _Shapes((), (), ())

    def add(self, values: Iterable[str]) -> None:
        with self._lock:
            self._values.update(values)
            self.shapes = _Shapes(
                *(
                    tuple(sorted({shape for value in self._values for shape in shapes_of(value)}))
                    for shapes_of in (_plain, _in_compact, _in_hex)
                )
            )


_KNOWN = _KnownSecrets()


def keep_secret(*values: str) -> None:
    """From now on, in this process, `without_secrets` withholds these, however they are encoded.

    A value of several lines, as a key is, is withheld line by line as well.
    """
    _KNOWN.add(
        secret for value in values for secret in (value, *value.splitlines()) if len(secret) >= SHORTEST_CHARACTERS
    )


def without_secrets(text: str, first_characters: int | None = None) -> str:
    """`text` with WITHHELD in place of each secret that is known, and of what looks like one.

    However a secret is encoded, as a whole, in part, or more than once: for URLs, in HTML, JSON, hex, base64 or
    quoted-printable, in lines or not (`core/encoded_text.py`). By their looks: tokens of GitHub's, signed tokens, the
    name and password of a URL, and passwords in its query. Only the `first_characters` of `text`, where given; the rest
    is known to tell what they are a part of.
    """
    content = text.encode(errors="surrogatepass")
    kept_bytes = (
        len(content) if first_characters is None else len(text[:first_characters].encode(errors="surrogatepass"))
    )
    spans = sorted(set(_spans(content)))
    if not spans:
        return text if first_characters is None else text[:first_characters]
    pieces: list[bytes] = []
    shown_until = 0
    for start, end in spans:
        start, end = _whole_characters(content, start, end)
        if start >= kept_bytes:
            break
        if start >= shown_until:
            pieces += content[shown_until:start], WITHHELD.encode()
        shown_until = max(shown_until, end)
    pieces.append(content[shown_until:kept_bytes])
    return b"".join(pieces).decode(errors="surrogatepass")


def _spans(content: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each secret in the text; some are there more than once."""
    shapes = _KNOWN.shapes
    for reading in readings(content):
        for start, end in (*_places(reading.content, shapes.plain), *_formed(reading.content)):
            yield reading.place(start, end)
        if shapes.compact:
            squeezed = compact(reading)
            in_hex = _places(squeezed.content.lower(), shapes.in_hex)
            for start, end in (*_places(squeezed.content, shapes.compact), *in_hex):
                yield squeezed.place(start, end)
            if _HEX_IN_PAIRS.search(reading.content):
                joined = without_separators(reading)
                for start, end in _places(joined.content.lower(), shapes.in_hex):
                    yield joined.place(start, end)


def _places(content: bytes, shapes: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for shape in shapes:
        start = content.find(shape)
        while start >= 0:
            yield start, start + len(shape)
            start = content.find(shape, start + len(shape))


def _formed(content: bytes) -> Iterator[tuple[int, int]]:
    for mark, form in _FORMS:
        if mark in content:
            for formed in form.finditer(content):
                yield formed.span(formed.lastindex or 0)
    if _SIGNED_MARK in content:
        for dotted in _SIGNED.finditer(content):
            start = dotted[0].find(_SIGNED_MARK[1:])
            second = dotted[0].find(_SIGNED_MARK, start)
            if 0 <= start < second and dotted[0].find(b".", second + 1) >= 0:
                yield dotted.start() + start, dotted.end()


def _whole_characters(content: bytes, start: int, end: int) -> tuple[int, int]:
    """A span of UTF-8 that begins and ends where a character does."""
    while content[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(content) and content[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _plain(value: str) -> Iterator[bytes]:
    for content in _contents(value):
        yield content
        for decoded in (reading.content for reading in readings(content)):
            yield from _long_enough(decoded, decoded.replace(b" ", b"+"))


def _in_compact(value: str) -> Iterator[bytes]:
    quoted = (quote(value, safe="", errors="surrogatepass"), json.dumps(value)[1:-1], html.escape(value))
    for content in (*_contents(value), *(text.encode() for text in quoted)):
        yield from _long_enough(to_compact(content))
        for once in _in_base64(content):
            yield to_compact(once)
            yield from map(to_compact, _in_base64(once))


def _in_hex(value: str) -> Iterator[bytes]:
    return (content.hex().encode() for content in _contents(value))


def _contents(value: str) -> Iterator[bytes]:
    """The bytes that a value may be: in UTF-8, with half characters as they are or as the bytes they stand for; in
    UTF-16, as Windows has it."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield value.encode(encoding, errors="surrogatepass")
    if any("\udc80" <= character <= "\udcff" for character in value):
        yield b"".join(
            character.encode(errors="surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass")
            for character in value
        )
    # Where a program counts in characters, `\xe9` is one of Latin-1, and no byte of UTF-8.
    yield b"".join(
        bytes([ord(character)]) if ord(character) < 0x100 else character.encode(errors="surrogatepass")
        for character in value
    )


def _long_enough(*shapes: bytes) -> Iterator[bytes]:
    return (shape for shape in shapes if len(shape) >= SHORTEST_CHARACTERS)


def _in_base64(value: bytes) -> Iterator[bytes]:
    """Its characters inside any longer base64 text, as `Basic` holds name and password: by where it may begin."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        # Six bits a character: those that share bits with a neighbour depend on it.
        first, last = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        yield encoded[first:last]
