"""Whether the worker can do its work now: named checks, and the HTTP endpoints that tell whoever runs it.

/livez and /readyz are served inside the worker's own event loop. Where it listens, host:port of a setting becomes an
address or a socket, or one line naming the setting.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from sqlalchemy import NullPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import PROBLEM_CHARACTERS, LedgerError, SettingsError
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.store import migrations
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import make_engine

HEALTH_SETTING = "WORKER_HEALTH_ADDRESS"
CLOSE_TIMEOUT_SECONDS = 1
CHECK_TIMEOUT_SECONDS = 3.0
KEPT_SECONDS = 1.0  # however many probes come, the servers behind the checks are asked once in that time

TEMPORAL = "temporal"
DATABASE = "database"
DAGSTER = "dagster"

Check = Callable[[], Awaitable[str]]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckResult:
    """Whether a check passed, and in one line what it saw."""

    ok: bool
    detail: str


class Readiness:
    """Runs `checks`, which return what they saw or raise LedgerError; a check that takes too long has failed.

    A check that passes for the first time, or changes, is logged once.
    """

    def __init__(self, checks: Mapping[str, Check], *, timeout_seconds: float = CHECK_TIMEOUT_SECONDS) -> None:
        self._checks = dict(checks)
        self._timeout_seconds = timeout_seconds
        self._one_at_a_time = asyncio.Lock()
        self._results: dict[str, CheckResult] = {}
        self._kept_until = 0.0
        self._draining = False

    def drain(self) -> None:
        """Answer that the worker is not ready, whatever the checks say: it was told to stop."""
        self._draining = True

    async def results(self) -> dict[str, CheckResult]:
        """What each check says, by name, not older than KEPT_SECONDS. Never raises for a failed check."""
        async with self._one_at_a_time:
            if time.monotonic() >= self._kept_until:
                results = await asyncio.gather(*(self._result(check) for check in self._checks.values()))
                self._keep(dict(zip(self._checks, results, strict=True)))
                self._kept_until = time.monotonic() + KEPT_SECONDS
        if self._draining:
            return {**self._results, TEMPORAL: CheckResult(ok=False, detail="draining: the worker takes no new tasks")}
        return dict(self._results)

    def _keep(self, results: dict[str, CheckResult]) -> None:
        for name, result in results.items():
            if result.ok and not self._was_ok(name):
                _logger.info("%s: ok: %s", name, result.detail)
            elif not result.ok and self._was_ok(name):
                _logger.warning("%s: not ready: %s", name, result.detail)
        self._results = results

    def _was_ok(self, name: str) -> bool:
        return name in self._results and self._results[name].ok

    async def _result(self, check: Check) -> CheckResult:
        try:
            return CheckResult(ok=True, detail=await asyncio.wait_for(check(), self._timeout_seconds))
        except LedgerError as error:
            return CheckResult(ok=False, detail=plain_message(str(error), PROBLEM_CHARACTERS))
        except TimeoutError:
            return CheckResult(ok=False, detail=f"no answer within {self._timeout_seconds:g} s")
        except Exception as error:
            _logger.exception("a readiness check is broken")
            return CheckResult(ok=False, detail=f"the check itself failed: {type(error).__name__}")


def in_thread(check: Callable[[], str]) -> Check:
    """`check`, which blocks, as a check: in one thread at a time, which never keeps the process from ending.

    One that hangs is waited for by the next probes rather than started again, so hanging checks do not pile up.
    """
    running: Future[str] = Future()
    running.set_result("")

    async def checked() -> str:
        nonlocal running
        if running.done():
            running = Future()
            running.set_running_or_notify_cancel()  # a probe that gives up must not cancel it
            threading.Thread(target=_complete, args=(running, check), name="readiness", daemon=True).start()
        return await asyncio.wrap_future(running)

    return checked


def database_check(url: str, limits: DatabaseLimits | None = None) -> Callable[[], str]:
    """A blocking check that the ledger at `url` is at this code's migration; keeps no connection.

    It raises StoreUnavailable, or LedgerNotMigrated naming both migrations. Raises ConfigurationError for a bad URL.
    """
    engine = make_engine(url, poolclass=NullPool, limits=limits)

    def checked() -> str:
        with translated(engine):
            at = migrations.current_of(engine)
        if at != migrations.head():
            raise migrations.not_migrated(engine, at)
        return f"at migration {at}"

    return checked


def _complete(future: Future[str], check: Callable[[], str]) -> None:
    try:
        future.set_result(check())
    except BaseException as error:  # whatever it is, it is raised where the future is awaited
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise


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


def resolved(setting: str, address: str) -> str:
    """`address`, host:port, with the host as a number, as the Temporal core wants it; IPv6 in brackets.

    Raises SettingsError naming `setting` where the host is unknown or there is no such port.
    """
    family, host, port = _lookup(setting, address)
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def listen(setting: str, address: str) -> socket.socket:
    """A socket that listens at `address`, host:port. The caller closes it.

    Raises SettingsError naming `setting` where the address is taken, not of this machine, or no address at all.
    """
    family, host, port = _lookup(setting, address)
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise cannot_listen(setting, address, error.strerror or str(error)) from error


def cannot_listen(setting: str, address: str, problem: str) -> SettingsError:
    """The error for an address of ours that cannot be listened at."""
    return SettingsError(f"{setting} is {address}, where the worker cannot listen: {problem}")


def _lookup(setting: str, address: str) -> tuple[int, str, int]:
    host, _, port = address.rpartition(":")
    try:
        if int(port) > 65535:  # the lookup would take it modulo 65536
            raise cannot_listen(setting, address, "ports end at 65535")
        addresses = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise cannot_listen(setting, address, error.strerror or str(error)) from error
    family, _, _, _, place = addresses[0]
    return family, str(place[0]), int(port)
