"""The command line as people and programs use it: what it prints, what it stores, and its exit codes."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests

from ledger_pipeline.cli import demo, events
from ledger_pipeline.cli.events import COLUMNS
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.local.demo_statement import SignedEpoch
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.faults import FailedAnswer, HeavyItem
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline_tests.builders import SCOPE_ID, instant
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, review, world

NOW = instant("2026-02-18T12:00")
HOUR = timedelta(hours=1)
COMMAND = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()"]
DEADLINE_SECONDS = 60


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.replace_world(world(merged(1, NOW - HOUR, reviews=(review(1, NOW),)), merged(2, NOW - 7 * 24 * HOUR)))
    github.set_clock(NOW)
    return github


@pytest.fixture
def environment(github: Simulator, ledger_url: str, postgres_server: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A configured deployment: its own databases, its own state, a simulated GitHub."""
    with fresh_database(postgres_server) as dagster_url:
        yield {
            "DATABASE_URL": ledger_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "ghp_marked_secret",
            "GITHUB_RETRIES": "0",
            "LEDGER_HOME": str(tmp_path / "home"),
            "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, NAME)),
        }


def test_collecting_prints_each_partition_and_stream_and_stores_the_events(
    command: Command, environment: dict[str, str]
) -> None:
    ran = command("collect", "--epoch", "2026-02-16", "--json", **environment)
    assert ran.code == 0, ran.err
    assert [(row["stream"], row["seen"], row["new"]) for row in ran.json["streams"]] == [
        ("pull_requests", 1, 1),
        ("reviews", 1, 1),
        ("issues", 0, 0),
    ]
    assert {row["cursor"] for row in ran.json["streams"]} == {NOW.isoformat()}
    assert (ran.json["api_requests"], ran.json["problem"]) == (2, None)
    events = command("events", "--epoch", "2026-02-16", "--json", **environment)
    assert [row["id"] for row in events.json] == [f"github:pr:{NAME}:1", f"github:review:{NAME}:1:4000000001"]
    assert {tuple(row) for row in events.json} == {COLUMNS}
    assert {row["scope_id"] for row in events.json} == {str(SCOPE_ID)}
    assert events.json[0]["event_time"] == "2026-02-18T11:00:00Z"


