"""`ledger-pipeline db`: bring the ledger's database to this release's migration, or say where it is."""

from contextlib import suppress
from dataclasses import replace
from typing import Annotated
from uuid import UUID

import typer

from ledger_pipeline.cli.options import Json, OneEpoch, ScopeKey
from ledger_pipeline.cli.output import print_json, say
from ledger_pipeline.core.errors import EpochNotReady, WindowError
from ledger_pipeline.core.reasons import is_reason
from ledger_pipeline.local.environment import databases, migrate
from ledger_pipeline.settings import read_settings
from ledger_pipeline.store import migrations
from ledger_pipeline.store.statement_records import Numbered, NumberedRows

app = typer.Typer(help="The ledger's database.", no_args_is_help=True)

RowIds = Annotated[
    list[str],
    typer.Argument(
        metavar="ID..",
        help="As `epoch show` or `pool list` names the rows; of one epoch also several, as correction:12-40.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever looks at the epoch reads it.")]


@app.command()
def upgrade() -> None:
    """Bring the database to this release's migration; safe to repeat and to run twice at once.

    As the owner (DATABASE_OWNER_URL) where one is set: the users of DATABASE_URL, DATABASE_READER_URL and
    DATABASE_WEB_URL are then made where missing; the first may only add to the ledger, the second only read it, and the
    third is shown finalized epochs alone.
    """
    with databases(read_settings()) as settings:
        before = migrations.current(settings.owner_url())
        migrate(settings)
        after = migrations.current(settings.ledger_url())  # as the pipeline will: what keeps it out is heard here
    moved = f"upgraded from {before or 'nothing'} to {after}" if before != after else f"already at {after}"
    say(f"ledger database: {moved}")


@app.command()
def current(as_json: Json = False) -> None:
    """Say which migration the database is at, and which one this release needs. Writes nothing."""
    with databases(read_settings()) as settings:
        at = migrations.current(settings.ledger_url())
    needed = migrations.head()
    if as_json:
        print_json({"current": at, "needed": needed, "up_to_date": at == needed})
    else:
        hint = "up to date" if at == needed else f"needs {needed}: run `ledger-pipeline db upgrade`"
        say(f"ledger database: {at or 'no migration yet'} ({hint})")


@app.command("set-aside")
def set_aside_command(row_ids: RowIds, reason: Reason) -> None:
    """Take out statements and signatures that do not verify, or components of a pool, on record; as the owner only.

    The row stays, and `epoch show` shows it with who set it aside, when and why. What verifies cannot be set aside, nor
    can a component of an epoch that is finalized. An epoch whose only statement it was is in review again. So are
    corrections that no statement rests on (correction:12), and requests to sign that nobody signed (request:12).
    """
    from ledger_pipeline.cli.dagster_report import tell_dagster
    from ledger_pipeline.cli.ledger_access import open_access
    from ledger_pipeline.pipeline.set_aside import set_aside, set_numbered_aside
    from ledger_pipeline.pipeline.signers import scope_of

    if not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    rows = [_row_of(name) for name in row_ids]
    with open_access(None, as_owner=True) as access:
        ledger = access.ledger
        for row in rows:
            if isinstance(row, UUID):
                epoch = set_aside(ledger, access.spec, row, reason.strip())
                say(f"set aside: {row}; `ledger-pipeline epoch show` says what is in force now")
                # Whoever may write makes epochs of any scope and time: Dagster has no square for those.
                if (scope := scope_of(access.spec, epoch.scope_id)) is not None:
                    with suppress(WindowError, EpochNotReady):
                        tell_dagster(replace(access, scope=scope), epoch.window.key, "db set-aside", status_moved=True)
            else:
                count = set_numbered_aside(ledger, row, reason.strip())
                say(f"set aside: {row}, rows of one epoch: {count}; `ledger-pipeline epoch show` says what counts now")


@app.command()
def reopen(epoch_name: OneEpoch, reason: Reason, scope_key: ScopeKey = None) -> None:
    """Open an epoch in review again that closed with what nobody can sign, on record; as the owner only.

    What it had closed with is kept, and it closes anew as any other, with what the repo-spec says then. One with a
    statement that stands is not opened. `epoch show` shows who did, when and why.
    """
    from ledger_pipeline.cli.dagster_report import tell_dagster
    from ledger_pipeline.cli.ledger_access import open_access

    if not is_reason(reason):
        raise typer.BadParameter("--reason must say why")
    with open_access(scope_key, as_owner=True) as access:
        epoch = access.epoch(epoch_name)
        access.ledger.statements.reopen(epoch, reason.strip())
        tell_dagster(access, epoch_name, "db reopen", status_moved=True)
    say(f"epoch {epoch.window.key} is open; the next collection closes it, or `ledger-pipeline epoch close` does now")


def _row_of(name: str) -> UUID | NumberedRows:
    kind, separator, numbers = name.partition(":")
    first, _, last = numbers.partition("-")
    try:
        if not separator:
            return UUID(name)
        return NumberedRows(Numbered(kind), int(first), int(last or first))
    except ValueError:
        raise typer.BadParameter(f"{name!r} is no UUID and no correction:12, request:12 or request:12-40") from None
