"""What a command costs before it does anything of its own: CPU time over that of importing the libraries all need.

The ledger is empty, so what is measured is starting: imports, settings, the repo-spec, one connection. CPU time and the
best of five, because whatever else the machine does adds to the time that passes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ledger_pipeline.local.environment import child_environment
from ledger_pipeline.store import migrations
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database, running_postgres

BARE = "import typer, sqlalchemy, psycopg"
RUN = "from ledger_pipeline.cli.app import main; main()"
COMMANDS = (["--help"], ["events"], ["epoch", "list"])
TIMES = 5


def cpu_time_of_commands() -> Iterator[Figure]:
    """For each of COMMANDS, the ratio to a bare interpreter that imports typer, sqlalchemy and psycopg."""
    with (
        tempfile.TemporaryDirectory(prefix="lp") as folder,
        running_postgres(Path(folder)) as server,
        fresh_database(server) as ledger_url,
    ):
        migrations.upgrade(ledger_url)
        environment = {
            "LEDGER_HOME": folder,
            "LEDGER_REPO_SPEC": str(write_repo_spec(Path(folder), REPO)),
            "DATABASE_URL": ledger_url,
        }
        bare = _best_cpu_seconds([BARE], environment)
        for command in COMMANDS:
            ratio = _best_cpu_seconds([RUN, *command], environment) / bare
            yield Figure(f"CPU time: `{' '.join(command)}` over `{BARE}`", ratio, "at most 1.5")


def _best_cpu_seconds(statement: Sequence[str], environment: Mapping[str, str]) -> float:
    return min(_cpu_seconds(statement, environment) for _ in range(TIMES))


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
