"""What a command costs before it does anything of its own: CPU time over that of importing the libraries all need.

The ledger is empty and the archive small, so what is measured is starting: imports, settings, the repo-spec, one
connection. A collection of what is covered is a Dagster run that finds nothing to do: it is measured over a run of one
asset that does nothing, in a process that imports nothing of ours, on the same instance. CPU time and the best of five,
because whatever else the machine does adds to the time that passes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from ledger_pipeline.local.environment import child_environment
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store import migrations
from ledger_pipeline.verification.archive import write_archive
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.verification.facts import finalized

BARE = "import typer, sqlalchemy, psycopg"
RUN = "from ledger_pipeline.cli.app import main; main()"
EMPTY_RUN = """
import dagster as dg

@dg.asset
def nothing(): ...

with dg.DagsterInstance.get() as instance:
    assert dg.materialize([nothing], instance=instance).success
"""
COMMANDS = (["--help"], ["events"], ["epoch", "list"])
TIMES = 5


def cpu_time_of_commands() -> Iterator[Figure]:
    """For each of COMMANDS, the ratio to a bare interpreter that imports typer, sqlalchemy and psycopg.

    And of a collection that finds its epoch covered, to an empty Dagster run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        fresh_database(server) as ledger_url,
        fresh_database(server) as dagster_url,
    ):
        migrations.upgrade(ledger_url)
        archive = Path(folder) / "epoch.zip"
        write_archive(finalized(), archive)
        environment = {
            "LEDGER_HOME": folder,
            "LEDGER_REPO_SPEC": str(write_repo_spec(Path(folder), REPO)),
            "DATABASE_URL": ledger_url,
            # Compiled once, as an installation is, whatever this process was told.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode"),
        }
        verifying = ["verify", "--archive", str(archive)]
        bare, *commands = _best_cpu_seconds(
            [([BARE], environment), *(([RUN, *command], environment) for command in (*COMMANDS, verifying))]
        )
        for command, seconds in zip((*COMMANDS, verifying[:-1]), commands, strict=True):
            yield Figure(f"CPU time: `{' '.join(command)}` over `{BARE}`", seconds / bare, "at most 1.5")
        yield _collecting_what_is_covered({**environment, "DAGSTER_DATABASE_URL": dagster_url})


def _collecting_what_is_covered(environment: Mapping[str, str]) -> Figure:
    """An epoch that has ended: the first collection covers it, and the others have nothing to ask."""
    now = datetime.now(UTC).replace(microsecond=0)
    instance = {
        "DAGSTER_HOME": str(Path(environment["LEDGER_HOME"]) / "dagster"),
        "DAGSTER_POSTGRES_URL": make_url(environment["DAGSTER_DATABASE_URL"])
        .set(drivername="postgresql+psycopg2")
        .render_as_string(hide_password=False),
    }
    with Simulator(generate_world(1, now, (REPO,)), as_of=now) as github:
        collecting = {
            **environment,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": "token-of-nobody",
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
        }
        covered = [RUN, "collect", "--epoch", "last-1"]
        ours, empty = _best_cpu_seconds([(covered, collecting), ([EMPTY_RUN], {**environment, **instance})])
    return Figure("CPU time: `collect` of a covered epoch over an empty Dagster run", ours / empty, "at most 1.3")


def _best_cpu_seconds(programs: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> list[float]:
    """Of each program with its environment, once compiled: in turn, for a machine that is busy is so for a while."""
    for program in programs:
        _cpu_seconds(*program)
    rounds = [[_cpu_seconds(*program) for program in programs] for _ in range(TIMES)]
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _cpu_seconds(statement: Sequence[str], environment: Mapping[str, str]) -> float:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", *statement],
            env=child_environment(dict(environment)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise AssertionError(f"{statement[1:]} failed: {output.read().decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    for figure in cpu_time_of_commands():
        print(figure)
