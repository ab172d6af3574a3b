"""`ledger-pipeline facts`: what sources say of events beside their rows, read for events that have none, and shown."""

from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Epoch, FromEpoch, Json, ScopeKey, ToEpoch, windows_of
from ledger_pipeline.cli.output import print_json, print_table, say, say_error
from ledger_pipeline.cli.scan_progress import facts_progress
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.pipeline.facts_backfill import FactsBackfill, backfill_facts
from ledger_pipeline.sources.registry import open_source

app = typer.Typer(help="What sources say of events beside their rows.", no_args_is_help=True)

EventId = Annotated[str, typer.Argument(metavar="EVENT", help="The event's id, as `ledger-pipeline events` prints it.")]


@app.command()
def backfill(
    epoch_name: Epoch = None,
    from_epoch: FromEpoch = None,
    to_epoch: ToEpoch = None,
    scope_key: ScopeKey = None,
    as_json: Json = False,
) -> None:
    """Read the facts of events that have none, fifty items in a request; events and closed epochs stay as they are.

    Interrupted, it goes on behind what is stored when it is called again. What the source has no more is noted as gone.
    """
    with open_access(scope_key) as access:
        windows = windows_of(access.scope, epoch_name, from_epoch, to_epoch)
        backfills = {}
        for spec in access.scope.sources:
            with open_source(access.settings, spec.source) as source, facts_progress(spec.source) as show:
                backfills[spec.source] = backfill_facts(source, access.ledger, access.scope, windows, show)
        events = access.ledger.events.per_type(access.scope.scope_id, windows)
        counts = access.ledger.facts.counts(access.scope.scope_id, windows)
    rows = [
        (window.key, total, count.known, total - count.known - count.gone, count.gone)
        for window, count in counts.items()
        for total in [sum(events[window].values())]
    ]
    columns = ("epoch", "events", "with_facts", "unknown", "gone")
    if as_json:
        print_json(
            {
                "epochs": [dict(zip(columns, row, strict=True)) for row in rows],
                "sources": {name: _json(done) for name, done in backfills.items()},
            }
        )
    else:
        print_table(f"facts of {access.scope.scope_key}", columns, rows)
        for done in backfills.values():
            _say(done)
    if any(done.failures for done in backfills.values()):
        raise typer.Exit(1)


@app.command()
def show(event_id: EventId, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print every observation of an event's facts, oldest first."""
    with open_access(scope_key) as access:
        stored = access.ledger.facts.of_event([access.scope.scope_id], event_id)
    if not stored:
        say_error(
            f"no facts of {event_id} are in the ledger: `ledger-pipeline events` names the events that are, and "
            "`ledger-pipeline facts backfill` reads the facts of those that have none"
        )
        raise typer.Exit(1)
    if as_json:
        print_json(
            [
                {
                    "event_id": row.event_id,
                    "facts_hash": row.facts_hash,
                    "facts": row.facts,
                    "observed_at": row.observed_at,
                    "recorded_at": row.recorded_at,
                    "producer": row.producer,
                    "producer_version": row.producer_version,
                }
                for row in stored
            ]
        )
        return
    for row in stored:
        members = [
            (name, value if isinstance(value, str) else canonical_json(value)) for name, value in row.facts.items()
        ]
        print_table(
            f"observed {row.observed_at.isoformat()}, recorded {row.recorded_at.isoformat()}, hash {row.facts_hash}",
            ("fact", "value"),
            members,
        )


def _json(done: FactsBackfill) -> dict[str, object]:
    return {
        "wanted": done.wanted,
        "observed": done.observed,
        "gone": done.gone,
        "unreadable": done.unreadable,
        "api_requests": done.requests,
        "api_points": done.points,
        "failures": [str(failure) for failure in done.failures],
    }


def _say(done: FactsBackfill) -> None:
    if not done.wanted:
        say("Every event has facts already: nothing was asked.")
        return
    for failure in done.failures:
        say_error(str(failure))
    say(
        f"{counted(done.wanted, 'event')} without facts: {done.observed} observed, {done.gone} gone, "
        f"{done.unreadable} not to be read; {counted(done.requests, 'API request')}, {counted(done.points, 'point')}"
    )
