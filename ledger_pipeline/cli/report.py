"""`ledger-pipeline report`: an epoch as one HTML page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.options import OneEpoch, ScopeKey, windows_of
from ledger_pipeline.cli.output import note, say
from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.epoch_page.content import epoch_content
from ledger_pipeline.epoch_page.render import render_page
from ledger_pipeline.local.environment import databases
from ledger_pipeline.settings import read_settings
from ledger_pipeline.store.postgres import open_ledger

Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Where to write; epoch-DATE-SCOPE.html here where left out."),
]


def command(epoch_name: OneEpoch, scope_key: ScopeKey = None, output: Output = None) -> None:
    """Write an epoch as one HTML page that needs nothing else: charts, cursors, receipts, rejected events."""
    settings = read_settings()
    spec = settings.repo_spec()
    scope = spec.scope(scope_key) if scope_key else spec.default_scope
    [window] = windows_of(scope, epoch_name, None, None)
    file = output or Path(f"epoch-{window.key}-{scope.scope_key}.html")
    with (
        databases(settings, note) as settings,
        open_ledger(settings.ledger_url(), spec.node_id, settings.database_limits) as ledger,
    ):
        page = render_page(epoch_content(ledger, scope, window, datetime.now(UTC)))
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {file} (--output): {error.strerror}") from error
    say(f"Written to {file.resolve()}")
