"""Settings come from the environment of the moment; what is wrong names the variable, and no secret is ever shown."""

import base64
import os
import shutil
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from ledger_pipeline import settings_variables
from ledger_pipeline.core.errors import ConfigurationError, SettingsError, SpecError
from ledger_pipeline.local.demo import demo_home
from ledger_pipeline.pipeline.coverage import SCAN_OVERLAP
from ledger_pipeline.settings import SIMULATED_CLOCK, Settings, read_settings
from ledger_pipeline.settings_credentials import GitHubApp, GitHubTokens
from ledger_pipeline.settings_variables import (
    ANY_CLOCK_SECONDS,
    CLOCK_TOLERANCE_SECONDS,
    LONGEST_CLOCK_TOLERANCE_SECONDS,
    PUBLIC_GITHUB_API_URL,
)
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID
from ledger_pipeline_tests.sources.github.patient_client import chain, key_pair

SAMPLE = Path(__file__).parents[1] / ".cogni" / "repo-spec.yaml"
OTHER_ID = str(UUID(int=7))
SECRET = "s3cret-password-or-token"
KEY = key_pair()[0]
SECRETS = {
    "DATABASE_URL": f"postgresql://ledger:{SECRET}@db/ledger",
    "DATABASE_OWNER_URL": f"postgresql://owner:{SECRET}@db/ledger",
    "DATABASE_READER_URL": f"postgresql://people:{SECRET}@db/ledger",
    "DATABASE_WEB_URL": f"postgresql://serve:{SECRET}@db/ledger",
    "DAGSTER_DATABASE_URL": f"postgresql://dagster:{SECRET}@db/dagster",
    "DAGSTER_HEADERS": f"Dagster-Cloud-Api-Token: {SECRET}",
    "DAGSTER_UI_LOGIN": f"ada:{SECRET}",
    "TEMPORAL_API_KEY": SECRET,
    "GITHUB_TOKEN": SECRET,
    "GITHUB_TOKENS": SECRET,
    "GITHUB_APP_PRIVATE_KEY": SECRET,
    "GITHUB_APP_PRIVATE_KEY_BASE64": SECRET,
}
ALIASES = {"GITHUB_REVIEW_APP_ID", "GITHUB_REVIEW_APP_PRIVATE_KEY_BASE64", "GITHUB_REVIEW_INSTALLATION_ID"}


