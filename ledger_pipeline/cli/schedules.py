"""`ledger-pipeline schedules`: the Temporal schedules that start collections, brought to what the repo-spec wants."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import print_json, print_table, say, sentence
from ledger_pipeline.core.counts import counted
from ledger_pipeline.settings import read_settings
from ledger_pipeline.temporal_bridge.schedules.plan import ScheduleStep
from ledger_pipeline.temporal_bridge.schedules.server import list_schedules, refuse_failures, sync_schedules

app = typer.Typer(help="The Temporal schedules that start collections.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume also what an operator paused.")]


@app.command()
def sync(dry_run: DryRun = False, resume: Resume = False, as_json: Json = False) -> None:
    """Bring the Temporal schedules to what the repo-spec wants; safe to repeat and to run twice at once."""
    settings = read_settings()
    spec = settings.repo_spec()
    planned: dict[str, ScheduleStep] = {}

    def on_plan(steps: Sequence[ScheduleStep]) -> None:
        planned.update((step.schedule_id, step) for step in steps)
        if not as_json:
            _print_plan(steps)

    steps = asyncio.run(sync_schedules(settings, spec, resume=resume, dry_run=dry_run, on_plan=on_plan))
    if as_json:
        print_json({"dry_run": dry_run, "steps": [asdict(step) for step in steps]})
    elif dry_run:
        say("Dry run: nothing was touched.")
    else:
        for step in steps:
            if step.action is not planned[step.schedule_id].action:
                say(f"{step.schedule_id}: in the end {step.action}: {step.reason}")
        counts = Counter(step.action for step in steps)
        say(", ".join(f"{count} {action}" for action, count in counts.items()) or "nothing to do")
    refuse_failures(steps)


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Print the schedules wanted and found, and how each stands to the repo-spec. Touches nothing."""
    settings = read_settings()
    rows = asyncio.run(list_schedules(settings, settings.repo_spec()))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    columns = ["schedule", "cron", "time zone", "next run", "last run", "paused", "state"]
    cells = [
        [
            row.schedule_id,
            row.cron,
            row.timezone,
            row.next_run and row.next_run.isoformat(timespec="minutes"),
            row.last_run and row.last_run.isoformat(timespec="minutes"),
            None if row.paused is None else "yes" if row.paused else "no",
            sentence(f"{row.state}; note: {row.note}" if row.note else row.state),
        ]
        for row in rows
    ]
    print_table(counted(len(rows), "Temporal schedule"), columns, cells)


def _print_plan(steps: Sequence[ScheduleStep]) -> None:
    rows = [
        [step.action, step.schedule_id, tuple(map(sentence, (step.reason, *map(str, step.changes))))] for step in steps
    ]
    print_table("Plan", ["action", "schedule", "why"], rows)
