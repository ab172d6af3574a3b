"""What a command imports: what it needs. The others' libraries take seconds, which each command would wait for."""

import subprocess
import sys

import pytest

from ledger_pipeline.cli.app import COMMANDS, command_named

HEAVY = {"alembic", "cryptography", "dagster", "github", "matplotlib", "temporalio"}


def imported(statement: str) -> set[str]:
    """The modules that a new interpreter has after the statement."""
    command = [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_of_a_command_what_its_own_help_says(name: str) -> None:
    overview = COMMANDS[name][2]
    own = " ".join(str(command_named(name).help).split("\n\n")[0].split())
    assert own == overview


def test_the_overview_imports_no_command() -> None:
    modules = imported("from ledger_pipeline.cli.app import run; run(['--help'])")
    assert "ledger_pipeline.cli.app" in modules
    assert not {f"ledger_pipeline.cli.{module}" for module, _, _ in COMMANDS.values()} & modules
    assert not {"pydantic", "sqlalchemy", *HEAVY} & modules


def test_commands_on_the_ledger_import_the_ledger_alone() -> None:
    names = ["events", "epoch", "verify", "export", "report", "curate", "identities", "allocations", "pool", "db"]
    modules = imported(f"from ledger_pipeline.cli.app import command_named; list(map(command_named, {names}))")
    assert "ledger_pipeline.cli.epoch" in modules
    assert not HEAVY & modules
