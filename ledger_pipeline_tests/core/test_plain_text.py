"""Text from outside, shown: nothing acts on whoever shows it, and different values read differently."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.plain_text import CUT, plain_message, plain_text

ANY_TEXT = st.text(st.characters(codec=None))
LOOK_ALIKES = ("\\", " ", "x", "1", "b", "n", "e", "\u0301", "\xe9", "\u200d", "\x1b", "\n", "\u202e", "\ufe0f", "\xa0")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("mo", "mo"),
        ("[/x] [a]core {b} $c$ <i>", "[/x] [a]core {b} $c$ <i>"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202egnp", r"a\u202egnp"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u0000b\nc\rd\te", r"a\x00b\nc\rd\te"),
        ("\ud83d", r"\ud83d"),
        ("a\U000e0041", r"a\U000e0041"),
        ("a\xa0b\u3000c", r"a\xa0b\u3000c"),
        ("a\u3164", r"a\u3164"),
        (r"\x1b", r"\\x1b"),
        (" mo  so ", r"\x20mo  so\x20"),
        ("  ", r"\x20\x20"),
        ("", ""),
        ("Jos\xe9 \u4e2d\u6587 \u0645 \U0001f389", "Jos\xe9 \u4e2d\u6587 \u0645 \U0001f389"),
        ("Jose\u0301", r"Jose\u0301"),
        ("\u212b", r"\u212b"),  # the sign of the unit, which reads like the letter
    ],
)
def test_a_value_is_shown_with_what_cannot_be_seen_as_escapes(value: str, shown: str) -> None:
    assert plain_text(value) == shown


@given(ANY_TEXT)
def test_whatever_comes_is_printable_and_in_an_encoding(value: str) -> None:
    for shown in (plain_text(value), plain_message(value)):
        assert shown.isprintable()
        shown.encode()
        assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"} for character in shown)


@given(st.lists(st.text(st.sampled_from(LOOK_ALIKES)), min_size=2, unique=True))
def test_different_values_are_shown_differently(values: list[str]) -> None:
    shown = [unicodedata.normalize("NFC", plain_text(value)) for value in values]
    assert len(set(shown)) == len(values)


@given(ANY_TEXT)
def test_a_message_that_is_plain_stays_as_it_is(text: str) -> None:
    assert plain_message(plain_message(text)) == plain_message(text)


def test_a_message_is_one_line() -> None:
    assert plain_message("not YAML:\n  line 1\r\n\r\n  line\t2\x1b[2J\n") == r"not YAML: line 1 line 2\x1b[2J"


def test_a_message_keeps_the_escapes_of_the_values_it_quotes() -> None:
    assert plain_message(f"no such user: {plain_text(chr(27))}") == r"no such user: \x1b"


@given(ANY_TEXT, st.integers(1, 12))
def test_a_bounded_text_is_never_longer(value: str, at_most: int) -> None:
    assert len(plain_text(value, at_most)) <= at_most
    assert len(plain_message(value, at_most)) <= at_most


def test_what_is_cut_says_so_and_cuts_no_escape_in_two() -> None:
    assert plain_text("a" * 10, 10) == "a" * 10
    assert plain_text("a" * 11, 10) == "a" * 9 + CUT
    assert plain_text("ab\x1b\x1bcd", 8) == rf"ab\x1b{CUT}"
    assert plain_message("x" * 5_000_000, 300) == "x" * 299 + CUT
