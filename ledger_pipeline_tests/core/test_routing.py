"""Which scope an event counts for: one, or several whose parts are the whole, whatever order claims are written in."""

from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.facts import IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.core.routing import (
    CLAIMED,
    NOT_ROUTED,
    REST,
    SHARED,
    UNCLAIMED,
    UNCLAIMED_UNKNOWN,
    WHOLE_MILLI,
    Claim,
    ClaimedRepository,
    Route,
    Routing,
    Share,
    route,
    routed_by,
)
from ledger_pipeline.core.routing_pins import (
    pinned,
    pinned_routing,
    routed_by_from_json,
    routed_by_json,
    shares_hash,
    with_shares,
)
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.include_all import IncludeAll
from ledger_pipeline.core.selection.policy import Decision, units_of
from ledger_pipeline.core.selection.routed import decide
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, REPO
from ledger_pipeline_tests.core.selecting import FAIR, Recording, issue, merge, review

DOCS = Claim("docs", paths=("docs/**", "*.md"), labels=("documentation",))
CORE = Claim("core", paths=("src/**",))
ALL = Claim("all")


def claimed(*claims: Claim, rest: str | None = "default") -> ClaimedRepository:
    return ClaimedRepository(REPO, claims, rest)


def whole(scope_key: str, reason: str = CLAIMED) -> Route:
    return Route({scope_key: WHOLE_MILLI}, reason)


@pytest.mark.parametrize(
    ("labels", "paths", "goes"),
    [
        (("Documentation",), (), whole("docs")),
        ((), ("docs/a/b.txt", "src/x.py"), whole("docs")),
        ((), ("README.md",), whole("docs")),
        ((), ("src/README.md",), whole("core")),
        ((), ("docs",), whole("default", REST)),
        ((), (), whole("default", REST)),
        (None, ("other.py",), whole("default", REST)),
    ],
)
def test_an_event_goes_to_who_claims_it_and_else_to_who_has_the_rest(
    labels: tuple[str, ...] | None, paths: tuple[str, ...] | None, goes: Route
) -> None:
    assert route(claimed(replace(DOCS, order=1), CORE), labels, paths) == goes


def test_of_several_claims_the_lowest_order_counts_then_the_scope_that_comes_first() -> None:
    both = ("docs/x", "src/x")
    assert route(claimed(DOCS, CORE), (), both) == whole("core")
    assert route(claimed(replace(DOCS, order=1), CORE), (), both) == whole("docs")
    assert route(claimed(DOCS, ALL, rest=None), (), ()) == whole("all")


def test_of_one_scopes_claims_the_one_that_is_not_shared_counts_however_they_are_written() -> None:
    claims = [Claim("core"), Claim("core", is_shared=True), Claim("docs", is_shared=True)]
    assert {str(route(claimed(*written), (), ())) for written in permutations(claims)} == {str(whole("core"))}


def test_what_nobody_claims_and_nobody_has_the_rest_of_says_whether_that_is_known() -> None:
    assert route(claimed(DOCS, rest=None), (), ("src/x",)) == Route({}, UNCLAIMED)
    assert route(claimed(DOCS, rest=None), None, ("src/x",)) == Route({}, UNCLAIMED_UNKNOWN)
    assert route(claimed(CORE, rest=None), None, ("x",)) == Route({}, UNCLAIMED)  # it asks for no label


def test_shared_claims_have_parts_that_are_the_whole() -> None:
    shared = [replace(claim, is_shared=True, paths=("x",)) for claim in (DOCS, CORE, ALL)]
    assert route(claimed(*shared), (), ("x",)) == Route({"all": 334, "core": 333, "docs": 333}, SHARED)
    assert route(claimed(shared[0]), (), ("x",)) == whole("docs")
    first = replace(CORE, paths=("x",), order=1)
    assert route(claimed(*shared, first), (), ("x",)) == whole("core")  # the one that counts shares nothing


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("docs/**", "docs/a/b", True),
        ("docs/**", "docs", False),
        ("docs/*", "docs/a/b", False),
        ("**/test_*.py", "test_x.py", True),
        ("**/test_*.py", "a/b/test_x.py", True),
        ("**/test_*.py", "a/test/x.py", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("[x]", "[x]", True),
        ("Docs/**", "docs/a", False),
    ],
)
def test_paths_are_matched_by_their_parts(glob: str, path: str, matches: bool) -> None:
    assert Claim("x", paths=(glob,)).takes((), (path,)) is matches


