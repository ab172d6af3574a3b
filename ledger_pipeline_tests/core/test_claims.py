"""A claim goes with its repository: whatever that is renamed to, each event counts in one scope, or its parts do."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.claims import CollectedNames, NodeClaims
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.facts import PullRequestFacts
from ledger_pipeline.core.owners import ListedSourceScope, OwnerRules
from ledger_pipeline.core.repository_names import NO_NAMES, KnownNames, SeenName, known_names
from ledger_pipeline.core.routing import WHOLE_MILLI, Claim, ClaimedRepository, Routing
from ledger_pipeline.core.routing_pins import pinned, pinned_routing, rules, shares_hash, with_shares
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.policy import Candidate
from ledger_pipeline.core.selection.routed import decide
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NOON
from ledger_pipeline_tests.core.selecting import FAIR, merge, review

DOCS = Claim("docs", labels=("documentation",))
CORE = Claim("core")
NAMED = (CollectedNames("default", frozenset({"acme/core"})), CollectedNames("docs", frozenset({"acme/core"})))


def seen(*names: tuple[str, str]) -> list[SeenName]:
    """Ids and names, each seen an hour after the one before."""
    return [
        SeenName(repository_id, name, parse_instant(NOON) + timedelta(hours=hours))
        for hours, (repository_id, name) in enumerate(names)
    ]


def test_a_name_belongs_to_whom_it_was_last_seen_with_and_stands_for_the_latest_of_that_one() -> None:
    names = known_names(seen(("7", "Acme/Core"), ("7", "acme/hub"), ("9", "acme/core"), ("7", "acme/Hub")))
    assert names.latest == {"acme/core": "acme/core", "acme/hub": "acme/Hub"}
    assert names.lost == {"acme/hub": frozenset({"acme/core"})}
    assert names.latest_name("ACME/HUB") == "acme/Hub"
    assert names.latest_name("never/seen") == "never/seen"


def test_what_is_seen_later_adds_names_and_changes_none() -> None:
    before, later = seen(("7", "a/x")), seen(("7", "a/x"), ("7", "a/y"), ("9", "a/x"), ("9", "a/z"))[1:]
    names = known_names(before, later)
    assert names.latest == {"a/x": "a/x", "a/y": "a/x", "a/z": "a/z"}
    assert names.lost == {}


@pytest.mark.parametrize("name", ["acme/hub", "other/core", "Acme/Core"])
def test_a_claim_goes_with_its_repository_and_so_does_the_rest(name: str) -> None:
    names = known_names(seen(("7", "acme/core"), ("7", name)))
    node = NodeClaims((("acme/core", DOCS),), NAMED)
    for scope_key in ("default", "docs"):
        assert node.on(scope_key, names) == (ClaimedRepository(name, (DOCS,), "default"),)


def test_scopes_that_name_one_repository_differently_share_its_claims() -> None:
    names = known_names(seen(("7", "acme/core"), ("7", "acme/hub")))
    scopes = (CollectedNames("default", frozenset({"acme/hub"})), NAMED[1])
    node = NodeClaims((("acme/core", DOCS),), scopes)
    assert node.on("default") == ()
    assert node.on("default", names) == node.on("docs", names) == (ClaimedRepository("acme/hub", (DOCS,), "default"),)


def test_a_repository_made_under_the_old_name_is_claimed_too_and_the_old_one_until_a_claim_names_it() -> None:
    names = known_names(seen(("7", "acme/core"), ("7", "acme/hub"), ("9", "acme/core")))
    owners = tuple(CollectedNames(key, frozenset(), frozenset({"acme"})) for key in ("default", "docs", "core"))
    node = NodeClaims((("acme/core", DOCS),), owners)
    both = (ClaimedRepository("acme/core", (DOCS,), "default"), ClaimedRepository("acme/hub", (DOCS,), "default"))
    assert node.on("default", names) == both
    edited = NodeClaims((("acme/core", DOCS), ("acme/hub", CORE)), owners)
    assert edited.on("default", names) == (both[0], ClaimedRepository("acme/hub", (CORE,), "default"))


def test_a_claim_of_a_scope_that_does_not_collect_it_any_more_leaves_it_to_who_does() -> None:
    names = known_names(seen(("7", "acme/core"), ("7", "other/core")))
    scopes = (
        CollectedNames("docs", frozenset(), frozenset({"acme"})),
        CollectedNames("core", frozenset({"other/core"})),
    )
    node = NodeClaims((("acme/core", Claim("docs")),), scopes)
    for scope_key in ("docs", "core"):
        assert node.on(scope_key, names) == (ClaimedRepository("other/core", (), "core"),)
    assert NodeClaims(node.claims, scopes[:1]).on("docs", names)[0].claims == (Claim("docs"),)


def test_what_was_excluded_of_an_owner_stays_excluded_under_another_name() -> None:
    names = known_names(seen(("7", "acme/secret"), ("7", "acme/hidden")))
    scopes = (CollectedNames("default", frozenset(), frozenset({"acme"}), frozenset({"acme/secret"})), NAMED[1])
    node = NodeClaims((("acme/secret", DOCS),), (*scopes[:1], CollectedNames("docs", frozenset({"acme/secret"}))))
    assert node.on("docs", names) == (ClaimedRepository("acme/hidden", (DOCS,), None),)
    rules = OwnerRules(("acme/*",), exclude=("acme/secret",))
    hidden = ListedSourceScope("acme/hidden", "7")
    assert rules.takes(hidden, found_archived=False)
    assert not rules.takes(hidden, found_archived=False, names=("Acme/Secret",))


# What is decided, and pinned.


def decided(events: Sequence[Candidate], routing: Routing) -> list[str]:
    """The reasons of fair-v1, in the order of the events' ids."""
    choice = SelectionChoice("fair-v1", "1", "ledger-pipeline", "1", {}, routing=routing)
    return [str(decision.reason) for decision in decide(FAIR, events, choice, DEFAULT_WEIGHTS_MILLI).values()]


