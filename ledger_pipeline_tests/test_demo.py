"""The demo as a newcomer runs it: embedded, green, repeatable, nothing left behind; and the README's lines after it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
import pytest

from ledger_pipeline.local.demo import demo_environment
from ledger_pipeline.local.environment import dagster_home, databases, overridden
from ledger_pipeline.settings import read_settings
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.test_develop import running
from ledger_pipeline_tests.test_readme import LOOKING, SETTLING

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[1]
REPO_SPEC = str(ROOT / ".cogni" / "repo-spec.yaml")
EVENTS_AT_LEAST = 10
# It takes about 30. A newcomer is promised two minutes, also where a core is half as fast; the clock on the wall would
# measure what else the machine does.
PROCESSOR_SECONDS = 60
# Those that are over of the sample repo-spec: it starts where the simulated activity does.
EPOCHS = (datetime.now(UTC) - datetime(2026, 1, 5, tzinfo=UTC)).days // 7


@pytest.mark.timeout(600)
def test_the_demo_collects_and_signs_and_run_again_adds_nothing(command: Command, embedded_home: Path) -> None:
    # What else is configured is left alone: neither reached nor written to.
    environment = {
        "LEDGER_HOME": str(embedded_home),
        "LEDGER_REPO_SPEC": REPO_SPEC,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/production",
        "GITHUB_API_URL": "http://127.0.0.1:1",
    }
    before = _processor_seconds()
    first = command("demo", "--json", **environment)
    assert first.code == 0, first.err
    assert _processor_seconds() - before < PROCESSOR_SECONDS
    report = first.json
    assert report["rows_after"] - report["rows_before"] > 200
    assert [len(report["backfill"]["digests"]), len(report["partitions"])] == [EPOCHS, EPOCHS + 1]
    assert [step["action"] for step in report["scheduled"]["steps"]] == ["created"]
    again = command("demo", **environment).out
    assert f"Nothing new: the ledger held all {report['rows_after']:,} events already." in again
    assert _events_shown(again) == report["rows_after"]
    assert "Temporal schedule governance:ledger_ingest: in sync, then fired" in again
    assert re.search(r"running epoch: workflow ledger-collect-scheduled-default-\S+, run [0-9a-f-]{36}\n", again)
    assert re.search(r"running epoch: epoch 1 open, 0 new, Dagster run [0-9a-f-]{36}\n", again)
    assert f"backfill: {EPOCHS} partitions, " in again
    # The oldest epoch is signed once, and what was exported of it verifies wherever it is taken.
    signed = report["signed"]
    assert (signed["epoch"], signed["is_new"]) == ("2026-01-05", True)
    assert sum(int(payout["amount_credits"]) for payout in signed["payouts"]) == signed["pool_total_credits"] == 10_000
    # As the README shows it: users have their credits, and accounts that nobody linked have theirs reserved.
    paid = {payout["user_id"].partition(":")[0] for payout in signed["payouts"]}
    assert {"ana", "priya", "identity"} <= paid
    assert "Epoch 2026-01-05 pays 10,000 credits" in again
    assert f"signed by an earlier demo by {signed['signers'][0]}, the demo's key; every number of it verifies" in again
    assert command("verify", "--archive", signed["archive"]).code == 0
    assert "make dev" in again
    assert _processes_of(embedded_home) == []
    with _instance(embedded_home) as instance:
        every_epoch = {f"{row['epoch']}|default" for row in report["partitions"]}
        assert instance.get_materialized_partitions(dg.AssetKey("activity_events")) == every_epoch
        # And it shows what was signed after that.
        assert _latest(instance, "activity_events", "2026-01-05|default")["epoch_status"].value == "finalized"
    assert _run_statuses(embedded_home) == {dg.DagsterRunStatus.SUCCESS}


@pytest.mark.timeout(600)
def test_what_the_readme_has_one_paste_works_on_what_the_demo_left(
    command: Command, embedded_home: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / ".cogni", embedded_home / ".cogni")
    (embedded_home / ".venv").symlink_to(Path(sys.executable).parents[1])
    home = embedded_home / ".ledger"
    assert command("demo", LEDGER_HOME=str(home), LEDGER_REPO_SPEC=REPO_SPEC).code == 0
    looked = _paste(LOOKING, embedded_home)
    assert (looked.count("│ review "), looked.count("│ finalized ")) == (EPOCHS - 1, 1)
    assert looked.count("github:pr:cogni-dao/") > EVENTS_AT_LEAST
    assert "state: ready to sign\n" in looked
    assert "blocked: " not in looked
    with running(home, tmp_path) as dev:
        settled = _paste(SETTLING, embedded_home, TEMPORAL_ADDRESS=f"127.0.0.1:{dev.temporal_port}")
    assert settled.count("every number follows from the rows before it, and the signatures are good") == 2
    assert re.search(r"│ bo +│.*│ +0\.5 +│ ran the release", settled)
    assert (home / "epoch.zip").is_file()


def _events_shown(printed: str) -> int:
    """The events of the epochs in the demo's table, and of those that it sums up under it."""
    header = next(line for line in printed.splitlines() if " set_hash " in line)
    events = [cell.strip() for cell in header.split("┃")].index("events")
    rows = [line.split("│") for line in printed.splitlines() if "│ default │" in line]
    summed_up = re.findall(r"^and .*?([\d,]+) events", printed, re.MULTILINE)
    return sum(int(row[events]) for row in rows) + sum(int(count.replace(",", "")) for count in summed_up)


def _processor_seconds() -> float:
    """What this process has used, and those that it started and saw the end of."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _paste(lines: Sequence[str], folder: Path, **environment: str) -> str:
    """What a shell in `folder` prints of the lines, each of which must succeed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input="\n".join(lines),
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _processes_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def _latest(instance: dg.DagsterInstance, asset: str, partition: str) -> Mapping[str, dg.MetadataValue]:
    """What the latest materialization of a partition says."""
    of_partition = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
    [record] = instance.fetch_materializations(of_partition, limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization.metadata


def _run_statuses(home: Path) -> set[dg.DagsterRunStatus]:
    """How the runs of all its demos ended: none was left queued or running, or was killed with its services."""
    with _instance(home) as instance:
        return {run.status for run in instance.get_runs()}


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with (
        overridden({"LEDGER_HOME": str(home), "LEDGER_REPO_SPEC": REPO_SPEC}),
        overridden(demo_environment(read_settings())) as settings,
        databases(settings) as settings,
        dagster_home(settings),
        dg.DagsterInstance.get() as instance,
    ):
        yield instance
