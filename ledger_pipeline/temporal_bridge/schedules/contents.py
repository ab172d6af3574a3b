"""What of a Temporal schedule matters to us, wanted or found: when it starts what, with which argument and policies.

Pure: how it looks in Temporal's own messages is `messages.py`'s.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ledger_pipeline.core.hashing import Json, sha256_hex
from ledger_pipeline.temporal_bridge.contract import COLLECT_EPOCH_WORKFLOW, TASK_QUEUE
from ledger_pipeline.temporal_bridge.schedules.calendar import Calendar, times_text

OVERLAP_SKIP = "SKIP"


@dataclass(frozen=True)
class RetryTimes:
    """When a failed workflow is started again. `attempts` counts the first; 0 is without end."""

    initial_seconds: float
    coefficient: float
    maximum_seconds: float
    attempts: int
    never_for: tuple[str, ...] = ()

    def __str__(self) -> str:
        never = f", never for {' '.join(self.never_for)}" if self.never_for else ""
        times = f"after {self.initial_seconds:g} s, x {self.coefficient:g}, at most {self.maximum_seconds:g} s"
        return f"{self.attempts or 'endless'} attempts, {times}{never}"


# A Dagster run that failed in passing fails its workflow, and a workflow has one run: trying again is the workflow's.
RETRY = RetryTimes(initial_seconds=300, coefficient=2.0, maximum_seconds=3600, attempts=4)
# A start that the server missed is made up for within a day: collecting again is safe, and a week's last collection
# should not wait for another day because Temporal was away for a minute.
CATCHUP_SECONDS = 86_400


@dataclass(frozen=True)
class Change:
    """A part of a schedule that is not as wanted."""

    part: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.part}: {self.found} -> {self.wanted}"


@dataclass(frozen=True)
class ScheduleContents:
    """All of a schedule that we decide. What is given here by default is the same for every schedule of ours.

    `other_times` names fields that shift or restrict the calendars, `timeouts` those that end a workflow early; a
    `payload` that is no JSON is None.
    """

    calendars: frozenset[Calendar]
    timezone: str
    payload: Json
    workflow_id: str
    workflow_type: str = COLLECT_EPOCH_WORKFLOW
    task_queue: str = TASK_QUEUE
    overlap: str = OVERLAP_SKIP
    catchup_seconds: float = CATCHUP_SECONDS
    pause_on_failure: bool = False
    retry: RetryTimes | None = RETRY
    other_times: tuple[str, ...] = ()
    timeouts: tuple[str, ...] = ()

    def parts(self) -> dict[str, str]:
        """Each part in a text that is the same exactly where the part is."""
        return {
            "cron": " with ".join((times_text(self.calendars), *self.other_times)),
            "time zone": self.timezone,
            "payload": json.dumps(self.payload, sort_keys=True),
            "workflow type": self.workflow_type,
            "workflow id": self.workflow_id,
            "task queue": self.task_queue,
            "overlap": self.overlap,
            "catch-up": f"{self.catchup_seconds:g} s",
            "pause on failure": "yes" if self.pause_on_failure else "no",
            "retries": str(self.retry or "none"),
            "timeouts": ", ".join(self.timeouts) or "none",
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all parts."""
        return sha256_hex(self.parts())


def differences(existing: ScheduleContents, wanted: ScheduleContents) -> Iterator[Change]:
    """The parts in which they differ; the payload field by field, where null is the same as left out."""
    before, after = existing.parts(), wanted.parts()
    for field, value in after.items():
        if before[field] == value:
            continue
        if field == "payload":
            yield from _payload_changes("payload", existing.payload, wanted.payload)
        else:
            yield Change(field, before[field] or "none", value)


def _payload_changes(place: str, existing: Json, wanted: Json) -> Iterator[Change]:
    if isinstance(existing, dict) and isinstance(wanted, dict):
        for key in sorted({*existing, *wanted}):
            yield from _payload_changes(f"{place}.{key}", existing.get(key), wanted.get(key))
    elif json.dumps(existing, sort_keys=True) != json.dumps(wanted, sort_keys=True):
        yield Change(place, _short(existing), _short(wanted))


def _short(value: Json) -> str:
    text = "none" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:77]}..."
