"""Histories of the workflows, recorded on real parts, for `test_replay` to hold the workflows' code against.

`python -m ledger_pipeline_tests.temporal_bridge.record_histories` records them with the code as it is into the next
`histories/v{n}`: to be committed with a change that lets workflows take another path. Older ones stay, because
workflows that older code began may be running still. `--overwrite` replaces the newest instead, which is for those
that no deployment has run yet.
"""

import argparse
import asyncio
import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import partition_tags
from ledger_pipeline.local.embedded_temporal import embedded_temporal
from ledger_pipeline.sources.simulator.faults import FailedAnswer, Slow
from ledger_pipeline.store import migrations
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import SCOPE_ID, pull_request
from ledger_pipeline_tests.postgres import fresh_database, running_postgres, set_status
from ledger_pipeline_tests.sources.simulator.worlds import NAME
from ledger_pipeline_tests.store.settlement import APPROVER, STRANGER, Books, settling_scope
from ledger_pipeline_tests.temporal_bridge.stack import (
    Stack,
    eventually_async,
    running_stack,
    running_worker,
    start,
    with_client,
)

FOLDER = Path(__file__).parent / "histories"
RECORDED = "recorded"
WORKERS_OWN_QUEUE = re.compile(r"[\w-]+@[\w.-]+:\d+-")
HELD_SECONDS = 5

Handle = WorkflowHandle[Any, Any]
Scenario = Callable[[Stack, Client, EpochWindow], Awaitable[Handle]]


def versions() -> list[Path]:
    """The folders of recorded histories, oldest first."""
    return sorted(FOLDER.glob("v*"), key=_number)


def record(folder: Path) -> None:
    """Play every scenario on a stack of its own, and save the history of each in `folder`."""
    with (
        tempfile.TemporaryDirectory(prefix="lp") as home,
        running_postgres(Path(home)) as postgres_url,
        fresh_database(postgres_url) as migrated_url,
        embedded_temporal(Path(home)) as temporal,
    ):
        migrations.upgrade(migrated_url)
        template = make_url(migrated_url).database
        assert template is not None
        with running_stack(postgres_url, template, temporal.address) as stack, running_worker(stack):
            for name, scenario in SCENARIOS.items():
                stack.github.faults.clear()
                history = with_client(stack, lambda client, play=scenario: _played(play, stack, client))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.json").write_text(json.dumps(scrubbed(history), indent=1) + "\n")
                print(f"recorded {name}")


def scrubbed(history: Any) -> Any:
    """The history without what tells of the machine it was recorded on; replay needs none of it."""
    if isinstance(history, Mapping):
        return {
            key: RECORDED if key == "identity" else scrubbed(value)
            for key, value in history.items()
            if key != "stackTrace"
        }
    if isinstance(history, list):
        return [scrubbed(event) for event in history]
    # A worker's own queue bears its identity, name@host:process.
    return RECORDED if isinstance(history, str) and WORKERS_OWN_QUEUE.match(history) else history


def _number(version: Path) -> int:
    return int(version.name.removeprefix("v"))


async def _played(scenario: Scenario, stack: Stack, client: Client) -> Any:
    handle = await scenario(stack, client, stack.next_week())
    with suppress(WorkflowFailureError):  # some scenarios are about that
        await handle.result()
    return (await handle.fetch_history()).to_json_dict()


async def start_finalize(client: Client, epoch_id: str, signature: str, workflow_id: str) -> Handle:
    """Start the workflow as another client would: by its name, with plain JSON."""
    payload = {"epochId": epoch_id, "signature": signature}
    return await client.start_workflow("FinalizeEpochWorkflow", payload, id=workflow_id, task_queue="ledger-tasks")


async def _collected(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    return await start(client, stack.payload(week), "collected")


async def _nothing_to_do(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    stack.ledger.epochs.ensure(SCOPE_ID, [week], {"github:pr_merged": 1000})
    set_status(stack.engine, SCOPE_ID, week, EpochStatus.REVIEW)
    return await start(client, stack.payload(week), "nothing-to-do")


async def _bad_payload(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    return await start(client, stack.payload(week, epochLengthDays="7"), "bad-payload")


async def _failed_for_good(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    stack.github.faults.for_repository(NAME, FailedAnswer.NOT_FOUND)
    return await start(client, stack.payload(week), "failed-for-good")


async def _failed_in_passing(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    stack.github.faults.for_repository(NAME, FailedAnswer.MAINTENANCE)
    return await start(client, stack.payload(week), "failed-in-passing")


async def _canceled(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    stack.github.faults.for_repository(NAME, Slow(HELD_SECONDS), times=1)
    handle = await start(client, stack.payload(week), "canceled")
    await eventually_async(lambda: handle.query("progress"), lambda progress: progress["dagsterRunId"])
    await handle.cancel()
    return handle


async def _attached(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    stack.github.faults.for_repository(NAME, Slow(HELD_SECONDS), times=1)
    await asyncio.to_thread(stack.dagster.launch, partition_tags(week.key, "default"))
    return await start(client, stack.payload(week), "attached")


def _reviewed(stack: Stack, week: EpochWindow) -> Books:
    """An epoch that waits for its signature, without a collection."""
    scope = settling_scope(approvers=(APPROVER.address,))
    books = Books(stack.ledger, scope, week)
    assert books.epoch
    number = int(week.key.replace("-", ""))
    books.append(pull_request(number, at=(week.start + timedelta(hours=1)).isoformat().replace("+00:00", "Z")))
    books.bind()
    books.materialize()
    return books.close()


async def _finalized(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    books = _reviewed(stack, week)
    return await start_finalize(client, str(books.epoch.id), books.signature(), "finalized")


async def _finalize_refused(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    books = _reviewed(stack, week)
    return await start_finalize(client, str(books.epoch.id), books.signature(STRANGER), "finalize-refused")


async def _finalize_bad_payload(stack: Stack, client: Client, week: EpochWindow) -> Handle:
    return await start_finalize(client, "seven", "0x00", "finalize-bad-payload")


SCENARIOS: Mapping[str, Scenario] = {
    "collected": _collected,
    "nothing-to-do": _nothing_to_do,
    "bad-payload": _bad_payload,
    "failed-for-good": _failed_for_good,
    "failed-in-passing": _failed_in_passing,
    "canceled": _canceled,
    "attached": _attached,
    "finalized": _finalized,
    "finalize-refused": _finalize_refused,
    "finalize-bad-payload": _finalize_bad_payload,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Record histories of the workflows for the replay test.")
    parser.add_argument("--overwrite", action="store_true", help="replace the newest ones instead of adding a version")
    newest = max(map(_number, versions()), default=0)
    record(FOLDER / f"v{newest if parser.parse_args().overwrite and newest else newest + 1}")


if __name__ == "__main__":
    main()
