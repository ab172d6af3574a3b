"""Connecting to Temporal: what the settings make of it, and what a failure says."""

import asyncio
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import SettingsError, TemporalUnavailable
from ledger_pipeline.local.embedded_temporal import TemporalServer
from ledger_pipeline.local.processes import free_port
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


def refusal(**settings: object) -> SettingsError:
    """What connecting with these settings says, before it asks any server."""
    with pytest.raises(SettingsError) as caught:
        asyncio.run(connect(read_settings({"temporal_address": "127.0.0.1:1", **settings})))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("given", ["temporal_tls_client_cert_path", "temporal_tls_client_key_path"])
def test_a_client_certificate_and_its_key_come_together(tmp_path: Path, given: str) -> None:
    file = tmp_path / "client.pem"
    file.write_text("hush")
    error = refusal(**{given: file})
    assert "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH" in str(error)


@pytest.mark.parametrize(
    "missing", ["temporal_tls_client_cert_path", "temporal_tls_client_key_path", "temporal_tls_server_ca_cert_path"]
)
def test_a_file_that_cannot_be_read_is_named_with_its_setting_and_no_secret(tmp_path: Path, missing: str) -> None:
    there = tmp_path / "there.pem"
    there.write_text("hush")
    files = {"temporal_tls_client_cert_path": there, "temporal_tls_client_key_path": there}
    error = refusal(**{**files, "temporal_api_key": "hush", missing: tmp_path / "gone.pem"})
    assert f"{missing.upper()} cannot be read" in str(error)
    assert "gone.pem" in str(error)
    assert "hush" not in str(error)


@pytest.mark.parametrize("turned_on", [{"temporal_tls": True}, {"temporal_api_key": "hush"}], ids=str)
def test_tls_is_spoken_where_it_is_asked_for_or_an_api_key_would_be_sent(
    temporal_server: TemporalServer, turned_on: dict[str, object]
) -> None:
    # The server speaks none: a client that would fall back to plain text, key and all, would get through.
    with pytest.raises(TemporalUnavailable) as caught:
        asyncio.run(connect(read_settings({"temporal_address": temporal_server.address, **turned_on})))
    assert "hush" not in str(caught.value)
