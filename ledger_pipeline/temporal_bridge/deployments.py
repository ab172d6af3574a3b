"""Whose worker polls our queue: each says node and scopes in its identity, for whoever is about to start something.

Two deployments that share a Temporal namespace share its queues, and either's worker takes the other's work.
"""

import os
import re
import socket
from collections.abc import Iterable
from itertools import chain

from temporalio.client import Client
from temporalio.service import RPCError

from ledger_pipeline.core.errors import CollectionNotStarted, TemporalUnavailable
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.temporal_bridge.contract import TASK_QUEUE
from ledger_pipeline.temporal_bridge.inspection import queue_pollers

REMEDY = (
    "give each deployment a Temporal namespace of its own (TEMPORAL_NAMESPACE), and restart a worker whose repo-spec "
    "has changed"
)
_IDENTITY = re.compile(r" node=(?P<node>[0-9a-f-]{36}) scopes=(?P<scopes>[0-9a-f,-]+)$")


def worker_identity(spec: RepoSpec) -> str:
    """What a worker of this process calls itself, to Temporal and to people."""
    scopes = ",".join(str(scope.scope_id) for scope in spec.scopes)
    return f"ledger-pipeline@{socket.gethostname()}:{os.getpid()} node={spec.node_id} scopes={scopes}"


def stranger(identity: str, spec: RepoSpec, scopes: Iterable[Scope]) -> str | None:
    """What makes the worker called `identity` another deployment's; None where it is ours, or does not say.

    A worker of an earlier release, or of another SDK, does not.
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
    return None


async def refuse_strangers(client: Client, spec: RepoSpec, scope: Scope) -> None:
    """Return where no worker of another deployment could take what is about to be started for `scope`.

    Raises CollectionNotStarted naming the worker, TemporalUnavailable.
    """
    try:
        pollers = await queue_pollers(client)
    except RPCError as error:
        raise TemporalUnavailable(f"who polls {TASK_QUEUE} cannot be asked: {error.message}") from error
    for poller in chain.from_iterable(pollers.values()):
        problem = stranger(poller.identity, spec, [scope])
        if problem is not None:
            raise CollectionNotStarted(f"a worker on {TASK_QUEUE} would take it and is not ours: {problem}: {REMEDY}")
