"""The environment -> typed settings. The one file that reads it, and it reads at run time, never on import."""

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

import pydantic_settings
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import SettingsError, SpecError
from ledger_pipeline.core.known_secrets import keep_secret
from ledger_pipeline.core.partition_runs import CODE_LOCATION
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.repo_spec import load_repo_spec

REPO_SPEC_DEFAULT = Path(".cogni/repo-spec.yaml")
PUBLIC_GITHUB_API_URL = "https://api.github.com"
SECRETS_FOLDER = Path("/run/secrets")  # where containers find mounted secrets
CLOCK_TOLERANCE_SECONDS = 300
LONGEST_CLOCK_TOLERANCE_SECONDS = 540  # scans overlap by ten minutes, of which GitHub's own delays need a part
SIMULATED_CLOCK = "simulated-github-clock"  # in the folder of local state: the ledger there is of made-up activity
ANY_CLOCK_SECONDS = 10**10  # the tolerance towards a simulated GitHub, whose clock is its own
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER_VALUE = r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"
_HOST_PORT = r"^.+:\d{1,5}$"


@dataclass(frozen=True)
class GitHubTokens:
    """Tokens that may each read all the repositories; at least one, none twice."""

    tokens: tuple[SecretStr, ...]

    @classmethod
    def of(cls, *tokens: str) -> "GitHubTokens":
        """From plain texts. Raises SettingsError when there is none, or one that no header can hold."""
        stripped = dict.fromkeys(token.strip() for token in tokens if token.strip())
        if not stripped:
            raise SettingsError("GITHUB_TOKENS holds no token")
        if not all(token.isascii() and token.isprintable() and " " not in token for token in stripped):
            raise SettingsError("GITHUB_TOKEN or GITHUB_TOKENS holds a character that no token has")
        return cls(tuple(map(SecretStr, stripped)))

    def values(self) -> list[str]:
        """The plain texts."""
        return [token.get_secret_value() for token in self.tokens]


@dataclass(frozen=True)
class GitHubApp:
    """A GitHub App: its id, its RSA key as PEM, and the one installation to use, None for each owner's own."""

    app_id: str
    private_key: SecretStr
    installation_id: int | None = None


def _clock_tolerance(seconds: int, info: ValidationInfo) -> int:
    is_simulated = seconds == ANY_CLOCK_SECONDS and info.data.get("github_api_url") != PUBLIC_GITHUB_API_URL
    if seconds > LONGEST_CLOCK_TOLERANCE_SECONDS and not is_simulated:
        raise PydanticCustomError(
            "clock_tolerance",
            f"more than {LONGEST_CLOCK_TOLERANCE_SECONDS} seconds could hide events: synchronize the clocks instead",
        )
    return seconds


class _SecretFiles(SecretsSettingsSource):
    """Files of SECRETS_FOLDER, named as the variables in lower case; empty ones count as not there.

    A variable that is set hides its file even when empty: so the demo leaves a production database alone.
    """

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings, secrets_dir=SECRETS_FOLDER if SECRETS_FOLDER.is_dir() else None)

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if value and name.upper() not in os.environ}


