"""Text from outside as plain text: what cannot be seen, or would act on whoever shows it, becomes a visible escape.

Escaped are control characters (C0, DEL, C1: a terminal acts on them), bidirectional marks and other format
characters, characters without a look of their own (zero-width, fillers, variation selectors, unassigned), every space
but the common one, and lone surrogates, which no encoding takes. Letters of different scripts that look alike are not
told apart. Secrets that this process knows are withheld first (`core/known_secrets.py`).
"""

import re
import unicodedata
from collections.abc import Callable

from ledger_pipeline.core.known_secrets import without_secrets

CUT = "\N{HORIZONTAL ELLIPSIS}"
"""What a bounded text ends with where something is left out."""

# Letters, marks and symbols by category, which nevertheless are shown as nothing.
_BLANK = frozenset(
    map(chr, [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10)])
) | frozenset(map(chr, [0xFFA0, *range(0xE0100, 0xE01F0)]))
_QUOTED_CHARACTERS = 300
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_LONGEST_SECRET = 10_000
_SPACES = re.compile(r"\s+")
_LINE_END = re.compile(r"[\n\r\v\f\x85\u2028\u2029]")
# Beyond these, Markdown on one line has no syntax; an underscore inside of a word has no meaning either.
_MARKDOWN = re.compile(r"[\\`*\[\]<>&~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain_text(value: str, at_most: int | None = None, can_show: Callable[[str], bool] = str.isprintable) -> str:
    r"""One value on one line, so that two different values never read alike: ESC as `\x1b`, a backslash as `\\`.

    Spaces at either end are escaped as well, and so is everything beyond ASCII where the value is not in Unicode's
    composed form (NFC), for it reads like the composed one. One longer than `at_most` characters is cut, and ends in
    CUT. A character that `can_show` denies is escaped as well.
    """
    head = _head(value, at_most)
    if at_most is None and head.isascii() and head.isprintable() and "\\" not in head and head == head.strip(" "):
        return head  # as nearly every value is: a backfill shows tens of thousands
    plain = unicodedata.is_normalized("NFC", head)
    inner = head.strip(" ")
    before, after = (head.partition(inner)[::2]) if inner else (head, "")
    pieces = [*(r"\x20" for _ in before)]
    pieces += [
        r"\\" if character == "\\" else _piece(character, plain=plain and can_show(character)) for character in inner
    ]
    pieces += [r"\x20" for _ in after]
    return _joined(pieces, at_most)


def plain_message(text: str, at_most: int | None = None) -> str:
    r"""A whole message, which may quote values that are plain already, on one line: line ends become a space.

    Backslashes stay, so that doing it again changes nothing. One longer than `at_most` characters is cut, and ends in
    CUT.
    """
    one_line = _head(text, at_most)
    if _LINE_END.search(one_line) is not None:
        one_line = _SPACES.sub(_joined_lines, one_line)
    one_line = one_line.replace("\t", " ").strip()
    if one_line.isascii() and one_line.isprintable() and (at_most is None or len(one_line) <= at_most):
        return one_line
    return _joined([_piece(character, plain=True) for character in one_line], at_most)


def quoted(value: str) -> str:
    """A value in quotes inside of a message: no more of it than there is room for."""
    # A secret is known by what follows it too.
    return short_message(repr(value[: 4 * _QUOTED_CHARACTERS + _LONGEST_SECRET]))


def short_message(value: str) -> str:
    """A value inside of a message without quotes: as `quoted`, no more of it than there is room for."""
    return plain_message(value, _QUOTED_CHARACTERS)


def as_markdown(message: str) -> str:
    """A whole message as `plain_message` has it, for who takes it for Markdown: written so that it reads as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", plain_message(message))


def plain_lines(text: str) -> str:
    """Text of several lines, as a traceback, with its line feeds and indentation and nothing else that acts."""
    return "\n".join(
        "".join(_piece(character, plain=True) for character in line.expandtabs(4))
        for line in without_secrets(text).split("\n")
    )


def _joined_lines(spaces: re.Match[str]) -> str:
    return spaces[0] if _LINE_END.search(spaces[0]) is None else " "


def _piece(character: str, *, plain: bool) -> str:
    shown = character.isascii() or plain
    if shown and character.isprintable() and character not in _BLANK:
        return character
    number = ord(character)
    if number <= 0xFF:
        return _NAMED.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _head(text: str, at_most: int | None) -> str:
    """What can matter of `text`: a message of megabytes is not worked through for its first line.

    Secrets are withheld before anything is cut or escaped: the half of one is known by no form.
    """
    if at_most is None:
        return without_secrets(text)
    return without_secrets(text[: 4 * at_most + _LONGEST_SECRET], 4 * at_most)


def _joined(pieces: list[str], at_most: int | None) -> str:
    joined = "".join(pieces)
    if at_most is None or len(joined) <= at_most:
        return joined
    kept, length = [], 0
    for piece in pieces:  # an escape is left out as a whole
        length += len(piece)
        if length > at_most - len(CUT):
            break
        kept.append(piece)
    return "".join(kept) + CUT
