"""How log lines look, decided in one place: JSON on stderr outside a terminal, plain on one.

A JSON line has `time` (UTC, milliseconds), `level`, `logger` and `message`; where it belongs to one, `run_id` (the
Dagster run), `partition`, `workflow_id` and `workflow_run_id`; where there was one, `exception`. What a line does not
belong to is left out.

Dagster and Temporal leave what they know of a line on its record, as plain values: neither is imported here.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from ledger_pipeline.core.known_secrets import without_secrets
from ledger_pipeline.core.plain_text import plain_lines, plain_message
from ledger_pipeline.dagster_contract import (
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    WORKFLOW_ID_TAG,
    WORKFLOW_RUN_ID_TAG,
)

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS = "fields"
"""`extra={FIELDS: {...}}` of a log call adds these to its JSON line."""

_DAGSTER = "dagster_meta"
_ACTIVITY, _WORKFLOW = "temporal_activity", "temporal_workflow"
_CONSOLE = "dagster"  # the name of the logger that Dagster makes for each run's console

_subject: ContextVar[Mapping[str, str] | None] = ContextVar("subject", default=None)


def about(**subject: str | None) -> None:
    """From now on this task's lines, and those of threads that run in its context, carry these fields; None is none."""
    _subject.set({**(_subject.get() or {}), **_known(**subject)})


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Write this process's lines from `level` on to stderr. Does nothing where somebody has configured logging."""
    logging.basicConfig(level=level, handlers=[_handler()])
    if is_for_programs():
        logging.captureWarnings(capture=True)


def log_dagster_as_json() -> None:
    """In a process that Dagster started with our definitions, make what runs write to their console JSON as well.

    Dagster's own settings suffice for its services (`--log-format json`) and for runs' logs in its UI (`python_logs`),
    but what they attach to a run comes beside the plain lines of its console, which no setting of an instance takes
    away. Nothing changes on a terminal. Safe to repeat.
    """
    if not is_for_programs():
        return
    logging.setLoggerClass(_ConsoleLogger)
    # Of loggers that nobody handles; a handler of our own would repeat what Dagster captures into the run's log.
    logging.lastResort = _handler(logging.WARNING)
    logging.captureWarnings(capture=True)
    if not (warned := logging.getLogger("py.warnings")).handlers:  # else it handles them by dropping them
        warned.addHandler(_handler())


def is_for_programs(stream: TextIO | None = None) -> bool:
    """Whether lines on `stream` (stderr where None is given) are JSON: it is no terminal."""
    return not (stream or sys.stderr).isatty()


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, in ASCII: whatever the encoding of the stream, a line stays one.

    No secret that is known is in it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": _instant(record.created),
            "level": record.levelname,
            "logger": record.name,
            **_said(record),
            **(_subject.get() or {}),
            **_left_by_temporal(record),
            **_left_by_dagster(record),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return without_secrets(json.dumps(line, default=str))


class PlainFormatter(logging.Formatter):
    """A record as people read it: its message on one line, and nothing in it that acts on a terminal."""

    def __init__(self) -> None:
        super().__init__(PLAIN)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """The line, without a traceback."""
        return plain_message(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback where there is one."""
        return plain_lines(super().format(record))


class _ConsoleLogger(logging.Logger):
    """Dagster makes the console logger of a run of Python's logger class.

    That is the one hold on all of them: a logger of `Definitions` is used only by runs whose config names it.
    """

    def handle(self, record: logging.LogRecord) -> None:
        if self.parent is None and self.name == _CONSOLE:  # made by hand, unlike the logger `dagster` of its processes
            for handler in self.handlers:
                if not isinstance(handler.formatter, JsonFormatter):
                    handler.setFormatter(JsonFormatter())
        super().handle(record)


def _handler(level: int = logging.NOTSET) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(JsonFormatter() if is_for_programs() else PlainFormatter())
    return handler


def _instant(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _said(record: logging.LogRecord) -> dict[str, str]:
    message = record.getMessage()
    original_message = getattr(record, _DAGSTER, {}).get("orig_message")
    if not original_message:
        return {"message": message}
    # Dagster puts job, run and step before what was said, and an event's error behind it.
    error = message.rpartition(original_message)[2].strip()
    return {"message": original_message, "exception": error} if error else {"message": original_message}


def _left_by_dagster(record: logging.LogRecord) -> dict[str, str]:
    left = getattr(record, _DAGSTER, None)
    if left is None:
        return {}
    tags = left.get("job_tags") or {}
    event = getattr(left.get("dagster_event"), "event_type_value", None)
    return _known(
        run_id=left.get("run_id"),
        partition=_partition(tags),
        workflow_id=tags.get(WORKFLOW_ID_TAG),
        workflow_run_id=tags.get(WORKFLOW_RUN_ID_TAG),
        job=left.get("job_name"),
        step=left.get("step_key"),
        event=event and event.replace("PIPELINE_", "RUN_"),  # as Dagster's own pages call it
    )


def _left_by_temporal(record: logging.LogRecord) -> dict[str, str]:
    activity, workflow = getattr(record, _ACTIVITY, {}), getattr(record, _WORKFLOW, {})
    return _known(
        workflow_id=activity.get("workflow_id") or workflow.get("workflow_id"),
        workflow_run_id=activity.get("workflow_run_id") or workflow.get("run_id"),
        activity=activity.get("activity_type"),
    )


def _partition(tags: Mapping[str, str]) -> str | None:
    """The partition of a run with these tags, `first...last` where it is a range."""
    if PARTITION_TAG in tags:
        return tags[PARTITION_TAG]
    first, last = tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    return first if first == last else f"{first}...{last}"


def _known(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
