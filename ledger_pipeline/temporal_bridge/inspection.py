"""What the Temporal server and Dagster's API say of themselves to somebody who only looks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ledger_pipeline.core.errors import TemporalUnavailable
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline.temporal_bridge.dagster_client import DagsterClient
from ledger_pipeline.temporal_bridge.polling import KINDS, RPC_TIMEOUT, SEEN_FOR_SECONDS

_DAEMONS = """
query Daemons {
  instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime lastHeartbeatErrors { message }
  } } }
}
"""


@dataclass(frozen=True)
class Poller:
    """Who polls our queue, and how long ago last."""

    identity: str
    seconds_ago: float


@dataclass(frozen=True)
class DaemonStatus:
    """One of Dagster's daemons; `last_heartbeat` is a timestamp, None where there never was one."""

    kind: str
    required: bool
    healthy: bool
    last_heartbeat: float | None
    problem: str | None


async def namespace_state(settings: Settings) -> str:
    """Where Temporal answers, in one line. Raises TemporalUnavailable, also where the namespace is not there."""
    client = await connect(settings)
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        await client.workflow_service.describe_namespace(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        # A key of Temporal Cloud may work in a namespace that it may not describe.
        if error.status is not RPCStatusCode.PERMISSION_DENIED:
            raise _problem(settings, error) from error
    return f"{settings.temporal_address}, namespace {settings.temporal_namespace}"


async def pollers(settings: Settings) -> Mapping[str, list[Poller]]:
    """Who polls `ledger-tasks`, by kind of task, the latest first; as long as the server remembers one.

    Raises TemporalUnavailable.
    """
    try:
        return await queue_pollers(await connect(settings))
    except RPCError as error:
        raise _problem(settings, error) from error


async def queue_pollers(client: Client) -> Mapping[str, list[Poller]]:
    """The same for whoever is connected already. Raises RPCError."""
    found = await asyncio.gather(*(_pollers(client, kind) for kind in KINDS))
    return dict(zip(KINDS, found, strict=True))


class InspectedDagster(DagsterClient):
    """Dagster's API, asked a question that no collection has."""

    def daemons(self) -> list[DaemonStatus]:
        """Its daemons, by their heartbeats. Raises as the client does."""
        daemons = self._ask(_DAEMONS, {})["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [
            DaemonStatus(
                kind=daemon["daemonType"],
                required=bool(daemon["required"]),
                healthy=bool(daemon["healthy"]),
                last_heartbeat=daemon["lastHeartbeatTime"],
                problem=next((error["message"].strip() for error in daemon["lastHeartbeatErrors"] or []), None),
            )
            for daemon in daemons
        ]


def inspected_dagster(settings: Settings) -> InspectedDagster:
    """Dagster's API as the settings name it. Raises DagsterError for an address that is none."""
    return InspectedDagster(
        settings.dagster_url, location=settings.dagster_code_location, headers=settings.dagster_request_headers()
    )


async def _pollers(client: Client, kind: str) -> list[Poller]:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=TASK_QUEUE), task_queue_type=KINDS[kind]
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    now = datetime.now(UTC)
    pollers = [
        Poller(poller.identity, (now - poller.last_access_time.ToDatetime(tzinfo=UTC)).total_seconds())
        for poller in answer.pollers
    ]
    recent = [poller for poller in pollers if poller.seconds_ago < SEEN_FOR_SECONDS]
    return sorted(recent, key=lambda poller: poller.seconds_ago)


def _problem(settings: Settings, error: RPCError) -> TemporalUnavailable:
    where = f"Temporal at {settings.temporal_address}, namespace {settings.temporal_namespace}"
    return TemporalUnavailable(f"{where}: {error.status.name.lower()}: {error.message}".splitlines()[0])