def test_reviews_of_a_pull_request_under_two_names_of_its_repository_are_of_one() -> None:
    events = [
        review("before", state="APPROVED", repository="acme/core"),
        review("after", state="APPROVED", repository="acme/hub", hours=1),
    ]
    assert decided(events, Routing("default", ())) == ["included", "included"]
    renamed = Routing("default", ()).resolved_by({"acme/core": "acme/hub", "acme/hub": "acme/hub"}, ())
    assert renamed.names == {"acme/core": "acme/hub"}
    assert decided(events, renamed) == ["repeated_review", "included"]


def test_what_names_stood_for_is_pinned_and_nothing_where_none_was_renamed() -> None:
    written = (ClaimedRepository("Acme/core", (DOCS,), "default"),)
    plain = Routing("docs", written, {}).resolved_by(
        {"acme/core": "acme/core"}, (ClaimedRepository("acme/core", (DOCS,), "default"),)
    )
    assert set(pinned(plain)) == {"scope", "repositories", "shares_hash"}
    resolved = (ClaimedRepository("acme/hub", (DOCS,), "default"),)
    renamed = Routing("docs", written, {}).resolved_by({"acme/core": "acme/hub"}, resolved)
    assert with_shares(pinned_routing(pinned(renamed)), {}) == replace(renamed, shares_hash=shares_hash({}))
    assert rules(renamed) == rules(plain)


# Whatever happens to names.

NAMES = ["acme/a", "acme/b", "other/c"]


@dataclass
class Place:
    """Repositories by id, each with its name; what was ever seen of them, and under which names each had events."""

    now: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    events: set[tuple[str, str]] = field(default_factory=set)

    def call(self, repository_id: str, name: str) -> None:
        """The repository gets the name; whoever has it is deleted."""
        self.now = {holder: held for holder, held in self.now.items() if held != name} | {repository_id: name}
        self.seen.append((repository_id, name))
        self.events.add((repository_id, name))


@given(
    st.lists(st.tuples(st.sampled_from("789"), st.sampled_from(NAMES)), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["one", "two", "three"]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.sets(st.sampled_from([*NAMES, "acme/*"]), min_size=1), min_size=3, max_size=3),
    st.integers(0, 8),
)
def test_each_event_counts_in_one_scope_or_its_parts_are_the_whole_whatever_is_renamed(
    steps: list[tuple[str, str]],
    written: list[tuple[str, str, bool, bool]],
    refs: list[set[str]],
    closed_after: int,
) -> None:
    place = Place()
    for repository_id, name in steps:
        place.call(repository_id, name)
    scopes = tuple(
        CollectedNames(key, frozenset(names) - {"acme/*"}, frozenset({"acme"} if "acme/*" in names else ()))
        for key, names in zip(("one", "two", "three"), refs, strict=True)
    )
    by_key = {scope.scope_key: scope for scope in scopes}
    claims = tuple(
        (name, Claim(key, labels=("x",) if by_label else (), is_shared=is_shared))
        for name, key, by_label, is_shared in written
        if by_key[key].takes(name, {name})
    )
    rows = seen(*place.seen)
    names = known_names(rows[:closed_after], rows[closed_after:])
    node = NodeClaims(claims, scopes)
    routings = {key: Routing(key, node.on(key)).resolved_by(names.latest, node.on(key, names)) for key in by_key}
    for repository_id, name in sorted(place.events):
        for labels in ((), ("x",)):
            event = merge(f"{repository_id} {name}", PullRequestFacts(labels=labels), repository=name)
            shares = {
                key: routing.routed([routing.renamed(event)]).share(event)
                for key, routing in routings.items()
                if routing.claimed(name) is not None
            }
            total = sum(share.milli for share in shares.values())
            assert total == WHOLE_MILLI or not shares or {share.reason for share in shares.values()} == {"unclaimed"}
            # Whoever may hold it knows of the claims: nobody counts it whole beside the others.
            holds = {key for key, scope in by_key.items() if scope.takes(name, {name})}
            assert not shares or holds <= shares.keys()


@given(st.lists(st.tuples(st.sampled_from("789"), st.sampled_from(NAMES)), max_size=8), st.data())
def test_the_order_in_which_names_were_stored_never_matters(steps: list[tuple[str, str]], data: st.DataObject) -> None:
    rows = seen(*steps)
    assert known_names(data.draw(st.permutations(rows))) == known_names(rows)
    assert known_names([]) == KnownNames() == NO_NAMES
