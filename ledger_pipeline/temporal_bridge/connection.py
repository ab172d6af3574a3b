"""How we connect to Temporal: one client, plain camelCase JSON, TLS and API key as the settings say."""

import re
from dataclasses import replace
from pathlib import Path

from temporalio.api.failure.v1 import Failure
from temporalio.client import Client, TLSConfig
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from ledger_pipeline.core.errors import SettingsError, TemporalUnavailable
from ledger_pipeline.core.known_secrets import without_secrets
from ledger_pipeline.settings import Settings

# How the core prints what gRPC answered.
_STATUS = re.compile(r'Status \{ code: (\w+), message: "((?:[^"\\]|\\.)*+).*', re.DOTALL)


class FailuresWithoutSecrets(DefaultFailureConverter):
    """What Temporal stores of an exception, one of our bugs too, shows no secret that is known."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Fill `failure` as the default does, its texts and those of its causes without secrets."""
        super().to_failure(exception, payload_converter, failure)
        described = failure
        while True:
            described.message = without_secrets(described.message)
            described.stack_trace = without_secrets(described.stack_trace)
            if not described.HasField("cause"):
                return
            described = described.cause


_DATA_CONVERTER = replace(pydantic_data_converter, failure_converter_class=FailuresWithoutSecrets)


async def connect(settings: Settings, runtime: Runtime | None = None) -> Client:
    """A client of TEMPORAL_NAMESPACE at TEMPORAL_ADDRESS, which has answered.

    Raises SettingsError for certificates that cannot be read or contradict each other, TemporalUnavailable where the
    server does not answer or does not let us in; neither shows a secret.
    """
    where = f"{settings.temporal_address}, namespace {settings.temporal_namespace}"
    key = settings.temporal_api_key
    try:
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            api_key=key.get_secret_value() if key else None,
            tls=_tls(settings),
            data_converter=_DATA_CONVERTER,
            runtime=runtime,
        )
    except (RPCError, RuntimeError, OSError) as error:
        # The core's connection errors are RuntimeError.
        raise TemporalUnavailable(f"no Temporal server at {where} (TEMPORAL_ADDRESS): {plain_status(error)}") from error


def plain_status(error: BaseException) -> str:
    """What Temporal's core says of a failure, in one line."""
    text = _STATUS.sub(r"\1: \2", str(error) or type(error).__name__)
    return text.splitlines()[0]


def workflow_url(settings: Settings, workflow_id: str, run_id: str) -> str | None:
    """The page of a workflow run in Temporal's UI; None where TEMPORAL_UI_URL is not set."""
    if settings.temporal_ui_url is None:
        return None
    base = settings.temporal_ui_url.rstrip("/")
    return f"{base}/namespaces/{settings.temporal_namespace}/workflows/{workflow_id}/{run_id}/history"


def _tls(settings: Settings) -> TLSConfig | bool:
    certificate, key = settings.temporal_tls_client_cert_path, settings.temporal_tls_client_key_path
    if (certificate is None) != (key is None):
        raise SettingsError("TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH: set both or neither")
    authority, name = settings.temporal_tls_server_ca_cert_path, settings.temporal_tls_server_name
    if (authority, certificate, name) == (None, None, None):
        return settings.temporal_tls or settings.temporal_api_key is not None
    return TLSConfig(
        server_root_ca_cert=_read("TEMPORAL_TLS_SERVER_CA_CERT_PATH", authority),
        domain=name,
        client_cert=_read("TEMPORAL_TLS_CLIENT_CERT_PATH", certificate),
        client_private_key=_read("TEMPORAL_TLS_CLIENT_KEY_PATH", key),
    )


def _read(name: str, path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error}") from error
