"""Who may ask a web application of ours what: a guard in front of any Starlette application.

A browser lends its user's network and login to whatever page is open in it. So a request is answered only under a name
that is ours (else a page could have its own name point here, and read), and changes something only where one of our own
pages or a program asks for it.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.status import (
    HTTP_401_UNAUTHORIZED,
    HTTP_403_FORBIDDEN,
    HTTP_405_METHOD_NOT_ALLOWED,
    HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    WS_1008_POLICY_VIOLATION,
)
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.settings import Settings

# Versions alone, for health checks, which have no login.
OPEN_PATH = "/server_info"
GRAPHQL_PATH = "/graphql"
# What a browser asks for to show it, as opposed to what a script or a link to an image asks for.
PAGE = "text/html"
READING = frozenset({"GET", "HEAD"})
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# The ports that an address does not have to say.
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 (not listened at: recognized)


@dataclass(frozen=True)
class Admission:
    """Who is let in: the names we are asked under, and what a login is, where one is asked for.

    `names` are those of this machine, `public_names` those under which a proxy, or another container, asks, and
    `origins` those of the pages that a browser shows under these. `login` is
    `name:password`, asked for as basic authentication. `user_header` is a header in which a proxy names who has logged
    in there. Where both are set, either is enough; where neither is, nobody is asked.
    """

    names: frozenset[str]
    public_names: frozenset[str] = frozenset()
    origins: frozenset["Origin"] = frozenset()
    login: SecretStr | None = None
    user_header: str | None = None

    @classmethod
    def at(cls, address: str, settings: Settings) -> "Admission":
        """For an application that listens at `address`. Raises SettingsError for a login or a name that is none."""
        bound = () if address in ALL_ADDRESSES else (f"[{address}]" if ":" in address else address,)
        public = [name.strip() for name in (settings.dagster_ui_hosts or "").split(",") if name.strip()]
        # A name alone is that of pages at the ports which no address has to say.
        origins = [Origin.of(f"{scheme}://{name}") for name in public for scheme in _PORTS]
        if None in origins or any(set(name) & set("/?#\\") for name in public):
            raise SettingsError("DAGSTER_UI_HOSTS holds names, comma separated: dagster.example, dagster.example:8443")
        login = settings.dagster_ui_login
        if login is not None and not all(login.get_secret_value().partition(":")):
            raise SettingsError("DAGSTER_UI_LOGIN holds no login: write it as `name:password`")
        return cls(
            names=frozenset({*LOCAL_NAMES, *bound}),
            public_names=frozenset(origin.name for origin in origins if origin),
            origins=frozenset(origin for origin in origins if origin),
            login=login,
            user_header=settings.dagster_ui_user_header,
        )


class Origin(NamedTuple):
    """Whose page it is, as a browser tells origins apart; of an IPv6 address the name has brackets."""

    scheme: str
    name: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin | None":
        """That of a page at `url`; None where a browser shows no page."""
        try:
            place = urlsplit(url)
            scheme, name, port = place.scheme, place.hostname, place.port
        except ValueError:
            return None
        if scheme not in _PORTS or not name or not _NAME.fullmatch(name) or "@" in place.netloc:
            return None
        return cls(scheme, f"[{name}]" if ":" in name else name, _PORTS[scheme] if port is None else port)


def guarded(app: Starlette, admission: Admission) -> Starlette:
    """`app`, which has not started yet, answering only what `admission` lets through."""
    # What is added last is asked first.
    if admission.login is not None or admission.user_header is not None:
        app.add_middleware(AuthenticationMiddleware, backend=Login(admission), on_error=_ask_for_login)
    app.add_middleware(OwnPages, origins=admission.origins)
    hosts = sorted(admission.names | admission.public_names)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return app


class OwnPages:
    """Middleware that lets only our own pages, and programs, change anything or listen to what happens.

    A browser says in `Origin` whose page asks, an old one in `Referer`; programs say nothing. Reading cannot change:
    GraphQL is executed by POST alone, and a POST is JSON, which no form of another site can send without being asked
    first.
    """

    def __init__(self, app: ASGIApp, origins: Collection[Origin]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be, answer the rest."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send if scope["type"] == "websocket" else _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": WS_1008_POLICY_VIOLATION})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["type"] == "websocket":
            return None if self._is_ours(headers) else _refused("a page of another site asks", HTTP_403_FORBIDDEN)
        if scope["method"] in READING:
            # Dagster would execute it, a mutation too. Without a query it shows a page in which to write one.
            if scope["path"].startswith(GRAPHQL_PATH) and PAGE not in headers.get("accept", ""):
                return _refused("GraphQL is asked by POST", HTTP_405_METHOD_NOT_ALLOWED)
            return None
        if not self._is_ours(headers):
            return _refused("a page of another site asks", HTTP_403_FORBIDDEN)
        if _media_type(headers) != "application/json":
            return _refused("the content type must be application/json", HTTP_415_UNSUPPORTED_MEDIA_TYPE)
        return None

    def _is_ours(self, headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return False
        asking = headers.getlist("origin") or headers.getlist("referer")
        return all(self._is_our_page(url, headers["host"]) for url in asking)

    def _is_our_page(self, url: str, host: str) -> bool:
        page = Origin.of(url)
        if page is None:
            return False
        # We are asked without TLS where a proxy has taken it off, so the page's own scheme says which port is meant.
        # Another port, of this machine or of a public name, is another application.
        return page == Origin.of(f"{page.scheme}://{host}") or page in self._origins


class Login(AuthenticationBackend):
    """Basic authentication, or a proxy's header, as an admission says."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Who asks; None for the path that is open. Raises AuthenticationError for a stranger."""
        if conn.scope["path"] == OPEN_PATH:
            return None
        header = self._admission.user_header
        if header is not None and (user := conn.headers.get(header, "").strip()):
            return AuthCredentials(["authenticated"]), SimpleUser(user)
        if self._admission.login is not None:
            given = _basic(conn.headers.get("authorization", ""))
            if secrets.compare_digest(given, self._admission.login.get_secret_value().encode()):
                return AuthCredentials(["authenticated"]), SimpleUser(given.decode().partition(":")[0])
        raise AuthenticationError("log in first")


def _ask_for_login(_conn: HTTPConnection, error: AuthenticationError) -> Response:
    challenge = {"WWW-Authenticate": 'Basic realm="ledger_pipeline", charset="UTF-8"'}
    return PlainTextResponse(f"{error}\n", HTTP_401_UNAUTHORIZED, challenge)


def _basic(authorization: str) -> bytes:
    """The `name:password` of an Authorization header; empty where it holds none."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _media_type(headers: Headers) -> str:
    """What the content is, without parameters: `text/plain; application/json` is text."""
    message = Message()
    message["content-type"] = headers.get("content-type", "")
    return message.get_content_type()


def _refused(why: str, status: int) -> Response:
    return PlainTextResponse(f"refused: {why}\n", status)


def _unframed(send: Send) -> Send:
    """`send`, with the answer shown in no other site's page, whose user could be made to click on it unawares."""

    async def sending(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return sending
