"""`ledger-pipeline demo`: the whole path on this machine, with a summary."""

import shlex
from dataclasses import asdict

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import note, print_json, print_table, say, say_error
from ledger_pipeline.cli.scan_progress import scan_progress
from ledger_pipeline.core.counts import counted
from ledger_pipeline.local.demo import DEV_UI_URL, DemoReport, run_demo
from ledger_pipeline.local.demo_statement import SignedEpoch
from ledger_pipeline.pipeline.contributions import percent_text, units_text

EPOCHS_SHOWN = 13


def command(as_json: Json = False) -> None:
    """Have a Temporal schedule collect the running epoch of a simulated GitHub, backfill all before, sign one."""
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
    return {
        **asdict(report),
        "backfill": None if report.backfill is None else report.backfill.columns(),
        "partitions": [row.columns() for row in report.partitions],
        "scheduled": {**asdict(report.scheduled), "result": result},
        "home": str(report.home),
        "signed": _signed(report),
    }


def _signed(report: DemoReport) -> dict[str, object] | None:
    if report.signed is None:
        return None
    payouts = [
        {"user_id": user, "units_milli": str(units), "share": share, "amount_credits": str(credits_)}
        for user, units, share, credits_ in report.signed.payouts
    ]
    return {**asdict(report.signed), "payouts": payouts, "archive": str(report.signed.archive)}


def _print(report: DemoReport) -> None:
    _print_partitions(report)
    _print_scheduled(report)
    if report.backfill is not None:
        _print_backfill(report)
    added = report.rows_after - report.rows_before
    if added:
        say(f"The ledger holds {counted(report.rows_after, 'event')}, {added:,} of them new.")
    else:
        say(f"Nothing new: the ledger held all {counted(report.rows_after, 'event')} already.")
    if report.signed is not None:
        _print_signed(report.signed)
    say(f"See it in the Dagster UI: make dev, then open {DEV_UI_URL}")


def _print_partitions(report: DemoReport) -> None:
    earlier, shown = report.partitions[:-EPOCHS_SHOWN], report.partitions[-EPOCHS_SHOWN:]
    event_types = list(dict.fromkeys(event_type for row in shown for event_type in row.events_by_type))
    rows = [
        [
            *(row.epoch, row.scope),
            *(row.events_by_type.get(event_type, 0) for event_type in event_types),
            *(row.events, row.rejected, row.set_hash[:16]),
        ]
        for row in shown
    ]
    columns = ["epoch", "scope", *event_types, "events", "rejected", "set_hash"]
    print_table("Partitions in the ledger", columns, rows)
    if earlier:
        events = sum(row.events for row in earlier)
        say(
            f"and {counted(len(earlier), 'earlier one')}, {earlier[0].epoch} to {earlier[-1].epoch}, "
            f"with {counted(events, 'event')}"
        )
    of_no_epoch = report.rows_after - sum(row.events for row in report.partitions)
    if of_no_epoch:
        say(f"and {counted(of_no_epoch, 'event')} of before the first epoch, which the scans came by")


def _print_signed(signed: SignedEpoch) -> None:
    rows = [
        [user, units_text(units), percent_text(share), f"{credits_:,}"]
        for user, units, share, credits_ in signed.payouts
    ]
    title = f"Epoch {signed.epoch} pays {signed.pool_total_credits:,} credits"
    print_table(title, ["user", "units", "share", "credits"], rows)
    when = "signed now" if signed.is_new else "signed by an earlier demo"
    say(f"{when} by {', '.join(signed.signers)}, the demo's key; every number of it verifies")
    say(f"exported for anybody to verify: ledger-pipeline verify --archive {shlex.quote(str(signed.archive))}")


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
    requests = counted(run.api_requests, "API request")
    say(f"backfill: {counted(len(run.digests), 'partition')}, {requests}, Dagster run {run.run_id}")
