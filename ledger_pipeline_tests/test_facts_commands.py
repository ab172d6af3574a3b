"""The commands on facts: what each prints, and what it says in one line where there is nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger_pipeline.core.facts import Observation, PullRequestFacts, facts_hash
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import PRODUCER, SCOPE_ID, instant, pull_request, window
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, world

Run = Callable[..., Ran]
NOON = instant("2026-02-17T12:00")
HERE = merged(1, NOON)
GONE = merged(2, NOON)


def event(number: int, object_id: int) -> str:
    return pull_request(number, repo=NAME, object_id=str(object_id)).id


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path, github: Simulator, ledger: PostgresLedger) -> Run:
    """A command on a ledger with two events, of which GitHub has one no more."""
    github.set_clock(instant("2026-02-18"))
    github.replace_world(world(HERE))
    events = [pull_request(item.number, repo=NAME, object_id=str(item.database_id)) for item in (HERE, GONE)]
    ledger.epochs.ensure(SCOPE_ID, [window()], {})
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOON)
    environment = {
        "DATABASE_URL": ledger_url,
        "LEDGER_HOME": str(tmp_path),
        "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, NAME)),
        "GITHUB_API_URL": github.url,
        "GITHUB_TOKEN": "t",
        "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
        "GITHUB_RETRIES": "0",
        "GITHUB_MAX_WAIT_SECONDS": "0",
    }
    return lambda *arguments: command("facts", *arguments, **environment)


def test_a_backfill_reads_what_has_no_facts_and_says_what_became_of_it(run: Run) -> None:
    ran = run("backfill", "--from", "2026-02-09", "--to", "2026-02-16", "--json")
    assert ran.code == 0
    before = {"epoch": "2026-02-09", "events": 0, "with_facts": 0, "unknown": 0, "gone": 0}
    of_week = {"epoch": "2026-02-16", "events": 2, "with_facts": 1, "unknown": 0, "gone": 1}
    assert ran.json["epochs"] == [before, of_week]
    done = ran.json["sources"]["github"]
    assert (done["wanted"], done["observed"], done["gone"], done["api_requests"]) == (2, 1, 1, 1)
    again = run("backfill", "--epoch", "2026-02-16")
    assert "Every event has facts already: nothing was asked." in again.out


def test_a_backfill_that_cannot_ask_a_repository_says_so_and_fails(run: Run, github: Simulator) -> None:
    github.replace_world(World())
    ran = run("backfill", "--epoch", "2026-02-16")
    assert ran.code == 1
    assert f"error: github {NAME}: " in ran.err
    assert "2 events without facts: 0 observed, 0 gone, 2 not to be read" in ran.out


def test_observations_are_shown_oldest_first(run: Run, ledger: PostgresLedger) -> None:
    observations = [PullRequestFacts(base_branch=branch, labels=("bug",)) for branch in ("main", "next")]
    for facts in observations:
        ledger.facts.record(SCOPE_ID, [Observation(event(1, HERE.database_id), facts)], NOON, PRODUCER)
    shown = run("show", event(1, HERE.database_id), "--json").json
    assert [row["facts_hash"] for row in shown] == [facts_hash(facts) for facts in observations]
    assert [row["observed_at"] for row in shown] == ["2026-02-17T12:00:00Z"] * 2
    printed = run("show", event(1, HERE.database_id)).out
    assert printed.index("main") < printed.index("next")
    assert '["bug"]' in printed


def test_an_event_without_facts_is_said_to_have_none(run: Run) -> None:
    ran = run("show", "github:pr:x/y:1")
    assert ran.code == 1
    assert "error: no facts of github:pr:x/y:1 are in the ledger" in ran.err
