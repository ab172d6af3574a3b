"""The process that serves the public pages, and how much of it one connection may take."""

import asyncio
import logging
from enum import Enum, auto
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from ledger_pipeline.web.public.site import LONGEST_HEAD_BYTES

# What a browser needs of them is a fraction; who takes longer is not reading.
HEAD_SECONDS = 10
ANSWER_SECONDS = 120
KEEP_ALIVE_SECONDS = 15
MOST_CONNECTIONS = 1000
GRACE_SECONDS = 10

_log = logging.getLogger("ledger_pipeline.web")


class _State(Enum):
    """What a connection is waiting for: nothing of ours, the end of a question, or the end of an answer."""

    IDLE = auto()
    QUESTION = auto()
    ANSWER = auto()


class BoundedProtocol(H11Protocol):
    """A connection that is closed where a whole question, or the reading of its answer, takes too long.

    Uvicorn bounds the wait between two questions alone: without this, whoever opens connections and is silent, or sends
    a byte now and then, holds them for ever.
    """

    head_seconds: float = HEAD_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _state = _State.IDLE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first question."""
        super().connection_made(transport)
        self._expect(_State.QUESTION)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a question; the wait for the whole of one begins with its first byte, and never anew."""
        if self._state is _State.IDLE:
            self._expect(_State.QUESTION)
        super().data_received(data)
        self._note_answering()

    def on_response_complete(self) -> None:
        """Leave the wait for the next question to Uvicorn; that the answer is read is still waited for."""
        self._state = _State.IDLE
        super().on_response_complete()
        self._note_answering()  # the next question may have been there already

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _note_answering(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and self._state is not _State.ANSWER:
            self._expect(_State.ANSWER)

    def _expect(self, state: "_State") -> None:
        self._stop_waiting()
        self._state = state
        seconds = self.answer_seconds if state is _State.ANSWER else self.head_seconds
        self._deadline = self.loop.call_later(seconds, self._close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        # Not closed but broken off: who does not read would never let it end.
        self.transport.abort()


def configured(
    app: Starlette, host: str, port: int, protocol: type[BoundedProtocol] = BoundedProtocol
) -> uvicorn.Config:
    """How the server listens. `X-Forwarded-..` headers are believed of nobody: nothing here depends on who asks."""
    options: dict[str, Any] = {
        "http": protocol,
        "ws": "none",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "log_level": "warning",
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "limit_concurrency": MOST_CONNECTIONS,
        "h11_max_incomplete_event_size": LONGEST_HEAD_BYTES,
        "backlog": 512,
    }
    return uvicorn.Config(app, host=host, port=port, **options)


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    _log.info("Serving public pages on http://%s:%s", host, port)
    uvicorn.Server(configured(app, host, port)).run()
