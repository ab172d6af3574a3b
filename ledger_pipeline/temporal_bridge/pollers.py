"""Who polls our queues, as the Temporal server sees it. Each worker says node and scopes in its identity.

Two deployments that share a Temporal namespace share its queues, and either's worker takes the other's work.

The server remembers a poller for five minutes after its last poll, and a poll that finds nothing lasts a minute. A
queue has several partitions, and the server tells of the pollers of one: of many workers a single one shows up there
not with every poll, but well within those minutes. So a poller counts as seen for as long as the server remembers it.
"""

import asyncio
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ledger_pipeline.core.errors import CollectionNotStarted, TemporalUnavailable
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.dagster_contract import SAME_LEDGER
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.connection import connect
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE


@dataclass(frozen=True)
class Poller:
    """Who polls our queue, and how long ago last."""

    identity: str
    seconds_ago: float


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
    pollers_of_kinds = await asyncio.gather(*(_pollers(client, kind) for kind in KINDS))
    return dict(zip(KINDS, pollers_of_kinds, strict=True))


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


SEEN_FOR_SECONDS = 300
RPC_TIMEOUT = timedelta(seconds=5)
ACTIVITY = "activity"
KINDS = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}

REMEDY = (
    "give each deployment a Temporal namespace of its own (TEMPORAL_NAMESPACE), and restart a worker whose repo-spec "
    "has changed"
)
_IDENTITY = re.compile(r" node=(?P<node>[0-9a-f-]{36}) scopes=(?P<scopes>[0-9a-f,-]+)(?: ledger=(?P<ledger>[0-9/]+))?$")


def worker_identity(spec: RepoSpec, ledger_id: str | None) -> str:
    """What a worker of this process calls itself, to Temporal and to people."""
    scopes = ",".join(str(scope.scope_id) for scope in spec.scopes)
    return f"ledger-pipeline@{socket.gethostname()}:{os.getpid()} node={spec.node_id} scopes={scopes}" + (
        f" ledger={ledger_id}" if ledger_id else ""
    )


def stranger(identity: str, spec: RepoSpec, scopes: Iterable[Scope], ledger_id: str | None) -> str | None:
    """What makes the worker called `identity` another deployment's; None where it is ours, or does not say.

    A worker of an earlier release, or of another SDK, does not. Nor is anything compared with a `ledger_id` of None.
    """
    deployment = _IDENTITY.search(identity)
    if deployment is None:
        return None
    name = identity[: deployment.start()]
    if deployment["node"] != str(spec.node_id):
        return f"{name} is of node {deployment['node']}, the repo-spec's is {spec.node_id}"
    missing = [scope for scope in scopes if str(scope.scope_id) not in deployment["scopes"].split(",")]
    if missing:
        return f"{name} does not know scope {missing[0].scope_key} ({missing[0].scope_id})"
    if ledger_id is not None and deployment["ledger"] not in (None, ledger_id):
        return f"{name} writes the ledger {deployment['ledger']}, ours is {ledger_id}; {SAME_LEDGER}"
    return None


async def refuse_strangers(client: Client, spec: RepoSpec, scope: Scope, ledger_id: str | None) -> None:
    """Return where no worker of another deployment could take what is about to be started for `scope`.

    A worker of another ledger is one, too, unless `ledger_id` is None: whoever asks has no ledger to compare.

    Raises CollectionNotStarted naming the worker, TemporalUnavailable.
    """
    try:
        pollers = await queue_pollers(client)
    except RPCError as error:
        raise TemporalUnavailable(f"who polls {TASK_QUEUE} cannot be asked: {error.message}") from error
    for poller in chain.from_iterable(pollers.values()):
        problem = stranger(poller.identity, spec, [scope], ledger_id)
        if problem is not None:
            raise CollectionNotStarted(f"a worker on {TASK_QUEUE} would take it and is not ours: {problem}: {REMEDY}")
