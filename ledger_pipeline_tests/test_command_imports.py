"""What a command imports: what it needs. The others' libraries take seconds, which each command would wait for."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ledger_pipeline.cli.app import COMMANDS, command_named
from ledger_pipeline.local.environment import child_environment
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec

HEAVY = {"alembic", "cryptography", "dagster", "github", "matplotlib", "temporalio"}
SECTIONS = {
    f"ledger_pipeline.store.{section}"
    for section in ("allocations", "curation", "events", "facts", "identities", "scans", "statements")
}


def imported(statement: str, environment: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a new interpreter has after the statement, whatever that prints."""
    command = [sys.executable, "-c", f"import sys; {statement}; print(); print(*sys.modules)"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_of_a_command_what_its_own_help_says(name: str) -> None:
    overview = COMMANDS[name][2]
    own = str(command_named(name).help).split("\n\n")[0]
    assert own == overview


def test_a_paragraph_of_help_breaks_where_the_terminal_ends_and_nowhere_else() -> None:
    for name in COMMANDS:
        command = command_named(name)
        for documented in (command, *getattr(command, "commands", {}).values()):
            assert documented.help
            assert all("\n" not in paragraph for paragraph in documented.help.split("\n\n"))


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


@pytest.mark.parametrize(
    ("arguments", "sections"),
    [(["events"], {"ledger_pipeline.store.events"}), (["epoch", "list"], set[str]())],
    ids=["events", "epoch list"],
)
def test_a_list_is_printed_without_the_pipeline_and_the_sections_of_others(
    tmp_path: Path, ledger_url: str, arguments: list[str], sections: set[str]
) -> None:
    spec = write_repo_spec(tmp_path, REPO)
    environment = {"LEDGER_HOME": str(tmp_path), "LEDGER_REPO_SPEC": str(spec), "DATABASE_URL": ledger_url}
    modules = imported(
        f"from ledger_pipeline.cli.app import run; assert run({arguments}) == 0", child_environment(environment)
    )
    assert "ledger_pipeline.store.postgres" in modules
    assert SECTIONS & modules == sections
    assert not {name for name in modules if name.startswith(("ledger_pipeline.pipeline", "ledger_pipeline.sources"))}
    assert not {"jinja2", *HEAVY} & modules
