"""Running `ledger-pipeline` in this process, in an environment of its own: no variable of the machine leaks in."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.cli.app import run
from ledger_pipeline.settings import Settings
from ledger_pipeline_tests.postgres import memory


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line; keyword arguments are environment variables of that one command."""
    for name in (*Settings.model_fields, "dagster_postgres_url", "dagster_event_batch_size"):
        monkeypatch.delenv(name.upper(), raising=False)

    def execute(*arguments: str, **environment: str) -> Ran:
        capfd.readouterr()
        with _set(monkeypatch, environment):
            code = run(arguments)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return execute


@pytest.fixture
def embedded_home() -> Iterator[Path]:
    """A folder for LEDGER_HOME with an embedded Postgres in it, whose system user must be able to reach it.

    Its name is one that people's folders have, and that has to be quoted for a shell.
    """
    with tempfile.TemporaryDirectory(prefix="lp Über 'x' ", dir=memory()) as folder:
        yield Path(folder)


@contextmanager
def _set(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
