"""The rule of ids: what it takes and refuses, that the set's hash is then of one set alone, and who looks like whom."""

from unicodedata import category, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.identifiers import (
    FORBIDDEN,
    MAX_CHARACTERS,
    case_twins,
    check_binding,
    check_id,
    is_ambiguous,
    lookalikes,
    unknown_ids,
    why_not_a_new_id,
    why_not_an_account,
    why_not_an_id,
)
from ledger_pipeline.core.pool import ALGORITHM_VERSIONS
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, allocation_set_text

EVIL = "user-ada:2000\nuser-grace"
GOOD = ["a", "ada", "Ada Lovelace", "käthe", "中文", "a-b_c.d@e/f", "did;key", "0", "x" * MAX_CHARACTERS, "\U0001f389"]
REFUSED = {
    "empty": ("", "has 0 characters"),
    "too long": ("x" * (MAX_CHARACTERS + 1), "has 129 characters, not 1 to 128"),
    "colon": ("did:key", "has a colon"),
    "line feed": ("a\nb", "U+000A"),
    "the attack": (EVIL, "has a colon"),
    "leading space": (" a", "begins or ends with a space"),
    "trailing space": ("a ", "begins or ends with a space"),
    "zero byte": ("a\x00b", "U+0000"),
    "C1": ("a\x9bb", "U+009B"),
    "no-break space": ("a\xa0b", "U+00A0"),
    "bidi": ("a\u202eb", "U+202E"),
    "zero width": ("a\u200bb", "U+200B"),
    "soft hyphen": ("a\xadb", "U+00AD"),
    "variation selector": ("a\ufe0f", "U+FE0F"),
    "hangul filler": ("a\u3164", "U+3164"),
    "tag": ("a\U000e0041", "U+E0041"),
    "half a character": ("a\ud800", "U+D800"),
    "not in NFC": ("cafe\u0301", "not in NFC"),
}

# What the rule lets in, for it is the same under every version of Unicode; nobody is given such an id.
UNKNOWN = ["a\u0378", "\U0001fffe", "a\U0002fa1e", "\u2fe0b"]

texts = st.text(st.characters(), max_size=140) | st.text("ab:\n0123456789 \u0301\u202e", max_size=12)
ids = st.text("ab01-. é中", min_size=1, max_size=6).filter(lambda value: why_not_an_id(value) is None)
sets = st.dictionaries(ids, st.integers(0, 2**63 - 1), min_size=1, max_size=6)


@pytest.mark.parametrize("value", GOOD, ids=range(len(GOOD)))
def test_ordinary_ids_are_ids(value: str) -> None:
    assert why_not_an_id(value) is None


@pytest.mark.parametrize(("value", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_hides_or_breaks_a_line_is_none(value: str, problem: str) -> None:
    assert problem in (why_not_an_id(value) or "it is taken")


def test_every_control_format_and_separator_of_unicode_is_listed() -> None:
    listed = {code_point for first, last in FORBIDDEN for code_point in range(first, last + 1)}
    hidden = {"Cc", "Cf", "Cs", "Co", "Zs", "Zl", "Zp"}
    missing = [hex(number) for number in range(0x110000) if category(chr(number)) in hidden and number not in listed]
    assert missing == ["0x20"]


@given(texts)
def test_an_id_is_printable_in_one_form_and_on_one_line(value: str) -> None:
    if why_not_an_id(value) is None:
        assert value == normalize("NFC", value) == value.strip()
        assert len(value.splitlines()) == 1
        assert ":" not in value
        assert all(category(character) not in {"Cc", "Cf", "Cs", "Co"} for character in value)


@pytest.mark.parametrize("value", UNKNOWN, ids=ascii)
def test_what_is_no_character_is_in_no_new_id(value: str) -> None:
    assert "which is no character in Unicode" in (why_not_a_new_id(value) or "it is taken")
    for refused in (
        lambda: check_id("user", value),
        lambda: check_binding("discord", value, "ada"),
        lambda: check_binding("github", "7", value),
    ):
        with pytest.raises(IdentityError, match="which is no character in Unicode"):
            refused()
    # Whoever has it keeps it.
    check_id("user", value, is_new=False)
    assert why_not_an_id(value) is None
    [problem] = unknown_ids({"user": [value, "ada", "a:b"]})
    assert problem.startswith(f"user {value!r} has U+")


@given(texts)
def test_a_new_id_has_nothing_but_characters(value: str) -> None:
    if why_not_a_new_id(value) is None:
        assert why_not_an_id(value) is None
        assert not {category(character) for character in value} & {"Cn", "Co", "Cs", "Cc", "Cf"}


def read_back(text: str) -> dict[str, int]:
    """The set that a text is of, where ids are ids."""
    return {user_id: int(units) for user_id, units in (line.split(":") for line in text.split("\n"))}


@given(sets)
def test_the_text_that_is_hashed_is_of_one_set_alone(units: dict[str, int]) -> None:
    # Whoever can be read back was not made from anything else: so two sets never have one text.
    assert read_back(allocation_set_text([UserUnits(*line) for line in units.items()])) == units


def test_without_the_rule_two_sets_have_one_hash() -> None:
    signed = [UserUnits("user-ada", 2000), UserUnits("user-grace", 500)]
    assert allocation_set_hash(signed) == allocation_set_hash([UserUnits(EVIL, 500)])
    assert is_ambiguous(EVIL)
    assert not any(map(is_ambiguous, (*GOOD, "did:key:7", "a\nb", "a:7", "a:x\nb")))


@pytest.mark.parametrize(
    "account", ["007", "\u0663", "+7", "-7", "7.0", " 7", "7\n", "0", "", "1" * 20, "ada", "\uff11"]
)
def test_an_account_of_github_is_its_number_as_github_writes_it(account: str) -> None:
    assert why_not_an_account("github", account) is not None
    with pytest.raises(IdentityError, match="github account "):
        check_binding("github", account, "ada")


def test_accounts_of_other_providers_are_ids() -> None:
    assert why_not_an_account("github", "583231") is why_not_an_account("discord", "ada") is None
    assert why_not_an_account("discord", "a:b") == "has a colon"
    for broken in (("git:hub", "7", "ada"), ("github", "7", "a:b")):
        with pytest.raises(IdentityError, match="has a colon"):
            check_binding(*broken)


def test_the_names_of_components_are_ids() -> None:
    assert [why_not_an_id(component) for component in ALGORITHM_VERSIONS] == [None] * len(ALGORITHM_VERSIONS)


def test_who_looks_like_whom_is_told() -> None:
    ids_ = [
        "ada",
        "Ada",
        "\u0430da",
        "bill",
        "bi11",
        "lan",
        "Ian",
        "modern",
        "modem",
        "grace",
        "k\xe4the",
        "kathe",
        "lin",
    ]
    assert case_twins(ids_) == [("Ada", "ada")]
    assert lookalikes(ids_) == [
        ("Ada", "ada", "\u0430da"),
        ("Ian", "lan"),
        ("bi11", "bill"),
        ("kathe", "k\xe4the"),
        ("modem", "modern"),
    ]
