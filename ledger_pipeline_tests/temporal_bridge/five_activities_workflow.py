"""A workflow as another SDK would write it: activities by name, plain JSON, nothing of ours imported.

In a file of its own, because the sandbox imports it again for every workflow.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy


@workflow.defn(name="OtherCollectEpoch")
class OtherCollectEpoch:
    """Collects one window through the five Temporal activities; `older` as callers did that know no scan."""

    @workflow.run
    async def run(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._window = {"periodStart": asked["periodStart"], "periodEnd": asked["periodEnd"]}
        epoch = await call("ensureEpochForWindow", {**self._window, "weightConfig": asked["weightConfig"]})
        pieces = 0
        for source_ref in asked["sourceRefs"]:
            if asked["older"]:
                for stream in asked["streams"]:
                    pieces += await self._as_older(source_ref, stream)
            else:
                pieces += await self._as_newer(source_ref, asked["streams"])
        return {"epoch": epoch, "pieces": pieces}

    async def _as_older(self, source_ref: str, stream: str) -> int:
        cursor = {"source": "github", "stream": stream, "sourceRef": source_ref}
        value = await call("loadCursor", cursor)
        asked = {"source": "github", "streams": [stream], "cursorValue": value, **self._window}
        answer = await call("collectFromSource", asked)
        if answer["events"]:
            await call("insertEvents", {"events": answer["events"], "producerVersion": answer["producerVersion"]})
        await call("saveCursor", {**cursor, "cursorValue": answer["nextCursorValue"]})
        return 1

    async def _as_newer(self, source_ref: str, streams: list[str]) -> int:
        place = {"source": "github", "sourceRef": source_ref}
        values = [await call("loadCursor", {**place, "stream": stream}) for stream in streams]
        value = None if None in values else min(values)
        asked: dict[str, Any] = {**place, "streams": streams, "cursorValue": value, **self._window}
        pieces, complete = 0, False
        while not complete:
            answer = await call("collectFromSource", asked)
            passed_on = ("events", "skipped", "facts", "retrievedAt", "producerVersion")
            if answer["events"] or answer["skipped"]:
                await call("insertEvents", {key: answer[key] for key in passed_on})
            asked["scan"], complete, pieces = answer["scan"], answer["complete"], pieces + 1
        for stream in streams:
            saved = {**place, "stream": stream, "cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
            await call("saveCursor", saved)
        return pieces


async def call(name: str, argument: dict[str, Any]) -> Any:
    return await workflow.execute_activity(
        name,
        argument,
        start_to_close_timeout=timedelta(seconds=60),
        heartbeat_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(maximum_attempts=3),
    )