def test_a_range_is_collected_in_one_run_and_again_adds_nothing(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    arguments = ("collect", "--from", "2026-02-02", "--to", "2026-02-16", "--json")
    first = command(*arguments, **environment)
    assert (first.code, sum(row["new"] for row in first.json["streams"])) == (0, 3)
    assert [row["epoch"] for row in first.json["digests"]] == ["2026-02-02", "2026-02-09", "2026-02-16"]
    again = command(*arguments, **environment)
    assert (again.code, sum(row["new"] for row in again.json["streams"])) == (0, 0)
    assert [row["set_hash"] for row in again.json["digests"]] == [row["set_hash"] for row in first.json["digests"]]
    assert len(github.requests) == 3  # the head and a page, then a page


def test_tables_are_for_people_and_hold_ids_whole(command: Command, environment: dict[str, str]) -> None:
    ran = command("collect", "--epoch", "2026-02-16", **environment)
    assert "pull_requests" in ran.out
    assert "2 new events, 2 API requests" in ran.out
    assert re.search(r"page 1, 3 items, 100% read", ran.err)
    events = command("events", "--epoch", "2026-02-16", **environment)
    assert f"github:review:{NAME}:1:4000000001" in events.out


def test_items_that_github_does_not_give_are_told_in_one_line(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    environment |= {"GITHUB_MAX_WAIT_SECONDS": "0"}  # nothing is gained by waiting between its 502s
    github.faults.when(lambda _: True, HeavyItem(1))
    ran = command("collect", "--epoch", "2026-02-16", **environment)
    assert ran.code == 0
    [line] = [line for line in ran.out.splitlines() if "cannot be read" in line]
    assert line.startswith(f"1 item cannot be read: {NAME}#1 (pull request 1), unread since 2026-02-18T12:00Z: ")
    assert line.endswith("Their epochs stay open, and the next collection asks for them again.")
    assert "unread" in command("collect", "--epoch", "2026-02-16", "--json", **environment).json


def test_a_covered_epoch_asks_nothing_unless_told_to(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    command("collect", "--epoch", "2026-02-09", **environment)
    github.clear_requests()
    assert "Covered already" in command("collect", "--epoch", "2026-02-09", **environment).out
    assert github.requests == ()
    assert command("collect", "--epoch", "2026-02-09", "--full-refresh", **environment).code == 0
    assert len(github.requests) == 2  # the head, and one page


def test_without_an_epoch_it_is_the_running_one(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    github.set_clock(datetime.now(UTC))
    running = EpochCalendar(7).window_at(datetime.now(UTC)).key
    ran = command("collect", "--json", **environment)
    assert {row["epoch"] for row in ran.json["digests"]} == {running}
    assert command("events", "--json", **environment).json == []


def test_commands_run_from_any_folder_below_the_repo_spec(
    command: Command, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    environment.pop("LEDGER_REPO_SPEC")
    assert command("events", "--epoch", "2026-02-16", "--json", **environment).json == []


def test_a_failing_source_is_exit_1_and_one_line_naming_it(
    command: Command, environment: dict[str, str], github: Simulator
) -> None:
    github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    ran = command("collect", "--epoch", "2026-02-16", **environment)
    assert ran.code == 1
    assert re.search(rf"^error: Dagster run \S+ failed: github {NAME}: no such repository.*$", ran.err, re.MULTILINE)
    assert ran.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["collect", "--epoch", "2026-02-17"], "no 7-day epoch starts on 2026-02-17"),
        (["collect", "--epoch", "2026-2-16"], "is not a date"),
        (["collect", "--epoch", "2025-12-29"], "precedes the first epoch"),
        (["collect", "--epoch", "2126-02-18"], "has not begun"),
        (["collect", "--epoch", "2026-02-16", "--from", "2026-02-16"], "not both"),
        (["collect", "--from", "2026-02-16"], "both ends"),
        (["collect", "--from", "2026-02-16", "--to", "2026-02-09"], "is after"),
        (["events", "--scope", "nope"], "no scope 'nope'"),
        (["events", "--nope"], "No such option"),
        (["simulate-github", "--as-of", "yesterday"], "is not an instant"),
        (["simulate-github", "--data", "/nonexistent"], "/nonexistent"),
        (["simulate-github", "--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_2_and_says_why(
    command: Command, environment: dict[str, str], arguments: list[str], says: str
) -> None:
    ran = command(*arguments, **environment)
    assert ran.code == 2
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", ran.err).split())
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"GITHUB_TOKEN": ""}, 2, "GITHUB_TOKEN is not set"),
        ({"LEDGER_REPO_SPEC": "/nonexistent.yaml"}, 2, "/nonexistent.yaml"),
        ({"GITHUB_PAGE_SIZE": "1000"}, 2, "GITHUB_PAGE_SIZE"),
        ({"NODE_ID": "11111111-1111-1111-1111-111111111111"}, 2, "NODE_ID is 11111111"),
        ({"DATABASE_URL": "mysql://u:hush@h/d"}, 2, "use postgresql://"),
        ({"DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/d"}, 1, "127.0.0.1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_bad_environment_is_told_in_one_line_without_secrets(
    command: Command, environment: dict[str, str], changed: dict[str, str], code: int, says: str
) -> None:
    ran = command("collect", "--epoch", "2026-02-16", **(environment | changed))
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert says in ran.err
    assert "hush" not in ran.err
    assert "ghp_marked_secret" not in ran.err


def test_a_ledger_without_tables_says_which_command_makes_them(
    command: Command, environment: dict[str, str], empty_database_url: str
) -> None:
    environment["DATABASE_URL"] = empty_database_url
    ran = command("events", **environment)
    assert ran.code == 1
    assert "`ledger-pipeline db upgrade`" in ran.err
    assert command("db", "current", "--json", **environment).json["current"] is None
    assert "upgraded from nothing" in command("db", "upgrade", **environment).out
    current = command("db", "current", "--json", **environment).json
    assert current["up_to_date"] is True
    assert f"already at {current['needed']}" in command("db", "upgrade", **environment).out
    assert command("events", "--epoch", "2026-02-16", "--json", **environment).json == []


def test_without_a_database_an_embedded_one_is_started_and_left_clean(
    command: Command, environment: dict[str, str], embedded_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whoever_reads_has_gone(rows: Iterator[object]) -> None:
        next(rows)
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    environment["LEDGER_HOME"] = str(embedded_home)
    del environment["DATABASE_URL"], environment["DAGSTER_DATABASE_URL"]
    assert command("db", "upgrade", **environment).code == 0
    assert command("collect", "--epoch", "2026-02-16", **environment).code == 0
    assert len(command("events", "--epoch", "2026-02-16", "--json", **environment).json) == 2
    monkeypatch.setattr(events, "print_json_array", whoever_reads_has_gone)
    stopped = command("events", "--epoch", "2026-02-16", "--json", **environment)
    assert (stopped.code, stopped.err) == (1, "")
    home = str(embedded_home)
    left = [process for process in psutil.process_iter(["cmdline"]) if home in " ".join(process.info["cmdline"] or [])]
    assert left == []


@pytest.mark.parametrize(("kind", "why"), [("file", "File exists"), ("below a file", "Not a directory")])
def test_a_home_that_cannot_be_written_is_said_in_one_line(
    command: Command, environment: dict[str, str], tmp_path: Path, kind: str, why: str
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    home = taken if kind == "file" else taken / "home"
    del environment["DATABASE_URL"]
    done = command("events", **{**environment, "LEDGER_HOME": str(home)})
    assert done.code == 2
    assert done.err == (
        f"error: nothing can be written in LEDGER_HOME, {home}: {why}; set it to a folder of your own\n"
    )


def test_a_folder_that_the_embedded_postgres_cannot_have_is_refused_before_it_starts(
    command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["DATABASE_URL"]
    done = command("events", **{**environment, "LEDGER_HOME": str(tmp_path / "a$b`c")})
    assert done.code == 2
    assert "cannot quote $ ` for it; set LEDGER_HOME to another folder" in done.err


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.2", False)])
def test_the_simulator_listens_where_it_is_told_and_warns_where_others_reach_it(host: str, warned: bool) -> None:
    program = [*COMMAND, "simulate-github", "--host", host, "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = threading.Timer(DEADLINE_SECONDS, process.kill)
        deadline.start()
        assert process.stdout is not None
        assert f"http://{host}:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=DEADLINE_SECONDS)
        deadline.cancel()
    assert ("warning" in output) is warned, output


def test_the_simulator_refuses_the_tokens_that_it_was_told_are_bad(
    command: Command, environment: dict[str, str]
) -> None:
    refused = ["--bad-token", "revoked", "--bad-token", "expired"]
    with simulating(*refused) as output:
        url = re.search(r"http://127\.0\.0\.1:\d+", output)
        assert url, output
        codes = {
            token: requests.post(
                f"{url[0]}/graphql",
                json={"query": "{__typename}"},
                headers={"Authorization": f"bearer {token}"},
                timeout=10,
            ).status_code
            for token in ("any", "revoked", "expired")
        }
        collected = command("collect", **{**environment, "GITHUB_API_URL": url[0], "GITHUB_TOKEN": "revoked"})
    assert codes == {"any": 200, "revoked": 401, "expired": 401}
    assert collected.code == 1
    assert "GITHUB_TOKEN" in collected.err


def test_a_taken_port_for_the_simulator_is_one_line_and_no_trace() -> None:
    with simulating() as output:
        port = output.partition("http://127.0.0.1:")[2].partition(":")[0]
        ran = subprocess.run(
            [*COMMAND, "simulate-github", "--port", port], capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
    [line] = ran.stderr.splitlines()
    assert (ran.returncode, line.partition(" (")[0]) == (2, f"error: cannot listen at 127.0.0.1, port {port}")


@contextmanager
def simulating(*options: str) -> Iterator[str]:
    """What `simulate-github` says first, while it runs; it is interrupted when left, and ends well."""
    program = [*COMMAND, "simulate-github", "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        deadline = threading.Timer(DEADLINE_SECONDS, process.kill)
        deadline.start()
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()
            deadline.cancel()


def test_the_simulator_serves_a_recording_until_interrupted(tmp_path: Path) -> None:
    (tmp_path / "issues.jsonl").write_text(
        '{"repo":"a/b","number":1,"title":"t","author":{"login":"x","type":"User","databaseId":5},"state":"CLOSED",'
        '"stateReason":"COMPLETED","createdAt":"2024-01-01T00:00:00Z","updatedAt":"2024-01-03T00:00:00Z",'
        '"closedAt":"2024-01-02T00:00:00Z","closedBy":null,"url":null,"labels":[],"databaseId":9}\n'
    )
    with subprocess.Popen(
        [*COMMAND, "simulate-github", "--data", str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        deadline = threading.Timer(DEADLINE_SECONDS, process.kill)
        deadline.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url, line
        answer = requests.post(
            f"{url[0]}/graphql",
            json={"query": '{repository(owner: "a", name: "b") {issues(first: 1) {nodes {closedAt}}}}'},
            headers={"Authorization": "bearer any"},
            timeout=10,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECONDS) == 0
        deadline.cancel()
    assert answer.json()["data"]["repository"]["issues"]["nodes"] == [{"closedAt": "2024-01-02T00:00:00Z"}]
    # Its clock stands where the recording ends: it knows of nothing later.
    assert answer.headers["Date"] == "Wed, 03 Jan 2024 00:00:00 GMT"


def test_the_demos_command_for_its_archive_is_pasted_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    archive = Path("/home/ana/Über dir mit spaces/it's/epoch.zip")
    demo._print_signed(SignedEpoch("2026-01-05", [("ana", 300, "1.000000", 10)], 10, ["0x1"], archive, "0", True))
    [pasted] = re.findall(r"verify: (ledger-pipeline .*)", capsys.readouterr().out)
    assert shlex.split(pasted) == ["ledger-pipeline", "verify", "--archive", str(archive)]
