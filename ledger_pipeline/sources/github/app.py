"""A GitHub App as credentials: its installations, found by owner, and their tokens, renewed as they expire.

The App's key signs for both through PyGithub.
"""

from collections.abc import Callable, Sequence
from threading import RLock
from typing import TypeVar

from github import Auth, GithubIntegration, UnknownObjectException
from github.Installation import Installation
from github.InstallationAuthorization import InstallationAuthorization

from ledger_pipeline.core.known_secrets import keep_secret
from ledger_pipeline.core.owners import is_owner_ref
from ledger_pipeline.sources.github.bounded_http import bind
from ledger_pipeline.sources.github.credentials import Credential, Endpoint
from ledger_pipeline.sources.github.failed_tries import FailedTry
from ledger_pipeline.sources.github.patience import Patience, refused
from ledger_pipeline.sources.github.redaction import keep_tokens_out_of_logs

_T = TypeVar("_T")

# GitHub has taken seconds to know a token of its own everywhere.
UNKNOWN_SECONDS = 10.0


class AppInstallations:
    """The installations of one GitHub App: the one given, or for each owner its own, sought when first needed."""

    def __init__(
        self,
        app_id: str,
        private_key: str,
        installation_id: int | None,
        endpoint: Endpoint,
        patience: Patience,
        reserve: int,
    ) -> None:
        self.advice = f"check GITHUB_APP_ID ({app_id}) and its private key"
        self._app = _App(Auth.AppAuth(app_id, private_key), endpoint, patience)
        self._endpoint = endpoint
        self._reserve = reserve
        self._given = None if installation_id is None else self._installation(installation_id)
        self._by_owner: dict[str, _InstallationCredential] = {}

    def of(self, source_scope: str) -> Sequence[Credential]:
        """The installation of the source_scope's owner."""
        if self._given is not None:
            return [self._given]
        owner = self.group_key(source_scope)
        of_owner = self._by_owner.get(owner)
        if of_owner is None:
            # Two threads may both search; one of their credentials is kept.
            installation = self._installation(self._app.installation_id(source_scope))
            of_owner = self._by_owner.setdefault(owner, installation)
        return [of_owner]

    def group_key(self, source_scope: str) -> str:
        """The owner: an installation reads one owner's repositories."""
        return source_scope.partition("/")[0].lower()

    def close(self) -> None:
        """Give the connections back."""
        given = [] if self._given is None else [self._given]
        for credential in [*given, *self._by_owner.values()]:
            credential.close()
        self._app.close()

    def _installation(self, installation_id: int) -> "_InstallationCredential":
        return _InstallationCredential(self._app, installation_id, self._endpoint, self._reserve)


class _App:
    """Asks GitHub as the App itself, one thread at a time."""

    def __init__(self, auth: Auth.AppAuth, endpoint: Endpoint, patience: Patience) -> None:
        self.auth = auth
        self._api_url = endpoint.api_url
        self._patience = patience
        self._stop = endpoint.stop
        self._integration = GithubIntegration(**endpoint.requester(auth).kwargs)
        bind(self._integration.requester)
        self._lock = RLock()
        keep_tokens_out_of_logs()

    def ask(self, source_scope: str, request: Callable[[], _T]) -> _T:
        """What the request answers. Raises SourceUnavailable, or SourceRefused when the App is the reason."""
        self._stop.check()
        answer = self._patience.ask(source_scope, self._api_url, request)
        if isinstance(answer, FailedTry):
            raise refused(source_scope, f"GitHub App {self.auth.app_id}: {answer.problem}")
        return answer

    def installation_id(self, source_scope: str) -> int:
        """The installation of the source_scope's owner. Raises SourceUnavailable or SourceRefused."""
        owner, _, name = source_scope.partition("/")
        # An App that may not read the repository can be installed for its owner all the same.
        ways = [
            lambda: self._integration.get_repo_installation(owner, name),
            lambda: self._integration.get_org_installation(owner),
            lambda: self._integration.get_user_installation(owner),
        ]
        for seek in ways[is_owner_ref(source_scope) :]:
            installation_id = self.ask(source_scope, lambda seek=seek: self._found(seek))  # type: ignore[misc]
            if installation_id is not None:
                return installation_id
        problem = f"GitHub App {self.auth.app_id} is not installed for {owner}: install it there, or check source_refs"
        raise refused(source_scope, problem)

    def authorization(self, installation_id: int) -> InstallationAuthorization:
        """A new token of the installation. Raises what PyGithub raises."""
        authorization = self._alone(lambda: self._integration.get_access_token(installation_id))
        keep_secret(authorization.token)
        return authorization

    def now(self) -> float:
        """Seconds of the clock that waits go by."""
        return self._patience.now()

    def close(self) -> None:
        """Give the connection back."""
        self._integration.close()

    def _found(self, seek: Callable[[], Installation]) -> int | None:
        try:
            return self._alone(seek).id
        except UnknownObjectException:
            return None

    def _alone(self, request: Callable[[], _T]) -> _T:
        with self._lock:
            try:
                return request()
            except Exception:
                self._integration.close()  # an odd answer may have left something on the connection
                raise


class _InstallationAuth(Auth.AppInstallationAuth):
    """PyGithub's, over the App's one connection; it asks for a new token 20 s before the old one expires.

    `was_accepted` says whether GitHub has answered to the token of the moment.
    """

    def __init__(self, app: _App, installation_id: int) -> None:
        super().__init__(app.auth, installation_id)
        self.was_accepted = False
        self._issued_at = 0.0
        self._app = app
        self._token_lock = RLock()

    def seconds_to_wait(self) -> float | None:
        """How long before a token that GitHub does not know may be known; None where it should be by now."""
        age = self._app.now() - self._issued_at
        if self.was_accepted or age >= UNKNOWN_SECONDS:
            return None
        return min(max(age, 1.0), UNKNOWN_SECONDS - age)

    @property
    def token(self) -> str:
        with self._token_lock:
            return super().token

    def _get_installation_authorization(self) -> InstallationAuthorization:
        authorization = self._app.authorization(self._installation_id)
        self._issued_at, self.was_accepted = self._app.now(), False
        return authorization


class _InstallationCredential(Credential):
    """An installation; its token comes and goes, its budget stays."""

    def __init__(self, app: _App, installation_id: int, endpoint: Endpoint, reserve: int) -> None:
        self._app = app
        self._installation_id = installation_id
        self._is_proven = True
        self._installation_auth = _InstallationAuth(app, installation_id)
        super().__init__(f"installation {installation_id}", endpoint, self._installation_auth, reserve)

    def prepare(self, source_scope: str) -> None:
        """Have a token that is not about to expire."""
        auth = self._auth
        self._app.ask(source_scope, lambda: auth.token)

    def accepted(self) -> None:
        """The token works."""
        super().accepted()
        self._is_proven = self._installation_auth.was_accepted = True

    def rejected(self, auth: Auth.Auth | None) -> float | None:
        """A token may be too new, or revoked, or expire by a clock other than ours.

        The same one has a chance in its first UNKNOWN_SECONDS, then a new one has, and a second has none.
        """
        with self._lock:
            if auth is not self._auth:  # another thread has renewed it already
                return None
            seconds = self._installation_auth.seconds_to_wait()
            if seconds is not None:
                return seconds
            if not self._is_proven:
                self.rejections += 1
                return None
            self._is_proven = False
            self._auth = self._installation_auth = _InstallationAuth(self._app, self._installation_id)
        self.close()
        return None
