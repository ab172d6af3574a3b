"""One rule for the ids of users, accounts, scopes and components: each is one line of text, and looks like no other.

Ids are hashed as `{id}:{units}` lines, printed in tables and compared by people. The rule, RULE for short: in NFC, 1 to
MAX_CHARACTERS characters, none of them a colon, a control, format, bidi or other invisible character, or a space but
U+0020 in the middle. The characters are listed, so that the rule is the same under every version of Unicode; the
database has the same list (`ledger_is_id`).

What no version knows yet shows nothing either, and which these are depends on the version: what has an id keeps it, and
no new one is given out (`why_not_a_new_id`).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from unicodedata import category, is_normalized, normalize, unidata_version

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.sources import find_source_kind

RULE = "v1"
MAX_CHARACTERS = 128
MAX_ACCOUNT_DIGITS = 19
EMAIL = "email"
"""The provider of an account of which nothing is known but the hash of its e-mail (`core.co_authors`)."""

# First and last code points: colon, controls, format and bidi characters, separators, what shows nothing, private use.
FORBIDDEN: tuple[tuple[int, int], ...] = (
    *((0x00, 0x1F), (0x3A, 0x3A), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x600, 0x605), (0x61C, 0x61C)),
    *((0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2), (0x115F, 0x1160), (0x1680, 0x1680)),
    *((0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800)),
    *((0x3000, 0x3000), (0x3164, 0x3164), (0xD800, 0xF8FF), (0xFDD0, 0xFDEF), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0xFFFE, 0xFFFF), (0x110BD, 0x110BD), (0x110CD, 0x110CD)),
    *((0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF), (0xF0000, 0x10FFFF)),
)
_FORBIDDEN = re.compile(f"[{''.join(f'{re.escape(chr(first))}-{re.escape(chr(last))}' for first, last in FORBIDDEN)}]")
# Not assigned, for private use, half a character.
_NO_CHARACTERS = frozenset({"Cn", "Co", "Cs"})
_ACCOUNT = re.compile(rf"[1-9][0-9]{{0,{MAX_ACCOUNT_DIGITS - 1}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# An id with this in it ends one line of the set's hash and begins another.
_AMBIGUOUS = re.compile(r":[0-9]+\n")

# Letters that are taken for a Latin one, by their code points: of Unicode's confusables, those that keyboards have.
_LOOKS_LIKE: Mapping[str, tuple[int, ...]] = {
    "a": (0x430, 0x3B1),
    "b": (0x432, 0x44C),
    "c": (0x441,),
    "d": (0x501,),
    "e": (0x435, 0x3B5),
    "h": (0x43D, 0x4BB),
    "i": (0x456, 0x3B9),
    "j": (0x458,),
    "k": (0x43A, 0x3BA),
    "l": (0x31, 0x49, 0x7C, 0x4CF),  # one, capital i, a bar
    "m": (0x43C,),
    "n": (0x3B7,),
    "o": (0x30, 0x4F, 0x43E, 0x3BF),  # zero, capital o
    "p": (0x440, 0x3C1),
    "q": (0x51B,),
    "r": (0x433,),
    "s": (0x455,),
    "t": (0x442, 0x3C4),
    "u": (0x3C5,),
    "v": (0x3BD,),
    "w": (0x51D, 0x3C9),
    "x": (0x445, 0x3C7),
    "y": (0x443, 0x3B3),
}
_LATIN = {code_point: letter for letter, code_points in _LOOKS_LIKE.items() for code_point in code_points}


def why_not_an_id(value: str) -> str | None:
    """What keeps `value` from being an id, as the end of a sentence; None where it is one."""
    if not 0 < len(value) <= MAX_CHARACTERS:
        return f"has {len(value)} characters, not 1 to {MAX_CHARACTERS}"
    if value[0] == " " or value[-1] == " ":
        return "begins or ends with a space"
    forbidden = _FORBIDDEN.search(value)
    if forbidden is not None:
        what = "a colon" if forbidden[0] == ":" else f"U+{ord(forbidden[0]):04X}, which shows nothing or breaks lines"
        return f"has {what}"
    if not is_normalized("NFC", value):
        return "is not in NFC, so the same letters could be another id"
    return None


def why_not_a_new_id(value: str) -> str | None:
    """What keeps `value` from being given out as an id, as the end of a sentence; None where nothing does.

    Beside the rule: a code point that is no character, as far as this Python's version of Unicode knows.
    """
    return why_not_an_id(value) or unknown_character(value)


def unknown_character(value: str) -> str | None:
    """The first code point of an id that is no character, as far as this Python knows; as the end of a sentence."""
    unknown = next((character for character in value if category(character) in _NO_CHARACTERS), None)
    if unknown is None:
        return None
    return f"has U+{ord(unknown):04X}, which is no character in Unicode {unidata_version}: nobody sees it alike"


def why_not_an_account(provider: str, external_id: str) -> str | None:
    """What keeps `external_id` from being an account of `provider`; None where it is one."""
    source = find_source_kind(provider)
    if source is not None and source.has_numeric_accounts and _ACCOUNT.fullmatch(external_id) is None:
        return f"is not {provider}'s numeric id in decimal digits, the first not 0 (a login can change hands)"
    if provider == EMAIL and _SHA256.fullmatch(external_id) is None:
        return "is not the SHA-256 of an e-mail, 64 hex digits in lower case (everybody reads what is bound)"
    return why_not_an_id(external_id)


def check_id(what: str, value: str, *, is_new: bool = True) -> None:
    """Raises IdentityError, naming `what` it should be the id of, unless `value` is an id.

    One that `is_new` must have nothing but characters that are known; one that somebody has may have what was let in.
    """
    problem = why_not_a_new_id(value) if is_new else why_not_an_id(value)
    if problem is not None:
        raise IdentityError(f"{what} {quoted(value)} {problem}")


def check_binding(provider: str, external_id: str, user_id: str) -> None:
    """Raises IdentityError unless provider, account and user are ids."""
    check_id("provider", provider)
    problem = why_not_an_account(provider, external_id) or unknown_character(external_id)
    if problem is not None:
        raise IdentityError(f"{provider} account {quoted(external_id)} {problem}")
    check_id("user", user_id)


def is_ambiguous(value: str) -> bool:
    """Whether the hash of a set with this id in it is also that of a set with other ids and units."""
    return _AMBIGUOUS.search(value) is not None


def case_twins(ids: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups among `ids` that differ in upper and lower case alone; each in code-point order."""
    return _groups(ids, str.casefold)


