r"""What a text says once it is decoded, and where in it that stands: `%67`, `&#103;`, `\u0067` and `g` are one letter.

Whoever quotes a text may encode it: wholly, in part, twice, in lines of 76 characters. So a text is not looked through
for each way to write something: it is decoded, and what is found leads back to where it came from. Everything takes
time in proportion to the text.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from html.entities import html5

PASSES = 4
"""How often a text is decoded: an error may quote a question that quoted an answer."""

_ESCAPE = re.compile(
    rb"%(?P<byte>[0-9A-Fa-f]{2})"
    rb"|%u(?P<old>[0-9A-Fa-f]{4})"
    rb"|&#(?P<decimal>[0-9]{1,10});?"
    rb"|&#[xX](?P<hex>[0-9A-Fa-f]{1,8});?"
    rb"|&(?P<entity>[A-Za-z][A-Za-z0-9]{1,31};)"
    rb"|\\u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    rb"|\\u(?P<unicode>[0-9A-Fa-f]{4})"
    rb"|\\u\{(?P<braces>[0-9A-Fa-f]{1,6})\}"
    rb"|\\U(?P<long>[0-9A-Fa-f]{8})"
    rb"|\\x(?P<escaped>[0-9A-Fa-f]{2})"
    rb"|\\(?P<octal>[0-3][0-7]{2})"
    rb"|\\(?P<control>[abfnrtv])"
    rb"|\\(?P<itself>[!-/:-@\[-`{-~])"
)
_QUOTED_PRINTABLE = re.compile(rb"=(?:(?P<byte>[0-9A-Fa-f]{2})|[ \t]*\r?\n)")
_SPACE = re.compile(rb"[ \t\n\v\f\r]+")
_SEPARATORS = re.compile(rb"[\s:,_-]+|0x")
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_CONTROLS = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


class Reading:
    """A text in UTF-8, decoded a number of times."""

    def __init__(self, content: bytes, of: "Reading | None" = None, decoding: "_Decoding | None" = None) -> None:
        self.content = content
        self._of, self._decoding = of, decoding

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text itself what stands from `start` to before `end` comes from; an escape as a whole."""
        if self._of is None:
            return start, end
        return self._of.place(self._before(start)[0], self._before(end - 1)[1])

    def _before(self, position: int) -> tuple[int, int]:
        """From where to where the reading before holds what became the byte at `position`."""
        starts, changes = self._changes
        number = bisect_right(starts, position) - 1
        if number < 0:
            return position, position + 1
        start, length, source_start, source_end = changes[number]
        if position < start + length:
            return source_start, source_end
        source = source_end + position - start - length
        return source, source + 1

    @cached_property
    def _changes(self) -> tuple[list[int], list[tuple[int, int, int, int]]]:
        """Of each escape: where what it stands for starts and how long that is, and from where to where it stood."""
        starts: list[int] = []
        changes: list[tuple[int, int, int, int]] = []
        if self._of is not None and self._decoding is not None:
            longer = 0  # by how much the source is, up to here
            for escape in self._decoding.pattern.finditer(self._of.content):
                length = len(self._decoding.decoded(escape))
                start, end = escape.span()
                starts.append(start - longer)
                changes.append((start - longer, length, start, end))
                longer += end - start - length
        return starts, changes


class _Decoding:
    def __init__(self, pattern: re.Pattern[bytes], decoded: Callable[[re.Match[bytes]], bytes]) -> None:
        self.pattern, self.decoded = pattern, decoded

    def of(self, reading: Reading) -> Reading | None:
        """What `reading` says decoded; None where nothing in it is encoded so."""
        content, changes = self.pattern.subn(self.decoded, reading.content)
        return Reading(content, reading, self) if changes else None


def readings(text: bytes) -> Iterator[Reading]:
    """A text as it is, and each time it is decoded: URLs, HTML, JSON and what programs write; and quoted-printable."""
    plain: Reading | None = Reading(text)
    for _ in range(PASSES):
        if plain is None:
            break
        yield plain
        printable = _OF_MAIL.of(plain)
        if printable is not None:
            yield printable
        plain = _OF_ESCAPES.of(plain)
    else:
        if plain is not None:
            yield plain


def compact(reading: Reading) -> Reading:
    """`reading` as `to_compact` has it: base64 and hex may have line ends anywhere."""
    return Reading(to_compact(reading.content), reading, _OF_SPACE)


def without_separators(reading: Reading) -> Reading:
    """`reading` without what stands between bytes in hex."""
    return Reading(_SEPARATORS.sub(b"", reading.content), reading, _OF_SEPARATORS)


def to_compact(content: bytes) -> bytes:
    """`content` as a compact reading has it: without spaces, in base64's first alphabet."""
    return b"".join(content.split()).translate(_URL_ALPHABET)


def _character(escape: re.Match[bytes]) -> bytes:
    kind, value = escape.lastgroup, escape[escape.lastindex or 0]
    if kind in {"byte", "escaped"}:
        return bytes([int(value, 16)])
    if kind == "entity":
        named = html5.get(value.decode())
        return escape[0] if named is None else named.encode()
    if kind == "octal":
        return bytes([int(value, 8)])
    if kind == "control":
        return bytes([_CONTROLS[value[0]]])
    if kind == "itself":
        return value
    if kind == "low":
        number = 0x10000 + ((int(escape["high"], 16) & 0x3FF) << 10) + (int(value, 16) & 0x3FF)
    else:
        number = int(value, 10 if kind == "decimal" else 16)
    return chr(number).encode(errors="surrogatepass") if number <= 0x10FFFF else escape[0]


def _byte_or_nothing(escape: re.Match[bytes]) -> bytes:
    return b"" if escape["byte"] is None else bytes([int(escape["byte"], 16)])


_OF_ESCAPES = _Decoding(_ESCAPE, _character)
_OF_MAIL = _Decoding(_QUOTED_PRINTABLE, _byte_or_nothing)
_OF_SEPARATORS = _Decoding(_SEPARATORS, lambda _: b"")
_OF_SPACE = _Decoding(_SPACE, lambda _: b"")
