"""`ledger-pipeline collect`: epochs of a scope into the ledger, as one Dagster run."""

from typing import Annotated

import typer

from ledger_pipeline.cli.console import INTERRUPTED
from ledger_pipeline.cli.options import Epoch, FromEpoch, Json, ScopeKey, ToEpoch, windows_of
from ledger_pipeline.cli.output import note, print_json, print_table, say, say_error
from ledger_pipeline.cli.scan_progress import scan_progress
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.local.collection_run import CollectionRun, command_instance, run_collection
from ledger_pipeline.local.environment import dagster_home, databases
from ledger_pipeline.settings import read_settings
from ledger_pipeline.store.postgres import open_ledger

# What a run met of an epoch: a dash where it asked for nothing, so that nobody reads it as an epoch without events.
_OF_THE_RUN = ("seen", "new", "duplicate", "skipped", "rejected")

FullRefresh = Annotated[bool, typer.Option("--full-refresh", help="Read again what is covered already.")]


def command(
    epoch_name: Epoch = None,
    from_epoch: FromEpoch = None,
    to_epoch: ToEpoch = None,
    scope_key: ScopeKey = None,
    full_refresh: FullRefresh = False,
    as_json: Json = False,
) -> None:
    """Collect epochs from GitHub into the ledger, as one Dagster run; the running epoch where none is named.

    Ctrl-C cancels the run within two seconds: what is stored stays, and the next collection goes on from there.
    """
    settings = read_settings()
    spec = settings.repo_spec()
    scope = spec.scope(scope_key) if scope_key else spec.default_scope
    windows = windows_of(scope, epoch_name, from_epoch, to_epoch)
    if scope.source_spec(GITHUB) is not None:
        settings.github_credentials()  # without them a run could only fail
    with (
        databases(settings, note) as settings,
        open_ledger(
            settings.ledger_url(), spec.node_id, settings.database_limits
        ),  # neither could it on a ledger that is not migrated
        dagster_home(settings) as folder,
        command_instance(folder) as instance,
        scan_progress() as progress,
    ):
        run = run_collection(
            spec, scope, windows, instance, trigger="cli", progress=progress, full_refresh=full_refresh
        )
    if as_json:
        print_json(run.columns())
    else:
        _print(run)
    if run.canceled:
        raise typer.Exit(INTERRUPTED)
    if run.problem is not None:
        raise typer.Exit(1)


def _print(run: CollectionRun) -> None:
    if run.problem is not None:
        ended = "was canceled" if run.canceled else "failed"
        say_error(f"Dagster run {run.run_id} {ended}: {run.problem}")
        return
    columns = ["epoch", "scope", "stream", "in ledger before", *_OF_THE_RUN, "in ledger", "cursor"]
    rows = [
        [
            *(row.epoch, row.scope, row.stream, row.in_ledger_before),
            *(getattr(row, column) if row.asked else None for column in _OF_THE_RUN),
            *(row.in_ledger, row.cursor),
        ]
        for row in run.streams
    ]
    print_table(f"Dagster run {run.run_id}", columns, rows)
    if not any(row.asked for row in run.streams):
        say("Covered already: nothing was asked of GitHub (--full-refresh asks again).")
    if run.other_epochs:
        epochs = " to ".join(sorted({run.other_epochs[0], run.other_epochs[-1]}))
        say(f"The same scans brought in or changed other epochs: {len(run.other_epochs)} ({epochs}).")
    new = sum(row.new for row in run.streams)
    if run.unread is not None:
        say(f"{run.unread}. Their epochs stay open, and the next collection asks for them again.")
    say(f"{counted(new, 'new event')}, {counted(run.api_requests, 'API request')}, {counted(run.api_points, 'point')}")
