"""Who asks: credentials, each with a budget of its own, and which of them may ask for a source_scope."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from github import Auth, Github
from github.Requester import Requester

from ledger_pipeline.sources.github.bounded_http import bind
from ledger_pipeline.sources.github.budget import Budget
from ledger_pipeline.sources.stopping import StopSignal


@dataclass(frozen=True)
class Endpoint:
    """How GitHub is reached, whoever asks; nothing is sent once `stop` is told."""

    api_url: str
    timeout_seconds: int
    stop: StopSignal = field(default_factory=StopSignal)

    def requester(self, auth: Auth.Auth) -> Requester:
        """PyGithub's requester, which neither waits nor retries: that is decided here. What it reads is bounded."""
        github = Github(
            auth=auth,
            base_url=self.api_url.rstrip("/"),
            timeout=self.timeout_seconds,
            user_agent="ledger-pipeline",
            retry=None,
            # PyGithub counts a GraphQL POST as a write and would wait a second between two; ours only read.
            seconds_between_requests=0,
            seconds_between_writes=0,
        )
        return bind(github.requester)


# One 401 may be a bad moment of GitHub's, and ends one question; so many in a row are the credential's.
REJECTIONS_IN_A_ROW = 3


class Credential:
    """One budget and whom GitHub sees; `name` tells an operator which, without the secret.

    `rejections` counts how often GitHub has rejected it since it last answered.
    """

    def __init__(self, name: str, endpoint: Endpoint, auth: Auth.Auth, reserve: int) -> None:
        self.name = name
        self.budget = Budget(reserve)
        self.rejections = 0
        self._endpoint = endpoint
        self._auth = auth
        self._lock = Lock()
        self._idle: list[Requester] = []

    @property
    def is_rejected(self) -> bool:
        """Whether it is not to be used any more."""
        return self.rejections >= REJECTIONS_IN_A_ROW

    def prepare(self, source_scope: str) -> None:
        """Have what the next request needs. Raises SourceUnavailable or SourceRefused."""

    def accepted(self) -> None:
        """GitHub answered."""
        self.rejections = 0

    def rejected(self, auth: Auth.Auth | None) -> float | None:  # noqa: ARG002
        """GitHub rejects `auth`, what a requester of ours asked with: the same question is not asked with it again.

        Unless seconds are returned: after those the same may be accepted.
        """
        self.rejections += 1
        return None

    @contextmanager
    def requester(self) -> Iterator[Requester]:
        """A requester that nobody else uses meanwhile: PyGithub's mixes up the requests of two threads.

        Raises Stopped once the endpoint was told to stop.
        """
        self._endpoint.stop.check()
        with self._lock:
            requester = self._idle.pop() if self._idle else None
        requester = requester or self._endpoint.requester(self._auth)
        try:
            yield requester
        finally:
            with self._lock:
                is_current = requester.auth is self._auth
                if is_current:
                    self._idle.append(requester)
            if not is_current:
                requester.close()

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            for requester in self._idle:
                requester.close()
            self._idle.clear()


class Credentials(Protocol):
    """All that one client may ask with."""

    advice: str

    def of(self, source_scope: str) -> Sequence[Credential]:
        """Those that may read the source_scope. Raises SourceUnavailable or SourceRefused when none can be had."""
        ...

    def group_key(self, source_scope: str) -> str:
        """The same for source_scopes that one query may ask for together."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class TokenCredentials:
    """Tokens that may each read every source_scope."""

    def __init__(self, tokens: Sequence[str], endpoint: Endpoint, reserve: int) -> None:
        self.advice = "renew GITHUB_TOKEN" if len(tokens) == 1 else "renew the tokens of GITHUB_TOKENS"
        self._credentials = [
            Credential(f"token {number} of {len(tokens)}", endpoint, Auth.Token(token), reserve)
            for number, token in enumerate(tokens, 1)
        ]

    def of(self, source_scope: str) -> Sequence[Credential]:  # noqa: ARG002
        """All of them."""
        return self._credentials

    def group_key(self, source_scope: str) -> str:  # noqa: ARG002
        """All source_scopes are one group."""
        return ""

    def close(self) -> None:
        """Give the connections back."""
        for credential in self._credentials:
            credential.close()
