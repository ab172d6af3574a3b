"""`ledger-pipeline trigger`: a collection through Temporal, by hand."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from ledger_pipeline.cli.options import Json, ScopeKey, instant
from ledger_pipeline.cli.output import note, print_json, print_table, say
from ledger_pipeline.core.errors import StoreUnavailable
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.local.environment import POSTGRES_FOLDER, databases
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store.ledger_identity import ledger_id_at
from ledger_pipeline.temporal_bridge.collection.trigger import Started, fire_schedule, start_collection, wait_for
from ledger_pipeline.temporal_bridge.connection import connect, workflow_url
from ledger_pipeline.temporal_bridge.contract import CollectEpochResult, Progress
from ledger_pipeline.temporal_bridge.pollers import refuse_strangers

AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="Collect the epoch that holds this instant; now where left out."),
]
FireSchedule = Annotated[
    bool, typer.Option("--schedule", help="Have the scope's Temporal schedule take its own action now.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the result, and print it.")]


def command(
    as_of: AsOf = None,
    fire: FireSchedule = False,
    wait: Wait = False,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Start a collection through Temporal, as a schedule would; attaches to one in progress for the same epoch."""
    if fire and as_of is not None:
        raise typer.BadParameter("a schedule's own action is for now: give --schedule or --as-of, not both")
    settings = read_settings()
    spec = settings.repo_spec()
    scope = spec.scope(scope_key) if scope_key else spec.default_scope
    moment = None if fire else instant(as_of) or datetime.now(UTC)
    started, result = asyncio.run(_run(settings, spec, scope, moment, _own_ledger(settings), wait=wait))
    if as_json:
        print_json({**asdict(started), "result": result and result.model_dump(mode="json", by_alias=False)})
        return
    where = workflow_url(settings, started.workflow_id, started.run_id)
    say(f"workflow {started.workflow_id}, run {started.run_id}{f': {where}' if where else ''}")
    if result is not None:
        print_result(result)


def print_result(result: CollectEpochResult) -> None:
    """What a collection did, for people."""
    epoch = f"epoch {result.epoch_id} of {result.scope_key}, {result.period_start.date()} to {result.period_end.date()}"
    if result.dagster_run_id is None:
        say(f"{epoch}: {result.status}, nothing to collect")
        return
    columns = ["stream", "seen", "new", "duplicate", "skipped", "rejected"]
    rows = [[stream, *counts.model_dump().values()] for stream, counts in result.streams.items()]
    print_table(f"{epoch}: {result.status}", columns, rows)
    verb = "attached to" if result.attached else "by"
    say(f"{verb} Dagster run {result.dagster_run_id}: {result.dagster_run_url}")
    if result.drift:
        note(f"the payload differs from the repo-spec, which was followed: {', '.join(result.drift)}")
    if result.unread:
        note(f"warning: {result.unread}")


def _own_ledger(settings: Settings) -> str | None:
    """Which ledger these settings name; None where they name none, or none that answers, which people are told."""
    if settings.database_url is None and not (settings.home / POSTGRES_FOLDER).is_dir():
        note(f"warning: {settings.home} (LEDGER_HOME) holds no ledger: it is collected into the worker's, whichever")
        return None
    try:
        with databases(settings) as given:
            return ledger_id_at(given.ledger_url(), given.database_limits)
    except StoreUnavailable as error:
        note(f"warning: the worker is not asked whose ledger it writes, for ours does not answer: {error}")
        return None


async def _run(
    settings: Settings, spec: RepoSpec, scope: Scope, as_of: datetime | None, ledger_id: str | None, *, wait: bool
) -> tuple[Started, CollectEpochResult | None]:
    client = await connect(settings)
    await refuse_strangers(client, spec, scope, ledger_id)
    started = await (fire_schedule(client, spec, scope) if as_of is None else start_collection(client, scope, as_of))
    return started, await wait_for(client, started, _say) if wait else None


def _say(progress: Progress) -> None:
    run = f", Dagster run {progress.dagster_run_url}" if progress.dagster_run_url else ""
    note(f"{progress.stage}{run}")
