"""Connecting to Temporal: what the settings make of it, and what a failure says."""

import asyncio

import pytest

from ledger_pipeline.core.errors import TemporalUnavailable
from ledger_pipeline.local.embedded_temporal import TemporalServer, free_port
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.connection import connect


def test_a_client_of_the_configured_namespace(temporal_server: TemporalServer) -> None:
    client = asyncio.run(connect(read_settings({"temporal_address": temporal_server.address})))
    assert client.namespace == "default"


def test_a_server_that_is_not_there_is_named_and_worth_retrying() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TemporalUnavailable, match=address) as caught:
        asyncio.run(connect(read_settings({"temporal_address": address})))
    assert caught.value.retryable
