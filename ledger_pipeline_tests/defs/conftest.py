"""A deployment a test: simulated GitHub, fresh ledger, real Dagster instance."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ledger_pipeline.defs.resources import SettingsResource
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import instant
from ledger_pipeline_tests.defs.deployment import Deployment, write_repo_spec
from ledger_pipeline_tests.defs.memory_storage import MemoryStorage
from ledger_pipeline_tests.sources.simulator.worlds import NAME, world

NOW = instant("2026-02-18T12:00")
# Runs that Dagster itself launches take place in this process too, before the launch returns.
LAUNCHER = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}


@pytest.fixture
def deployment(github: Simulator, ledger: PostgresLedger, ledger_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """Collects NAME from a simulated GitHub whose clock says NOW."""
    github.set_clock(NOW)
    github.replace_world(world())
    settings = SettingsResource(
        overrides={
            "database_url": ledger_url,
            "github_api_url": github.url,
            "github_token": "t",
            "github_retries": 0,
            "github_max_wait_seconds": 0,
            "github_clock_tolerance_seconds": ANY_CLOCK_SECONDS,
            "ledger_repo_spec": str(write_repo_spec(tmp_path, NAME)),
        }
    )
    storage = {"module": MemoryStorage.__module__, "class": "MemoryStorage", "config": {"folder": str(tmp_path)}}
    overrides = {"telemetry": {"enabled": False}, "run_launcher": LAUNCHER, "storage": {"custom": storage}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
        yield Deployment(github, ledger, instance, settings, NOW, tmp_path)
