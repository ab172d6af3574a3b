"""`ledger-pipeline export`: a finalized epoch as one file that anybody can verify."""

import re
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.options import OneEpoch, ScopeKey
from ledger_pipeline.cli.output import say
from ledger_pipeline.cli.statement_rows import MAX_MEGABYTES, rows_of_statement
from ledger_pipeline.core.counts import counted
from ledger_pipeline.verification.archive import write_archive
from ledger_pipeline.verification.exporting import exported
from ledger_pipeline.verification.limits import DEFAULT_MEGABYTES, MEGABYTE

Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Where to write; epoch-DATE-SCOPE.zip here where left out."),
]


def command(epoch_name: OneEpoch, scope_key: ScopeKey = None, output: Output = None) -> None:
    """Write a finalized epoch as one archive that anybody can verify with no database and no network."""
    facts, _, _ = rows_of_statement(epoch_name, scope_key)
    facts, dropped = exported(facts)
    if dropped:
        say(
            f"left out, because they are no approver's signature: {counted(dropped, 'row')}; `ledger-pipeline verify` "
            "names them"
        )
    # A name that somebody may have written into the ledger chooses no other folder.
    scope = re.sub(r"[^A-Za-z0-9_-]", "_", str(facts.pinned_spec.get("scope_key", "scope"))[:100])
    file = output or Path(f"epoch-{facts.epoch.window.key}-{scope}.zip")
    written = write_archive(facts, file)
    say(f"Written to {file.resolve()}, sha256 {written.sha256}")
    if written.megabytes > MAX_MEGABYTES:
        say(
            f"nobody can verify it as a file: it would take --max-megabytes {written.megabytes}, "
            f"and {MAX_MEGABYTES} are the most; `verify --epoch` takes it from the ledger"
        )
    elif written.megabytes > DEFAULT_MEGABYTES:
        size = f"{file.stat().st_size / MEGABYTE:.1f} MB"
        say(
            f"whoever verifies its {size} gives --max-megabytes {written.megabytes}: it takes more time or memory "
            f"than a file of {DEFAULT_MEGABYTES} MB may"
        )
