"""HTTP below the application: answers that break off, which no well-behaved ASGI server sends by itself."""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "ledger_pipeline.transport"


class BreakableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with the connection handed to the application so that it can be broken."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        application = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[_TRANSPORT] = self.transport
            await application(scope, receive, send)

        self.app = with_transport


class DroppedResponse(Response):
    """The connection closes, and nothing was answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Close, and wait until the server has noticed."""
        await _close(scope[_TRANSPORT], receive)


class CutShortResponse(Response):
    """Headers, half of the body, and the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of what Content-Length promises."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _close(scope[_TRANSPORT], receive)


async def _close(transport: asyncio.Transport, receive: Receive) -> None:
    # close() flushes what was sent; returning before the server knows would have it log an error of ours.
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
