"""`ledger-pipeline db`: bring the ledger's database to this release's migration, or say where it is."""

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import print_json, say
from ledger_pipeline.local.environment import databases, migrate
from ledger_pipeline.settings import read_settings
from ledger_pipeline.store import migrations

app = typer.Typer(help="The ledger's database.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database to this release's migration; safe to repeat and to run twice at once.

    As the owner (DATABASE_OWNER_URL) where one is set: the users of DATABASE_URL and DATABASE_READER_URL are then made
    where missing, the first may only add to the ledger, the second only read it.
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
