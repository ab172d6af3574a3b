"""Repo-specs as the system we join writes them now load as they are, beside files in our own words."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0
from ledger_pipeline.core.attribution import PROFILES
from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.pins import allocation_algo_ref, epoch_pins, pin_differences, pinned_spec
from ledger_pipeline.core.selection.choice import PINNED_AS
from ledger_pipeline.core.selection.cogni import MAIN_MERGE_V0
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.spec import Dialect, RepoSpec
from ledger_pipeline.doctor.configuration import check_repo_spec
from ledger_pipeline.doctor.findings import State
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.settings import Settings
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NODE_ID, OTHER_SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec

PIPELINE = "attribution_pipeline: cogni-v0.0"
ESTIMATE = "credit_estimate_algo: cogni-v0.0"
SECTION = f"{{{PIPELINE}, source_refs: [Acme/node]}}"
GITHUB = "activity_ledger.activity_sources.github"
PROFILE_WEIGHTS_MILLI = {"github:pr_merged": 1000, "github:review_submitted": 0, "github:issue_closed": 0}
OF_THEIRS = f"""\
schema_version: "0.1.4"
node_id: "{NODE_ID}"
scope_key: default
activity_ledger:
  epoch_length_days: 7
  approvers: ["0x52908400098527886E0F7030069857D2E4169EE7"]
  pool_config: {{base_issuance_credits: "10000"}}
  activity_sources:
    github: {SECTION}
governance:
  chain_id: "8453"
  schedules:
    - {{charter: HEARTBEAT, cron: "0 * * * *", timezone: UTC, entrypoint: HEARTBEAT}}
    - {{charter: LEDGER_INGEST, cron: "0 6 * * *", timezone: UTC, entrypoint: LEDGER_INGEST}}
gates:
  - {{type: review-limits, id: review_limits, with: {{max_changed_files: 50}}}}