@pytest.fixture(autouse=True)
def project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a checkout with a repo-spec, in an environment that sets none of our variables."""
    for name in set(os.environ) & ({field.upper() for field in Settings.model_fields} | ALIASES):
        monkeypatch.delenv(name)
    folder = tmp_path.resolve() / "checkout"
    (folder / ".cogni").mkdir(parents=True)
    shutil.copy(SAMPLE, folder / ".cogni")
    monkeypatch.chdir(folder)
    return folder


# The environment.


def test_nothing_has_to_be_set(project_folder: Path) -> None:
    settings = read_settings()
    for name in ("database_url", "dagster_database_url", "dagster_home", "node_id", "scope_id", "github_token"):
        assert getattr(settings, name) is None
    assert settings.github_api_url == PUBLIC_GITHUB_API_URL == "https://api.github.com"
    assert settings.github_page_size == 100
    assert (settings.github_timeout_seconds, settings.github_retries, settings.github_max_wait_seconds) == (60, 4, 60)
    assert settings.repo_spec_path == project_folder / ".cogni" / "repo-spec.yaml"
    assert settings.home == project_folder / ".ledger"
    assert settings.repo_spec().node_id == NODE_ID


def test_every_variable_is_read_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_PAGE_SIZE", "10")
    assert read_settings().github_page_size == 10
    monkeypatch.setenv("GITHUB_PAGE_SIZE", "20")
    assert read_settings().github_page_size == 20


@pytest.mark.parametrize("name", sorted(field.upper() for field in Settings.model_fields))
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert read_settings() == Settings.model_construct()


def test_overrides_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_RETRIES", "1")
    assert read_settings({"github_retries": 0}).github_retries == 0


def test_every_field_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_PAGE_SIZE", "0"),
        ("GITHUB_PAGE_SIZE", "101"),
        ("GITHUB_PAGE_SIZE", "ten"),
        ("GITHUB_TIMEOUT_SECONDS", "0"),
        ("GITHUB_TIMEOUT_SECONDS", "1.5"),
        ("GITHUB_RETRIES", "-1"),
        ("GITHUB_MAX_WAIT_SECONDS", "-1"),
        ("GITHUB_POINTS_RESERVE", "-1"),
        ("GITHUB_APP_INSTALLATION_ID", "x"),
    ],
)
def test_a_wrong_value_names_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} is not valid: Input should be "):
        read_settings()


# Secrets.


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    for shown in (repr(settings), str(settings), f"{settings}", str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in shown
    assert {name: getattr(settings, name.lower()).get_secret_value() for name in SECRETS} == SECRETS


def test_every_url_of_a_database_and_every_token_is_a_secret() -> None:
    secret = {name for name, field in Settings.model_fields.items() if SecretStr.__name__ in str(field.annotation)}
    assert secret == {name.lower() for name in SECRETS}


def test_the_ledgers_url_is_handed_out_or_its_variable_named_where_it_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is not set: "):
        read_settings().ledger_url()
    monkeypatch.setenv("DATABASE_URL", SECRETS["DATABASE_URL"])
    assert read_settings().ledger_url() == read_settings().owner_url() == SECRETS["DATABASE_URL"]
    monkeypatch.setenv("DATABASE_OWNER_URL", SECRETS["DATABASE_OWNER_URL"])
    assert read_settings().ledger_url() == SECRETS["DATABASE_URL"]
    assert read_settings().owner_url() == SECRETS["DATABASE_OWNER_URL"]


def test_no_error_shows_a_secret(monkeypatch: pytest.MonkeyPatch, project_folder: Path) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NODE_ID", OTHER_ID)
    errors: list[ConfigurationError] = []
    with pytest.raises(SettingsError) as differs:
        read_settings().repo_spec()
    errors.append(differs.value)
    (project_folder / ".cogni" / "repo-spec.yaml").unlink()
    with pytest.raises(SpecError) as absent:
        read_settings().repo_spec()
    errors.append(absent.value)
    # A token pasted into the wrong variable is a secret, too.
    monkeypatch.setenv("GITHUB_PAGE_SIZE", SECRET)
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    errors.append(wrong.value)
    assert wrong.value.__suppress_context__
    for error in errors:
        assert SECRET not in repr(error)


def test_the_demos_own_folder_is_its_home_however_it_is_named(tmp_path: Path) -> None:
    assert demo_home(Settings(ledger_home=tmp_path)) == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / SIMULATED_CLOCK).touch()
    assert demo_home(Settings(ledger_home=tmp_path)) == tmp_path / "demo"
    assert demo_home(Settings(ledger_home=tmp_path / "demo")) == tmp_path / "demo"


# Secrets in files.


@pytest.fixture
def secrets_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a container finds its mounted secrets, with one in it that is empty."""
    folder = tmp_path / "run-secrets"
    folder.mkdir()
    (folder / "github_app_private_key").write_text("\n")
    monkeypatch.setattr(settings_variables, "SECRETS_FOLDER", folder)
    return folder


def test_a_secret_may_be_a_file_named_as_its_variable(secrets_folder: Path) -> None:
    for name, value in SECRETS.items():
        (secrets_folder / name.lower()).write_text(f"{value}\n")
    settings = read_settings()
    assert {name: getattr(settings, name.lower()).get_secret_value() for name in SECRETS} == SECRETS
    assert SECRET not in repr(settings)


def test_an_empty_file_counts_as_not_set(secrets_folder: Path) -> None:
    assert read_settings().github_app_private_key is None
    assert read_settings() == Settings.model_construct()


def test_a_variable_comes_before_its_file_and_hides_it_even_when_empty(
    secrets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets_folder / "database_url").write_text(SECRETS["DATABASE_URL"])
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/db")
    assert read_settings().ledger_url() == "postgresql://other/db"
    monkeypatch.setenv("DATABASE_URL", "")
    assert read_settings().database_url is None
    assert read_settings({"database_url": "postgresql://third/db"}).ledger_url() == "postgresql://third/db"


def test_a_variable_hides_the_file_of_its_other_name_too(secrets_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets_folder / "github_review_app_id").write_text("12\n")
    assert read_settings().github_app_id == "12"
    monkeypatch.setenv("GITHUB_APP_ID", "")
    assert read_settings().github_app_id is None


def test_a_file_that_is_no_text_is_named_without_its_contents(secrets_folder: Path) -> None:
    (secrets_folder / "github_token").write_bytes(b"\xff" + SECRET.encode())
    with pytest.raises(SettingsError, match=f"^a secret in {secrets_folder} cannot be read: it is no text") as raised:
        read_settings()
    assert SECRET not in chain(raised.value)


def test_a_file_that_may_not_be_read_is_named(secrets_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets_folder / "github_token").write_text(SECRET)

    def refuse(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)  # root, who may run this test, reads everything
    with pytest.raises(SettingsError, match=r"github_.* cannot be read: Permission denied$"):
        read_settings()


