"""The ports that people's `dev` listens on, taken while the tests run: what these start has to find others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from ledger_pipeline.local.develop import DAGSTER_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT

USUAL_PORTS = (DAGSTER_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT)


@contextmanager
def usual_ports_taken() -> Iterator[None]:
    """By a socket of ours that hears nobody, or by whoever has a port already."""
    with ExitStack() as holders:
        for port in USUAL_PORTS:
            with suppress(OSError):  # another process of the tests has it, or `dev`
                holders.enter_context(socket.socket()).bind(("127.0.0.1", port))
        yield
