"""Canonical JSON has one spelling, sorted at every level; its hash changes with any value in it, however deep."""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from itertools import permutations
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.hashing import EventSetHash, canonical_json, event_set_hash, sha256_hex

texts = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate has no UTF-8
scalars = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
pairs = st.lists(st.tuples(texts, texts), unique_by=lambda pair: pair[0], max_size=8)

EMPTY_SET_HASH = hashlib.sha256(b"[]").hexdigest()


def reordered(value: Any) -> Any:
    """The same value with every mapping's keys the other way round."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in `value`, at every level."""
    if isinstance(value, dict | list):
        for place in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, place
            yield from places(value[place])


# One spelling.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        ("", '""'),
        (None, "null"),
        ([True, False, 1, 0, -1], "[true,false,1,0,-1]"),
        ({"b": 1, "a": {"d": [{"z": 1, "y": 2}], "c": None}}, '{"a":{"c":null,"d":[{"y":2,"z":1}]},"b":1}'),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        (MappingProxyType({"b": 1, "a": 2}), '{"a":2,"b":1}'),
        ("Zoë 👩‍🚀 \u2028 / <", '"Zoë 👩‍🚀 \u2028 / <"'),
        ('"\\\n\t\0\x7f', '"\\"\\\\\\n\\t\\u0000\x7f"'),
        (2**63, "9223372036854775808"),
        (-(10**100), f"-1{'0' * 100}"),
    ],
)
def test_a_value_has_this_spelling(value: Any, text: str) -> None:
    assert canonical_json(value) == text


def test_keys_are_sorted_by_code_point_not_by_locale_or_utf_16() -> None:
    assert canonical_json(dict.fromkeys(["\U0001f600", "\uffff", "é", "a", "Z", "10", "9"])) == (
        '{"10":null,"9":null,"Z":null,"a":null,"é":null,"\uffff":null,"\U0001f600":null}'
    )


@given(values)
def test_the_order_in_which_keys_were_given_does_not_matter_at_any_level(value: Any) -> None:
    assert canonical_json(reordered(value)) == canonical_json(value)


@given(values)
def test_canonical_json_reads_back_as_the_same_value_in_ascending_keys(value: Any) -> None:
    def ascending(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        assert keys == sorted(keys)
        return dict(items)

    assert json.loads(canonical_json(value), object_pairs_hook=ascending) == value


# What has no one spelling is refused, however deep.


@pytest.mark.parametrize("bad", [1.0, 0.0, float("nan"), float("inf"), b"bytes", {1}, object(), 1j])
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: [[bad]], lambda bad: {"a": [{"b": bad}]}])
def test_floats_and_what_is_not_json_are_refused_anywhere(bad: Any, wrap: Any) -> None:
    with pytest.raises(TypeError, match=f"holds no {type(bad).__name__}"):
        canonical_json(wrap(bad))


@pytest.mark.parametrize("key", [1, None, True, 1.5, ("a",)])
def test_a_key_that_is_not_a_string_is_refused_anywhere(key: Any) -> None:
    for value in ({key: 1}, {"a": [{key: 1}]}):
        with pytest.raises(TypeError, match=f"keys are strings, not {type(key).__name__}"):
            canonical_json(value)


# The hash.


@given(values)
def test_the_hash_is_sha_256_of_what_the_standard_library_writes_sorted_and_compact(value: Any) -> None:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert sha256_hex(value) == hashlib.sha256(text.encode("utf-8")).hexdigest()


@given(values.filter(lambda value: isinstance(value, dict | list)), st.data())
def test_changing_any_nested_value_changes_the_hash(value: Any, data: st.DataObject) -> None:
    changed = deepcopy(value)
    changed_places = list(places(changed))
    if changed_places:
        container, place = data.draw(st.sampled_from(changed_places))
        container[place] = [container[place]]
        assert sha256_hex(changed) != sha256_hex(value)


