"""What Temporal is told of a Dagster run while its end is waited for, and what an earlier attempt told it."""

import asyncio
from typing import Any

from temporalio import activity

from ledger_pipeline.temporal_bridge.dagster_client import DagsterRun

# A sixth of the heartbeat timeout, so that one late beat is no lost worker.
BEAT_SECONDS = 5.0


class RunHeartbeat:
    """The heartbeats of one attempt. `launched`, `attached_to`: the run that an earlier one launched or attached to."""

    def __init__(self) -> None:
        told = activity.info().heartbeat_details
        before = told[0] if told and isinstance(told[0], dict) else {}
        self._told: dict[str, Any] = before
        self.attached_to: str | None = before.get("runId") if before.get("attached") else None
        self.launched: str | None = None if before.get("attached") else before.get("runId")

    def on_run(self, run: DagsterRun, url: str, *, attached: bool) -> None:
        """The run's id, link and step."""
        self._told = {
            "runId": run.run_id,
            "url": url,
            "status": run.status,
            "step": run.step,
            "attached": attached,
        }
        activity.heartbeat(self._told)

    def on_silence(self, problem: str) -> None:
        """Dagster does not answer for now."""
        self._told = {**self._told, "problem": problem}
        activity.heartbeat(self._told)

    def forget(self) -> None:
        """The run attached to came to nothing."""
        self.attached_to = None
        self._told = {}

    async def keep_on(self) -> None:
        """Beat while a question to Dagster is under way."""
        while True:
            activity.heartbeat(self._told)
            await asyncio.sleep(BEAT_SECONDS)
