"""`ledger-pipeline report`: an epoch, or all of them, as one HTML page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Epoch, ScopeKey, windows_of
from ledger_pipeline.cli.output import say
from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.epoch_page.content import epoch_content
from ledger_pipeline.epoch_page.index import index_content
from ledger_pipeline.epoch_page.render import page_name, render_index, render_page

Every = Annotated[
    bool, typer.Option("--all", help="An index over all epochs instead, with what each contributor had of them.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Where to write; epoch-DATE-SCOPE.html here where left out."),
]


def command(epoch_name: Epoch = None, every: Every = False, scope_key: ScopeKey = None, output: Output = None) -> None:
    """Write an epoch as one HTML page for its approvers, or with --all an index over all epochs.

    A page needs nothing else: what was collected, curated, allocated and signed, with charts, cursors and receipts.
    """
    if every == (epoch_name is not None):
        raise typer.BadParameter("give --epoch, or --all")
    with open_access(scope_key) as access:
        scope, now = access.scope, datetime.now(UTC)
        if epoch_name is None:
            file = output or Path(f"epochs-{scope.scope_key}.html")
            pages = {path.name for path in file.parent.glob("epoch-*.html")}
            page = render_index(index_content(access.ledger, scope, access.epochs(None, None), now), pages)
        else:
            [window] = windows_of(scope, epoch_name, None, None)
            file = output or Path(page_name(window, scope))
            page = render_page(epoch_content(access.ledger, scope, window, now))
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {file} (--output): {error.strerror}") from error
    say(f"Written to {file.resolve()}")