# Who asks GitHub.


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> GitHubTokens | GitHubApp:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings().github_credentials()


@pytest.mark.parametrize(
    ("variables", "tokens"),
    [
        ({"GITHUB_TOKEN": "a"}, ["a"]),
        ({"GITHUB_TOKEN": " a\n"}, ["a"]),
        ({"GITHUB_TOKENS": "a, b,,a\n"}, ["a", "b"]),
        ({"GITHUB_TOKEN": "a", "GITHUB_TOKENS": "b,a"}, ["a", "b"]),
    ],
)
def test_tokens_are_a_pool(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], tokens: list[str]) -> None:
    assert given(monkeypatch, **variables) == GitHubTokens.of(*tokens)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GITHUB_APP_PRIVATE_KEY", KEY),
        ("GITHUB_APP_PRIVATE_KEY", KEY.replace("\n", "\\n")),
        ("GITHUB_APP_PRIVATE_KEY", KEY.replace("\n", "\r\n")),
        ("GITHUB_APP_PRIVATE_KEY_BASE64", base64.encodebytes(KEY.encode()).decode()),
        ("GITHUB_REVIEW_APP_PRIVATE_KEY_BASE64", base64.b64encode(KEY.encode()).decode()),
    ],
    ids=["PEM", "PEM in one line", "PEM with carriage returns", "base64 in lines", "base64, review app"],
)
def test_an_apps_key_may_be_written_in_several_ways(monkeypatch: pytest.MonkeyPatch, key: str, value: str) -> None:
    settings = given(monkeypatch, GITHUB_APP_ID="7", **{key: value})
    assert isinstance(settings, GitHubApp)
    assert (settings.app_id, settings.installation_id) == ("7", None)
    assert settings.private_key.get_secret_value().replace("\r", "").strip() == KEY.strip()


