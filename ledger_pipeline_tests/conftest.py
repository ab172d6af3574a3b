"""Fixtures every test may ask for: where the recorded data lies."""

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "ledger_pipeline_tests.postgres",
    "ledger_pipeline_tests.command_line",
    "ledger_pipeline_tests.distributions",
    "ledger_pipeline_tests.simulated_github",
    "ledger_pipeline_tests.temporal",
    "ledger_pipeline_tests.temporal_bridge.stack",
]


# How long an example takes, or takes to draw, says something of the load of the machine, and nothing of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


# They hold the longest tests: begun first, none of them is left for one process when the others have ended.
LONGEST = ("test_real_input", "test_run_launcher", "test_simulation", "test_five_activities", "test_odd_answers")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Each process of a whole run compiles a share of the tests, and reads of the others what their processes did."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1 and session.config.args == session.config.getini("testpaths"):
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        root = session.config.rootpath
        for file in sorted((root / "ledger_pipeline_tests").rglob("test_*.py"))[number::processes]:
            with suppress(Exception):  # pytest tells it when it collects the file
                importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish() -> None:
    """What was imported stays until the end: it is not looked through again whenever garbage is collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden vectors and recorded GitHub activity beside the checkout; skips where absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared beside this checkout: golden vectors and recordings are not here")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _what_was_started_ends_with_the_session() -> Iterator[None]:
    """A time-out may end a test before it cleans up: what this test process started does not outlive it."""
    yield
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="session", autouse=True)
def _the_usual_ports_are_taken() -> Iterator[None]:
    """On a developer's machine `dev` may run beside the tests."""
    from ledger_pipeline_tests.usual_ports import usual_ports_taken  # here, for it imports Dagster

    with usual_ports_taken():
        yield


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Dagster reads its forty migrations anew for each database it makes; ours are read anew at every step."""
    read, folders_read = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location") or ""
        if location not in folders_read:
            folders_read[location] = read(config)
        return folders_read[location]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield
