"""How single values of facts are read from stored JSON: each reader takes a value and its place, or refuses it by name.

They are strict, for a hash covers what they read: no number passes for a string, and no text is mended.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias, TypeVar

from ledger_pipeline.core.errors import FactsError
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.storable_text import is_storable

LONGEST_TEXT = 2000
MOST_MEMBERS = 3000
"""Of a list: GitHub tells no more changed files of a pull request, and far fewer of anything else."""

_Value = TypeVar("_Value")
Reader: TypeAlias = Callable[[object, str], _Value]

_LARGEST_COUNT = 2**31 - 1
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ITEM_NAME = re.compile(r"[^/\s#\x00-\x1f]+/[^/\s#\x00-\x1f]+#[1-9][0-9]{0,9}")


def read_object(value: object, place: str, names: Collection[str]) -> Mapping[str, Any]:
    """A JSON object that has members of these names alone, and any at all."""
    if not isinstance(value, dict) or not value:
        raise FactsError(place, "is an object with something in it")
    for name in value:
        if name not in names:
            raise FactsError(str(name) if place == "facts" else f"{place}.{name}", "is no field of these facts")
    return value


def read_user_id(value: object, place: str) -> str:
    """GitHub's numeric id of an account, as a decimal string."""
    return _matching(_USER_ID, "a numeric id, as a string of digits", value, place)


def read_email_hash(value: object, place: str) -> str:
    """SHA-256 in lower-case hex."""
    return _matching(_SHA256, "a SHA-256 in hex", value, place)


def read_sha(value: object, place: str) -> str:
    """A commit's id."""
    return _matching(_SHA, "a commit's id in hex", value, place)


def read_item_name(value: object, place: str) -> str:
    """An issue or a pull request, as `owner/repo#12`."""
    return _matching(_ITEM_NAME, "an item as owner/repo#12", value, place)


def read_text(value: object, place: str) -> str:
    """Any text that the ledger can hold."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise FactsError(place, f"is text of 1 to {LONGEST_TEXT} characters, not {quoted(str(value))}")
    if not is_storable(value):
        raise FactsError(place, "holds characters that no ledger can store")
    return value


def read_flag(value: object, place: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FactsError(place, f"is true or false, not {quoted(str(value))}")
    return value


def read_gone(value: object, place: str) -> bool:
    """True: what is there is not said to be."""
    if value is not True:
        raise FactsError(place, f"is true or left out, not {quoted(str(value))}")
    return True


def read_count(value: object, place: str) -> int:
    """A whole number, not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_COUNT:
        raise FactsError(place, f"is a number from 0 to {_LARGEST_COUNT}, not {quoted(str(value))}")
    return value


def set_of(reader: Reader[_Value]) -> Reader[tuple[_Value, ...]]:
    """A list of what `reader` reads."""

    def read(value: object, place: str) -> tuple[_Value, ...]:
        if not isinstance(value, list) or len(value) > MOST_MEMBERS:
            raise FactsError(place, f"is a list of at most {MOST_MEMBERS}")
        try:
            return tuple(reader(member, place) for member in value)
        except FactsError:
            return tuple(reader(member, f"{place}[{index}]") for index, member in enumerate(value))  # names the member

    return read


def _matching(pattern: re.Pattern[str], what: str, value: object, place: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value) or not is_storable(value):
        raise FactsError(place, f"is {what}, not {quoted(str(value))}")
    return value


def camel_case(name: str) -> str:
    """The name that a field has in JSON."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
