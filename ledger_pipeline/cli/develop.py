"""`ledger-pipeline dev`: the Dagster UI on this machine's ledger."""

from typing import Annotated

import typer

from ledger_pipeline.cli.output import results
from ledger_pipeline.local.develop import develop


def command(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the UI listens, on 127.0.0.1.")] = 3000,
) -> None:
    """Run Dagster's UI and daemon on this machine's ledger, until interrupted; GitHub is simulated without a token."""
    develop(port, lambda line: results.print(line, soft_wrap=True))
