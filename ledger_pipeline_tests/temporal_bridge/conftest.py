"""A Temporal namespace of its own for each test: the tests of a process share one server."""

import asyncio
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import ListSchedulesRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline_tests.waiting import eventually

RETENTION = Duration(seconds=24 * 3600)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on the whole stack stay in one process, so that it is started once: a file's, or those of two."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            disruptive = item.path.stem == "test_disruption"
            item.add_marker(pytest.mark.xdist_group("disruption" if disruptive else "stack"))


@pytest.fixture
def temporal_namespace(temporal_server: TemporalServer) -> Settings:
    """The settings of a namespace that no other test knows."""
    return register_namespace(temporal_server)


def register_namespace(server: TemporalServer) -> Settings:
    """The settings of a new namespace that answers; its first schedule takes the server a second."""
    namespace = f"test-{uuid4()}"

    async def register() -> None:
        client = await Client.connect(server.address)
        request = RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=RETENTION)
        await client.workflow_service.register_namespace(request)

    async def answers() -> bool:
        client = await Client.connect(server.address)
        try:
            await client.workflow_service.list_schedules(ListSchedulesRequest(namespace=namespace))
        except RPCError:
            return False
        return True

    asyncio.run(register())
    eventually(lambda: asyncio.run(answers()))
    return read_settings({"temporal_address": server.address, "temporal_namespace": namespace})
