"""The environment -> typed settings. The one place that reads it, and it reads at run time, never on import."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import SettingsError, SpecError
from ledger_pipeline.core.known_secrets import keep_secret
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.settings_credentials import (
    GitHubApp,
    GitHubTokens,
    dagster_headers,
    github_credentials,
    secrets_of,
)
from ledger_pipeline.settings_variables import (
    ANY_CLOCK_SECONDS,
    PUBLIC_GITHUB_API_URL,
    Variables,
    given_variables,
    unreadable_secret,
)

REPO_SPEC_DEFAULT = Path(".cogni/repo-spec.yaml")
SIMULATED_CLOCK = "simulated-github-clock"  # in the folder of local state: the ledger there is of made-up activity


class Settings(Variables):
    """What a deployment set, and what follows from it."""

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

    @property
    def database_limits(self) -> DatabaseLimits:
        """The limits of every connection to the ledger."""
        return DatabaseLimits(
            statement_seconds=self.database_statement_seconds,
            lock_seconds=self.database_lock_seconds,
            idle_in_transaction_seconds=self.database_idle_in_transaction_seconds,
            connect_seconds=self.database_connect_seconds,
            silence_seconds=self.database_silence_seconds,
            pool_size=self.database_pool_size,
            pool_wait_seconds=self.database_pool_wait_seconds,
        )

    def dagster_request_headers(self) -> dict[str, SecretStr]:
        """The headers of DAGSTER_HEADERS by name, and DAGSTER_UI_LOGIN where they hold no other.

        Raises SettingsError, without a value, where a line is no header.
        """
        return dagster_headers(self)

    def owner_url(self) -> str:
        """The ledger's database as the owner of its tables. Raises SettingsError where DATABASE_URL is not set."""
        url = self.ledger_url()
        return url if self.database_owner_url is None else self.database_owner_url.get_secret_value()

    def web_url(self) -> str:
        """The ledger's database as the web server reads it. Raises SettingsError where DATABASE_WEB_URL is not set."""
        if self.database_web_url is None:
            raise SettingsError(
                "DATABASE_WEB_URL is not set: name a user there for `serve`, who is shown finalized epochs alone; "
                "`ledger-pipeline db upgrade` makes its login"
            )
        return self.database_web_url.get_secret_value()

    @property
    def has_github_credentials(self) -> bool:
        """Whether anything is set to ask the real GitHub with; whether it is whole is `github_credentials`' matter."""
        return any(credential is not None for credential in (self.github_token, self.github_tokens, self.github_app_id))

    def github_credentials(self) -> GitHubTokens | GitHubApp:
        """What GitHub is asked with.

        Raises SettingsError where nothing is set, what is set contradicts itself, or the App's key cannot be read.
        """
        return github_credentials(self)

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
        if not self.is_simulated:
            return spec
        return replace(spec, scopes=tuple(replace(scope, is_simulated=True) for scope in spec.scopes))

    @property
    def is_simulated(self) -> bool:
        """Whether GitHub is simulated: by what a collection asks, or where the embedded ledger is the demo's."""
        asks_simulator = (
            self.github_api_url != PUBLIC_GITHUB_API_URL and self.github_clock_tolerance_seconds == ANY_CLOCK_SECONDS
        )
        return asks_simulator or (self.database_url is None and (self.home / SIMULATED_CLOCK).is_file())


def read_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this moment's environment, `overrides` by field name first; their secrets are kept from now on.

    Raises SettingsError naming the first variable that is wrong, never its value: it may be a secret.
    """
    try:
        settings = Settings.model_validate({**given_variables(), **(overrides or {})})
        keep_secret(*secrets_of(settings))
        return settings  # noqa: TRY300 (what follows names what could not be read)
    except ValidationError as error:  # which is a ValueError, as what a file that is no text raises
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise SettingsError(f"{name} is not valid: {first['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        unreadable = unreadable_secret(error)
    raise SettingsError(unreadable)  # out here, where no context holds the bytes that were read