def test_every_field_of_a_nested_payload_counts() -> None:
    # The system we join passes the top level's keys to JSON.stringify as its filter, which drops nested fields.
    payload: dict[str, Any] = {
        "id": "x",
        "review": {"state": "APPROVED", "by": {"login": "ada", "id": 1}},
        "labels": [{"name": "a"}],
    }
    changes: list[Any] = [
        {**payload, "review": {**payload["review"], "state": "DISMISSED"}},
        {**payload, "review": {**payload["review"], "by": {"login": "ada", "id": 2}}},
        {**payload, "review": {**payload["review"], "by": {"login": "ada"}}},
        {**payload, "labels": [{"name": "b"}]},
        {**payload, "labels": []},
        {**payload, "review": {}},
    ]
    assert len({sha256_hex(value) for value in [payload, *changes]}) == len(changes) + 1


def test_values_that_print_alike_hash_differently() -> None:
    alike: list[Any] = [1, "1", True, "true", None, "null", "", [], {}, [[]], [""], {"": ""}, "é", "e\u0301"]
    assert len({sha256_hex(value) for value in alike}) == len(alike)


# Hashes of sets of events.


@given(pairs, st.randoms())
def test_a_sets_hash_does_not_depend_on_the_order_it_comes_in(events: list[tuple[str, str]], random: Any) -> None:
    shuffled = random.sample(events, len(events))
    assert event_set_hash(shuffled) == event_set_hash(events) == event_set_hash(iter(events))


@given(pairs)
def test_a_sets_hash_is_sha_256_of_the_sorted_pairs_as_compact_json(events: list[tuple[str, str]]) -> None:
    text = json.dumps([list(pair) for pair in sorted(events)], separators=(",", ":"), ensure_ascii=False)
    assert event_set_hash(events) == hashlib.sha256(text.encode("utf-8")).hexdigest()


@given(pairs)
def test_a_sets_hash_grows_pair_by_pair(events: list[tuple[str, str]]) -> None:
    growing = EventSetHash()
    for number, pair in enumerate(sorted(events)):
        assert growing.hexdigest() == event_set_hash(sorted(events)[:number])
        growing.add(*pair)
    assert growing.hexdigest() == event_set_hash(events)


@pytest.mark.parametrize(("first", "second"), [("b", "a"), ("a", "Z"), ("a", ""), ("\U0001f680", "\uffff")])
def test_a_pair_that_should_have_come_earlier_is_refused(first: str, second: str) -> None:
    growing = EventSetHash()
    growing.add(first, "0")
    with pytest.raises(ValueError, match="sorted by id"):
        growing.add(second, "0")
    growing.add(first, "1")
    assert growing.hexdigest() == event_set_hash([(first, "0"), (first, "1")])


def test_the_empty_set_has_a_hash_of_its_own() -> None:
    assert event_set_hash([]) == event_set_hash(iter(())) == EMPTY_SET_HASH
    assert event_set_hash([("", "")]) != EMPTY_SET_HASH


def test_sets_that_run_together_alike_hash_differently() -> None:
    sets = [
        [("ab", "c")],
        [("a", "bc")],
        [("abc", "")],
        [("a", "b"), ("c", "")],
        [("a", "b"), ("c", "d")],
        [("a", "d"), ("c", "b")],
        [('a","b', "")],
        [("b", "a")],
        [("a", "b")],
        [("a", "b"), ("", "")],
    ]
    assert len({event_set_hash(events) for events in sets}) == len(sets)


def test_one_more_one_fewer_or_one_other_event_changes_a_sets_hash() -> None:
    events = [(f"github:pr:cogni-dao/cogni:{number}", sha256_hex(number)) for number in range(4)]
    variants = [events, events[1:], events[:-1], [*events, ("x", "y")], [(events[0][0], "0"), *events[1:]]]
    assert len({event_set_hash(variant) for variant in variants}) == len(variants)
    assert len({event_set_hash(order) for order in permutations(events)}) == 1
