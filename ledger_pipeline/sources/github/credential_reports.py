"""Who we are to GitHub, what we may do, and what is left of the budget: by REST, which takes no GraphQL points."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from github import Auth, GithubException, GithubIntegration

from ledger_pipeline.core.errors import SourceError
from ledger_pipeline.settings_credentials import GitHubApp, GitHubTokens
from ledger_pipeline.sources.github.app import AppInstallations
from ledger_pipeline.sources.github.credentials import Credential, Endpoint, TokenCredentials
from ledger_pipeline.sources.github.failed_tries import Kind, understood
from ledger_pipeline.sources.github.headers import read_headers
from ledger_pipeline.sources.github.patience import Patience

TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class PointsLeft:
    """The hourly GraphQL budget of one credential; `resets_at` by GitHub's clock."""

    left: int
    limit: int
    resets_at: datetime


@dataclass(frozen=True)
class CredentialReport:
    """One of our credentials, as GitHub sees it.

    `login` is the person's, or the App's slug. `scopes` are a classic token's, `permissions` an installation's; both
    None where GitHub does not tell (a fine-grained token). `points` None: no limit, or not known. `skew_seconds`: how
    far GitHub's clock is ahead of ours. `problem`: why it cannot be used, None where it can; `rejected` where it is
    what GitHub rejects.
    """

    name: str
    login: str | None = None
    scopes: tuple[str, ...] | None = None
    permissions: Mapping[str, str] | None = None
    points: PointsLeft | None = None
    skew_seconds: float | None = None
    problem: str | None = None
    rejected: bool = False


def inspect_credentials(
    api_url: str, credentials: GitHubTokens | GitHubApp, source_scopes: Sequence[str]
) -> list[CredentialReport]:
    """All that `credentials` hold: each token, or each installation that the source_scopes need. It never waits.

    Raises nothing for one that does not work: its report says so.
    """
    endpoint = Endpoint(api_url, TIMEOUT_SECONDS)
    if isinstance(credentials, GitHubTokens):
        tokens = TokenCredentials(credentials.values(), endpoint, reserve=0)
        try:
            return [_report(credential, "", endpoint, is_person=True) for credential in tokens.of("")]
        finally:
            tokens.close()
    return list(_installations(credentials, endpoint, source_scopes))


def _installations(app: GitHubApp, endpoint: Endpoint, source_scopes: Sequence[str]) -> Iterator[CredentialReport]:
    patience = Patience(max_wait_seconds=0, retries=0, sleep=time.sleep, now=time.time)
    key = app.private_key.get_secret_value()
    installations = AppInstallations(app.app_id, key, app.installation_id, endpoint, patience, 0)
    try:
        raw_installations = _known_installations(Auth.AppAuth(app.app_id, key), endpoint)
        one_of_each = {installations.group_key(source_scope): source_scope for source_scope in reversed(source_scopes)}
        wanted = sorted(one_of_each.values())[: 1 if app.installation_id else None]
        for source_scope in wanted:
            try:
                [credential] = installations.of(source_scope)
            except SourceError as error:
                yield CredentialReport(f"App {app.app_id}", problem=error.problem)
                continue
            report = _report(credential, source_scope, endpoint, is_person=False)
            installation = raw_installations.get(credential.name, {})
            yield CredentialReport(
                name=f"{credential.name} ({installation.get('account', {}).get('login', source_scope)})",
                login=installation.get("app_slug"),
                permissions=installation.get("permissions"),
                points=report.points,
                skew_seconds=report.skew_seconds,
                problem=report.problem,
                rejected=report.rejected,
            )
    except Exception as error:  # noqa: BLE001 (see `understood`: PyGithub may raise anything)
        failure = understood(error, endpoint.api_url)
        yield CredentialReport(
            f"App {app.app_id}", problem=failure.problem, rejected=failure.kind in (Kind.REJECTED, Kind.REFUSED)
        )
    finally:
        installations.close()


def _known_installations(auth: Auth.AppAuth, endpoint: Endpoint) -> dict[str, dict[str, Any]]:
    """What GitHub tells the App of its installations, by the name of their credential."""
    with GithubIntegration(**endpoint.requester(auth).kwargs) as integration:
        return {
            f"installation {installation.id}": installation.raw_data for installation in integration.get_installations()
        }


def _report(credential: Credential, source_scope: str, endpoint: Endpoint, *, is_person: bool) -> CredentialReport:
    try:
        credential.prepare(source_scope)
        asked = time.time()
        headers, body = _rate_limit(credential)
        answered = time.time()
        login = _login(credential) if is_person else None
    except SourceError as error:
        return CredentialReport(credential.name, problem=error.problem)
    except Exception as error:  # noqa: BLE001 (see `understood`: PyGithub may raise anything)
        failure = understood(error, endpoint.api_url)
        return CredentialReport(credential.name, problem=failure.problem, rejected=failure.kind is Kind.REJECTED)
    answer_headers = read_headers(headers)
    there, scopes = answer_headers.date, answer_headers.scopes
    return CredentialReport(
        name=credential.name,
        login=login,
        scopes=None if scopes is None else tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
        points=_points(body),
        # GitHub tells whole seconds: the middle of the one it names.
        skew_seconds=None if there is None else there.timestamp() + 0.5 - (asked + answered) / 2,
    )


def _rate_limit(credential: Credential) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Asking it is free; a GitHub Enterprise without limits answers 404 and its headers."""
    try:
        with credential.requester() as requester:
            headers, body = requester.requestJsonAndCheck("GET", "/rate_limit")
    except GithubException as error:
        if error.status != 404:
            raise
        return error.headers or {}, {}
    return headers, body or {}


def _login(credential: Credential) -> str | None:
    """The login; None for a token that is no person's, as that of a GitHub Action."""
    try:
        with credential.requester() as requester:
            _, body = requester.requestJsonAndCheck("GET", "/user")
    except GithubException as error:
        if error.status != 403:
            raise
        return None
    return (body or {}).get("login")


def _points(body: Mapping[str, Any]) -> PointsLeft | None:
    resources = body.get("resources")
    graphql = resources.get("graphql") if isinstance(resources, Mapping) else None
    if not isinstance(graphql, Mapping):
        return None
    standing = read_headers({f"x-ratelimit-{name}": graphql.get(name) for name in ("remaining", "limit", "reset")})
    if standing.points_left is None or standing.points_limit is None or standing.resets_at is None:
        return None
    return PointsLeft(standing.points_left, standing.points_limit, standing.resets_at)
