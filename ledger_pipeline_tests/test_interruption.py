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

from ledger_pipeline.settings import ANY_CLOCK_SECONDS
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
HELD_SECONDS = 8.0
COMMAND = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", "collect"]
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
            [*wrapper, *COMMAND, "--epoch", "2026-02-16"], env=environment, stdout=file, stderr=file
        )
    try:
        # One of the swift requests asks for the heads; the pages of the others are stored, and four requests are held.
        eventually(lambda: pages_stored(output) == SWIFT_REQUESTS - 1 or process.poll() is not None, DEADLINE_SECONDS)
        asked = SWIFT_REQUESTS + len(REPOSITORIES)
        process.send_signal(signal.SIGINT)
        told_at = time.monotonic()
        code = process.wait(DEADLINE_SECONDS)
        took = time.monotonic() - told_at
    finally:
        process.kill()
        print(output.read_text())
    print(f"ended {took:.2f} s after the signal")
    assert code == 130
    assert took < HELD_SECONDS / 2, f"{took:.1f} s after the signal"
    assert "was canceled: interrupted; what was stored stays" in output.read_text()
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
