"""The worker's HTTP endpoints for whoever runs it: /livez and /readyz, served inside the worker's own event loop."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from ledger_pipeline.temporal_bridge.readiness import Readiness

HEALTH_SETTING = "WORKER_HEALTH_ADDRESS"
CLOSE_TIMEOUT_SECONDS = 1


def health_app(alive: Callable[[], bool], readiness: Readiness) -> Starlette:
    """`/livez`: 200 while `alive` says so. `/readyz`: 200 where every check passes, with what each one saw.

    Both answer 503 otherwise. That an answer comes at all says that the event loop turns.
    """

    async def livez(_: Request) -> PlainTextResponse:
        return PlainTextResponse("alive") if alive() else PlainTextResponse("the worker has ended", status_code=503)

    async def readyz(_: Request) -> JSONResponse:
        results = await readiness.results()
        ready = all(result.ok for result in results.values())
        checks = {name: {"ok": result.ok, "detail": result.detail} for name, result in results.items()}
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


class HealthServer:
    """Serves `app` on `listener` while `serve` runs. Leaves the process's signals and its logging alone."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=CLOSE_TIMEOUT_SECONDS,
        )
        self._server = _Server(config)
        self._listener = listener

    async def serve(self) -> None:
        """Until told to stop; raises what the server dies of."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Let `serve` return, within about CLOSE_TIMEOUT_SECONDS."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the worker's: it drains before this server stops answering.
        yield
