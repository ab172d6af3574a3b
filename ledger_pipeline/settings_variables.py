"""The variables that a deployment sets, and where their values come from."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.dagster_contract import CODE_LOCATION

PUBLIC_GITHUB_API_URL = "https://api.github.com"
SECRETS_FOLDER = Path("/run/secrets")  # where containers find mounted secrets
CLOCK_TOLERANCE_SECONDS = 300
LONGEST_CLOCK_TOLERANCE_SECONDS = 540  # scans overlap by ten minutes, of which GitHub's own delays need a part
ANY_CLOCK_SECONDS = 10**10  # the tolerance towards a simulated GitHub, whose clock is its own
HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HOST_PORT = r"^.+:\d{1,5}$"


def _clock_tolerance(seconds: int, info: ValidationInfo) -> int:
    is_simulated = seconds == ANY_CLOCK_SECONDS and info.data.get("github_api_url") != PUBLIC_GITHUB_API_URL
    if seconds > LONGEST_CLOCK_TOLERANCE_SECONDS and not is_simulated:
        raise PydanticCustomError(
            "clock_tolerance",
            f"more than {LONGEST_CLOCK_TOLERANCE_SECONDS} seconds could hide events: synchronize the clocks instead",
        )
    return seconds


class Variables(BaseModel):
    """What a deployment sets. Each field is the environment variable of the same name in capitals.

    A variable set to the empty string counts as not set. One that is not in the environment may be a file in
    SECRETS_FOLDER, named in lower case. Secrets are SecretStr: printing settings never shows them.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)  # built once, as what it is read into

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
    database_web_url: Annotated[
        SecretStr | None,
        Field(
            description="The same database as `serve` reads it, who is shown finalized epochs alone; its role is made "
            "when migrating. Not set: none is."
        ),
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
            pattern=f"^{HEADER_NAME}$",
            description="The header in which a proxy, alone able to reach Dagster's UI, names who has logged in.",
        ),
    ] = None
    dagster_headers: Annotated[
        SecretStr | None,
        Field(description="Headers for DAGSTER_URL, one `Name: value` a line: a token of Dagster+, a proxy's login."),
    ] = None
    public_url: Annotated[
        str | None, Field(description="Where browsers reach the pages of `serve --public`, as https://ledger.example.")
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


def given_variables() -> dict[str, str]:
    """What the environment gives of this moment, then the files of SECRETS_FOLDER, by field name.

    Our own, for every command reads it: pydantic-settings alone takes as long to import as a fifth of what they all
    need. Raises OSError or UnicodeDecodeError for a file that cannot be read.
    """
    has_files = SECRETS_FOLDER.is_dir()
    given: dict[str, str] = {}
    for name, field in Variables.model_fields.items():
        alias = field.validation_alias
        spellings = [str(spelling) for spelling in alias.choices] if isinstance(alias, AliasChoices) else [name]
        values = [os.environ[spelling.upper()] for spelling in spellings if spelling.upper() in os.environ]
        # A variable that is set hides its file even when empty: so the demo leaves a production database alone.
        if has_files and not values:
            files = [SECRETS_FOLDER / spelling for spelling in spellings]
            values = [file.read_text("utf-8").strip() for file in files if file.is_file()]
        if value := next(filter(None, values), None):
            given[name] = value
    return given


def unreadable_secret(cause: OSError | UnicodeDecodeError) -> str:
    """What is wrong with a file of SECRETS_FOLDER that could not be read, by what that raised."""
    if isinstance(cause, OSError):
        return f"the secret in {cause.filename or SECRETS_FOLDER} cannot be read: {cause.strerror}"
    return f"a secret in {SECRETS_FOLDER} cannot be read: it is no text"
