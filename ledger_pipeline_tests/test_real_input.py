"""Twelve years of a real repository, recorded, through the whole path; skipped only where the recordings are absent.

Expected ids and hashes are computed here, from the recording alone, with nothing of ours.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.report import CollectReport
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.recorded import load_recording
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome
from ledger_pipeline_tests.builders import SCOPE_ID, scope
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.sources.github.github_source import github_source

REPO = "bitcoin-core/secp256k1"
FIRST, RECENT, LAST = "2014-03-10", "2023-05-08", "2026-08-17"
SCOPE = scope(REPO, first_epoch=FIRST)
WINDOWS = list(
    SCOPE.calendar.windows_between(SCOPE.window(date.fromisoformat(FIRST)), SCOPE.window(date.fromisoformat(LAST)))
)


@pytest.fixture(scope="module")
def recordings(shared: Path) -> Path:
    return shared / "github" / "secp256k1"


def expected(recording: Path, since: str = "") -> dict[str, str]:
    """Payload hash by id of every event of the recording from the day `since` on, by the contract."""
    return {event_id: payload_hash for event_id, time, payload_hash in _expected(recording) if time >= since}


def _expected(recording: Path) -> Iterator[tuple[str, str, str]]:
    for file, prefix, time, more in (
        ("pull_requests", "github:pr:{repo}:{number}", "mergedAt", ()),
        ("reviews", "github:review:{repo}:{number}:{databaseId}", "submittedAt", ("state",)),
        ("issues", "github:issue:{repo}:{number}", "closedAt", ()),
    ):
        for line in (recording / f"{file}.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row[time] and row["author"] and row["author"]["type"] == "User":
                fields = {
                    "authorId": str(row["author"]["databaseId"]),
                    "id": prefix.format(**row),
                    time: row[time],
                    **{key: row[key] for key in more},
                }
                text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
                yield fields["id"], row[time], hashlib.sha256(text.encode()).hexdigest()


def test_three_years_arrive_in_one_dagster_run_and_one_scan(
    command: Command, recordings: Path, ledger: PostgresLedger, ledger_url: str, postgres_server: str, tmp_path: Path
) -> None:
    world = load_recording(recordings / "latest")
    with (
        Simulator(world, as_of=world.last_change) as github,
        fresh_database(postgres_server) as dagster_url,
    ):
        environment = {
            "DATABASE_URL": ledger_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "any",
            "LEDGER_HOME": str(tmp_path / "home"),
            "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, REPO, first_epoch=RECENT)),
        }
        ran = command("collect", "--from", RECENT, "--to", LAST, "--json", **environment)
        assert ran.code == 0, ran.err
        assert len(github.requests) == ran.json["api_requests"] <= 40
    assert len(ran.json["digests"]) == 172
    assert [row["events"] for row in ran.json["digests"] if row["epoch"] == "2023-05-08"] == [91]
    recent = {
        event.id: event.payload_hash
        for event in ledger.events.within(SCOPE_ID, span(WINDOWS))
        if event.event_time.date().isoformat() >= RECENT
    }
    assert recent == expected(recordings / "latest", since=RECENT)
    assert sum(row["events"] for row in ran.json["digests"]) == len(recent)


def test_twelve_years_arrive_in_one_scan(recordings: Path, ledger: PostgresLedger) -> None:
    world = load_recording(recordings / "latest")
    with Simulator(world, as_of=world.last_change) as github:
        assert _collect(github, ledger, WINDOWS).requests <= 40
    assert len(WINDOWS) == 650
    totals: Counter[str] = Counter()
    for digest in ledger.events.digests(SCOPE_ID, WINDOWS):
        totals.update(digest.events_by_type)
    assert totals == {"pr_merged": 943, "review_submitted": 2562, "issue_closed": 436}
    stored = {event.id: event.payload_hash for event in ledger.events.within(SCOPE_ID, span(WINDOWS))}
    assert stored == expected(recordings / "latest")


def test_collecting_as_the_years_go_by_gives_the_same_and_costs_little_more(
    recordings: Path, ledger: PostgresLedger, postgres_server: str, migrated_template: str
) -> None:
    worlds = [
        load_recording(recordings / recording) for recording in ("as-of-2024-07-01", "as-of-2025-07-01", "latest")
    ]
    requests: list[int] = []
    seen: set[str] = set()
    with Simulator(worlds[0], as_of=worlds[0].last_change) as github:
        for world, recording in zip(worlds, ("as-of-2024-07-01", "as-of-2025-07-01", "latest"), strict=True):
            github.replace_world(world)
            github.set_clock(world.last_change)
            report = _collect(github, ledger, WINDOWS)
            requests.append(report.requests)
            seen |= set(expected(recordings / recording))
    stored = [event.id for event in ledger.events.within(SCOPE_ID, span(WINDOWS))]
    assert len(stored) == len(set(stored))
    assert set(stored) == seen >= set(expected(recordings / "latest"))
    conflicts = [
        rejection
        for rejection in ledger.events.rejected(SCOPE_ID, span(WINDOWS))
        if rejection.reason is AppendOutcome.CONFLICT
    ]
    assert {conflict.event_id for conflict in conflicts} <= set(stored)
    once = -(-max(len(repository.pull_requests) for repository in worlds[-1].repositories) // 100)
    assert sum(requests) <= once + 6, requests


def _collect(github: Simulator, ledger: PostgresLedger, windows: list[EpochWindow]) -> CollectReport:
    with github_source(github.url) as source:
        report = collect(source, ledger, SCOPE, windows, streams=GITHUB_STREAMS)
    assert report.failures == []
    return report