def lookalikes(ids: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups among `ids` that people may take for each other, and that are no case twins; in code-point order.

    One that is too long to be an id is in none: to compare such takes longer than it may.
    """
    short = (value for value in ids if len(value) <= MAX_CHARACTERS)
    return [group for group in _groups(short, skeleton) if len({value.casefold() for value in group}) > 1]


def skeleton(value: str) -> str:
    """What two ids that look alike have in common.

    In order: NFKD without marks; letters that look like a Latin one as that, zero as o, one and capital i as l; case
    folded, and such letters once more; no spaces, dots, dashes or underscores; rn as m, vv as w.
    """
    plain = "".join(char for char in normalize("NFKD", value) if not category(char).startswith("M"))
    latin = plain.translate(_LATIN).casefold().translate(_LATIN)
    return re.sub(r"[\s._-]", "", latin).replace("rn", "m").replace("vv", "w")


def _groups(ids: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for value in ids:
        alike[key(value)].add(value)
    return sorted(tuple(sorted(group)) for group in alike.values() if len(group) > 1)


def broken_ids(values: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Of ids by what they are of, each that is none, as a sentence; each once."""
    for what, ids in values.items():
        for value in sorted(set(ids)):
            if (problem := why_not_an_id(value)) is not None:
                yield f"{what} {quoted(value)} {problem}"


def unknown_ids(values: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Of ids by what they are of, each that the rule lets pass and that is not given out, as a sentence; each once."""
    for what, ids in values.items():
        for value in sorted(set(ids)):
            if why_not_an_id(value) is None and (problem := unknown_character(value)) is not None:
                yield f"{what} {quoted(value)} {problem}"