class Settings(BaseSettings):
    """What a deployment sets. Each field is the environment variable of the same name in capitals.

    A variable set to the empty string counts as not set. One that is not in the environment may be a file in
    SECRETS_FOLDER, named in lower case. Secrets are SecretStr: printing settings never shows them.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: Annotated[
        SecretStr | None, Field(description="The ledger's Postgres. Not set: an embedded one in LEDGER_HOME.")
    ] = None
    database_owner_url: Annotated[
        SecretStr | None,
        Field(description="The same database as the owner of its tables, who migrates. Not set: DATABASE_URL."),
    ] = None
    database_reader_url: Annotated[
        SecretStr | None,
        Field(description="The same database as people read it; its role is made when migrating. Not set: none is."),
    ] = None
    dagster_database_url: Annotated[
        SecretStr | None, Field(description="Dagster's own storage. Not set: the ledger's database.")
    ] = None
    database_statement_seconds: Annotated[
        int, Field(ge=0, description="How long one statement on the ledger may take; 0 without end.")
    ] = DatabaseLimits.statement_seconds
    database_lock_seconds: Annotated[
        int, Field(ge=0, description="How long a statement waits for a lock of another; 0 without end.")
    ] = DatabaseLimits.lock_seconds
    database_idle_in_transaction_seconds: Annotated[
        int, Field(ge=0, description="How long a transaction may do nothing, holding its locks; 0 without end.")
    ] = DatabaseLimits.idle_in_transaction_seconds
    database_connect_seconds: Annotated[int, Field(ge=2, description="How long connecting to a database may take.")] = (
        DatabaseLimits.connect_seconds
    )
    database_silence_seconds: Annotated[
        int, Field(ge=0, description="How long a database may give no sign of life before a connection is given up.")
    ] = DatabaseLimits.silence_seconds
    database_pool_size: Annotated[
        int,
        Field(ge=1, description="The most connections to the ledger of one process; a worker has one for each thread."),
    ] = DatabaseLimits.pool_size
    database_pool_wait_seconds: Annotated[
        int, Field(ge=1, description="How long a thread waits for a connection that is free.")
    ] = DatabaseLimits.pool_wait_seconds
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
    temporal_address: Annotated[
        str,
        Field(description="The Temporal server, host:port; Temporal Cloud's is NAMESPACE.ACCOUNT.tmprl.cloud:7233."),
    ] = "127.0.0.1:7233"
    temporal_namespace: Annotated[str, Field(description="The Temporal namespace.")] = "default"
    temporal_api_key: Annotated[
        SecretStr | None, Field(description="Temporal Cloud's API key; TLS is on where it is set.")
    ] = None
    temporal_tls: Annotated[bool, Field(description="Speak TLS to the Temporal server.")] = False
    temporal_tls_server_ca_cert_path: Annotated[
        Path | None, Field(description="The CA to trust, PEM; the system's where not set. Turns TLS on.")
    ] = None
    temporal_tls_client_cert_path: Annotated[
        Path | None, Field(description="The client's certificate, PEM (mTLS). Turns TLS on.")
    ] = None
    temporal_tls_client_key_path: Annotated[
        Path | None, Field(description="The key of the client's certificate, PEM.")
    ] = None
    temporal_tls_server_name: Annotated[
        str | None, Field(description="The name to expect in the server's certificate, where not the address's.")
    ] = None
    temporal_ui_url: Annotated[
        str | None, Field(description="Temporal's web UI, for links to workflows; no links where not set.")
    ] = None
    dagster_url: Annotated[str, Field(description="Dagster's webserver: its GraphQL API is asked for runs.")] = (
        "http://127.0.0.1:3000"
    )
    dagster_code_location: Annotated[str, Field(description="What Dagster calls this project's code location.")] = (
        CODE_LOCATION
    )
    dagster_ui_url: Annotated[
        str | None, Field(description="Dagster as people reach it, for links to runs. Not set: DAGSTER_URL.")
    ] = None
    dagster_ui_hosts: Annotated[
        str | None,
        Field(
            description="Names under which Dagster's UI may be asked for besides this machine's, comma separated; "
            "with a port where a browser's address has one."
        ),
    ] = None
    dagster_ui_login: Annotated[
        SecretStr | None,
        Field(description="A login, `name:password`, that Dagster's UI asks for, and that we give it ourselves."),
    ] = None
    dagster_ui_user_header: Annotated[
        str | None,
        Field(
            pattern=f"^{_HEADER_NAME}$",
            description="The header in which a proxy, alone able to reach Dagster's UI, names who has logged in.",
        ),
    ] = None
    dagster_headers: Annotated[
        SecretStr | None,
        Field(description="Headers for DAGSTER_URL, one `Name: value` a line: a token of Dagster+, a proxy's login."),
    ] = None
    worker_health_address: Annotated[
        str, Field(pattern=_HOST_PORT, description="Where the worker serves /livez and /readyz, host:port.")
    ] = "127.0.0.1:8090"
    worker_metrics_address: Annotated[
        str, Field(pattern=_HOST_PORT, description="Where the worker serves Prometheus metrics, host:port.")
    ] = "127.0.0.1:9464"
    worker_grace_seconds: Annotated[
        int, Field(ge=0, description="How long the worker, told to stop, lets its activities finish.")
    ] = 30
    worker_activity_slots: Annotated[
        int, Field(ge=1, description="How many activities a worker has in hand: each collection that waits is one.")
    ] = 500
    github_api_url: Annotated[
        str, Field(description="GitHub Enterprise (https://HOST/api/v3), or the simulator's address.")
    ] = PUBLIC_GITHUB_API_URL
    github_token: Annotated[SecretStr | None, Field(description="A token that may read the repositories.")] = None
    github_tokens: Annotated[
        SecretStr | None,
        Field(description="Several tokens, comma separated; the one with most points left is used."),
    ] = None
    github_app_id: Annotated[
        str | None,
        Field(
            validation_alias=AliasChoices("github_app_id", "github_review_app_id"),
            description="A GitHub App instead of a token (or GITHUB_REVIEW_APP_ID).",
        ),
    ] = None
    github_app_private_key: Annotated[
        SecretStr | None, Field(description="The App's key, PEM; newlines may be written as \\n.")
    ] = None
    github_app_private_key_base64: Annotated[
        SecretStr | None,
        Field(
            validation_alias=AliasChoices("github_app_private_key_base64", "github_review_app_private_key_base64"),
            description="The same in base64 (or GITHUB_REVIEW_APP_PRIVATE_KEY_BASE64).",
        ),
    ] = None
    github_app_installation_id: Annotated[
        int | None,
        Field(
            ge=1,
            validation_alias=AliasChoices("github_app_installation_id", "github_review_installation_id"),
            description="Not set: each repository owner's own (or GITHUB_REVIEW_INSTALLATION_ID).",
        ),
    ] = None
    github_page_size: Annotated[
        int, Field(ge=1, le=100, description="Items asked for a page; GitHub serves at most 100.")
    ] = 100
    github_timeout_seconds: Annotated[int, Field(ge=1, description="How long one request may take.")] = 60
    github_concurrency: Annotated[int, Field(ge=1, description="How many repositories are read at once.")] = 4
    github_retries: Annotated[int, Field(ge=0, description="Further tries of a request that failed in passing.")] = 4
    github_max_wait_seconds: Annotated[
        int,
        Field(
            ge=0, description="The longest wait that a collection sits out; a longer one ends it, to be begun again."
        ),
    ] = 60
    github_points_reserve: Annotated[
        int, Field(ge=0, description="Points of the hourly budget left to others; below, the reset is waited for.")
    ] = 200
    github_clock_tolerance_seconds: Annotated[
        int,
        AfterValidator(_clock_tolerance),
        Field(
            ge=0,
            description="How far the time of GitHub's answers may be from ours, at most 540; beyond, none is believed.",
        ),
    ] = CLOCK_TOLERANCE_SECONDS

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the library passes it by name)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where a value comes from, first to last."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

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
        headers = {}
        if self.dagster_ui_login is not None:
            login = base64.b64encode(self.dagster_ui_login.get_secret_value().encode()).decode()
            headers["Authorization"] = SecretStr(f"Basic {login}")
        for line in [] if self.dagster_headers is None else _lines(self.dagster_headers):
            if not line.strip():
                continue
            name, colon, value = (part.strip() for part in line.partition(":"))
            if not colon or not re.fullmatch(_HEADER_NAME, name) or not re.fullmatch(_HEADER_VALUE, value):
                raise SettingsError("DAGSTER_HEADERS holds a line that is no header: write each as `Name: value`")
            if name.lower() == "authorization":
                headers.pop("Authorization", None)
            headers[name] = SecretStr(value)
        return headers

    def owner_url(self) -> str:
        """The ledger's database as the owner of its tables. Raises SettingsError where DATABASE_URL is not set."""
        url = self.ledger_url()
        return url if self.database_owner_url is None else self.database_owner_url.get_secret_value()

    @property
    def has_github_credentials(self) -> bool:
        """Whether anything is set to ask the real GitHub with; whether it is whole is `github_credentials`' matter."""
        return any(each is not None for each in (self.github_token, self.github_tokens, self.github_app_id))

    def github_credentials(self) -> GitHubTokens | GitHubApp:
        """What GitHub is asked with.

        Raises SettingsError where nothing is set, what is set contradicts itself, or the App's key cannot be read.
        """
        tokens = [] if self.github_token is None else [self.github_token.get_secret_value()]
        tokens += [] if self.github_tokens is None else self.github_tokens.get_secret_value().split(",")
        keys = (self.github_app_private_key, self.github_app_private_key_base64)
        if self.github_app_id is None:
            if keys != (None, None) or self.github_app_installation_id is not None:
                raise SettingsError("GITHUB_APP_ID is not set, but other settings of a GitHub App are")
            if not tokens:
                raise SettingsError(
                    "GITHUB_TOKEN is not set (nor GITHUB_TOKENS or GITHUB_APP_ID): "
                    "GitHub's GraphQL API answers nobody without credentials"
                )
            return GitHubTokens.of(*tokens)
        if tokens:
            raise SettingsError("GITHUB_APP_ID and a token (GITHUB_TOKEN or GITHUB_TOKENS) are set: unset one of them")
        return GitHubApp(self.github_app_id.strip(), _private_key(*keys), self.github_app_installation_id)

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
        settings = Settings(**(overrides or {}))
        keep_secret(*_secrets_of(settings))
        return settings  # noqa: TRY300 (what follows names what could not be read)
    except pydantic_settings.SettingsError as error:  # the field's value could not be had: its file, then
        unreadable = _unreadable_secret(error.__cause__)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper()
        raise SettingsError(f"{name} is not valid: {first['msg']}") from None
    raise SettingsError(unreadable)  # out here, where no context holds the bytes that were read


