"""The workflow's code goes on with what older code began: every recorded history replays, byte for byte of commands.

`record_histories` records new ones. Where a test here fails, the change would break workflows that are running while
it is deployed: let them finish the way they began (`workflow.patched`), or do not make it.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from ledger_pipeline.temporal_bridge.workflows import CollectEpochWorkflow, FinalizeEpochWorkflow
from ledger_pipeline_tests.temporal_bridge.changed_workflow import AsksForTheCursorFirst, WaitsBeforeMaterializing
from ledger_pipeline_tests.temporal_bridge.record_histories import RECORDED, SCENARIOS, scrubbed, versions

HISTORIES = [file for folder in versions() for file in sorted(folder.glob("*.json"))]
ABSOLUTE_PATH = re.compile(r"(?<![\w./])/(?:bin|etc|home|mnt|opt|private|root|srv|tmp|usr|var|Users|work|workspace)/")
SECRET = re.compile(r"gh[pousr]_|github_pat_|BEGIN [A-Z ]*PRIVATE KEY")

every_history = pytest.mark.parametrize("file", HISTORIES, ids=lambda file: f"{file.parent.name}-{file.stem}")


def replay(workflow: type, file: Path) -> None:
    """Replay the history, as a worker with this code would that takes the workflow over."""
    replayer = Replayer(workflows=[workflow, FinalizeEpochWorkflow], data_converter=pydantic_data_converter)
    history = WorkflowHistory.from_json(file.stem, file.read_text())
    asyncio.run(replayer.replay_workflow(history))


def texts(value: Any) -> Iterator[str]:
    """All that the history says, payloads as what they hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from [_decoded(inner)] if key == "data" and isinstance(inner, str) else texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


def identities(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key.lower().endswith("identity") else identities(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from identities(inner)


def events_of(file: Path) -> list[str]:
    return [event["eventType"] for event in json.loads(file.read_text())["events"]]


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return data


@every_history
def test_the_workflow_replays_what_was_recorded(file: Path) -> None:
    replay(CollectEpochWorkflow, file)


@pytest.mark.parametrize("folder", versions(), ids=lambda folder: folder.name)
def test_every_end_of_a_workflow_is_recorded(folder: Path) -> None:
    # An older version may lack a scenario that came later, never have none.
    recorded = {file.stem for file in folder.glob("*.json")}
    assert recorded
    assert recorded <= set(SCENARIOS)


def test_the_newest_histories_hold_every_scenario() -> None:
    newest = versions()[-1]
    assert {file.stem for file in newest.glob("*.json")} == set(SCENARIOS)
    ends = {name: events_of(newest / f"{name}.json")[-1].removeprefix("EVENT_TYPE_") for name in SCENARIOS}
    assert ends == {
        "collected": "WORKFLOW_EXECUTION_COMPLETED",
        "nothing-to-do": "WORKFLOW_EXECUTION_COMPLETED",
        "bad-payload": "WORKFLOW_EXECUTION_FAILED",
        "failed-for-good": "WORKFLOW_EXECUTION_FAILED",
        "failed-in-passing": "WORKFLOW_EXECUTION_FAILED",
        "canceled": "WORKFLOW_EXECUTION_CANCELED",
        "attached": "WORKFLOW_EXECUTION_COMPLETED",
        "finalized": "WORKFLOW_EXECUTION_COMPLETED",
        "finalize-refused": "WORKFLOW_EXECUTION_FAILED",
        "finalize-bad-payload": "WORKFLOW_EXECUTION_FAILED",
    }


@pytest.mark.parametrize("changed", [AsksForTheCursorFirst, WaitsBeforeMaterializing])
@pytest.mark.parametrize("name", ["collected", "failed-for-good", "failed-in-passing", "canceled", "attached"])
def test_a_change_that_breaks_running_workflows_is_caught(name: str, changed: type) -> None:
    with pytest.raises(NondeterminismError):
        replay(changed, versions()[-1] / f"{name}.json")


@every_history
def test_a_history_tells_nothing_of_the_machine_it_was_recorded_on(file: Path) -> None:
    history = json.loads(file.read_text())
    assert set(identities(history)) == {RECORDED}
    for text in texts(history):
        assert not SECRET.search(text)
        assert not ABSOLUTE_PATH.search(text)
        assert "@" not in text  # name@host, wherever an SDK puts it


def test_what_tells_of_the_machine_is_left_out_wherever_it_stands() -> None:
    failure = {"message": "m", "stackTrace": "/home/me/x.py"}
    event = {"identity": "1@host", "taskQueue": {"name": "worker@host.example:1-0a"}, "failure": failure}
    clean = {"identity": RECORDED, "taskQueue": {"name": RECORDED}, "failure": {"message": "m"}}
    assert scrubbed({"events": [event]}) == {"events": [clean]}
