"""The simulator as a server: in a thread for tests, in the foreground for the command line."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import FrameType, TracebackType

import uvicorn

from ledger_pipeline.sources.simulator.app import application
from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.faults import Faults, Slow
from ledger_pipeline.sources.simulator.state import POINTS_PER_HOUR, RequestRecord, SimulatorState
from ledger_pipeline.sources.simulator.wire import BreakableProtocol
from ledger_pipeline.sources.simulator.world import World

LOOPBACK = "127.0.0.1"

_START_TIMEOUT_SECONDS = 30


class Simulator:
    """GitHub on a port of this machine, for as long as the `with` block lasts.

    `as_of` None lets the real clock run; `scopes` are those of classic tokens, by token; `lacking` are
    fields, as `Issue.fullDatabaseId`, that an old GitHub Enterprise does not have. Everything may be called from
    any thread while requests are served.
    """

    def __init__(
        self,
        world: World,
        *,
        as_of: datetime | None = None,
        host: str = LOOPBACK,
        port: int = 0,
        points_per_hour: int = POINTS_PER_HOUR,
        bad_tokens: Iterable[str] = (),
        apps: Iterable[App] = (),
        scopes: Mapping[str, str] | None = None,
        lacking: Iterable[str] = (),
    ) -> None:
        self._state = SimulatorState(world, as_of, points_per_hour, bad_tokens, apps, scopes, lacking)
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def __enter__(self) -> "Simulator":
        """Bind, start, and return once requests are answered."""
        listener = _bind(*self._address)
        self.url = _url(listener)
        self._server = _Server(self._state)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="github-simulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_TIMEOUT_SECONDS):
            raise RuntimeError(f"the GitHub simulator did not start within {_START_TIMEOUT_SECONDS} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop answering, also what is being held up; returns when the port is free."""
        assert self._server is not None and self._thread is not None  # noqa: S101, PT018
        self._server.force_exit = True
        self._server.stop()
        self._thread.join()

    @property
    def faults(self) -> Faults:
        """What is to go wrong."""
        return self._state.faults

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """What was asked, in order."""
        return self._state.requests

    @property
    def world(self) -> World:
        """What is served, its future included."""
        return self._state.world

    def clear_requests(self) -> None:
        """Forget what was asked; `Faults.on_request` counts from 1 again."""
        self._state.clear_requests()

    def renew_budgets(self) -> None:
        """Let every token have all of its points again."""
        self._state.renew_budgets()

    def set_clock(self, instant: datetime | None) -> None:
        """Let it be this time; None lets the real clock run."""
        self._state.set_clock(instant)

    def revoke_installation_tokens(self) -> None:
        """Let every token of an installation be bad from now on; new ones are handed out."""
        self._state.revoke_installation_tokens()

    def replace_world(self, world: World) -> None:
        """Serve another world from now on."""
        self._state.replace_world(world)


def serve(
    world: World,
    host: str = LOOPBACK,
    port: int = 0,
    as_of: datetime | None = None,
    delay_seconds: float = 0,
    bad_tokens: Iterable[str] = (),
    on_ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told the address once requests are answered.

    Each answer to a query comes `delay_seconds` late; `bad_tokens` are refused as GitHub refuses a revoked one. Raises
    OSError where the address cannot be listened at.
    """
    listener = _bind(host, port)
    state = SimulatorState(world, as_of, bad_tokens=bad_tokens)
    if delay_seconds:
        state.faults.when(lambda _: True, Slow(delay_seconds))
    server = _Server(state, lambda: on_ready(_url(listener)))
    server.run([listener])


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready and stops when told, where the original polls for both."""

    def __init__(self, state: SimulatorState, on_ready: Callable[[], object] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                application(state),
                http=BreakableProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                date_header=False,
                server_header=False,
            )
        )
        self.ready = threading.Event()
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell those who wait."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()
        self._on_ready()

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        await self._stopping.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop on a signal, and let that be all: the original raises it again once it has stopped."""
        self.stop()

    def stop(self) -> None:
        """Stop, from any thread."""
        assert self._loop is not None  # noqa: S101
        self._loop.call_soon_threadsafe(self._stopping.set)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
