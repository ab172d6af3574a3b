"""Claims of several scopes on one repository, as their files say them."""

from pathlib import Path
from uuid import UUID

import pytest

from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec

DOCS = 'claims: [{repository: Acme/core, paths: ["docs/**"], labels: [documentation], order: 5, shared: true}]'
TESTS = "claims: [{repository: acme/core, labels: [tests]}]"


def load(folder: Path, *of_default: str, docs: str = DOCS, tests: str = TESTS) -> RepoSpec:
    """Three scopes: the default one collects `of_default`, the others acme/core, of which they claim parts."""
    path = write_repo_spec(folder, *(of_default or ("acme/core",)))
    for number, (scope_key, claims) in enumerate((("docs", docs), ("tests", tests)), 1):
        project = write_project(folder, scope_key, "acme/core", scope_id=UUID(int=OTHER_SCOPE_ID.int + number))
        project.write_text(f"{project.read_text()}  {claims}\n")
    return load_repo_spec(path)


CLAIMS = (
    Claim("docs", ("docs/**",), ("documentation",), 5, is_shared=True),
    Claim("tests", labels=("tests",)),
)


def test_every_scope_that_collects_a_repository_knows_all_claims_on_it(tmp_path: Path) -> None:
    spec = load(tmp_path, "acme/core", "acme/site")
    expected = ClaimedRepository("Acme/core", CLAIMS, "default")
    for scope in spec.scopes:
        assert scope.selection is not None
        assert scope.selection.policy == "include-all-v0"
        assert scope.selection.routing is not None
        assert scope.selection.routing == Routing(scope.scope_key, (expected,))
        assert scope.asks_paths("acme/CORE")
        assert not scope.asks_paths("acme/site")


@pytest.mark.parametrize(
    ("of_default", "rest"),
    [("acme/*", "default"), ("acme/site", None)],
)
def test_the_rest_goes_to_the_first_scope_that_collects_it_and_claims_nothing_of_it(
    tmp_path: Path, of_default: str, rest: str | None
) -> None:
    default, docs, _ = load(tmp_path, of_default).scopes
    assert docs.selection is not None
    assert docs.selection.routing is not None
    assert docs.selection.routing.repositories[0].rest == rest
    assert (default.selection is None) is (rest is None)


def test_without_claims_no_scope_has_a_policy_that_it_does_not_name(tmp_path: Path) -> None:
    assert {scope.selection for scope in load(tmp_path, docs="", tests="").scopes} == {None}


def test_a_claim_by_labels_alone_asks_for_no_paths(tmp_path: Path) -> None:
    assert not any(scope.asks_paths("acme/core") for scope in load(tmp_path, docs=TESTS).scopes)


@pytest.mark.parametrize(
    ("claims", "key", "problem"),
    [
        ("claims: [{repository: acme/other}]", "claims[0].repository", "one of what the scope collects"),
        ("claims: [{labels: [a]}]", "claims[0].repository", "is missing"),
        ("claims: [{repository: acme/core, labels: [a, A]}]", "claims[0].labels", "each once, ignoring case"),
        ("claims: [{repository: acme/core, paths: []}]", "claims[0].paths", "at least 1 item"),
        ("claims: [{repository: acme/core, order: -1}]", "claims[0].order", "greater than or equal to 0"),
        ("claims: [{repository: acme/core, share: true}]", "claims[0].share", "did you mean 'shared'?"),
    ],
)
def test_a_claim_that_is_none_is_refused_naming_its_place(tmp_path: Path, claims: str, key: str, problem: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(tmp_path, docs=claims)
    assert refused.value.file.endswith("docs.yaml")
    assert refused.value.key == f"activity_ledger.{key}"
    assert problem in refused.value.problem