payments: {{status: pending_activation}}
"""


def load(folder: Path, text: str = OF_THEIRS) -> RepoSpec:
    path = folder / ".cogni" / "repo-spec.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_repo_spec(path)


def refusal(folder: Path, text: str) -> SpecError:
    with pytest.raises(SpecError) as refused:
        load(folder, text)
    return refused.value


def in_section(*more: str) -> str:
    return OF_THEIRS.replace(SECTION, f"{SECTION.removesuffix('}')}, {', '.join(more)}}}")


def in_ledger(line: str) -> str:
    return OF_THEIRS.replace("  epoch_length_days: 7\n", f"  epoch_length_days: 7\n  {line}\n")


def test_their_file_loads_as_it_is(tmp_path: Path) -> None:
    spec = load(tmp_path)
    scope = spec.default_scope
    assert spec.notes == ()
    assert scope.dialect is Dialect.ATTRIBUTION_PIPELINE
    [source] = scope.sources
    assert (source.credit_estimate_algo, source.source_refs) == ("cogni-v0.0", ("Acme/node",))
    assert source.streams == GITHUB_STREAMS
    assert scope.weights_milli == PROFILE_WEIGHTS_MILLI
    assert scope.selection is not None
    assert (scope.selection.policy, scope.selection.excluded_logins) == (MAIN_MERGE_V0, ())
    assert scope.base_issuance_credits == 10_000
    assert [schedule.charter for schedule in scope.schedules] == ["HEARTBEAT", "LEDGER_INGEST"]


def test_a_scope_id_that_is_left_out_follows_from_node_and_key(tmp_path: Path) -> None:
    assert UUID("4ff8eac1-4eba-4ed0-931b-b1fe4f64713d") == NODE_ID
    # What that system has written into the repo-spec of this very node.
    assert load(tmp_path).default_scope.scope_id == UUID("a28a8b1e-1f9d-5cd5-9329-569e4819feda")
    given_id = OF_THEIRS.replace("scope_key:", f"scope_id: {OTHER_SCOPE_ID}\nscope_key:")
    assert load(tmp_path, given_id).default_scope.scope_id == OTHER_SCOPE_ID


def test_the_seeds_key_means_what_it_meant(tmp_path: Path) -> None:
    scope = load_repo_spec(write_repo_spec(tmp_path, "acme/node")).default_scope
    assert scope.dialect is Dialect.CREDIT_ESTIMATE_ALGO
    assert (scope.selection, scope.weights_milli) == (None, DEFAULT_WEIGHTS_MILLI)
    text = OF_THEIRS.replace(PIPELINE, ESTIMATE)
    assert (refusal(tmp_path, text).key, refusal(tmp_path, text).problem) == ("scope_id", "is missing")


def test_both_dialects_stand_side_by_side_scope_by_scope(tmp_path: Path) -> None:
    website = write_project(tmp_path, "website", "acme/site")
    docs = tmp_path / ".cogni" / "projects" / "docs.yaml"
    docs.write_text(
        f"scope_key: docs\nactivity_ledger: {{epoch_length_days: 7, activity_sources: {{github: {SECTION}}}}}"
    )
    scopes = {scope.scope_key: scope for scope in load(tmp_path).scopes}
    assert {key: scope.dialect for key, scope in scopes.items()} == {
        "default": Dialect.ATTRIBUTION_PIPELINE,
        "docs": Dialect.ATTRIBUTION_PIPELINE,
        "website": Dialect.CREDIT_ESTIMATE_ALGO,
    }
    assert scopes["docs"].scope_id == uuid5(NODE_ID, "docs")
    assert scopes["website"].weights_milli == DEFAULT_WEIGHTS_MILLI
    website.write_text(website.read_text().replace("scope_id", "scope_idd"))
    with pytest.raises(SpecError, match="scope_id: is missing"):
        load(tmp_path)


def test_their_excluded_logins_are_the_policys(tmp_path: Path) -> None:
    selection = load(tmp_path, in_section("excluded_logins: [Cogni-1729, ada]")).default_scope.selection
    assert selection is not None
    assert (selection.policy, selection.excluded_logins) == (MAIN_MERGE_V0, ("Cogni-1729", "ada"))


def test_what_a_file_says_itself_goes_before_what_the_name_stands_for(tmp_path: Path) -> None:
    text = in_section("excluded_logins: [Ada, bo]").replace(
        "  epoch_length_days: 7\n",
        "  epoch_length_days: 7\n"
        "  weights_milli: {github:issue_closed: 7}\n"
        "  selection: {policy: fair-v1, excluded_logins: [ada]}\n",
    )
    scope = load(tmp_path, text).default_scope
    assert scope.weights_milli == {**PROFILE_WEIGHTS_MILLI, "github:issue_closed": 7}
    assert scope.selection is not None
    assert (scope.selection.policy, scope.selection.excluded_logins) == ("fair-v1", ("Ada", "bo"))


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (
            in_section(ESTIMATE),
            GITHUB,
            "has both credit_estimate_algo and attribution_pipeline, which mean different things: take out one of them",
        ),
        (
            OF_THEIRS.replace(f"github: {SECTION}", f"github: {SECTION}\n    chat: {{{ESTIMATE}}}"),
            "activity_ledger.activity_sources",
            "github has attribution_pipeline and chat has credit_estimate_algo: use the same key in all sections",
        ),
        (
            OF_THEIRS.replace("cogni-v0.0", "cogni-v0.1"),
            f"{GITHUB}.attribution_pipeline",
            "'cogni-v0.1' is not valid: o",
        ),
        (OF_THEIRS.replace("cogni-v0.0", "''"), f"{GITHUB}.attribution_pipeline", "at least 1 character"),
        (in_section("excluded_logins: [a, A]"), f"{GITHUB}.excluded_logins", "'A' repeats 'a'"),
        (in_section("exclude_logins: [a]"), f"{GITHUB}.exclude_logins", "did you mean 'excluded_logins'?"),
        (in_ledger("pool_confg: {}"), "activity_ledger.pool_confg", "did you mean 'pool_config'?"),
        (
            in_section("excluded_logins: [a]").replace(
                "  approvers", "  selection: {policy: include-all-v0}\n  approvers"
            ),
            "activity_ledger.selection",
            "has no settings and excludes nobody",
        ),
        (OF_THEIRS.replace("scope_key: default", "scope_key: X"), "scope_key", "a slug of a-z"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, key: str, problem: str) -> None:
    error = refusal(tmp_path, text)
    assert error.key == key
    assert problem in error.problem


def test_their_unknown_keys_are_ignored_with_one_note_of_their_file(tmp_path: Path) -> None:
    more = in_section("window_hint: daily").replace("timezone: UTC, entry", "enabled: true, timezone: UTC, entry")
    spec = load(tmp_path, more.replace("  pool_config", "  budget_policy: {budget_total: '1'}\n  pool_config"))
    assert spec.scopes == load(tmp_path).scopes
    [note] = spec.notes
    path = tmp_path / ".cogni" / "repo-spec.yaml"
    assert note.startswith(f"{path}: ignored 4 keys that only the system we join knows: ")
    for key in ("activity_ledger.budget_policy", f"{GITHUB}.window_hint", "governance.schedules[1].enabled"):
        assert key in note


def test_unknown_keys_of_ours_are_refused_as_before(tmp_path: Path) -> None:
    text = in_ledger("budget_policy: {}").replace(PIPELINE, ESTIMATE).replace("scope_key", "scope_id: 1\nscope_key")
    assert refusal(tmp_path, text).key == "activity_ledger.budget_policy"


def test_doctor_says_once_what_was_ignored(tmp_path: Path) -> None:
    load(tmp_path, in_ledger("budget_policy: {}"))
    settings_ = Settings(ledger_repo_spec=tmp_path / ".cogni" / "repo-spec.yaml")
    finding, spec = check_repo_spec(settings_)
    assert spec is not None
    assert finding.state is State.WARNING
    assert finding.detail.count("ignored 1 key that only the system we join knows: activity_ledger.budget_policy") == 1
    load(tmp_path)
    assert check_repo_spec(settings_)[0].state is State.OK


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.text("qxyz", min_size=4, max_size=12), max_size=5))
def test_whatever_keys_they_add_the_scope_is_the_same(tmp_path: Path, keys: set[str]) -> None:
    spec = load(tmp_path, in_section(*(f"{key}: 1" for key in sorted(keys))) if keys else OF_THEIRS)
    assert spec.scopes == load(tmp_path).scopes
    assert len(spec.notes) == bool(keys)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_allocated_by_the_sum_of_weights(name: str) -> None:
    assert allocation_algo_ref(name) == WEIGHT_SUM_V0


def test_an_epoch_closes_with_all_that_the_name_stands_for(tmp_path: Path) -> None:
    scope = load(tmp_path).default_scope
    pinned = epoch_pins(scope, scope.weights_milli).pinned_spec
    assert pinned["weights_milli"] == PROFILE_WEIGHTS_MILLI
    assert isinstance(stated := pinned[PINNED_AS], dict)
    assert stated["policy"] == MAIN_MERGE_V0
    assert pin_differences(scope, WEIGHT_SUM_V0, scope.weights_milli, pinned) == []
    # In the other dialect the same name means another selection, which is told.
    seed = replace(scope, selection=None, dialect=Dialect.CREDIT_ESTIMATE_ALGO)
    [difference] = pin_differences(seed, WEIGHT_SUM_V0, scope.weights_milli, pinned)
    assert (difference.name, difference.pays) == (PINNED_AS, True)
    assert pinned_spec(seed)["activity_sources"] == pinned["activity_sources"]
