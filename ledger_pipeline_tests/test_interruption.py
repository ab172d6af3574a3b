"""A stop stops: interrupted, a collection of several repositories sends nothing more, keeps what it has, and ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.faults import Slow
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline_tests.builders import instant
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import merged, repository
from ledger_pipeline_tests.waiting import eventually

NOW = instant("2026-02-18T12:00")
REPOSITORIES = tuple(f"acme/{name}" for name in ("one", "two", "three", "four"))
PULL_REQUESTS_EACH = 20
# The first of them are answered at once, so that there is something to keep; the others keep their askers waiting.
SWIFT_REQUESTS = 13
# Longer than a loaded machine takes to store the swift pages: after eight seconds others could come before the last.
HELD_SECONDS = 120.0
ENDS_WITHIN_SECONDS = 4.0
PROGRAM = [sys.executable, "-c", "from ledger_pipeline.cli.console import main; main()"]
COMMAND = [*PROGRAM, "collect"]
DEADLINE_SECONDS = 60
IGNORING_INTERRUPTS = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]


def world(pull_requests_each: int = PULL_REQUESTS_EACH) -> World:
    return World(
        tuple(
            repository(
                *(
                    merged(1000 * place + number, instant("2026-02-17T00:00"))
                    for number in range(1, pull_requests_each + 1)
                ),
                name=name,
                database_id=place,
            )
            for place, name in enumerate(REPOSITORIES, 1)
        )
    )


@pytest.fixture
def github() -> Iterator[Simulator]:
    with Simulator(world(), as_of=NOW) as simulator:
        simulator.faults.when(lambda asked: asked.number > SWIFT_REQUESTS, Slow(HELD_SECONDS))
        yield simulator
        simulator.faults.clear()


@pytest.fixture
def environment(github: Simulator, ledger_url: str, postgres_server: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    with fresh_database(postgres_server) as dagster_url:
        yield {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "DATABASE_URL": ledger_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": "ghp_marked_secret",
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_PAGE_SIZE": "1",
            "LEDGER_HOME": str(tmp_path / "home"),
            "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, *REPOSITORIES)),
            "PYTHONUNBUFFERED": "1",
        }


def pages_stored(output: Path) -> int:
    return output.read_text().count(": page ")


@pytest.mark.parametrize("wrapper", [[], IGNORING_INTERRUPTS], ids=["plainly", "by a parent that ignores SIGINT"])
def test_ctrl_c_cancels_a_collection_and_keeps_what_is_stored(
    environment: dict[str, str], github: Simulator, tmp_path: Path, wrapper: list[str]
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*wrapper, *COMMAND, "--epoch", "2026-02-16"],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        # One of the swift requests asks for the heads; the pages of the others are stored, and four requests are held.
        eventually(lambda: pages_stored(output) == SWIFT_REQUESTS - 1 or process.poll() is not None, DEADLINE_SECONDS)
        asked = SWIFT_REQUESTS + len(REPOSITORIES)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: whatever it started there hears it too
        told_at = time.monotonic()
        code = process.wait(DEADLINE_SECONDS)
        took = time.monotonic() - told_at
    finally:
        process.kill()
        print(output.read_text())
    print(f"ended {took:.2f} s after the signal")
    assert code == 130
    assert took < ENDS_WITHIN_SECONDS, f"{took:.1f} s after the signal"
    assert "was canceled: interrupted; what was stored stays" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert len(github.requests) <= asked
    engine = make_engine(environment["DATABASE_URL"])
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM activity_events")).scalar() == SWIFT_REQUESTS - 1
        assert connection.execute(text("SELECT count(*) FROM scan_checkpoints")).scalar() == len(REPOSITORIES)
    engine.dispose()
    assert run_statuses(environment) == ["CANCELED"]


def run_statuses(environment: dict[str, str]) -> list[str]:
    engine = make_engine(environment["DAGSTER_DATABASE_URL"])
    with engine.connect() as connection:
        statuses = connection.execute(text("SELECT status FROM runs")).scalars().all()
    engine.dispose()
    return list(statuses)


# An interruption at a moment of the program's own: when it first imports MODULE.
AT_AN_IMPORT = """
import importlib.abc, signal, sys
class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from ledger_pipeline.cli.console import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "ledger_pipeline.cli.develop", "dagster"])
def test_ctrl_c_while_it_imports_is_one_line(module: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LEDGER_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        [sys.executable, "-c", AT_AN_IMPORT.format(module=module), "dev"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "error: interrupted\n")


# An interruption where Python ignores exceptions: while an object is taken apart.
WHILE_TAKEN_APART = """
import signal, threading
from ledger_pipeline.cli import app
class Interrupting:
    def __del__(self):
        signal.raise_signal(signal.{number})
        threading.Event().wait(0)
def run():
    Interrupting()
    threading.Event().wait({deadline_seconds})
made = app.typer.Typer()
made.command()(run)
app.command_named = lambda name: app.typer.main.get_command(made)
app.main()
"""


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_that_python_ignores_comes_again(number: str, code: int) -> None:
    program = WHILE_TAKEN_APART.format(number=number, deadline_seconds=DEADLINE_SECONDS)
    ran = subprocess.run(
        [sys.executable, "-c", program, "dev"],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr


STARTING_POSTGRES = """
import os, signal, subprocess
from ledger_pipeline.cli import app
started = subprocess.run
def interrupted_once_started(command, **options):
    ran = started(command, **options)
    if "{command}" in command[0]:
        signal.raise_signal(signal.SIGINT)
        if {too}:
            raise subprocess.CalledProcessError(-signal.SIGINT, command)
    return ran
subprocess.run = interrupted_once_started
app.main()
"""


@pytest.mark.parametrize(
    ("command", "too"), [("initdb", False), ("initdb", True), ("pg_ctl", False)], ids=["initdb", "initdb too", "pg_ctl"]
)
def test_ctrl_c_while_postgres_starts_leaves_no_process_and_the_next_start_works(
    embedded_home: Path, command: str, too: bool
) -> None:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        "LEDGER_HOME": str(embedded_home),
        "LEDGER_REPO_SPEC": str(write_repo_spec(embedded_home, *REPOSITORIES)),
    }

    def run(program: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, "epoch", "list", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )

    stopped = run([sys.executable, "-c", STARTING_POSTGRES.format(command=command, too=too)])
    assert (stopped.returncode, stopped.stderr) == (130, "error: interrupted\n")
    assert not (embedded_home / "postgres" / "postmaster.pid").exists()
    again = run(PROGRAM)
    assert (again.returncode, again.stdout) == (0, "[]\n"), again.stderr