def _secrets_of(settings: Settings) -> Iterator[str]:
    """Every secret in the settings, a list of them also one by one, and the passwords of URLs."""
    for value in dict(settings).values():
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(value, SecretStr):
            yield value.get_secret_value().replace("\\n", "\n")
        if isinstance(text, str):
            yield from _passwords_of(text)
    if settings.github_tokens is not None:
        yield from (token.strip() for token in settings.github_tokens.get_secret_value().split(","))
    if settings.dagster_ui_login is not None:
        yield settings.dagster_ui_login.get_secret_value().partition(":")[2]
    if settings.dagster_headers is not None:
        for line in _lines(settings.dagster_headers):
            header = line.partition(":")[2].strip()
            yield header
            yield header.rpartition(" ")[2]  # behind `Bearer` or `Basic`


def _passwords_of(url: str) -> Iterator[str]:
    """The password of a URL as it stands there and as it is meant; a web address's name alone may be a token.

    What names the user or the database as well is no secret, though it is a password: a message may need the word.
    """
    scheme, separator, rest = url.partition("://")
    userinfo, at, host = rest.rpartition("@")
    if not separator or not at:
        return
    name, colon, password = userinfo.partition(":")
    secret = password if colon or not scheme.startswith("http") else name
    if secret not in (name if colon else "", host.rpartition("/")[2]):
        yield secret
        yield unquote(secret)


