"""The environment -> typed settings. The one file that reads it, and it reads at run time, never on import."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ledger_pipeline.core.errors import SettingsError, SpecError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.repo_spec import load_repo_spec

REPO_SPEC_DEFAULT = Path(".cogni/repo-spec.yaml")
PUBLIC_GITHUB_API_URL = "https://api.github.com"


class Settings(BaseSettings):
    """What a deployment sets. Each field is the environment variable of the same name in capitals.

    A variable set to the empty string counts as not set. Secrets are SecretStr: printing settings never shows them.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: Annotated[
        SecretStr | None, Field(description="The ledger's Postgres. Not set: an embedded one in LEDGER_HOME.")
    ] = None
    dagster_database_url: Annotated[
        SecretStr | None, Field(description="Dagster's own storage. Not set: the ledger's database.")
    ] = None
    dagster_home: Annotated[
        Path | None, Field(description="Dagster's instance folder. Not set: LEDGER_HOME/dagster, written by us.")
    ] = None
    ledger_repo_spec: Annotated[
        Path | None, Field(description="The repo-spec. Not set: .cogni/repo-spec.yaml here or in a folder above.")
    ] = None
    ledger_home: Annotated[
        Path | None,
        Field(description="Local state. Not set: .ledger beside the .cogni folder."),
    ] = None
    node_id: Annotated[str | None, Field(description="Must equal the repo-spec's node_id where set.")] = None
    scope_id: Annotated[str | None, Field(description="Must equal the repo-spec's scope_id where set.")] = None
    github_api_url: Annotated[
        str, Field(description="GitHub Enterprise (https://HOST/api/v3), or the simulator's address.")
    ] = PUBLIC_GITHUB_API_URL
    github_token: Annotated[SecretStr | None, Field(description="A token that may read the repositories.")] = None
    github_page_size: Annotated[
        int, Field(ge=1, le=100, description="Items asked for a page; GitHub serves at most 100.")
    ] = 100
    github_timeout_seconds: Annotated[int, Field(ge=1, description="How long one request may take.")] = 60
    github_retries: Annotated[int, Field(ge=0, description="Further tries of a request that failed in passing.")] = 4
    github_max_wait_seconds: Annotated[
        int, Field(ge=0, description="The longest wait for a rate limit to pass before a repository is given up.")
    ] = 900

    @property
    def repo_spec_path(self) -> Path:
        """Where the repo-spec lies, absolute. Raises SpecError when it is not set and not found upwards of here."""
        if self.ledger_repo_spec is not None:
            return self.ledger_repo_spec.expanduser().resolve()
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / REPO_SPEC_DEFAULT).is_file():
                return folder / REPO_SPEC_DEFAULT
        raise SpecError(
            str(REPO_SPEC_DEFAULT),
            "",
            f"not found in {here} or a folder above: set LEDGER_REPO_SPEC to your repo-spec",
        )

    @property
    def home(self) -> Path:
        """The folder of local state, absolute; it need not exist yet."""
        if self.ledger_home is not None:
            return self.ledger_home.expanduser().resolve()
        folder = self.repo_spec_path.parent
        return (folder.parent if folder.name == REPO_SPEC_DEFAULT.parent.name else folder) / ".ledger"

    def ledger_url(self) -> str:
        """The ledger's database. Raises SettingsError where DATABASE_URL is not set."""
        if self.database_url is None:
            raise SettingsError("DATABASE_URL is not set: the ledger needs its Postgres")
        return self.database_url.get_secret_value()

    def token(self) -> str:
        """What GitHub is asked with. Raises SettingsError where GITHUB_TOKEN is not set."""
        if self.github_token is None:
            raise SettingsError("GITHUB_TOKEN is not set: GitHub's GraphQL API answers nobody without credentials")
        return self.github_token.get_secret_value()

    def repo_spec(self) -> RepoSpec:
        """The repo-spec, whose identity agrees with NODE_ID and SCOPE_ID where those are set.

        Raises SpecError for a bad file, SettingsError naming both values where an id differs.
        """
        spec = load_repo_spec(self.repo_spec_path)
        for name, given, wanted in (
            ("NODE_ID", self.node_id, spec.node_id),
            ("SCOPE_ID", self.scope_id, spec.default_scope.scope_id),
        ):
            if given is not None and given.strip().lower() != str(wanted):
                raise SettingsError(
                    f"{name} is {given} but {spec.file} says {wanted}: this deployment would write another's ledger"
                )
        return spec


def read_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this moment's environment, `overrides` by field name first.

    Raises SettingsError naming the first variable that is wrong, never its value: it may be a secret.
    """
    try:
        return Settings(**(overrides or {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise SettingsError(f"{name} is not valid: {first['msg']}") from None
