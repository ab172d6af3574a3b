"""Fixtures every test may ask for: where the recorded data lies."""

from pathlib import Path

import pytest

pytest_plugins = [
    "ledger_pipeline_tests.command_line",
    "ledger_pipeline_tests.postgres",
    "ledger_pipeline_tests.temporal",
    "ledger_pipeline_tests.temporal_bridge.stack",
]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden vectors and recorded GitHub activity beside the checkout; skips where absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout: golden vectors and recordings are not here")
    return folder
