"""What we use of Dagster's inside is still there: an upgrade that moves it fails here, naming the module to look at."""

import ast
import importlib
from pathlib import Path

import dagster
import pytest
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG, RETRY_STRATEGY_TAG

import ledger_pipeline
from ledger_pipeline.defs.concurrency import RETRIES

SOURCE = Path(ledger_pipeline.__file__).parent


def inside_names() -> list[tuple[str, str, str]]:
    """Our module, Dagster's private module, and the name that ours imports of it."""
    return [
        (str(file.relative_to(SOURCE)), node.module, alias.name)
        for file in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("dagster._")
        for alias in node.names
    ]


@pytest.mark.parametrize(("ours", "module", "name"), inside_names())
def test_dagster_still_has_what_it_does_not_export(ours: str, module: str, name: str) -> None:
    try:
        is_there = hasattr(importlib.import_module(module), name)
    except ImportError:
        is_there = False
    assert is_there, f"Dagster {dagster.__version__} has no {module}.{name}: {ours} needs another way"
    assert not hasattr(dagster, name), f"Dagster {dagster.__version__} exports {name} now: import it so in {ours}"


def test_the_retry_tags_are_spelled_as_dagster_spells_them() -> None:
    assert RETRIES.keys() == {RETRY_STRATEGY_TAG, RETRY_ON_ASSET_OR_OP_FAILURE_TAG}
    assert RETRIES[RETRY_STRATEGY_TAG] == ReexecutionStrategy.ALL_STEPS.value
