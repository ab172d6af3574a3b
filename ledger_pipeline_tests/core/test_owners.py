"""Which of an owner's source_scopes a scope takes, and how names are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.owners import ListedSourceScope, OwnerRules, each_once, is_owner_ref, owner_of
from ledger_pipeline.core.pins import epoch_pins, pin_differences, pinned_source_refs
from ledger_pipeline.core.spec import Scope, SourceSpec
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, scope

SITE = ListedSourceScope("acme/Site", "1")
FORK = ListedSourceScope("acme/fork", "2", is_fork=True)
ARCHIVED = ListedSourceScope("acme/old", "3", is_archived=True)
ALL = OwnerRules(("acme/*",))


def of_owner(*listed: str, named: tuple[str, ...] = (), owners: OwnerRules = ALL) -> Scope:
    """A scope that collects all of acme, which has `listed`."""
    made = scope(*named, *listed)
    spec = SourceSpec("github", "cogni-v0.0", made.sources[0].source_scopes, ("issues",), owners, listed)
    return scope_with(made, spec)


def scope_with(made: Scope, spec: SourceSpec) -> Scope:
    values = vars(made) | {"sources": (spec,)}
    return Scope(**values)


@pytest.mark.parametrize(
    ("rules", "listed", "found_archived", "is_taken"),
    [
        (ALL, SITE, False, True),
        (OwnerRules(exclude=("ACME/site",)), SITE, False, False),
        (OwnerRules(exclude=("acme/sit",)), SITE, False, True),
        (ALL, FORK, False, False),
        (OwnerRules(include_forks=True), FORK, False, True),
        (ALL, ARCHIVED, True, False),
        (OwnerRules(include_archived=True), ARCHIVED, True, True),
        (ALL, ARCHIVED, False, True),  # archived later: what was done there before counts
        (ALL, SITE, True, True),  # it was archived once, and is not any more
    ],
)
def test_what_is_taken_of_an_owner(
    rules: OwnerRules, listed: ListedSourceScope, found_archived: bool, is_taken: bool
) -> None:
    assert rules.takes(listed, found_archived=found_archived) is is_taken


def test_an_owner_is_the_same_in_any_case() -> None:
    assert owner_of("Acme/site") == owner_of("acme/*") == "acme"
    assert is_owner_ref("acme/*")
    assert not is_owner_ref("acme/site")


@given(st.lists(st.sampled_from(["a/b", "A/b", "a/B", "c/d", "C/d"])))
def test_names_come_once_in_the_spelling_that_comes_first(names: list[str]) -> None:
    once = each_once(names)
    assert len({name.casefold() for name in once}) == len(once)
    assert {name.casefold() for name in once} == {name.casefold() for name in names}
    first = {name.casefold(): name for name in reversed(names)}
    assert list(once) == [name for n, name in enumerate(names) if first.pop(name.casefold(), None) is not None]


# What is pinned.


def test_an_epoch_pins_what_was_read_and_what_it_was_read_for() -> None:
    pinned = epoch_pins(of_owner("acme/a", "acme/b", named=("x/y",)), DEFAULT_WEIGHTS_MILLI).pinned_spec
    assert pinned["activity_sources"] == {
        "github": {
            "credit_estimate_algo": "cogni-v0.0",
            "source_refs": ["x/y", "acme/a", "acme/b"],
            "streams": ["issues"],
            "owners": {
                "source_refs": ["acme/*"],
                "exclude": [],
                "include_archived": False,
                "include_forks": False,
            },
        }
    }
    assert pinned_source_refs(pinned) == {"x/y", "acme/a", "acme/b"}


def test_a_spec_that_names_all_pins_what_it_always_did() -> None:
    pinned = epoch_pins(scope("x/y"), DEFAULT_WEIGHTS_MILLI).pinned_spec
    assert pinned["activity_sources"] == {
        "github": {
            "credit_estimate_algo": "cogni-v0.0",
            "source_refs": ["x/y"],
            "streams": ["pull_requests", "reviews", "issues"],
        }
    }


def differences(closed_with: Scope, now: Scope) -> list[tuple[str, bool]]:
    pins = epoch_pins(closed_with, DEFAULT_WEIGHTS_MILLI)
    all_differences = pin_differences(now, pins.allocation_algo_ref, DEFAULT_WEIGHTS_MILLI, pins.pinned_spec)
    return [(difference.name, difference.pays) for difference in all_differences]


def test_a_repository_that_was_made_since_is_no_other_spec() -> None:
    closed_with = of_owner("acme/a", named=("x/y",))
    for now in (of_owner("acme/a", "acme/new", named=("x/y",)), of_owner(named=("x/y",))):
        assert differences(closed_with, now) == []


@pytest.mark.parametrize(
    ("now", "pays"),
    [
        (of_owner("acme/a", owners=OwnerRules(("acme/*",), ("acme/b",))), False),
        (of_owner("acme/a", owners=OwnerRules(("acme/*", "beta/*"))), True),
        (of_owner("acme/a", named=("x/y",)), True),
        (scope("acme/a", streams=("issues",)), False),  # named, of what was read as one of the owner's
        (scope("acme/b", streams=("issues",)), True),
    ],
)
def test_other_rules_are_another_spec_and_pay_where_something_new_is_collected(now: Scope, pays: bool) -> None:
    assert differences(of_owner("acme/a"), now) == [("activity_sources", pays)]
