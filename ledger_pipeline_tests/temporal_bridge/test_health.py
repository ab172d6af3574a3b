"""The health endpoints over real HTTP: what a probe gets, and when."""

import asyncio
import signal
from collections.abc import Callable
from typing import TypeVar

import requests

from ledger_pipeline.core.errors import TemporalUnavailable
from ledger_pipeline.local.processes import free_port
from ledger_pipeline.temporal_bridge.worker.health import (
    HEALTH_SETTING,
    Check,
    HealthServer,
    Readiness,
    health_app,
    listen,
    resolved,
)

DEADLINE_SECONDS = 30

_T = TypeVar("_T")


async def fine() -> str:
    return "fine"


async def refused() -> str:
    raise TemporalUnavailable("nobody polls")


def probe(ask: Callable[[str], _T], *, alive: bool = True, temporal: Check = fine) -> _T:
    """What `ask` returns, given the URL of a server with these checks; the server has ended by then."""

    async def served() -> _T:
        with listen(HEALTH_SETTING, f"localhost:{free_port()}") as listener:
            app = health_app(lambda: alive, Readiness({"temporal": temporal, "dagster": fine}))
            server = HealthServer(app, listener)
            serving = asyncio.create_task(server.serve())
            host, port, *_ = listener.getsockname()
            try:
                return await asyncio.to_thread(ask, f"http://{f'[{host}]' if ':' in host else host}:{port}")
            finally:
                server.stop()
                await asyncio.wait_for(serving, DEADLINE_SECONDS)

    return asyncio.run(served())


def get(path: str) -> Callable[[str], requests.Response]:
    return lambda url: requests.get(url + path, timeout=DEADLINE_SECONDS)


def test_ready_where_every_check_passes() -> None:
    answer = probe(get("/readyz"))
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"temporal": {"ok": True, "detail": "fine"}, "dagster": {"ok": True, "detail": "fine"}},
    }


def test_one_failed_check_is_503_and_says_which_and_why() -> None:
    answer = probe(get("/readyz"), temporal=refused)
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "checks": {"temporal": {"ok": False, "detail": "nobody polls"}, "dagster": {"ok": True, "detail": "fine"}},
    }


def test_alive_though_not_ready() -> None:
    assert probe(get("/livez"), temporal=refused).status_code == 200


def test_not_alive_once_the_worker_has_ended() -> None:
    assert probe(get("/livez"), alive=False).status_code == 503


def test_anything_else_is_404() -> None:
    assert probe(get("/")).status_code == 404


def test_signals_are_left_to_the_worker() -> None:
    before = signal.getsignal(signal.SIGTERM)
    during = probe(lambda url: (requests.get(f"{url}/livez", timeout=9).status_code, signal.getsignal(signal.SIGTERM)))
    assert during == (200, before)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_connection_left_open_does_not_keep_the_server_from_ending() -> None:
    session = requests.Session()
    with session:
        assert probe(lambda url: session.get(f"{url}/livez", timeout=9).status_code) == 200


def test_a_host_by_name_becomes_a_number_for_the_temporal_core() -> None:
    assert resolved("WORKER_METRICS_ADDRESS", "localhost:9464") in {"127.0.0.1:9464", "[::1]:9464"}
    assert resolved("WORKER_METRICS_ADDRESS", "0.0.0.0:9464") == "0.0.0.0:9464"
    assert resolved("WORKER_METRICS_ADDRESS", "[::1]:9464") == "[::1]:9464"
