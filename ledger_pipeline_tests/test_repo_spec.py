"""The repo-spec loads to core types, or one SpecError says file, key, value and what would be right."""

import random
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger_pipeline.core.errors import SpecError, UnknownScope, WindowError
from ledger_pipeline.core.owners import OwnerRules
from ledger_pipeline.core.selection.fair_settings import DEFAULT_SETTINGS, DEFAULT_UNKNOWN
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.spec import RepoSpec, ScheduleSpec, SourceSpec
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NODE_ID, OTHER_SCOPE_ID, SCOPE_ID, window

SAMPLE = Path(__file__).parents[1] / ".cogni" / "repo-spec.yaml"
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER_WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
GITHUB = "activity_ledger.activity_sources.github"
ABSENT: Any = object()  # a value that means: leave the key out

Load = Callable[..., RepoSpec]


def content(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A repo-spec as a mapping, with values at dotted keys replaced (`ABSENT`: left out)."""
    spec: dict[str, Any] = {
        "node_id": str(NODE_ID),
        "scope_id": str(SCOPE_ID),
        "scope_key": "default",
        "activity_ledger": {
            "epoch_length_days": 7,
            "activity_sources": {"github": {"credit_estimate_algo": "cogni-v0.0", "source_refs": ["cogni-dao/cogni"]}},
        },
        "governance": {"schedules": [schedule()]},
    }
    for dotted, value in (changes or {}).items():
        *parents, last = dotted.split(".")
        section: Any = spec
        for parent in parents:
            section = section[int(parent)] if isinstance(section, list) else section.setdefault(parent, {})
        place = int(last) if isinstance(section, list) else last
        if value is ABSENT:
            del section[place]
        else:
            section[place] = deepcopy(value)
    return spec


def project(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Another scope of the node, as a file of `projects/`."""
    second_spec = {"node_id": ABSENT, "scope_id": str(OTHER_SCOPE_ID), "scope_key": "website", "governance": ABSENT}
    return content({**second_spec, **(changes or {})})


def schedule(**fields: str) -> dict[str, str]:
    return {"charter": "LEDGER_INGEST", "cron": "0 6 * * *", "entrypoint": "LEDGER_INGEST", **fields}


def write(file: Path, text: str | dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return file


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a repo-spec written as text or as changes to a good one, with the projects given by file name."""

    def load(spec: str | dict[str, Any] | None = None, **projects: str | dict[str, Any]) -> RepoSpec:
        file = write(tmp_path / "repo-spec.yaml", spec if isinstance(spec, str) else content(spec))
        for name, text in projects.items():
            write(tmp_path / "projects" / f"{name}.yaml", text)
        return load_repo_spec(file)

    return load


def refusal(load: Load, *arguments: Any, **projects: Any) -> SpecError:
    with pytest.raises(SpecError) as refused:
        load(*arguments, **projects)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{refused.value.file}: {refused.value.key}")
    return refused.value


# What loads.


def test_the_sample_loads_to_what_it_says() -> None:
    spec = load_repo_spec(SAMPLE)
    (scope,) = spec.scopes
    assert spec.node_id == NODE_ID
    assert spec.file == scope.file == str(SAMPLE)
    assert scope is spec.default_scope is spec.scope("default")
    assert (scope.scope_id, scope.scope_key) == (SCOPE_ID, "default")
    assert (scope.epoch_length_days, scope.first_epoch) == (7, date(2026, 1, 5))
    assert scope.sources == (
        SourceSpec(
            source="github",
            credit_estimate_algo="cogni-v0.0",
            source_scopes=("cogni-dao/cogni-template", "cogni-dao/ledger", "cogni-dao/website"),
            streams=GITHUB_STREAMS,
        ),
    )
    assert scope.approvers == (WALLET,)
    assert scope.base_issuance_credits == 10000
    assert scope.auto_close_grace_hours == 24
    assert scope.weights_milli == DEFAULT_WEIGHTS_MILLI
    assert scope.schedules == (ScheduleSpec("LEDGER_INGEST", "0 6 * * *", "UTC", "LEDGER_INGEST"),)


def test_what_may_be_left_out_has_a_default(load: Load) -> None:
    scope = load({"governance": ABSENT}).default_scope
    assert scope.first_epoch == date(2026, 1, 5)
    assert scope.sources[0].streams == GITHUB_STREAMS
    assert scope.approvers == ()
    assert scope.base_issuance_credits is None
    assert scope.auto_close_grace_hours == 24
    assert scope.schedules == ()


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("activity_ledger.epoch_length_days", 1, lambda scope: scope.epoch_length_days == 1),
        ("activity_ledger.epoch_length_days", 84, lambda scope: scope.epoch_length_days == 84),
        ("activity_ledger.first_epoch", date(2025, 12, 29), lambda scope: scope.first_epoch == date(2025, 12, 29)),
        ("activity_ledger.first_epoch", "2026-02-16", lambda scope: scope.first_epoch == date(2026, 2, 16)),
        ("activity_ledger.auto_close_grace_hours", 0, lambda scope: scope.auto_close_grace_hours == 0),
        (f"{GITHUB}.streams", ["issues"], lambda scope: scope.sources[0].streams == ("issues",)),
        (
            f"{GITHUB}.source_refs",
            ["Owner-1/Repo.name_x", "a/b"],
            lambda scope: scope.sources[0].source_scopes == ("Owner-1/Repo.name_x", "a/b"),
        ),
        (
            "activity_ledger.pool_config.base_issuance_credits",
            "0",
            lambda scope: scope.base_issuance_credits == 0,
        ),
        (
            "activity_ledger.pool_config.base_issuance_credits",
            "1000000000000000000",
            lambda scope: scope.base_issuance_credits == 10**18,
        ),
        ("governance.chain_id", "8453", lambda scope: scope.chain_id == 8453),
        ("governance.chain_id", None, lambda scope: scope.chain_id is None),
        ("scope_key", "a", lambda scope: scope.scope_key == "a"),
        ("scope_key", "a-1" + "b" * 29, lambda scope: len(scope.scope_key) == 32),
        (
            "governance.schedules.0.timezone",
            "Europe/Berlin",
            lambda scope: scope.schedules[0].timezone == "Europe/Berlin",
        ),
        (
            "governance.schedules.0.cron",
            "*/15 0-6,12 1 JAN MON-FRI",
            lambda scope: scope.schedules[0].cron == "*/15 0-6,12 1 JAN MON-FRI",
        ),
    ],
)
def test_a_good_value_is_kept(load: Load, key: str, value: object, read: Callable[[object], bool]) -> None:
    assert read(load({key: value}).default_scope)


@pytest.mark.parametrize("written", ["2026-02-16", '"2026-02-16"', "'2026-02-16'"])
def test_a_date_means_the_same_quoted_or_not(load: Load, written: str) -> None:
    text = SAMPLE.read_text().replace("first_epoch: 2026-01-05", f"first_epoch: {written}")
    assert load(text).default_scope.first_epoch == date(2026, 2, 16)


@pytest.mark.parametrize(
    ("changes", "approvers"),
    [
        ({"ledger.approvers": [OTHER_WALLET]}, (OTHER_WALLET,)),
        ({"ledger.approvers": [OTHER_WALLET], "activity_ledger.approvers": [WALLET]}, (WALLET,)),
        ({"ledger.approvers": [OTHER_WALLET], "activity_ledger.approvers": []}, ()),
        ({"ledger.approvers": [OTHER_WALLET], "activity_ledger.approvers": None}, (OTHER_WALLET,)),
    ],
)
def test_approvers_are_read_from_their_older_place_unless_the_newer_has_them(
    load: Load, changes: dict[str, Any], approvers: tuple[str, ...]
) -> None:
    assert load(changes).default_scope.approvers == approvers


@pytest.mark.parametrize(("threshold", "taken"), [(1, True), (2, True), (3, False), (0, False), (-1, False)])
def test_as_many_approvers_have_to_sign_as_the_spec_says_and_there_are(load: Load, threshold: int, taken: bool) -> None:
    changes = {"activity_ledger.approvers": [WALLET, OTHER_WALLET], "activity_ledger.approval_threshold": threshold}
    assert load().default_scope.approval_threshold == 1
    if taken:
        assert load(changes).default_scope.approval_threshold == threshold
        return
    with pytest.raises(SpecError, match="from 1 to the number of approvers, 2") as raised:
        load(changes)
    assert (raised.value.key, str(threshold) in str(raised.value)) == ("activity_ledger.approval_threshold", True)


@pytest.mark.parametrize("value", [None, [], "text", 7, {"anything": {"goes": [1.5, None]}}, {1: 2}])
def test_the_sections_of_others_are_ignored_whatever_they_hold(load: Load, value: object) -> None:
    spec = load({"gates": value, "payments_in": value, "governance.council": value})
    assert spec.default_scope == load().default_scope


def test_the_sections_of_others_may_use_anchors_and_merge_keys(load: Load) -> None:
    gates = "gates:\n  base: &base {level: 1, name: a}\n  strict:\n    <<: *base\n    level: 2\n"
    assert load(SAMPLE.read_text() + gates).default_scope.scope_key == "default"


# Projects.


def test_each_project_file_is_one_more_scope_after_the_default_one_in_order_of_names(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path / "projects" / "b.yml", project({"scope_id": str(UUID(int=2)), "scope_key": "beta"}))
    write(tmp_path / "projects" / "notes.txt", "not a project")
    spec = load(None, c=project({"scope_id": str(UUID(int=3)), "scope_key": "alpha"}), a=project())
    assert [scope.scope_key for scope in spec.scopes] == ["default", "website", "beta", "alpha"]
    assert spec.scope("website").file == str(tmp_path / "projects" / "a.yaml")
    assert spec.scope("website").scope_id == OTHER_SCOPE_ID
    assert spec.default_scope.scope_key == "default"


def test_a_project_may_start_earlier_and_the_node_starts_with_the_first(load: Load) -> None:
    spec = load(
        {"activity_ledger.first_epoch": "2026-03-02"}, web=project({"activity_ledger.first_epoch": "2026-02-16"})
    )
    assert spec.first_epoch == date(2026, 2, 16)


def test_a_project_has_the_nodes_schedules_unless_it_says_its_own(load: Load) -> None:
    evening = ScheduleSpec("LEDGER_INGEST", "0 18 * * *", "UTC", "LEDGER_INGEST")
    inherits, own = project(), project({"scope_id": str(UUID(int=3)), "scope_key": "own"})
    own["governance"] = {"schedules": [schedule(cron="0 18 * * *")]}
    none = project({"scope_id": str(UUID(int=4)), "scope_key": "none", "governance": {"schedules": []}})
    spec = load(None, a=inherits, b=own, c=none)
    assert spec.scope("website").schedules == spec.default_scope.schedules != ()
    assert spec.scope("own").schedules == (evening,)
    assert spec.scope("none").schedules == ()


def test_a_project_is_on_the_nodes_chain_unless_it_names_another(load: Load) -> None:
    own = project({"scope_id": str(UUID(int=3)), "scope_key": "own", "governance": {"chain_id": "10"}})
    schedules = project({"scope_id": str(UUID(int=4)), "scope_key": "schedules", "governance": {"schedules": []}})
    spec = load({"governance.chain_id": "8453"}, a=project(), b=own, c=schedules)
    chains = {scope.scope_key: scope.chain_id for scope in spec.scopes}
    assert chains == {"default": 8453, "website": 8453, "own": 10, "schedules": 8453}


def test_a_project_may_repeat_the_nodes_id(load: Load) -> None:
    assert len(load(None, web=project({"node_id": str(NODE_ID)})).scopes) == 2


@pytest.mark.parametrize(
    ("changes", "key", "parts"),
    [
        ({"scope_id": str(SCOPE_ID)}, "scope_id", [str(SCOPE_ID), "is taken by"]),
        ({"scope_key": "default"}, "scope_key", ["default", "is taken by"]),
        ({"node_id": str(UUID(int=1))}, "node_id", [str(UUID(int=1)), "another node", str(NODE_ID)]),
        ({"activity_ledger.epoch_length_days": 14}, "activity_ledger.epoch_length_days", ["14", "differs from the 7"]),
        ({"activity_ledger.epoch_length_days": 8}, "activity_ledger.epoch_length_days", ["8", "multiple of 7"]),
        ({"activity_ledger.epoch_length": 7}, "activity_ledger.epoch_length", ["'epoch_length_days'"]),
    ],
)
def test_a_bad_project_is_refused_naming_its_file(
    load: Load, tmp_path: Path, changes: dict[str, Any], key: str, parts: list[str]
) -> None:
    error = refusal(load, None, web=project(changes))
    assert (error.file, error.key) == (str(tmp_path / "projects" / "web.yaml"), key)
    for words in parts:
        assert words in error.problem


def test_two_projects_that_clash_are_refused_naming_both_files(load: Load, tmp_path: Path) -> None:
    error = refusal(load, None, one=project(), two=project({"scope_id": str(UUID(int=2))}))
    assert error.file == str(tmp_path / "projects" / "two.yaml")
    assert error.problem == f"website is taken by {tmp_path / 'projects' / 'one.yaml'}"


# Values that are refused: dotted key of the error, and what its problem says.

LENGTH = "activity_ledger.epoch_length_days"
FIRST = "activity_ledger.first_epoch"
CREDITS = "activity_ledger.pool_config.base_issuance_credits"
GRACE = "activity_ledger.auto_close_grace_hours"
CRON = "governance.schedules.0.cron"
ZONE = "governance.schedules.0.timezone"
BIGINT_AND_ONE = str(2**63)

BAD_VALUES: list[tuple[str, Any, str]] = [
    *(("node_id", value, "UUID") for value in ("", "4ff8eac1", 7, None, [])),
    *(("scope_id", value, "UUID") for value in (str(SCOPE_ID)[:-1], {}, True)),
    *(
        ("scope_key", value, "a slug of a-z, 0-9 and -, starting with a letter, at most 32 long")
        for value in ("", "Default", "1st", "-a", "a b", "a_b", "a|b", "a[b", "a]b", "é", "a\n", "a" * 33, "web\u0661")
    ),
    *(("scope_key", value, "valid string") for value in (7, None, True, ["a"], {"a": 1})),
    *((LENGTH, value, "1, or a multiple of 7 up to 84") for value in (0, -7, 2, 8, 30, 85, 91, 10**30)),
    *((LENGTH, value, "valid integer") for value in ("7", 7.0, True, None, [7])),
    *((FIRST, value, "a date, as 2026-01-05") for value in ("2026-1-5", "20260105", "soon", 20260105, None, [])),
    *((f"{GITHUB}.credit_estimate_algo", value, "string") for value in (None, 1, [])),
    (f"{GITHUB}.credit_estimate_algo", "", "at least 1 character"),
    (f"{GITHUB}.source_refs", [], "at least 1 item"),
    (f"{GITHUB}.source_refs", "cogni-dao/cogni", "a list"),
    (f"{GITHUB}.source_refs", None, "a list"),
    (f"{GITHUB}.source_refs", ["a/b", "c/d", "A/B"], "each once, ignoring case: 'A/B' repeats 'a/b'"),
    (f"{GITHUB}.streams", [], "at least 1 item"),
    (f"{GITHUB}.streams", "issues", "a list"),
    (f"{GITHUB}.streams", ["issues", "issues"], "each once"),
    (CREDITS, 10000, 'in quotes, as "10000"'),
    *(
        (CREDITS, value, "a whole number of credits in quotes")
        for value in ("", "-1", "+1", "1.5", "1e3", "01", "1_000", "10,000", " 1", "1\n", "\u0661", BIGINT_AND_ONE)
    ),
    *((CREDITS, value, "a whole number of credits in quotes") for value in (0, 1.0, None, True, ["1"])),
    (GRACE, -1, "greater than or equal to 0"),
    *((GRACE, value, "valid integer") for value in ("24", 24.0, True, None)),
    ("activity_ledger.approvers", WALLET, "a list"),
    ("activity_ledger.approvers", [WALLET, WALLET.lower()], "each once, ignoring case"),
    ("ledger.approvers", [WALLET, WALLET.upper().replace("X", "x")], "each once, ignoring case"),
    *(
        (CRON, value, "five fields: minute hour day-of-month month day-of-week")
        for value in ("", "0 6 * *", "0 0 6 * * *", "@daily", "0 6 * * * UTC")
    ),
    *(
        (CRON, value, "a cron expression")
        for value in ("60 6 * * *", "0 24 * * *", "0 6 0 * *", "0 6 32 * *", "0 6 * 13 *", "0 6 * * 8", "x 6 * * *")
    ),
    *((CRON, value, "a cron expression") for value in ("*/0 * * * *", "5-1 * * * *", "0 6 31 2 *", "-1 6 * * *")),
    *((CRON, value, "valid string") for value in (6, None, ["0 6 * * *"])),
    *(
        (ZONE, value, "an IANA time zone name, as UTC or Europe/Berlin")
        for value in ("", "Berlin", "Europe", "UTC+1", "../UTC", "/etc/localtime", "a\0b", "\ud800", "x" * 5000)
    ),
    (ZONE, None, "valid string"),
    *(
        ("governance.chain_id", value, 'the id of a chain in quotes, as "8453"')
        for value in (8453, "", "0", "0x2105", "08453", " 1", str(2**53), True, [])
    ),
    ("governance.schedules.0.charter", "", "at least 1 character"),
    ("governance.schedules.0.entrypoint", 1, "valid string"),
    ("governance.schedules", {}, "a list"),
    ("governance.schedules.0", "LEDGER_INGEST", "a section with keys"),
    *((section, 3, "a section with keys") for section in ("activity_ledger", "ledger", "governance", GITHUB)),
]


def dotted(key: str) -> str:
    """`governance.schedules.0.cron` as an error writes it: `governance.schedules[0].cron`."""
    return key.replace(".0", "[0]")


@pytest.mark.parametrize(("key", "value", "right"), BAD_VALUES, ids=lambda value: repr(value)[:40])
def test_a_bad_value_is_refused_naming_file_key_value_and_what_would_be_right(
    load: Load, tmp_path: Path, key: str, value: Any, right: str
) -> None:
    error = refusal(load, {key: value})
    assert (error.file, error.key) == (str(tmp_path / "repo-spec.yaml"), dotted(key))
    assert error.problem.startswith(f"{value!r} is not valid: ")
    assert right in error.problem


@pytest.mark.parametrize(
    ("key", "values", "index", "right"),
    [
        (f"{GITHUB}.source_refs", ["a/b", "cogni"], 1, "owner/repo, as cogni-dao/ledger"),
        (f"{GITHUB}.source_refs", ["https://github.com/a/b"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a/b/c"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a/b "], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a/b\n"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a.b/c"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["ä/b"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a b/c"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", ["a/"], 0, "owner/repo"),
        (f"{GITHUB}.source_refs", [7], 0, "valid string"),
        (f"{GITHUB}.source_refs", [None], 0, "valid string"),
        (f"{GITHUB}.streams", ["issues", "commits"], 1, "one of pull_requests, reviews, issues"),
        (f"{GITHUB}.streams", ["Issues"], 0, "one of pull_requests, reviews, issues"),
        ("activity_ledger.approvers", [WALLET, WALLET[:-1]], 1, "a wallet address: 0x and 40 hexadecimal digits"),
        ("activity_ledger.approvers", [WALLET[2:]], 0, "a wallet address"),
        ("activity_ledger.approvers", ["vitalik.eth"], 0, "a wallet address"),
        ("ledger.approvers", [0x7099], 0, "valid string"),
    ],
)
def test_a_bad_item_of_a_list_is_refused_naming_its_place(
    load: Load, key: str, values: list[Any], index: int, right: str
) -> None:
    error = refusal(load, {key: values})
    assert error.key == f"{key}[{index}]"
    assert error.problem.startswith(f"{values[index]!r} is not valid: ")
    assert right in error.problem


OWNERS = ["acme/*", "other/site"]


def test_all_that_an_owner_has_stands_beside_what_is_named(load: Load) -> None:
    [source] = load({f"{GITHUB}.source_refs": OWNERS}).default_scope.sources
    assert (source.source_scopes, source.owners) == (("other/site",), OwnerRules(("acme/*",)))
    assert source.source_refs == ("other/site", "acme/*")
    rules = {"exclude": ["Acme/secret"], "include_archived": True, "include_forks": True}
    changes = {f"{GITHUB}.{key}": value for key, value in rules.items()}
    [source] = load({f"{GITHUB}.source_refs": OWNERS, **changes}).default_scope.sources
    assert source.owners == OwnerRules(("acme/*",), ("Acme/secret",), include_archived=True, include_forks=True)


@pytest.mark.parametrize(
    ("source_refs", "key", "value", "right"),
    [
        (["acme/site"], "include_forks", True, "a rule for owner/* in source_refs, and none is there"),
        (["acme/site"], "include_archived", False, "a rule for owner/* in source_refs, and none is there"),
        (OWNERS, "include_forks", "yes", "valid boolean"),
        (OWNERS, "exclude[0]", ["other/site"], "one of what acme/* stands for"),
        (["acme/site"], "exclude[0]", ["acme/site"], "one of what owner/* stands for"),
        (OWNERS, "exclude[0]", ["acme/*"], "owner/repo, as cogni-dao/ledger"),
        (["acme/*", "acme/site"], "exclude", ["Acme/Site"], "Acme/Site is in source_refs by its name"),
        (["acme/*", "Acme/*"], "source_refs", None, "each once, ignoring case: 'Acme/*' repeats 'acme/*'"),
        (["acme*/x"], "source_refs[0]", None, "owner/* for all repositories of an owner"),
    ],
)
def test_rules_of_owners_that_are_none_are_refused(
    load: Load, source_refs: list[str], key: str, value: object, right: str
) -> None:
    given_value = {} if value is None else {f"{GITHUB}.{key.partition('[')[0]}": value}
    error = refusal(load, {f"{GITHUB}.source_refs": source_refs, **given_value})
    assert error.key == f"{GITHUB}.{key}"
    assert right in error.problem


@pytest.mark.parametrize("name", ["octocat_acme/notes", "-a/b", f"{'a' * 40}/b", "a/b_.-c"])
def test_github_judges_which_names_there_are(load: Load, name: str) -> None:
    [source] = load({f"{GITHUB}.source_refs": [name]}).default_scope.sources
    assert source.source_scopes == (name,)


@pytest.mark.parametrize(
    ("length", "first", "neighbours"),
    [
        (7, "2026-01-06", ("2026-01-05", "2026-01-12")),
        (7, "2026-01-04", ("2025-12-29", "2026-01-05")),
        (14, "2026-01-12", ("2026-01-05", "2026-01-19")),
        (84, "2025-12-29", ("2025-10-13", "2026-01-05")),
    ],
)
def test_a_first_epoch_that_starts_no_window_is_refused_naming_the_nearest_that_do(
    load: Load, length: int, first: str, neighbours: tuple[str, str]
) -> None:
    error = refusal(load, {LENGTH: length, FIRST: first})
    assert error.key == FIRST
    assert first in error.problem
    assert f"the nearest start on {neighbours[0]} and {neighbours[1]}" in error.problem


def test_a_first_epoch_beyond_the_calendar_is_refused(load: Load) -> None:
    assert "leaves the years 1 to 9999" in refusal(load, {FIRST: "9999-12-27"}).problem


def test_a_first_epoch_with_a_time_of_day_is_refused(load: Load) -> None:
    text = SAMPLE.read_text().replace("first_epoch: 2026-01-05", "first_epoch: 2026-01-05T00:00:00Z")
    error = refusal(load, text)
    assert error.key == FIRST
    assert "a date, as 2026-01-05" in error.problem


# Keys that are refused.


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("activity_ledger.epoch_lenght_days", "did you mean 'epoch_length_days'?"),
        ("activity_ledger.approver", "did you mean 'approvers'?"),
        ("activity_ledger.zzz", "known here: epoch_length_days, first_epoch, activity_sources, approvers"),
        ("activity_ledger.activity_sources.gitlab", "did you mean 'github'?"),
        ("activity_ledger.activity_sources.discord", "known here: github"),
        (f"{GITHUB}.source_ref", "did you mean 'source_refs'?"),
        (f"{GITHUB}.stream", "did you mean 'streams'?"),
        ("activity_ledger.pool_config.base_issuance", "did you mean 'base_issuance_credits'?"),
        ("ledger.aprovers", "did you mean 'approvers'?"),
        ("governance.schedules.0.entry_point", "did you mean 'entrypoint'?"),
    ],
)
def test_an_unknown_key_of_ours_is_refused_with_a_suggestion(load: Load, key: str, suggestion: str) -> None:
    error = refusal(load, {key: "x"})
    assert error.key == dotted(key)
    assert error.problem.startswith(f"is not a key of this section; {suggestion}")


def test_a_misspelt_key_is_reported_and_not_the_missing_one_it_causes(load: Load) -> None:
    error = refusal(load, {LENGTH: ABSENT, "activity_ledger.epoch_lenght_days": 7})
    assert error.key == "activity_ledger.epoch_lenght_days"
    assert error.problem.endswith("did you mean 'epoch_length_days'?")


def test_all_problems_of_a_file_are_listed_each_with_its_key(load: Load) -> None:
    error = refusal(load, {"node_id": "x", LENGTH: 0, "activity_ledger.epoch_lenght": 7, "scope_key": ABSENT})
    assert (error.key, error.problem.partition(";")[0]) == (
        "activity_ledger.epoch_lenght",
        "is not a key of this section",
    )
    keys = [problem.partition(": ")[0] for problem in str(error).split("; also ")]
    assert sorted(keys[1:]) == ["activity_ledger.epoch_length_days", "node_id", "scope_key"]


def test_all_files_with_problems_are_named(load: Load, tmp_path: Path) -> None:
    error = refusal(load, {"node_id": "x"}, broken="a: [", website=project({LENGTH: 0}))
    others = [problem.split(": ")[:2] for problem in str(error).split("; also ")[1:]]
    folder = tmp_path / "projects"
    assert error.key == "node_id"
    assert others == [
        [str(folder / "broken.yaml"), "is not YAML"],
        [str(folder / "website.yaml"), "activity_ledger.epoch_length_days"],
    ]


@pytest.mark.parametrize("key", [7, None, True, 1.5, date(2026, 1, 5)])
def test_a_key_of_ours_that_is_not_text_is_refused(load: Load, key: object) -> None:
    spec = content()
    spec["activity_ledger"][key] = "x"
    error = refusal(load, yaml.safe_dump(spec))
    assert error.key.startswith("activity_ledger")
    assert "Keys should be strings" in error.problem


@pytest.mark.parametrize(
    "key",
    [
        "node_id",
        "scope_id",
        "scope_key",
        "activity_ledger",
        LENGTH,
        "activity_ledger.activity_sources",
        GITHUB,
        f"{GITHUB}.credit_estimate_algo",
        f"{GITHUB}.source_refs",
        "governance.schedules.0.charter",
        CRON,
        "governance.schedules.0.entrypoint",
    ],
)
def test_a_missing_key_is_refused(load: Load, key: str) -> None:
    error = refusal(load, {key: ABSENT})
    assert (error.key, error.problem) == (dotted(key), "is missing")


def test_weights_override_the_defaults_kind_by_kind(load: Load) -> None:
    weights = load({"activity_ledger.weights_milli": {"github:pr_merged": 2500, "github:issue_closed": 0}})
    assert weights.default_scope.weights_milli == {
        **DEFAULT_WEIGHTS_MILLI,
        "github:pr_merged": 2500,
        "github:issue_closed": 0,
    }


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"github:pr_merged": -1}, "weight of github:pr_merged: -1 is negative"),
        ({"github:pr_merged": 2**53}, "more than JSON keeps exact"),
        ({"github:pr_merged": 1.5}, "valid integer"),
        ({"github:pr_merged": True}, "valid integer"),
        ({"github:pr_merged": "1000"}, "valid integer"),
        ({"github:merged": 1000}, "kinds of events are github:pr_merged, "),
        ([1000], "dictionary"),
    ],
)
def test_a_weight_that_is_negative_fractional_unsafe_or_of_nothing_is_refused(
    load: Load, weights: Any, says: str
) -> None:
    error = refusal(load, {"activity_ledger.weights_milli": weights})
    assert error.key.startswith("activity_ledger.weights_milli")
    assert says in error.problem


def test_a_pool_config_needs_its_credits(load: Load) -> None:
    error = refusal(load, {"activity_ledger.pool_config": {}})
    assert (error.key, error.problem) == (CREDITS, "is missing")


@pytest.mark.parametrize(
    ("line", "repeated"),
    [
        ("scope_key: default", "scope_key: default\nscope_key: default"),
        ("  epoch_length_days: 7", "  epoch_length_days: 7\n  epoch_length_days: 14"),
        ("      cron: ", "      cron: '0 1 * * *'\n      cron: "),
    ],
)
def test_a_key_given_twice_is_refused_naming_key_and_line(load: Load, line: str, repeated: str) -> None:
    error = refusal(load, SAMPLE.read_text().replace(line, repeated))
    key = repeated.split(":")[0].strip()
    assert f"key '{key}' is given twice" in error.problem
    assert ", line " in error.problem


@pytest.mark.parametrize("second", ["ledger_ingest", "LEDGER_INGEST", "Ledger_Ingest"])
def test_charters_equal_but_for_case_are_refused_naming_both(load: Load, second: str) -> None:
    schedules = [schedule(), schedule(charter=second)]
    for error in (
        refusal(load, {"governance.schedules": schedules}),
        refusal(load, None, web={**project(), "governance": {"schedules": schedules}}),
    ):
        assert error.key == "governance.schedules"
        assert f"each once, ignoring case: {second!r} repeats 'LEDGER_INGEST'" in error.problem


# Files that are refused.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a mapping of keys: it should start with node_id, scope_id, scope_key"),
        ("# nothing but a comment\n", "is not a mapping"),
        ("- node_id\n", "is not a mapping"),
        ("node_id", "is not a mapping"),
        ("7", "is not a mapping"),
        ("a: [1\n", "is not YAML"),
        ("a:\n\tb: 1\n", "is not YAML"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("a: *nowhere\n", "is not YAML"),
        ("a: !python/object:os.system {}\n", "is not YAML"),
        ("a: \x07\n", "is not YAML"),
        ("? {a: 1}\n: 2\n", "is not YAML"),
        ("a: 2026-02-30\n", "'2026-02-30' is not a valid timestamp: day is out of range"),
        (f"a: {'1' * 5000}\n", "is not a valid int"),
        ("a: !!int x\n", "'x' is not a valid int"),
        ("a: !!bool maybe\n", "'maybe' is not a valid bool"),
        ("a: !!timestamp soon\n", "'soon' is not a valid timestamp"),
        (f"a: {':'.join(['59'] * 200)}.5\n", "is not a valid float"),
        (f"a: {'[' * 64}{']' * 64}\n", "is not YAML: it nests deeper than 64 levels"),
        (f"a: {'[' * 50_000}", "is not YAML: it nests deeper than 64 levels"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_not_a_yaml_mapping_is_refused(load: Load, tmp_path: Path, text: str, says: str) -> None:
    for error in (refusal(load, text), refusal(load, None, web=text)):
        assert error.key == ""
        assert says in error.problem
    assert error.file == str(tmp_path / "projects" / "web.yaml")


def test_a_missing_file_is_refused_saying_which_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file: set LEDGER_REPO_SPEC") as refused:
        load_repo_spec(tmp_path / "nowhere.yaml")
    assert refused.value.file == str(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "repo-spec.yaml"
    file.write_bytes(f"# é\n{SAMPLE.read_text()}".encode(encoding))
    with pytest.raises(SpecError, match="cannot be read: 'utf-8' codec"):
        load_repo_spec(file)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_repo_spec(tmp_path)


# Junk.

OWNED_KEYS = sorted(
    {key for key, _, _ in BAD_VALUES} | {"activity_ledger.pool_config", "activity_ledger.activity_sources"}
)

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=8)
    | st.dates()
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(OWNED_KEYS), junk)
@example("activity_ledger.first_epoch", date(9999, 12, 31))
@example("governance.schedules.0.cron", "1#2/3 * * * *")
def test_any_value_at_a_key_of_ours_loads_or_raises_spec_error_and_nothing_else(
    load: Load, key: str, value: object
) -> None:
    with suppress(SpecError):
        spec = load({key: value})
        assert spec.default_scope.window(spec.first_epoch).start.date() == spec.first_epoch


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(), st.integers(1, 4))
def test_a_sample_with_characters_replaced_loads_or_raises_spec_error(
    load: Load, chance: random.Random, count: int
) -> None:
    characters = list(SAMPLE.read_text())
    for _ in range(count):
        characters[chance.randrange(len(characters))] = chance.choice("\t\n :-[]{}&*!|>'\"%@`#,?0é\x00")
    with suppress(SpecError):
        load("".join(characters))


# What a loaded spec answers.


def test_an_unknown_scope_is_refused_naming_those_there_are(load: Load) -> None:
    with pytest.raises(UnknownScope, match=r"no scope 'web' in .*: there is default, website"):
        load(None, a=project()).scope("web")


def test_an_epoch_before_the_scopes_first_is_refused_saying_where_that_is_set(load: Load) -> None:
    scope = load({FIRST: "2026-02-16"}).default_scope
    assert scope.window(date(2026, 2, 16)) == window("2026-02-16")
    with pytest.raises(WindowError, match=r"2026-02-09 precedes .* 2026-02-16 \(activity_ledger.first_epoch in "):
        scope.window(date(2026, 2, 9))


SELECTION = "activity_ledger.selection"


def test_a_policy_is_named_with_its_settings_by_the_node_and_by_each_project(load: Load) -> None:
    named = {"policy": "fair-v1", "settings": {"unknown": {"body": "refuse"}}, "excluded_logins": ["Octocat"]}
    spec = load({SELECTION: named}, website=project({SELECTION: {"policy": "cogni.main-merge-selection.v0"}}))
    fair, merges = (scope.selection for scope in spec.scopes)
    assert fair is not None
    assert merges is not None
    assert (fair.policy, fair.version, fair.distribution) == ("fair-v1", "1", "ledger-pipeline")
    assert fair.excluded_logins == ("Octocat",)
    unknown = {**DEFAULT_UNKNOWN, "body": "refuse"}
    assert dict(fair.settings) == {**DEFAULT_SETTINGS, "unknown": unknown}
    assert (merges.policy, dict(merges.settings)) == ("cogni.main-merge-selection.v0", {})


@pytest.mark.parametrize("selection", [ABSENT, {"policy": "include-all-v0"}])
def test_without_a_policy_every_event_counts(load: Load, selection: Any) -> None:
    changes = {} if selection is ABSENT else {SELECTION: selection}
    assert load(changes).default_scope == load().default_scope
    assert load().default_scope.selection is None


@pytest.mark.parametrize(
    ("selection", "key", "problem"),
    [
        ({"policy": "fair-v2"}, "policy", "'fair-v2' is not installed: there is cogni.main-merge-selection.v0,"),
        ({"policy": ""}, "policy", "at least 1 character"),
        ({"policy": "fair-v1", "settings": {"own": 1}}, "settings", "has no setting 'own': it has base_branches,"),
        ({"policy": "fair-v1", "settings": {"reviews_of": "none"}}, "settings", "setting reviews_of of selection"),
        ({"policy": "fair-v1", "settings": {"unknown": {"x": "pay"}}}, "settings", "unknown.x"),
        ({"policy": "fair-v1", "settings": {"events_per_day": 1.5}}, "settings", "holds no float: 1.5"),
        ({"policy": "fair-v1", "settings": {"events_per_day": date(2026, 1, 5)}}, "settings", "holds no date"),
        ({"policy": "fair-v1", "settings": {"exclude_labels": ["x" * 20_000]}}, "settings", "at most 20000 characters"),
        ({"policy": "fair-v1", "excluded_logins": ["ada", "Ada"]}, "excluded_logins", "'Ada' repeats 'ada'"),
        ({"policy": "fair-v1", "exclude_logins": ["ada"]}, "exclude_logins", "did you mean 'excluded_logins'?"),
        ({"policy": "include-all-v0", "excluded_logins": ["ada"]}, "", "has no settings and excludes nobody"),
    ],
)
def test_a_policy_that_cannot_be_is_told_with_file_and_key(load: Load, selection: Any, key: str, problem: str) -> None:
    with pytest.raises(SpecError) as raised:
        load({SELECTION: selection})
    assert raised.value.file.endswith("repo-spec.yaml")
    assert raised.value.key == f"{SELECTION}.{key}".rstrip(".")
    assert problem in raised.value.problem
