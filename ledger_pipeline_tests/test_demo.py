"""The demo as a newcomer runs it: everything embedded, green, repeatable, nothing left behind."""

import re
from pathlib import Path

import dagster as dg
import psutil
import pytest

from ledger_pipeline.local.demo import demo_environment
from ledger_pipeline.local.environment import dagster_home, databases, overridden
from ledger_pipeline.settings import read_settings
from ledger_pipeline_tests.command_line import Command

pytestmark = pytest.mark.e2e

REPO_SPEC = str(Path(__file__).resolve().parents[1] / ".cogni" / "repo-spec.yaml")


def test_the_demo_collects_thirteen_epochs_and_run_again_adds_nothing(command: Command, embedded_home: Path) -> None:
    # What else is configured is left alone: neither reached nor written to.
    environment = {
        "LEDGER_HOME": str(embedded_home),
        "LEDGER_REPO_SPEC": REPO_SPEC,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/production",
        "GITHUB_API_URL": "http://127.0.0.1:1",
    }
    first = command("demo", "--json", **environment)
    assert first.code == 0, first.err
    report = first.json
    assert report["rows_after"] - report["rows_before"] > 200
    assert [len(report["backfill"]["digests"]), len(report["partitions"])] == [12, 13]
    assert [step["action"] for step in report["scheduled"]["steps"]] == ["created"]
    again = command("demo", **environment).out
    assert f"Nothing new: the ledger held all {report['rows_after']} events already." in again
    assert "Temporal schedule governance:ledger_ingest: skipped, then fired" in again
    assert re.search(r"running epoch: workflow ledger-collect-scheduled-default-\S+, run [0-9a-f-]{36}\n", again)
    assert re.search(r"running epoch: epoch 1 open, 0 new, Dagster run [0-9a-f-]{36}\n", again)
    assert "backfill: 12 partitions, " in again
    assert "make dev" in again
    assert _processes_of(embedded_home) == []
    assert _green_partitions(embedded_home) == {f"{row['epoch']}|default" for row in report["partitions"]}


def _processes_of(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or [])
    ]


def _green_partitions(home: Path) -> set[str]:
    """What Dagster's own storage, opened anew, holds as materialized."""
    with (
        overridden({"LEDGER_HOME": str(home), "LEDGER_REPO_SPEC": REPO_SPEC}),
        overridden(demo_environment(read_settings())) as settings,
        databases(settings) as settings,
        dagster_home(settings),
        dg.DagsterInstance.get() as instance,
    ):
        return set(instance.get_materialized_partitions(dg.AssetKey("activity_events")))