def _unreadable_secret(cause: BaseException | None) -> str:
    if isinstance(cause, OSError):
        return f"the secret in {cause.filename or SECRETS_FOLDER} cannot be read: {cause.strerror}"
    return f"a secret in {SECRETS_FOLDER} cannot be read: it is no text"


def _lines(value: SecretStr) -> list[str]:
    """A file or a compose file holds lines; where a variable cannot, they may be written as `\\n`."""
    return value.get_secret_value().replace("\\n", "\n").splitlines()


def _private_key(plain: SecretStr | None, encoded: SecretStr | None) -> SecretStr:
    if (plain is None) == (encoded is None):
        which = "neither" if plain is None else "both"
        raise SettingsError(
            f"GITHUB_APP_ID is set with {which} of GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_BASE64: set one"
        )
    if plain is not None:
        name, pem = "GITHUB_APP_PRIVATE_KEY", plain.get_secret_value().replace("\\n", "\n").encode()
    else:
        name, pem = "GITHUB_APP_PRIVATE_KEY_BASE64", _decoded(encoded.get_secret_value() if encoded else "")
    if not _is_rsa_key(pem):
        raise SettingsError(f"{name} is no RSA private key without a passphrase, as GitHub hands them out")
    return SecretStr(pem.decode(errors="replace"))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_rsa_key(pem: bytes) -> bool:
    # Here, for commands that read no key do not wait for it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return isinstance(load_pem_private_key(pem, password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