def test_the_review_apps_names_are_read_too_and_come_second(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(
        monkeypatch, GITHUB_REVIEW_APP_ID="7", GITHUB_REVIEW_INSTALLATION_ID="8", GITHUB_APP_PRIVATE_KEY=KEY
    )
    assert settings == GitHubApp("7", SecretStr(KEY), 8)
    monkeypatch.setenv("GITHUB_APP_INSTALLATION_ID", "")
    assert read_settings().github_credentials() == settings
    assert given(monkeypatch, GITHUB_APP_ID="9") == GitHubApp("9", SecretStr(KEY), 8)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "^GITHUB_TOKEN is not set"),
        ({"GITHUB_TOKENS": " , "}, "^GITHUB_TOKENS holds no token"),
        ({"GITHUB_TOKEN": f"{SECRET}\n{SECRET}"}, "a character that no token has"),
        ({"GITHUB_TOKEN": f"{SECRET}\N{EM DASH}"}, "a character that no token has"),
        ({"GITHUB_TOKEN": SECRET, "GITHUB_APP_ID": "7"}, "^GITHUB_APP_ID and a token .* are set: unset one"),
        ({"GITHUB_APP_ID": "7"}, "neither of GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_BASE64: set one"),
        (
            {"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": SECRET, "GITHUB_APP_PRIVATE_KEY_BASE64": SECRET},
            "both of GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_BASE64: set one",
        ),
        ({"GITHUB_APP_PRIVATE_KEY": SECRET}, "^GITHUB_APP_ID is not set, but other settings"),
        ({"GITHUB_TOKEN": SECRET, "GITHUB_APP_INSTALLATION_ID": "8"}, "^GITHUB_APP_ID is not set, but"),
        ({"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": SECRET}, "^GITHUB_APP_PRIVATE_KEY is no RSA private key"),
        (
            {"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": KEY.replace("MII", SECRET, 1)},
            "^GITHUB_APP_PRIVATE_KEY is no RSA private key",
        ),
        (
            {"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY_BASE64": f"{SECRET}\N{EM DASH}"},
            "^GITHUB_APP_PRIVATE_KEY_BASE64 is no RSA private key",
        ),
        (
            {"GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": key_pair()[1]},
            "^GITHUB_APP_PRIVATE_KEY is no RSA private key",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_credentials_that_cannot_be_right_are_refused_without_showing_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        given(monkeypatch, **variables)
    assert SECRET not in chain(raised.value)
    assert SECRET not in repr(read_settings())


def test_credentials_do_not_show_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECRET not in repr(given(monkeypatch, GITHUB_TOKEN=SECRET))
    assert KEY.splitlines()[1] not in repr(GitHubApp("7", SecretStr(KEY)))


# The repo-spec.


def test_the_repo_spec_is_found_from_a_folder_below(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project_folder / "some" / "folder"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    settings = read_settings()
    assert settings.repo_spec_path == project_folder / ".cogni" / "repo-spec.yaml"
    assert settings.home == project_folder / ".ledger"


def test_the_nearest_repo_spec_upwards_is_used(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project_folder / "inner"
    shutil.copytree(project_folder / ".cogni", inner / ".cogni")
    monkeypatch.chdir(inner)
    assert read_settings().repo_spec_path == inner / ".cogni" / "repo-spec.yaml"


def test_the_repo_spec_named_by_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path.resolve() / "elsewhere" / ".cogni" / "other.yaml"
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(SAMPLE, elsewhere)
    monkeypatch.setenv("LEDGER_REPO_SPEC", str(elsewhere))
    settings = read_settings()
    assert settings.repo_spec_path == elsewhere
    assert settings.repo_spec().file == str(elsewhere)
    assert settings.home == tmp_path.resolve() / "elsewhere" / ".ledger"


def test_paths_may_be_relative_or_start_at_the_home_folder(
    project_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LEDGER_REPO_SPEC", "specs/mine.yaml")
    monkeypatch.setenv("LEDGER_HOME", "~/ledger")
    assert read_settings().repo_spec_path == project_folder / "specs" / "mine.yaml"
    assert read_settings().home == Path("/home/ada/ledger")


def test_without_a_repo_spec_the_message_says_where_it_was_sought_and_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for sought in (lambda: read_settings().repo_spec_path, lambda: read_settings().home, read_settings().repo_spec):
        with pytest.raises(SpecError, match=f"not found in {tmp_path} or a folder above: set LEDGER_REPO_SPEC"):
            sought()


def test_a_repo_spec_that_is_named_but_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_REPO_SPEC", "nowhere.yaml")
    with pytest.raises(SpecError, match=r"nowhere\.yaml: there is no such file"):
        read_settings().repo_spec()


def test_ledger_home_needs_no_repo_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEDGER_HOME", str(tmp_path / "state"))
    assert read_settings().home == tmp_path.resolve() / "state"
    assert not (tmp_path / "state").exists()


# Identity.


@pytest.mark.parametrize(("name", "ours"), [("NODE_ID", NODE_ID), ("SCOPE_ID", SCOPE_ID)])
def test_an_identity_that_differs_from_the_repo_specs_is_refused_naming_both(
    monkeypatch: pytest.MonkeyPatch, name: str, ours: UUID
) -> None:
    monkeypatch.setenv(name, OTHER_ID)
    with pytest.raises(SettingsError, match=f"^{name} is {OTHER_ID} but .*repo-spec.yaml says {ours}"):
        read_settings().repo_spec()


@pytest.mark.parametrize("value", ["x", " ", str(NODE_ID)[:-1], f"{NODE_ID}0"])
def test_an_identity_that_is_no_id_is_refused_too(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NODE_ID", value)
    with pytest.raises(SettingsError, match=f"NODE_ID is {value} but"):
        read_settings().repo_spec()


@pytest.mark.parametrize("spelling", [str, lambda ours: str(ours).upper(), lambda ours: f" {ours}\n"])
def test_an_identity_that_agrees_is_accepted_in_any_case(monkeypatch: pytest.MonkeyPatch, spelling: type[str]) -> None:
    monkeypatch.setenv("NODE_ID", spelling(NODE_ID))
    monkeypatch.setenv("SCOPE_ID", spelling(SCOPE_ID))
    assert read_settings().repo_spec().default_scope.scope_id == SCOPE_ID


@pytest.mark.parametrize(
    ("seconds", "api_url"), [("541", "http://127.0.0.1:8744"), (str(ANY_CLOCK_SECONDS), PUBLIC_GITHUB_API_URL)]
)
def test_a_clock_tolerance_that_could_hide_events_is_refused(
    monkeypatch: pytest.MonkeyPatch, seconds: str, api_url: str
) -> None:
    monkeypatch.setenv("GITHUB_API_URL", api_url)
    monkeypatch.setenv("GITHUB_CLOCK_TOLERANCE_SECONDS", seconds)
    with pytest.raises(SettingsError, match=r"^GITHUB_CLOCK_TOLERANCE_SECONDS is not valid: more than 540 seconds"):
        read_settings()


def test_scans_overlap_by_more_than_clocks_may_differ() -> None:
    assert SCAN_OVERLAP.total_seconds() > LONGEST_CLOCK_TOLERANCE_SECONDS >= CLOCK_TOLERANCE_SECONDS
