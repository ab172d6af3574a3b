"""`ledger-pipeline demo`: the whole path on this machine, with a summary."""

from dataclasses import asdict

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import note, print_json, print_table, say, say_error
from ledger_pipeline.cli.scan_progress import scan_progress
from ledger_pipeline.local.demo import DEV_UI_URL, DemoReport, run_demo


def command(as_json: Json = False) -> None:
    """Have a Temporal schedule collect the running epoch from a simulated GitHub, backfill twelve more, and exit."""
    with scan_progress() as progress:
        report = run_demo(progress, note)
    if as_json:
        print_json(_plain(report))
    else:
        _print(report)
    if report.backfill is not None and report.backfill.problem:
        raise typer.Exit(1)


def _plain(report: DemoReport) -> dict[str, object]:
    result = report.scheduled.result.model_dump(mode="json", by_alias=False)
    return {**asdict(report), "scheduled": {**asdict(report.scheduled), "result": result}, "home": str(report.home)}


def _print(report: DemoReport) -> None:
    columns = ["epoch", "scope", "pr_merged", "review_submitted", "issue_closed", "events", "rejected"]
    rows = [
        [*(getattr(row, column) for column in columns), row.set_hash[:16]]  # the rest is in Dagster
        for row in report.partitions
    ]
    print_table("Partitions in the ledger", [*columns, "set_hash"], rows)
    _print_scheduled(report)
    if report.backfill is not None:
        _print_backfill(report)
    shown = sum(row.events for row in report.partitions)
    if shown < report.rows_after:
        say(
            f"The {len(report.partitions)} epochs above hold {shown} events; the scans came by "
            f"{report.rows_after - shown} of earlier ones."
        )
    added = report.rows_after - report.rows_before
    if added:
        say(f"The ledger holds {report.rows_after} events, {added} of them new.")
    else:
        say(f"Nothing new: the ledger held all {report.rows_after} events already.")
    say(f"See it in the Dagster UI: make dev, then open {DEV_UI_URL}")


def _print_scheduled(report: DemoReport) -> None:
    for step in report.scheduled.steps:
        say(f"Temporal schedule {step.schedule_id}: {step.action}, then fired")
    workflow, result = report.scheduled.workflow, report.scheduled.result
    say(f"running epoch: workflow {workflow.workflow_id}, run {workflow.run_id}")
    new = sum(counts.new for counts in result.streams.values())
    say(f"running epoch: epoch {result.epoch_id} {result.status}, {new} new, Dagster run {result.dagster_run_id}")


def _print_backfill(report: DemoReport) -> None:
    run = report.backfill
    if run is None:
        return
    if run.problem is not None:
        say_error(f"Dagster run {run.run_id} failed: {run.problem}")
    partitions = len(run.digests)
    say(
        f"backfill: {partitions} partition{'s'[: partitions != 1]}, {run.api_requests} API requests, "
        f"Dagster run {run.run_id}"
    )
