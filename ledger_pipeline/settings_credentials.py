"""What GitHub and Dagster are asked with, made of what a deployment set; and which of it is secret."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from pydantic import SecretStr

from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.settings_variables import HEADER_NAME, Variables

_HEADER_VALUE = r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"


@dataclass(frozen=True)
class GitHubTokens:
    """Tokens that may each read all the repositories; at least one, none twice."""

    tokens: tuple[SecretStr, ...]

    @classmethod
    def of(cls, *tokens: str) -> "GitHubTokens":
        """Make it from plain texts. Raises SettingsError when there is none, or one that no header can hold."""
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


def github_credentials(variables: Variables) -> GitHubTokens | GitHubApp:
    """What GitHub is asked with.

    Raises SettingsError where nothing is set, what is set contradicts itself, or the App's key cannot be read.
    """
    tokens = [] if variables.github_token is None else [variables.github_token.get_secret_value()]
    tokens += [] if variables.github_tokens is None else variables.github_tokens.get_secret_value().split(",")
    keys = (variables.github_app_private_key, variables.github_app_private_key_base64)
    if variables.github_app_id is None:
        if keys != (None, None) or variables.github_app_installation_id is not None:
            raise SettingsError("GITHUB_APP_ID is not set, but other settings of a GitHub App are")
        if not tokens:
            raise SettingsError(
                "GITHUB_TOKEN is not set (nor GITHUB_TOKENS or GITHUB_APP_ID): "
                "GitHub's GraphQL API answers nobody without credentials"
            )
        return GitHubTokens.of(*tokens)
    if tokens:
        raise SettingsError("GITHUB_APP_ID and a token (GITHUB_TOKEN or GITHUB_TOKENS) are set: unset one of them")
    return GitHubApp(variables.github_app_id.strip(), _private_key(*keys), variables.github_app_installation_id)


def dagster_headers(variables: Variables) -> dict[str, SecretStr]:
    """The headers of DAGSTER_HEADERS by name, and DAGSTER_UI_LOGIN where they hold no other.

    Raises SettingsError, without a value, where a line is no header.
    """
    headers = {}
    if variables.dagster_ui_login is not None:
        login = base64.b64encode(variables.dagster_ui_login.get_secret_value().encode()).decode()
        headers["Authorization"] = SecretStr(f"Basic {login}")
    for line in [] if variables.dagster_headers is None else _lines(variables.dagster_headers):
        if not line.strip():
            continue
        name, colon, value = (text.strip() for text in line.partition(":"))
        if not colon or not re.fullmatch(HEADER_NAME, name) or not re.fullmatch(_HEADER_VALUE, value):
            raise SettingsError("DAGSTER_HEADERS holds a line that is no header: write each as `Name: value`")
        if name.lower() == "authorization":
            headers.pop("Authorization", None)
        headers[name] = SecretStr(value)
    return headers


def secrets_of(variables: Variables) -> Iterator[str]:
    """Every secret that is set, a list of them also one by one, and the passwords of URLs."""
    for value in dict(variables).values():
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(value, SecretStr):
            yield value.get_secret_value().replace("\\n", "\n")
        if isinstance(text, str):
            yield from _passwords_of(text)
    if variables.github_tokens is not None:
        yield from (token.strip() for token in variables.github_tokens.get_secret_value().split(","))
    if variables.dagster_ui_login is not None:
        yield variables.dagster_ui_login.get_secret_value().partition(":")[2]
    if variables.dagster_headers is not None:
        for line in _lines(variables.dagster_headers):
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
