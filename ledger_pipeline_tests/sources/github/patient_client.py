"""A client whose time is made up: it sleeps by moving its clock, and keeps how long each sleep was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ledger_pipeline.settings_credentials import GitHubApp, GitHubTokens
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.github.client import GitHubClient

QUERY = """query($owner: String!, $name: String!) {
  rateLimit { cost remaining resetAt } repository(owner: $owner, name: $name) { nameWithOwner } }"""
TOKEN = GitHubTokens.of("t")


@dataclass
class Time:
    """Seconds of a clock that only sleeping moves."""

    seconds: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@contextmanager
def client(
    url: str, time: Time | None = None, credentials: GitHubTokens | GitHubApp = TOKEN, **options: Any
) -> Iterator[GitHubClient]:
    time = time or Time()
    settings = {"timeout_seconds": 10, "max_wait_seconds": 4000, "retries": 2} | options
    settings = {"clock_tolerance_seconds": ANY_CLOCK_SECONDS} | settings
    opened = GitHubClient(api_url=url, credentials=credentials, sleep=time.sleep, now=time.now, **settings)
    try:
        yield opened
    finally:
        opened.close()


def ask(asked: GitHubClient, source_scope: str) -> str:
    """What the repository is called."""
    owner, _, name = source_scope.partition("/")
    answer = asked.query(source_scope, QUERY, {"owner": owner, "name": name})
    full_name: str = answer.data["repository"]["nameWithOwner"]
    return full_name


def key_pair(number: int = 1) -> tuple[str, str]:
    """An RSA key as GitHub hands it out, and its public half, both PEM; for a number always the same."""
    return _key_pair(number)


@cache
def _key_pair(number: int) -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def chain(error: BaseException) -> str:
    """All that an error and those before it show."""
    shown, seen = "", [error]
    while seen:
        request = seen.pop()
        shown += repr(request) + str(request) + repr(vars(request))
        seen += [inner for inner in (request.__cause__, request.__context__) if inner is not None]
    return shown
