"""The web application of the public pages: which path is what, and what every answer of it says to a browser."""

from collections.abc import Callable, Collection
from datetime import datetime

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.web.public import json_routes, pages
from ledger_pipeline.web.public.answers import HTML, Problem, json_answer
from ledger_pipeline.web.public.rendering import rendered, style_path, style_sheet
from ledger_pipeline.web.public.shelf import Shelf

API_PREFIX = "/api/"
LONGEST_ADDRESS = 4000
LONGEST_HEAD_BYTES = 16 * 1024
RETRY_SECONDS = 5
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
}
# Anybody's page may read what anybody may read.
API_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "ETag",
    "cross-origin-resource-policy": "cross-origin",
}
PAGE_HEADERS = {"cross-origin-resource-policy": "same-origin"}
ONLY_WITH_TLS = {"strict-transport-security": "max-age=31536000"}


def public_site(
    shelf: Shelf, hosts: Collection[str], *, has_tls: bool = False, now: Callable[[], datetime] = pages.utc_now
) -> Starlette:
    """The application over `shelf`, which answers under the names `hosts` alone; `now` is aware.

    `has_tls` where browsers reach it by https alone, and shall do so from then on.
    """
    api = json_routes.API
    app = Starlette(
        routes=[
            Route("/", pages.epochs_page),
            Route("/epochs/{epoch_id}", pages.epoch_page),
            Route("/epochs/{epoch_id}/archive.zip", pages.archive),
            Route("/epochs/{epoch_id}/claimants/{claimant:path}", pages.why_page),
            Route("/contributors", pages.contributors_page),
            Route("/contributors/{claimant:path}", pages.contributor_page),
            Route("/static/{name}", pages.style_sheet),
            Route(api, json_routes.epochs),
            Route(f"{api}/{{epoch_id}}/statement", json_routes.statement),
            Route(f"{api}/{{epoch_id}}/claimants", json_routes.claimants),
            Route("/api/v1/public/openapi.json", json_routes.openapi),
            Route("/livez", _alive),
            Route("/readyz", _ready),
        ],
        middleware=[
            Middleware(_Headers, more=ONLY_WITH_TLS if has_tls else {}),
            Middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts), www_redirect=False),
            Middleware(_SmallRequests),
        ],
        exception_handlers={Problem: _on_problem, HTTPException: _on_http, StoreError: _on_store, Exception: _on_any},
    )
    app.router.redirect_slashes = False
    app.state.shelf, app.state.now, app.state.style = shelf, now, style_sheet()
    app.state.style_path = style_path(app.state.style)
    return app


def _alive(_request: Request) -> Response:
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


def _ready(request: Request) -> Response:
    request.app.state.shelf.ledger.check_migrated()
    return _alive(request)


def _on_problem(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, Problem):
        raise problem
    return _refusal(request, problem.status, problem.message)


def _on_http(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    if problem.status_code == 405:
        allowed = (problem.headers or {}).get("Allow", "GET, HEAD")
        refusal = _refusal(request, 405, f"This address is only read: use {allowed.replace(', ', ' or ')}.")
        refusal.headers["allow"] = allowed
        return refusal
    message = "There is no such page." if problem.status_code == 404 else f"{problem.detail}."
    return _refusal(request, problem.status_code, message)


def _on_store(request: Request, _problem: Exception) -> Response:
    refusal = _refusal(request, 503, "The ledger does not answer at the moment: try again in a few seconds.")
    refusal.headers["retry-after"] = str(RETRY_SECONDS)
    return refusal


def _on_any(request: Request, _problem: Exception) -> Response:
    return _refusal(request, 500, "Something went wrong here, and its operators find it in their logs.")


def _refusal(request: Request, status: int, message: str) -> Response:
    if request.url.path.startswith(API_PREFIX):
        return json_answer(request, {"error": message}, status)
    body = rendered(request, "problem.html.j2", status=status, message=message)
    return Response(body, status, {"cache-control": "no-store"}, HTML)


class _Headers:
    """Middleware that gives every answer the headers by which a browser keeps the pages what they are."""

    def __init__(self, app: ASGIApp, more: dict[str, str]) -> None:
        self._app = app
        self._more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        of_kind = API_HEADERS if scope["path"].startswith(API_PREFIX) else PAGE_HEADERS

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**HEADERS, **of_kind, **self._more}.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, sending)


class _SmallRequests:
    """Middleware that takes no body, no long address and no long headers: nothing here is written to.

    Uvicorn bounds the head of a question only as long as a part of it is missing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        refusal.headers["connection"] = "close"
        await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return PlainTextResponse("refused: nothing is taken here, so a question has no body\n", 413)
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return PlainTextResponse(f"refused: an address has {LONGEST_ADDRESS} characters at most\n", 414)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEAD_BYTES:
            return PlainTextResponse(f"refused: headers have {LONGEST_HEAD_BYTES} bytes at most\n", 431)
        return None
