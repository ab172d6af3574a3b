"""The whole stack on this machine: Postgres, Temporal with its UI, Dagster, the worker, and a simulated GitHub.

What the environment names is used as it is; the rest is embedded, under LEDGER_HOME.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.local.dagster_address import announced
from ledger_pipeline.local.dagster_services import dagster_services
from ledger_pipeline.local.demo import demo_environment, demo_home
from ledger_pipeline.local.embedded_postgres import EmbeddedServer
from ledger_pipeline.local.embedded_temporal import embedded_temporal
from ledger_pipeline.local.environment import POSTGRES_FOLDER, dagster_home, databases, migrate, overridden
from ledger_pipeline.local.follow_logs import following
from ledger_pipeline.local.processes import ChildProcess, refuse_taken_port
from ledger_pipeline.local.simulated_github import simulated_github
from ledger_pipeline.local.single_run import single_run
from ledger_pipeline.local.supervision import Restartable, supervise
from ledger_pipeline.local.worker_process import worker_process
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store.engine import describe, make_engine
from ledger_pipeline.temporal_bridge.schedules.server import refuse_failures, sync_schedules

DAGSTER_PORT = 3000
TEMPORAL_PORT = 7233
TEMPORAL_UI_PORT = 8233


@dataclass(frozen=True)
class Ports:
    """The ports on which the stack listens, on 127.0.0.1."""

    dagster: int = DAGSTER_PORT
    temporal: int = TEMPORAL_PORT
    temporal_ui: int = TEMPORAL_UI_PORT


@dataclass(frozen=True)
class Part:
    """A part of the running stack: where it is, and what there is to know of it."""

    name: str
    where: str
    state: str


def develop(
    ports: Ports,
    *,
    say: Callable[[str], None],
    show: Callable[[Sequence[Part]], None],
    on_log: Callable[[str, str], None] | None = None,
) -> None:
    """Run everything until interrupted. `say` hears what is done, `show` the running parts, `on_log` each log line.

    Without GitHub credentials GitHub is simulated, on the demo's state. A part that crashes is started again, three
    times at most. Raises ConfigurationError for a taken port or a second run on the same state, LedgerError naming a
    part that does not start or crashes once more.
    """
    given = read_settings()
    spec = given.repo_spec()
    home = given.home if given.has_github_credentials else demo_home(given)
    embeds_temporal = "temporal_address" not in given.model_fields_set
    refuse_taken_port(ports.dagster, "Dagster's UI", "--port")
    if embeds_temporal:
        refuse_taken_port(ports.temporal, "the Temporal server", "--temporal-port")
        refuse_taken_port(ports.temporal_ui, "Temporal's UI", "--temporal-ui-port")
    with (
        single_run(home, say) as run,
        _following(home, on_log),
        _github(given, spec, say) as environment,
        overridden(environment) as local,
        databases(local) as local,
        dagster_home(local),
    ):
        migrate(local)
        # Its tables are made here, once: the processes below would all make them, and all but one would fail.
        dg.DagsterInstance.get().dispose()
        with _temporal(home, ports, embedded=embeds_temporal, say=say) as (temporal, temporal_environment):
            say("starting Dagster")
            with (
                overridden(temporal_environment),
                dagster_services(home / "dagster", port=ports.dagster) as dagster,
                overridden({"DAGSTER_URL": dagster.url}) as settings,
                announced(home, dagster.url),
                _worker(spec, home, say) as worker,
            ):
                children = {**temporal, **{f"Dagster {name}": child for name, child in dagster.children.items()}}
                children["worker"] = worker
                run.remember({name: child.popen.pid for name, child in children.items()})
                parts = _parts(
                    settings, local, embeds_temporal=embeds_temporal, simulates_github=not given.has_github_credentials
                )
                show([*parts, _schedules(settings, spec)])
                supervised: dict[str, Restartable] = {**children}
                if given.database_url is None:
                    supervised["embedded Postgres"] = EmbeddedServer(local.home / POSTGRES_FOLDER)

                def remember(name: str, pid: int) -> None:
                    if name in children:  # Postgres may serve other commands
                        run.remember({name: pid})

                try:
                    supervise(supervised, home, say=say, on_start=remember)
                except KeyboardInterrupt:
                    say("stopping")


@contextmanager
def _following(home: Path, on_log: Callable[[str, str], None] | None) -> Iterator[None]:
    if on_log is None:
        yield
        return
    logs = {
        "temporal": home / "temporal" / "temporal.log",
        "code server": home / "dagster" / "code-server.log",
        "webserver": home / "dagster" / "webserver.log",
        "daemon": home / "dagster" / "daemon.log",
        "worker": home / "worker" / "worker.log",
    }
    with following(logs, on_log):
        yield


@contextmanager
def _github(settings: Settings, spec: RepoSpec, say: Callable[[str], None]) -> Iterator[dict[str, str]]:
    if settings.has_github_credentials:
        with nullcontext({"LEDGER_REPO_SPEC": str(settings.repo_spec_path)}) as environment:
            yield environment
        return
    say("No GitHub credentials are set: GitHub is SIMULATED, on the demo's state")
    with simulated_github(spec, demo_home(settings)) as github:
        yield {**demo_environment(settings), **github}


@contextmanager
def _temporal(
    home: Path, ports: Ports, *, embedded: bool, say: Callable[[str], None]
) -> Iterator[tuple[Mapping[str, ChildProcess], dict[str, str]]]:
    """The server and the environment that leads to it; neither where one is configured."""
    if not embedded:
        yield {}, {}
        return
    say("starting Temporal")
    with embedded_temporal(home / "temporal", port=ports.temporal, ui_port=ports.temporal_ui) as server:
        environment = {"TEMPORAL_ADDRESS": server.address, "TEMPORAL_UI_URL": server.ui_url or ""}
        yield {"Temporal server": server.child}, environment


@contextmanager
def _worker(spec: RepoSpec, home: Path, say: Callable[[str], None]) -> Iterator[ChildProcess]:
    say("starting the worker")
    with worker_process(spec, home / "worker") as worker:
        yield worker


def _parts(settings: Settings, local: Settings, *, embeds_temporal: bool, simulates_github: bool) -> list[Part]:
    database = describe(make_engine(local.ledger_url()).url)
    return [
        Part("Dagster UI", settings.dagster_url, "running"),
        Part("Temporal UI", settings.temporal_ui_url or "not configured", "running" if embeds_temporal else "yours"),
        Part("Temporal", settings.temporal_address, "running" if embeds_temporal else "yours"),
        Part("worker", "queue ledger-tasks", "ready"),
        Part("Postgres", database, "migrated"),
        Part("GitHub", settings.github_api_url, "SIMULATED" if simulates_github else "yours"),
    ]


def _schedules(settings: Settings, spec: RepoSpec) -> Part:
    steps = asyncio.run(sync_schedules(settings, spec))
    refuse_failures(steps)
    where = ", ".join(step.schedule_id for step in steps) or "none in the repo-spec"
    return Part("Temporal schedules", where, ", ".join(step.action for step in steps) or "-")
