"""GitHub Apps that the simulator knows: who signed a JWT, and which installation a token is of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import jwt

TOKEN_LIFETIME = timedelta(hours=1)
TOKEN_PREFIX = "ghs_"  # noqa: S105

READ_BY_COLLECTORS = ("metadata", "issues", "pull_requests")

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class App:
    """A GitHub App; `installations` are ids by owner, `users` those owners that are no organization.

    `permissions` are what each installation has granted.
    """

    app_id: int
    public_key_pem: str
    installations: Mapping[str, int] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    slug: str = "ledger-collector"
    permissions: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(READ_BY_COLLECTORS, "read"))

    def installed_for(self, owner: str) -> tuple[str, int] | None:
        """The owner as GitHub spells it and the installation's id."""
        ids = ((name, id_) for name, id_ in self.installations.items() if name.lower() == owner.lower())
        return next(ids, None)

    def is_signed_by(self, token: str) -> bool:
        """Whether the JWT is the App's and its time has not passed, by the real clock: clients sign by theirs."""
        try:
            jwt.decode(
                token,
                self.public_key_pem,
                algorithms=["RS256"],
                issuer=str(self.app_id),
                options={"require": ["iat", "exp", "iss"]},
            )
        except jwt.PyJWTError:
            return False
        return True


@dataclass(frozen=True)
class InstallationToken:
    """What a token may read, and how long."""

    token: str
    owner: str
    expires_at: datetime


class Apps:
    """The Apps and the tokens handed out to their installations."""

    def __init__(self, apps: Iterable[App] = ()) -> None:
        self._apps = tuple(apps)
        self._tokens: dict[str, InstallationToken] = {}

    def signer_of(self, token: str) -> App | None:
        """The App whose JWT it is."""
        return next((app for app in self._apps if app.is_signed_by(token)), None)

    def hand_out(self, owner: str, now: datetime) -> InstallationToken:
        """A new token for the owner's installation."""
        token = f"{TOKEN_PREFIX}simulated_{len(self._tokens) + 1}"
        self._tokens[token] = InstallationToken(token, owner, now + TOKEN_LIFETIME)
        return self._tokens[token]

    def revoke_all(self) -> None:
        """Let no token that was handed out be good from now on."""
        self._tokens = {token: replace(grant, expires_at=_LONG_AGO) for token, grant in self._tokens.items()}

    def owner_of(self, token: str) -> str | None:
        """Whose repositories alone the token reads; None for one that is no installation's."""
        grant = self._tokens.get(token)
        return None if grant is None else grant.owner

    def is_bad(self, token: str, now: datetime) -> bool:
        """Whether the token was made up, has expired, or is no token but an App's JWT."""
        if not self._apps:
            return False
        grant = self._tokens.get(token)
        if grant is None:
            return token.startswith(TOKEN_PREFIX) or token.count(".") == 2
        return grant.expires_at <= now
