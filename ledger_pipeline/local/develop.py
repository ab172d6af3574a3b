"""The Dagster UI and daemon on this machine's ledger, as child processes that end with us."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import dagster as dg

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.local.demo import demo_environment, demo_home
from ledger_pipeline.local.environment import dagster_home, databases, overridden
from ledger_pipeline.local.simulated_github import simulated_github
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store import migrations

STOP_TIMEOUT_SECONDS = 20


def develop(port: int, say: Callable[[str], None]) -> None:
    """Run webserver and daemon until interrupted. Without GitHub credentials: on the demo's state, GitHub simulated.

    Raises LedgerError when one of the processes ends by itself.
    """
    settings = read_settings()
    with _github(settings, say) as environment, overridden(environment) as local, databases(local) as local:
        migrations.upgrade(local.ledger_url())
        with dagster_home(local):
            # Its tables are made here, once: the processes below would both make them, and one would fail.
            dg.DagsterInstance.get().dispose()
            say(f"Dagster UI: http://127.0.0.1:{port} (ready in a few seconds; Ctrl-C stops everything)")
            module = ["-m", "ledger_pipeline.definitions"]
            _supervise(
                {
                    "webserver": _dagster("dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *module),
                    "daemon": _dagster("dagster._daemon", "run", *module),
                }
            )


@contextmanager
def _github(settings: Settings, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    if settings.has_github_credentials:
        with nullcontext({"LEDGER_REPO_SPEC": str(settings.repo_spec_path)}) as environment:
            yield environment
        return
    say("No GitHub credentials are set: GitHub is SIMULATED, on the demo's state")
    with simulated_github(settings.repo_spec(), demo_home(settings)) as github:
        yield {**demo_environment(settings), **github}


def _dagster(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _supervise(commands: dict[str, list[str]]) -> None:
    """Run `commands` until one ends or we are interrupted; then end them all."""
    processes = {name: subprocess.Popen(command) for name, command in commands.items()}  # noqa: S603
    try:
        while True:
            for name, process in processes.items():
                try:
                    code = process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
                raise LedgerError(f"the {name} ended by itself with code {code}: its output above says why")
    except KeyboardInterrupt:
        return
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            try:
                process.wait(timeout=STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
