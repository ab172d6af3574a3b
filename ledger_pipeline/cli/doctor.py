"""`ledger-pipeline doctor`: everything a deployment needs, looked at, and what to do about each failure."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

import typer

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import coloured, print_json, print_table, sentence
from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.doctor.examination import examine
from ledger_pipeline.doctor.findings import Finding, State
from ledger_pipeline.local.environment import databases
from ledger_pipeline.settings import read_settings

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "dim"}


def command(as_json: Json = False) -> None:
    """Check repo-spec, database, rights, Temporal, worker, Dagster, GitHub and clocks; say what to do. Changes nothing.

    Exits with 1 where something failed; a warning is none.
    """
    settings = read_settings()
    problem: LedgerError | None = None
    with ExitStack() as stack:
        try:
            settings = stack.enter_context(databases(settings))
        except LedgerError as error:
            problem = error
        findings = asyncio.run(examine(settings, problem))
    if as_json:
        print_json({"healthy": _is_healthy(findings), "checks": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    if not _is_healthy(findings):
        raise typer.Exit(1)


def _is_healthy(findings: Sequence[Finding]) -> bool:
    return all(finding.state is not State.FAILED for finding in findings)


def _print(findings: Sequence[Finding]) -> None:
    rows = [
        [
            finding.check,
            coloured(finding.state, _COLOURS[finding.state]),
            sentence(finding.detail),
            sentence(finding.remedy or ""),
        ]
        for finding in findings
    ]
    print_table("", ["check", "state", "what was seen", "what to do"], rows)