LABELS, PATHS = ["bug", "Docs", "docs"], ["src/a", "docs/a", "README.md"]
CLAIMS = st.builds(
    Claim,
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.sampled_from(["src/**", "docs/*", "**"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(LABELS), max_size=2).map(tuple),
    st.integers(0, 2),
    st.booleans(),
)


@given(
    st.lists(CLAIMS, max_size=5),
    st.none() | st.lists(st.sampled_from(LABELS)),
    st.none() | st.lists(st.sampled_from(PATHS)),
    st.none() | st.just("rest"),
    st.data(),
)
def test_every_event_goes_to_one_scope_or_its_parts_are_the_whole_and_order_never_matters(
    claims: list[Claim], labels: list[str] | None, paths: list[str] | None, rest: str | None, data: st.DataObject
) -> None:
    repository = ClaimedRepository(REPO, tuple(claims), rest)
    goes = route(repository, labels, paths)
    by = routed_by(repository, labels, paths)
    assert route(repository, by.labels, by.paths) == goes
    assert routed_by(repository, by.labels, by.paths) == by == routed_by_from_json(routed_by_json(by))
    assert len(by.paths or ()) <= len({glob for claim in claims for glob in claim.paths})
    assert sum(goes.shares_milli.values()) == (WHOLE_MILLI if goes.shares_milli else 0)
    assert bool(goes.shares_milli) is (goes.reason not in (UNCLAIMED, UNCLAIMED_UNKNOWN))
    shuffled = data.draw(st.permutations(claims))
    more_labels = None if labels is None else data.draw(st.permutations(labels))
    assert route(ClaimedRepository(REPO, tuple(shuffled), rest), more_labels, paths) == goes


# What a scope decides.


def choice(routing: Routing) -> SelectionChoice:
    return SelectionChoice("include-all-v0", "0", "ledger-pipeline", "1", {}, routing=routing)


def test_a_scope_counts_what_is_its_own_and_says_of_the_rest_where_it_went() -> None:
    events = [
        merge("p-docs", PullRequestFacts(labels=("documentation",), changed_paths=())),
        merge("p-core", PullRequestFacts(labels=(), changed_paths=("src/x",))),
        review("r-core", ReviewFacts(labels=(), changed_paths=("src/x",))),
        issue("i-docs", IssueFacts(labels=("documentation",))),
        issue("i-none", IssueFacts(labels=("bug",))),
        issue("i-unknown", None),
        merge("elsewhere", None, repository="other/one"),
    ]
    repository = claimed(DOCS, CORE, rest=None)
    reasons = {}
    for scope_key in ("docs", "core"):
        routing = Routing(scope_key, (repository,)).routed(events)
        assert routing.shares is not None
        kept = with_shares(pinned_routing(pinned(routing)), routing.shares)
        assert kept == replace(routing, shares_hash=shares_hash(routing.shares))
        decisions = decide(IncludeAll(), events, choice(routing), DEFAULT_WEIGHTS_MILLI)
        reasons[scope_key] = {event_id: str(decision.reason) for event_id, decision in decisions.items()}
    nobodys = {"i-none": UNCLAIMED, "i-unknown": UNCLAIMED_UNKNOWN, "elsewhere": "included"}
    assert reasons["docs"] == nobodys | {
        "p-docs": "included",
        "i-docs": "included",
        "p-core": "other_scope:core",
        "r-core": "other_scope:core",
    }
    assert reasons["core"] == nobodys | {
        "p-docs": "other_scope:docs",
        "i-docs": "other_scope:docs",
        "p-core": "included",
        "r-core": "included",
    }


def test_a_shared_event_weighs_its_part_and_one_that_was_not_routed_nothing() -> None:
    sharing = claimed(replace(ALL, is_shared=True), replace(CORE, paths=(), is_shared=True))
    known, late = merge("known"), merge("late")
    routing = Routing("core", (sharing,)).routed([known])
    assert decide(IncludeAll(), [known, late], choice(routing), DEFAULT_WEIGHTS_MILLI) == {
        "known": Decision(included=True, reason=f"{SHARED}:all+core", weight_factor_milli=500),
        "late": Decision(included=False, reason=NOT_ROUTED),
    }


def test_a_limit_counts_of_a_shared_event_what_the_scope_has_of_it() -> None:
    sharing = claimed(replace(ALL, is_shared=True), replace(CORE, paths=(), is_shared=True))
    events = [merge("a"), merge("b"), merge("c"), merge("d", repository="other/one")]
    fair = replace(choice(Routing("core", (sharing,)).routed(events)), settings={"units_milli_per_epoch": 2000})
    decisions = decide(FAIR, events, fair, DEFAULT_WEIGHTS_MILLI)
    assert {event_id: (str(of.reason), of.weight_factor_milli) for event_id, of in decisions.items()} == {
        "a": (f"{SHARED}:all+core", 500),
        "b": (f"{SHARED}:all+core", 500),
        "c": (f"{SHARED}:all+core", 500),
        "d": ("over_units_per_epoch", None),
    }
    larger = replace(fair, settings={"units_milli_per_epoch": 2500})
    assert decide(FAIR, events, larger, DEFAULT_WEIGHTS_MILLI)["d"].included


@pytest.mark.parametrize(
    "change",
    [
        {"scope": 7},
        {"repositories": []},
        {"repositories": {"a/b": {"claims": [{"scope": "x"}], "rest": None}}},
        {"shares": {"e": [-1, "x"]}},
        {"shares": {"e": [1]}},
        {"shares": None},
    ],
)
def test_what_was_pinned_and_is_no_routing_is_refused(change: dict[str, object]) -> None:
    honest = pinned(Routing("docs", (claimed(DOCS),), {"e": Share(1000, CLAIMED)}, is_of_before=True))
    assert pinned_routing(honest)
    with pytest.raises(SelectionError, match="of claims on repositories is none"):
        pinned_routing({**honest, **change})


@given(
    st.integers(1, 999) | st.integers(1, 9).map(lambda units: 1000 * units),
    st.integers(0, 3000),
    st.sets(st.sampled_from("abcdefg"), min_size=2),
)
def test_what_scopes_share_comes_to_what_the_whole_event_is_worth(
    weight_milli: int, factor_milli: int, scope_keys: set[str]
) -> None:
    sharing = claimed(*(Claim(key, is_shared=True) for key in scope_keys))
    event = merge("p", PullRequestFacts(labels=("big",), changed_paths=()))
    weights = {event.kind: weight_milli}
    parts = {}
    for key in scope_keys:
        labelled = replace(
            choice(Routing(key, (sharing,)).routed([event])), settings={"label_weights_milli": {"big": factor_milli}}
        )
        parts[key] = units_of(event, decide(FAIR, [event], labelled, weights)["p"], weights)
    whole, left = divmod(weight_milli * factor_milli // 1000, len(scope_keys))
    if weight_milli < 1000:
        assert parts == {key: whole + (place < left) for place, key in enumerate(sorted(scope_keys))}
    assert sum(parts.values()) == weight_milli * factor_milli // 1000
    assert sorted(parts.values(), reverse=True) == [parts[key] for key in sorted(parts)]


def test_an_epoch_that_closed_before_there_were_parts_rounds_each_down() -> None:
    sharing = claimed(*(Claim(key, is_shared=True) for key in "abc"))
    event = review("r", ReviewFacts(labels=(), changed_paths=()))
    factors = []
    for key in "abc":
        before = replace(Routing(key, (sharing,)), is_of_before=True).routed([event])
        factors.append(decide(IncludeAll(), [event], choice(before), {event.kind: 500})["r"].weight_factor_milli)
    assert factors == [334, 333, 333]


def test_what_is_pinned_of_claims_is_as_long_however_many_events_there_are() -> None:
    def length(events: int) -> int:
        candidates = [merge(f"github:pr:acme/web:{number}") for number in range(events)]
        return len(canonical_json(pinned(Routing("docs", (claimed(DOCS),)).routed(candidates))))

    assert length(2000) == length(1)


@pytest.mark.parametrize("kept", [{"labels": "x"}, {"paths": [1]}, {"labels": [], "reviewers": []}, []])
def test_labels_and_paths_that_are_none_are_refused(kept: object) -> None:
    with pytest.raises(SelectionError, match="labels and paths that claims looked at is none"):
        routed_by_from_json(kept)  # type: ignore[arg-type]


def test_parts_of_events_are_those_that_the_epoch_closed_with() -> None:
    routing = Routing("docs", (claimed(DOCS),)).routed([merge("a")])
    of_a = dict(routing.shares or {})
    read = pinned_routing(pinned(routing))
    assert with_shares(read, of_a).shares == of_a
    for others in (
        {},
        {"b": of_a["a"]},
        {"a": replace(of_a["a"], milli=1000)},
        {"a": replace(of_a["a"], routed_by=None)},
    ):
        with pytest.raises(SelectionError, match="not those that the epoch closed with"):
            with_shares(read, others)
    before = pinned_routing(pinned(replace(routing, is_of_before=True)))
    assert with_shares(before, {}) is before


# Recorded repositories.

RECORDINGS = {
    # Two scopes by the labels that people gave, and by the files of the programme.
    "policy": (
        Claim("education", labels=("教育", "子育て"), order=1),
        Claim("vision", paths=("01_*.md",), order=2),
        Claim("readme", paths=("README.md",), order=3),
    ),
    "secp256k1/latest": (
        Claim("assurance", labels=("assurance",), order=1),
        Claim("library", paths=("src/**", "include/**"), order=2),
        Claim("building", paths=("configure.ac", "CMakeLists.txt", "*.am"), labels=("build", "ci"), order=3),
    ),
}


@pytest.mark.parametrize("folder", RECORDINGS)
def test_recorded_events_go_to_one_scope_each_as_a_count_of_our_own_says(folder: str, shared: Path) -> None:
    recording = Recording(shared / "github" / folder, "main")
    claims, events = RECORDINGS[folder], recording.candidates()
    assert len(events) > 100
    repository = ClaimedRepository(events[0].repository, claims, "rest")
    counted: Counter[str] = Counter()
    by_number = {row["number"]: row for row in recording.pull_requests}
    for event in events:
        kind = event.event_id.partition(":")[0]
        row = by_number.get(event.number, {"labels": None, "files": None})
        labels, paths = event.facts.labels if kind == "issue" else row["labels"], row["files"]  # type: ignore[union-attr]
        counted[_first(claims, labels or (), () if kind in ("issue", "review") else paths or ())] += 1
    owners: Counter[str] = Counter()
    for scope_key in (*(claim.scope_key for claim in claims), "rest"):
        routing = Routing(scope_key, (repository,)).routed(events)
        decisions = decide(IncludeAll(), events, choice(routing), DEFAULT_WEIGHTS_MILLI)
        owners[scope_key] = sum(decision.included for decision in decisions.values())
    assert owners == counted
    assert sum(owners.values()) == len(events)
    assert all(owners[claim.scope_key] for claim in claims)


@pytest.mark.parametrize("folder", RECORDINGS)
def test_every_recorded_pull_request_merged_or_not_has_one_scope(folder: str, shared: Path) -> None:
    recording, claims = Recording(shared / "github" / folder, "main"), RECORDINGS[folder]
    counted: Counter[str] = Counter()
    routed: Counter[str] = Counter()
    for row in recording.pull_requests:
        counted[_first(claims, row["labels"] or (), row["files"] or ())] += 1
        [scope_key] = route(ClaimedRepository(REPO, claims, "rest"), row["labels"], row["files"]).shares_milli
        routed[scope_key] += 1
    assert routed == counted
    assert sum(routed.values()) > 1000
    assert all(routed[claim.scope_key] > 20 for claim in claims)


def _first(claims: tuple[Claim, ...], labels: tuple[str, ...], paths: tuple[str, ...]) -> str:
    """By hand, of the globs above: the first claim that has a label, or the beginning or end of a path."""
    for claim in claims:
        if set(labels) & set(claim.labels):
            return claim.scope_key
        for glob in claim.paths:
            head, _, tail = glob.replace("**", "*").partition("*")
            for path in paths:
                deep = "/" in path[len(head) :] and not glob.endswith("**")
                if path.startswith(head) and path.endswith(tail) and (path == glob if "*" not in glob else not deep):
                    return claim.scope_key
    return "rest"
