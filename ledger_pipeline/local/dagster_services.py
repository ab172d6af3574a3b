"""Dagster's processes on this machine: a code server, and the webserver and daemon that share it."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from ledger_pipeline.dagster_contract import CODE_LOCATION
from ledger_pipeline.local.processes import ChildProcess, child_process, free_port, listens, wait_until_answering

START_TIMEOUT_SECONDS = 120
_COMMAND = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()"]
AS_JSON = ("--log-format", "json")

_WORKSPACE = """\
# Written by ledger-pipeline: the code server that webserver and daemon share.
load_from:
  - grpc_server:
      host: 127.0.0.1
      port: {port}
      location_name: {name}
"""


@dataclass(frozen=True)
class DagsterServices:
    """Running services: the webserver's URL, and each one by its name."""

    url: str
    children: Mapping[str, ChildProcess]


@contextmanager
def dagster_services(
    folder: Path,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[DagsterServices]:
    """The services, answering; stopped when left. `folder` holds their workspace and logs.

    They find instance, ledger and GitHub in `environment` (ours by default), as `local.environment` sets it. Raises
    LedgerError naming the service that does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code_port = free_port()
    workspace = folder / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(port=code_port, name=CODE_LOCATION))
    with ExitStack() as stack:
        log = folder / "code-server.log"
        code = stack.enter_context(child_process(_code_server(code_port), log, environment))
        wait_until_answering(lambda: listens(code_port), code, "Dagster's code server", log, START_TIMEOUT_SECONDS)
        web, url = stack.enter_context(dagster_webserver(folder, port or free_port(), environment))
        # Runs wait in a queue that the daemon serves: without it none would ever start.
        command = _module("dagster._daemon", "run", *AS_JSON, "-w", str(workspace))
        daemon = stack.enter_context(child_process(command, folder / "daemon.log", environment))
        yield DagsterServices(url, {"code server": code, "webserver": web, "daemon": daemon})


@contextmanager
def dagster_webserver(
    folder: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[ChildProcess, str]]:
    """A webserver on the workspace in `folder`, behind its guard, answering on `port`, and its URL."""
    log = folder / "webserver.log"
    command = [*_COMMAND, "webserver", "--port", str(port), "--workspace", str(folder / "workspace.yaml")]
    url = f"http://127.0.0.1:{port}"
    with child_process(command, log, environment) as webserver:
        wait_until_answering(lambda: _serves(url), webserver, "Dagster's webserver", log, START_TIMEOUT_SECONDS)
        yield webserver, url


def _serves(url: str) -> bool:
    try:
        return requests.get(f"{url}/server_info", timeout=5).ok
    except requests.RequestException:
        return False


def _code_server(port: int) -> list[str]:
    module = ["-m", "ledger_pipeline.definitions", "--location-name", CODE_LOCATION]
    return _module("dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(port), *AS_JSON, *module)


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]
