"""The README is true: its commands run, its settings are all there are, and its transcript looks like the demo's."""

import re
import shlex
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger_pipeline.cli.app import app
from ledger_pipeline.core.weights import default_weights_milli
from ledger_pipeline.dagster_contract import FACTS_BACKFILL_JOB
from ledger_pipeline.defs.jobs import allocate_epoch, check_counts, check_policy
from ledger_pipeline.settings import Settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
THREAT_MODEL = (ROOT / "ledger_pipeline_tests" / "threat_model.md").read_text()


def console_lines(text: str) -> list[str]:
    """What a person pastes: the lines of the console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = console_lines(README)
SECTIONS = {
    heading: lines
    for section in re.split(r"^## ", README, flags=re.MULTILINE)[1:]
    for heading, text in [section.split("\n", 1)]
    if (lines := console_lines(text))
}
TARGETS = {line.removeprefix("make ") for line in COMMANDS if line.startswith("make ")}


def ours(heading: str) -> list[list[str]]:
    """The arguments of our own commands under `heading`."""
    return [shlex.split(line)[1:] for line in SECTIONS[heading] if line.startswith("ledger-pipeline ")]


LOOKING = [line for line in SECTIONS["Try it"] if not line.startswith("make ")]
OWN_REPOSITORIES = ours("Your own repositories")
SETTLING = SECTIONS["From events to a signed statement"]
SCHEDULES = [arguments for arguments in ours("On a schedule, through Temporal") if arguments != ["worker"]]
SIMULATORS = ours("Your own Postgres, GitHub, Dagster")


def test_every_command_is_one_that_a_test_runs() -> None:
    """LOOKING and SETTLING are pasted whole, by `test_demo`; of the rest, each of our own commands has its test."""
    assert set(SECTIONS) == {
        "Try it",
        "Your own repositories",
        "From events to a signed statement",
        "On a schedule, through Temporal",
        "Your own Postgres, GitHub, Dagster",
        "Development",
    }
    one_by_one = [
        line
        for heading, lines in SECTIONS.items()
        for line in lines
        if heading not in {"Try it", "From events to a signed statement"}
        and not line.startswith(("make ", "ledger-pipeline ", "export ", "unset "))
    ]
    # `test_trigger` runs it, and SCHEDULES.
    assert [line.split(" --")[0] for line in one_by_one] == ["temporal workflow execute"]
    assert {arguments[0] for arguments in SIMULATORS} == {"simulate-github"}


def test_what_is_pasted_names_no_epoch_that_the_demo_may_not_hold() -> None:
    assert [line for line in [*LOOKING, *SETTLING] if re.search(r"\b20\d\d-\d\d-\d\d\b", line)] == []


def test_every_make_target_is_documented_and_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [declared] = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert set(declared.split()) == {*TARGETS, "lock", "histories", "e2e"}
    assert "`make lock`" in README
    assert "`make histories`" in README
    assert "`make e2e`" in README
    assert all(re.search(rf"^{target}: ", makefile, flags=re.MULTILINE) for target in TARGETS)


def test_ci_runs_the_readmes_two_commands() -> None:
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make check", "docker/check", "make demo", "make bench", "make test", "make e2e"} <= set(ci)


def test_every_setting_is_printed_as_the_code_says_and_no_value_of_it(command: Command) -> None:
    secret = {"GITHUB_TOKEN": "ghp_not_to_be_shown"}
    rows = {row["variable"]: row for row in command("settings", "--json", **secret).json}
    described = {name: row["what_it_is"] for name, row in rows.items()}
    assert described == {name.upper(): field.description for name, field in Settings.model_fields.items()}
    assert rows["GITHUB_PAGE_SIZE"]["default"] == "100"
    assert [rows["GITHUB_TOKEN"]["is_set"], rows["GITHUB_TOKENS"]["is_set"]] == [True, False]
    printed = command("settings", **secret)
    assert (printed.code, "GITHUB_TOKEN " in printed.out, "ghp_" in printed.out) == (0, True, False)
    # The README names only settings that there are.
    charter = {"LEDGER_INGEST"}
    named = set(re.findall(r"`((?:DAGSTER|DATABASE|GITHUB|LEDGER|TEMPORAL|WORKER)_[A-Z_]+)`", README)) - charter
    assert named
    assert named <= set(rows)


def test_it_is_read_in_a_quarter_of_an_hour() -> None:
    """Who operates, who contributes and who develops read their own part; what is reference, a command prints."""
    assert len(README.encode()) < 45_000


def test_who_is_paid_for_what_stands_before_anything_to_run() -> None:
    first = " ".join(README.partition("\n## ")[0].split())
    units = {name: f"{weight / 1000:g}" for name, weight in default_weights_milli(["github"]).items()}
    assert f"author of a merged pull request gets {units['github:pr_merged']} unit" in first
    assert f"the reviewer {units['github:review_submitted']} for each review" in first
    assert f"author of a closed issue {units['github:issue_closed']}" in first


def test_what_a_person_starts_in_dagster_and_simulates_with_is_named() -> None:
    jobs = {job.name for job in (allocate_epoch, check_counts, check_policy)} | {FACTS_BACKFILL_JOB}
    options = {f"--{name}" for name in ("policy", "weights", "approve", "chart")}
    assert {word for word in jobs if f"`{word}`" not in README} == set()
    assert {word for word in options if f" `{word}" not in README and f" {word} " not in README} == set()


def test_every_line_of_the_threat_model_names_tests_that_there_are() -> None:
    lines = [line for line in THREAT_MODEL.splitlines() if line.startswith("| ")][1:]
    assert {line.split("|")[1].split()[0] for line in lines if line.split("|")[1].strip()} >= {
        "A",
        "An",
        "Who",
        "GitHub",
    }
    files = (ROOT / "ledger_pipeline_tests").rglob("test_*.py")
    tests = Counter(test for file in files for test in re.findall(r"^def (test_\w+)\(", file.read_text("utf-8"), re.M))
    for line in lines:
        named = re.findall(r"`(test_\w+)`", line)
        assert named, line
        assert line.count("`, `") == len(named) - 1, line  # nothing else stands in the last column
        assert [test for test in named if tests[test] != 1] == []


def test_every_subcommand_is_mentioned() -> None:
    names = list(app.commands)
    for name in names:
        assert f"make {name}" in README or f"ledger-pipeline {name}" in README, name


def test_the_commands_for_own_repositories_run_in_the_order_given(
    command: Command, empty_database_url: str, postgres_server: str, tmp_path: Path
) -> None:
    name = "your-org/your-repo"
    now = datetime.now(UTC)
    with (
        Simulator(generate_world(1, now, (name,)), as_of=now) as github,
        fresh_database(postgres_server) as dagster_url,
    ):
        environment = {
            "DATABASE_URL": empty_database_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "ghp_...",
            "LEDGER_HOME": str(tmp_path / "home"),
            "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, name)),
        }
        ran = [command(*arguments, **environment) for arguments in OWN_REPOSITORIES]
    assert [finished.code for finished in ran] == [0] * 6, [finished.err for finished in ran]
    assert "github:pr:your-org/your-repo:" in ran[-2].out
    assert len(ran[-1].json) > 30


@pytest.mark.parametrize("arguments", SIMULATORS, ids=" ".join)
def test_the_simulators_options_are_known(command: Command, arguments: list[str]) -> None:
    assert command(*arguments, "--help").code == 0


def test_the_transcript_is_of_the_demo() -> None:
    [transcript] = re.findall(r"```text\n\$ make demo\n(.*?)```", README, flags=re.DOTALL)
    for words in (
        "Temporal schedule governance:ledger_ingest: created, then fired",
        "running epoch: workflow ledger-collect-scheduled-default-",
        "Partitions in the ledger",
        "backfill: 46 partitions, ",
        "Epoch 2026-01-05 pays 10,000 credits",
        "make dev",
    ):
        assert words in transcript
    assert len(re.findall(r"│ default │", transcript)) == 2  # of the thirteen latest


def test_its_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", README, flags=re.DOTALL), flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    inside = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert inside
    assert inside <= anchors
    files = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []
