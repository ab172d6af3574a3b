"""`ledger-pipeline dev`: the whole stack on this machine."""

from collections.abc import Sequence
from itertools import cycle
from typing import Annotated

import typer

from ledger_pipeline.cli.output import log_line, print_table, say
from ledger_pipeline.local.develop import DAGSTER_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT, Part, Ports, develop

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")

Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Where Dagster's UI listens, on 127.0.0.1.")]
TemporalPort = Annotated[int, typer.Option(min=1, max=65535, help="Where the Temporal server listens, on 127.0.0.1.")]
TemporalUiPort = Annotated[int, typer.Option(min=1, max=65535, help="Where Temporal's UI listens, on 127.0.0.1.")]
Logs = Annotated[bool, typer.Option("--logs", help="Print what every part logs, each line with the part's name.")]


def command(
    port: Port = DAGSTER_PORT,
    temporal_port: TemporalPort = TEMPORAL_PORT,
    temporal_ui_port: TemporalUiPort = TEMPORAL_UI_PORT,
    logs: Logs = False,
) -> None:
    """Run Postgres, Temporal, Dagster and the worker until interrupted; GitHub is simulated without credentials."""
    develop(
        Ports(port, temporal_port, temporal_ui_port),
        say=say,
        show=_show,
        on_log=_Prefixed() if logs else None,
    )


def _show(parts: Sequence[Part]) -> None:
    rows = [[service.name, service.where, service.state] for service in parts]
    print_table("Running; Ctrl-C stops everything", ["part", "where", "state"], rows)


class _Prefixed:
    """Prints log lines, each part in a colour of its own."""

    def __init__(self) -> None:
        self._free = cycle(_COLOURS)
        self._colours: dict[str, str] = {}

    def __call__(self, name: str, line: str) -> None:
        colour = self._colours.setdefault(name, next(self._free))
        log_line(name, colour, line)
