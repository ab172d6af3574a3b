"""JSON from outside is measured by its text before anything parses it: too deep, it is refused in one sentence."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.json_text import MAX_JSON_DEPTH, json_of, nests_deeper

# Brackets, quotes and backslashes within strings open and close nothing.
texts = st.text(st.sampled_from('[]{}"\\aé\ud800\n'), max_size=6)
values = st.recursive(
    texts | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def levels(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_a_value_is_as_deep_as_its_text_says(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    depth = levels(value)
    assert not nests_deeper(text, depth)
    assert depth == 0 or nests_deeper(text, depth - 1)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"b\\"]":', "[ \n "])
def test_what_nests_as_deep_as_it_may_is_read_and_one_level_more_is_refused(opening: str) -> None:
    levels_each = opening.count("[", 0, 1) + opening.count("{")
    closing = "".join({"[": "]", "{": "}"}[bracket] for bracket in reversed(opening) if bracket in "[{")
    deepest = opening * (MAX_JSON_DEPTH // levels_each) + "1" + closing * (MAX_JSON_DEPTH // levels_each)
    assert levels(json_of(deepest.encode())) == MAX_JSON_DEPTH
    with pytest.raises(ValueError, match=f"^it nests deeper than {MAX_JSON_DEPTH} levels$"):
        json_of(f"[{deepest}]")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[[]," * 200_000, '["\\"",' * 200_000])
def test_what_never_closes_is_refused_before_a_parser_sees_it(text: str) -> None:
    def parser(text: str) -> Any:
        raise AssertionError("a parser was asked")

    with pytest.raises(ValueError, match=r"^it nests deeper than"):
        json_of(text, parser)


@pytest.mark.parametrize("text", ["]" * 200, '"[[[[', "", "[1,", "\\", b"\xff"])
def test_what_is_no_json_is_told_as_the_parser_tells_it(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?!it nests)"):
        json_of(text)


def test_it_is_decoded_as_the_caller_says() -> None:
    assert json_of('{"rate": 1.50}', partial(json.loads, parse_float=str)) == {"rate": "1.50"}
