"""What the Temporal server sees of a worker's pollers, on a real server; each test has a task queue of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.worker import Worker

from ledger_pipeline.core.errors import TemporalUnavailable
from ledger_pipeline.local.embedded_temporal import TemporalServer, embedded_temporal
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.worker.interceptors import ActivitySlots
from ledger_pipeline.temporal_bridge.worker.queues import Pollers
from ledger_pipeline_tests.temporal_bridge.worker_workflow import OneActivityWorkflow

DEADLINE_SECONDS = 30
IDENTITY = "worker@test:1"


@asynccontextmanager
async def working(
    server: TemporalServer, slots: ActivitySlots, *, with_activities: bool = True
) -> AsyncIterator[Worker]:
    """A running worker; without activities it polls for workflow tasks alone."""

    @activity.defn(name="look")
    async def look(_: str) -> str:
        return str(slots.taken)

    client = await connect(read_settings({"temporal_address": server.address}))
    async with Worker(
        client,
        task_queue=f"queue-{uuid4()}",
        workflows=[OneActivityWorkflow],
        activities=[look] if with_activities else [],
        identity=IDENTITY,
        interceptors=[slots],
    ) as worker:
        yield worker


async def seen(pollers: Pollers) -> str:
    """What the check says, once the first polls have reached the server."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                return await pollers.check()
            except TemporalUnavailable:
                await asyncio.sleep(0.05)


def test_a_worker_that_polls_is_seen_and_one_that_has_ended_is_not(temporal_server: TemporalServer) -> None:
    async def checked() -> None:
        slots = ActivitySlots(1)
        async with working(temporal_server, slots) as worker:
            pollers = Pollers(worker, IDENTITY, slots)
            assert await seen(pollers) == f"{IDENTITY} polls {worker.task_queue}"
        with pytest.raises(TemporalUnavailable, match="does not run"):
            await pollers.check()

    asyncio.run(checked())


def test_pollers_of_another_worker_on_the_queue_do_not_count(temporal_server: TemporalServer) -> None:
    async def checked() -> None:
        slots = ActivitySlots(1)
        async with working(temporal_server, slots) as worker:
            await seen(Pollers(worker, IDENTITY, slots))
            with pytest.raises(TemporalUnavailable, match=r"does not see worker@test:2 poll .* for workflow tasks"):
                await Pollers(worker, "worker@test:2", slots).check()

    asyncio.run(checked())


def test_activities_must_be_polled_for_unless_every_slot_is_taken(temporal_server: TemporalServer) -> None:
    async def checked() -> None:
        slots = ActivitySlots(1)
        async with working(temporal_server, slots, with_activities=False) as worker:
            pollers = Pollers(worker, IDENTITY, slots)
            slots.taken = 1
            await seen(pollers)
            slots.taken = 0
            with pytest.raises(TemporalUnavailable, match="for activity tasks"):
                await pollers.check()

    asyncio.run(checked())


def test_a_running_activity_takes_a_slot_and_gives_it_back(temporal_server: TemporalServer) -> None:
    async def checked() -> None:
        slots = ActivitySlots(5)
        async with working(temporal_server, slots) as worker:
            taken = await worker.client.execute_workflow(
                OneActivityWorkflow.run, args=["look", ""], id=f"look-{uuid4()}", task_queue=worker.task_queue
            )
        assert (taken, slots.taken) == ("1", 0)

    asyncio.run(checked())


def test_the_watch_ends_where_the_server_answers_but_sees_no_poller(temporal_server: TemporalServer) -> None:
    async def watched() -> None:
        slots = ActivitySlots(1)
        async with working(temporal_server, slots) as worker:
            unseen = Pollers(worker, "worker@test:2", slots)
            with pytest.raises(TemporalUnavailable, match="does not see worker@test:2"):
                await asyncio.wait_for(unseen.watch(0.2), DEADLINE_SECONDS)

    asyncio.run(watched())


def test_the_watch_waits_for_a_server_that_does_not_answer(tmp_path: Path) -> None:
    async def watched(server: TemporalServer) -> None:
        slots = ActivitySlots(1)
        async with working(server, slots) as worker:
            pollers = Pollers(worker, IDENTITY, slots)
            await seen(pollers)
            server.child.popen.kill()
            server.child.popen.wait(DEADLINE_SECONDS)
            with pytest.raises(TemporalUnavailable, match="unavailable"):
                await pollers.check()
            with pytest.raises(TimeoutError):  # it watches on, many times its patience
                await asyncio.wait_for(pollers.watch(0.1), 1)

    with embedded_temporal(tmp_path) as server:
        asyncio.run(watched(server))
