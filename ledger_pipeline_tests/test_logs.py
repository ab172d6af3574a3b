"""Log lines: JSON outside a terminal, plain on one; each says which run, partition and workflow it belongs to."""

import contextvars
import io
import json
import logging
import os
import pty
import subprocess
import sys
import threading
from typing import Any

import pytest

from ledger_pipeline.dagster_contract import RANGE_END_TAG, RANGE_START_TAG, WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG
from ledger_pipeline.logs import FIELDS, JsonFormatter, about

LOGS_TWO_LINES = """
import logging
from ledger_pipeline.logs import log_to_stderr
log_to_stderr()
log_to_stderr()
logging.getLogger("ledger_pipeline.x").info("nobody asked")
logging.getLogger("ledger_pipeline.x").warning("caf\\u00e9 %s", "noir")
import warnings
warnings.warn("old")
"""
# A run of Dagster's with nothing in its config, as the UI's, a schedule's or the worker's is. Nothing is copied to its
# stderr by Dagster's `tail`, which ends with the step and may lose the last lines on a busy machine.
RUNS = """
import logging, sys
import dagster as dg
from ledger_pipeline.logs import log_dagster_as_json

log_dagster_as_json()
log_dagster_as_json()

@dg.asset
def collected(context):
    context.log.info("two\\nlines")
    logging.getLogger("ledger_pipeline.sources").warning("a token is rejected")
    raise ValueError("it broke")

tags = {"dagster/partition": "2026-02-16|default", "ledger/temporal_workflow_id": "w", "ledger/temporal_run_id": "r"}
instance = {
    "telemetry": {"enabled": False},
    "python_logs": {"managed_python_loggers": ["ledger_pipeline"]},
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
}
with dg.DagsterInstance.local_temp(sys.argv[1], instance) as it:
    defs = dg.Definitions(assets=[collected], jobs=[dg.define_asset_job("collect_epoch")])
    job = defs.resolve_job_def("collect_epoch")
    job.execute_in_process(instance=it, tags=tags, raise_on_error=False)
logging.getLogger("urllib3").warning("behind the run")
import warnings
warnings.warn("old")
"""


def ran(program: str, *arguments: str) -> list[str]:
    """What a process prints on its stderr, which is a pipe."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr.splitlines()


@pytest.fixture
def line() -> Any:
    """Logs something to a logger that writes JSON, and gives back the line it became."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("ledger_pipeline.test")
    logger.addHandler(handler)

    def log(*arguments: Any, **options: Any) -> dict[str, Any]:
        written.seek(0)
        written.truncate()
        logger.warning(*arguments, **options)
        [text] = written.getvalue().splitlines()
        document: dict[str, Any] = json.loads(text)
        return document

    return log


def test_a_line_says_when_how_bad_who_and_what(line: Any) -> None:
    entry = line("half %s", "done")
    assert list(entry) == ["time", "level", "logger", "message"]
    assert (entry["level"], entry["logger"], entry["message"]) == ("WARNING", "ledger_pipeline.test", "half done")


def test_time_is_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"msg": "x", "created": 1_771_329_600.1239})
    assert json.loads(JsonFormatter().format(record))["time"] == "2026-02-17T12:00:00.123Z"


def test_an_exception_and_a_message_of_many_lines_stay_one_line(line: Any) -> None:
    entry = line("first\nsecond", exc_info=ValueError("é\nbroke"))
    assert entry["message"] == "first\nsecond"
    assert entry["exception"] == "ValueError: é\nbroke"


def test_what_has_no_json_form_is_told_as_text(line: Any) -> None:
    entry = line("x", extra={FIELDS: {"seconds": 1.5, "where": object}})
    assert (entry["seconds"], entry["where"]) == (1.5, "<class 'object'>")


def test_a_task_and_its_threads_are_about_what_it_says_and_nobody_else_is(line: Any) -> None:
    def task() -> list[dict[str, Any]]:
        about(workflow_id="w", partition=None)
        about(partition="2026-02-16|default")
        entries = [line("own")]
        thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: entries.append(line("thread")),))
        thread.start()
        thread.join()
        return entries

    for entry in contextvars.copy_context().run(task):
        assert (entry["workflow_id"], entry["partition"]) == ("w", "2026-02-16|default")
    assert "workflow_id" not in line("another")


@pytest.mark.parametrize(
    "extra",
    [
        {"temporal_activity": {"workflow_id": "w", "workflow_run_id": "r", "activity_type": "loadCursor"}},
        {"temporal_workflow": {"workflow_id": "w", "run_id": "r"}},
    ],
    ids=["activity", "workflow"],
)
def test_what_temporal_leaves_on_a_line_is_told(line: Any, extra: dict[str, Any]) -> None:
    entry = line("x", extra=extra)
    assert (entry["workflow_id"], entry["workflow_run_id"]) == ("w", "r")
    assert "run_id" not in entry


def test_a_run_over_a_range_names_both_ends(line: Any) -> None:
    tags = {RANGE_START_TAG: "2026-02-09|default", RANGE_END_TAG: "2026-02-16|default"}
    entry = line("job - r1 - read", extra={"dagster_meta": {"orig_message": "read", "run_id": "r1", "job_tags": tags}})
    assert (entry["message"], entry["run_id"]) == ("read", "r1")
    assert entry["partition"] == "2026-02-09|default...2026-02-16|default"
    assert not {"workflow_id", "exception"} & set(entry)


def test_a_process_writes_json_to_a_pipe_once_and_warnings_too() -> None:
    noted, warned = map(
        json.loads, subprocess_lines := ran(LOGS_TWO_LINES.replace('"old"', '"old", DeprecationWarning'))
    )
    assert len(subprocess_lines) == 2
    assert (noted["message"], noted["level"]) == ("café noir", "WARNING")
    assert (warned["logger"], "old" in warned["message"]) == ("py.warnings", True)


def test_a_process_writes_plain_lines_to_a_terminal() -> None:
    terminal, end = pty.openpty()
    subprocess.run([sys.executable, "-c", LOGS_TWO_LINES], stderr=end, check=True, timeout=60)
    os.close(end)
    shown = os.read(terminal, 10_000).decode().splitlines()[0]
    os.close(terminal)
    assert shown.endswith("WARNING ledger_pipeline.x: café noir")


def test_every_line_of_a_run_is_json_with_run_partition_and_workflow(tmp_path: Any) -> None:
    lines = [json.loads(line) for line in ran(RUNS, str(tmp_path))]
    *of_the_run, behind, warned = lines
    assert (behind["message"], "UserWarning: old" in warned["message"]) == ("behind the run", True)
    assert not {"run_id", "partition"} & {*behind, *warned}
    [run_id] = {entry["run_id"] for entry in of_the_run}
    assert run_id
    for entry in of_the_run:
        assert (entry["partition"], entry["workflow_id"], entry["workflow_run_id"]) == ("2026-02-16|default", "w", "r")
    by_message = {entry["message"]: entry for entry in of_the_run}
    assert (by_message["two\nlines"]["level"], by_message["two\nlines"]["step"]) == ("INFO", "collected")
    assert by_message["a token is rejected"]["level"] == "WARNING"
    assert {"RUN_START", "RUN_FAILURE"} <= {entry.get("event") for entry in of_the_run}
    [failure] = [entry for entry in of_the_run if entry.get("event") == "STEP_FAILURE"]
    assert "ValueError: it broke" in failure["exception"]
    assert {WORKFLOW_ID_TAG, WORKFLOW_RUN_ID_TAG} == {"ledger/temporal_workflow_id", "ledger/temporal_run_id"}
