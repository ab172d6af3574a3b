"""`ledger-pipeline demo`: the whole path on this machine, with a summary."""

from dataclasses import asdict

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import errors, print_json, results, scan_progress, table
from ledger_pipeline.local.demo import DemoReport, run_demo


def command(as_json: Json = False) -> None:
    """Collect the running epoch and the twelve before it from a simulated GitHub, on embedded Postgres, and exit."""
    with scan_progress() as progress:
        report = run_demo(progress)
    if as_json:
        print_json({**asdict(report), "home": str(report.home)})
    else:
        _print(report)
    if any(run.problem for run in report.runs):
        raise typer.Exit(1)


def _print(report: DemoReport) -> None:
    for run in report.runs:
        if run.problem is not None:
            errors.print(f"[bold red]error:[/] Dagster run {run.run_id} failed: {run.problem}", soft_wrap=True)
    columns = ["epoch", "scope", "pr_merged", "review_submitted", "issue_closed", "events", "rejected"]
    digests = sorted((digest for run in report.runs for digest in run.digests), key=lambda digest: digest.epoch)
    rows = [
        [*(getattr(digest, column) for column in columns), digest.set_hash[:16]]  # the rest is in Dagster
        for digest in digests
    ]
    results.print(table("Partitions in the ledger", [*columns, "set_hash"], rows))
    for run, name in zip(report.runs, ("running epoch", "backfill"), strict=False):
        partitions = len(run.digests)
        results.print(
            f"{name}: {partitions} partition{'s'[: partitions != 1]}, {run.api_requests} API requests, "
            f"Dagster run {run.run_id}"
        )
    added = report.rows_after - report.rows_before
    if added:
        results.print(f"The ledger holds {report.rows_after} events, {added} of them new.")
    else:
        results.print(f"Nothing new: the ledger held all {report.rows_after} events already.")
    results.print("See it in the Dagster UI: make dev, then open http://127.0.0.1:3000")
