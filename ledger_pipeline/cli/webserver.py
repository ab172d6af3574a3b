"""`ledger-pipeline webserver`: Dagster's web UI, behind a guard."""

from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.settings import read_settings
from ledger_pipeline.web.guard import Admission


def command(
    workspace: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Dagster's workspace file.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.", min=1, max=65535)] = 3000,
) -> None:
    """Serve Dagster's web UI until SIGTERM or Ctrl-C, in place of `dagster-webserver`.

    It answers under localhost's names, the address it listens at and DAGSTER_UI_HOSTS alone, and changes something only
    where one of its own pages, or a program, asks by POST. With DAGSTER_UI_LOGIN or DAGSTER_UI_USER_HEADER set, whoever
    asks must have logged in.
    """
    from ledger_pipeline.web.dagster_ui import serve_dagster_ui  # takes seconds, which no other command should wait

    serve_dagster_ui(workspace, host, port, Admission.at(host, read_settings()))
